"""The errors that the command line turns into a single line and an exit code."""


class InputError(ValueError):
    """Say what was given, what was expected and what exists, in one line. Exit code 2."""


class Interrupted(Exception):
    """Work that stopped half-way; the same command goes on with it. Exit code 75."""
