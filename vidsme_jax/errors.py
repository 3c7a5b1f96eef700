"""The errors that the command line turns into a single line and an exit code."""

from pathlib import Path


class InputError(ValueError):
    """Say what was given, what was expected and what exists, in one line. Exit code 2."""


def check_folder(name: str, path: Path) -> None:
    """Refuse an option whose folder cannot be made: it, or what it is in, is a file.

    Raises:
        InputError: with the option's name, the path and the file.
    """
    found = next((place for place in (path, *path.parents) if place.exists()), None)
    if found is not None and not found.is_dir():
        where = "is a file" if found == path else f"lies in {found}, which is a file"
        raise InputError(f"{name}={path} {where}, expected a directory")


class Interrupted(Exception):
    """Work that stopped half-way; the same command goes on with it. Exit code 75."""
