"""Tokens that encode the colour of a video position, in tokenizers that have them."""

CODES = 64


def code_token(n: int) -> str:
    """Return the text of the token of visual code `n`."""
    return f"<|code_{n}|>"
