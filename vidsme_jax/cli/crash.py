"""Turn an error that nobody foresaw into one line and a file for those who mend it."""

import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vidsme_jax.errors import shorten

CODE = 70  # EX_SOFTWARE of sysexits.h
_PACKAGES = ("vidsme-jax", "jax", "numpy", "pyarrow", "tokenizers", "transformers", "av")


def write_report(words: Sequence[str], error: BaseException) -> str:
    """Write an error with its traceback to a new file, and return one line about it.

    The file lies in the folder for temporary files. Only its owner can read it, since it
    names paths of this machine.

    Args:
        words: the words after `vidsme`.
        error: the error, with its traceback.
    """
    what = shorten(f"{type(error).__name__}: {error}".strip(": "), 200)
    line = f"an error that should not be, {what}"
    try:
        number, name = tempfile.mkstemp(prefix="vidsme-report-", suffix=".txt", text=True)
        with os.fdopen(number, "w", encoding="utf-8", errors="replace") as file:
            file.write(_report(words, error))
    except (OSError, MemoryError):
        return f"{line}; no report could be written to {tempfile.gettempdir()}"
    return f"{line}; {name} says where, please send it to the authors"


def _report(words: Sequence[str], error: BaseException) -> str:
    """Return the text of a report: command, versions, traceback."""
    versions = [f"{name} {_version(name)}" for name in _PACKAGES]
    return "\n".join(
        [
            f"command: vidsme {shlex.join(words)}",
            f"folder: {Path.cwd()}",
            f"Python {sys.version.split()[0]}, {platform.platform()}",
            ", ".join(versions),
            "",
            "".join(traceback.format_exception(error, limit=-60)),
        ]
    )


def _version(name: str) -> str:
    """Return the version of an installed package, or that it is absent."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
