"""The errors that the command line turns into a single line and an exit code."""

import unicodedata
from typing import Any


class InputError(ValueError):
    """Wrong input: one line says what was given, expected and exists. Exit code 2."""


class Interrupted(Exception):
    """Work stopped half-way; the same command continues. Exit code 75."""


def shorten(text: Any, length: int) -> str:
    """Return printable text of at most `length` characters.

    Text that runs from right to left is isolated, so that the text beside it keeps its
    direction.
    """
    line = "".join(c if c.isprintable() else " " for c in str(text))
    line = line if len(line) <= length else line[: length - 1] + "…"
    is_leftwards = any(unicodedata.bidirectional(c) in ("R", "AL") for c in line)
    return f"\u2068{line}\u2069" if is_leftwards else line
