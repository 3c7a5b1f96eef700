"""The errors that the command line turns into a single line and an exit code."""

import unicodedata
from typing import Any


class InputError(ValueError):
    """Say what was given, what was expected and what exists, in one line. Exit code 2."""


class Interrupted(Exception):
    """Work that stopped half-way; the same command goes on with it. Exit code 75."""


def shorten(text: Any, length: int) -> str:
    """Return printable text of at most `length` characters.

    Text that runs from right to left is marked as a unit, so that it turns nothing round
    that stands beside it.
    """
    line = "".join(c if c.isprintable() else " " for c in str(text))
    line = line if len(line) <= length else line[: length - 1] + "…"
    leftwards = any(unicodedata.bidirectional(c) in ("R", "AL") for c in line)
    return f"\u2068{line}\u2069" if leftwards else line
