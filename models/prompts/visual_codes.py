"""Tokens that stand for the look of a video position, in tokenizers that have them."""

CODES = 64


def code_token(n: int) -> str:
    """Return the text of the token that stands for a visual code."""
    return f"<|code_{n}|>"
