"""The one error type that the command line turns into a single line and exit code 2."""


class InputError(ValueError):
    """Say what was given, what was expected and what exists, in one line."""
