"""The errors that the command line turns into a single line and an exit code."""

import math
import os
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any


class InputError(ValueError):
    """Wrong input: one line says what was given, expected and exists. Exit code 2."""


class Interrupted(Exception):
    """Work stopped half-way; the same command continues. Exit code 75."""


# What XLA and C++ libraries say; numpy and Python raise MemoryError.
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "bad_alloc", "Out of memory")


@contextmanager
def needing_memory(remedy: str) -> Iterator[None]:
    """Name what needs less where the block is out of memory, of the host or a device.

    Args:
        remedy: what was asked for, and which settings take less.

    Raises:
        InputError: the block is out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(
            w in text for w in _OUT_OF_MEMORY
        ):
            raise
        raise InputError(f"out of memory with {remedy}") from error


def check_counts(settings: Any, *names: str) -> None:
    """Refuse settings that are no whole numbers above 0, alone or in a tuple.

    Raises:
        InputError: with the setting's name and value.
    """
    for name in names:
        value = getattr(settings, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or any(type(n) is not int or n < 1 for n in numbers):
            raise InputError(f"{name}={value!r}, expected whole numbers from 1 on")
        _check_once(name, numbers)


def check_rates(settings: Any, *names: str) -> None:
    """Refuse settings that are no finite numbers from 0 on.

    Raises:
        InputError: with the setting's name and value.
    """
    for name in names:
        value = getattr(settings, name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and value >= 0):
            raise InputError(f"{name}={value!r}, expected a finite number from 0 on")


def check_names(settings: Any, **allowed: Collection[str]) -> None:
    """Refuse settings that are not among the names there are, alone or in a tuple.

    Raises:
        InputError: with the setting's name, its value and the names there are.
    """
    for name, there in allowed.items():
        value = getattr(settings, name)
        chosen = value if isinstance(value, tuple) else (value,)
        if not chosen or not all(choice in there for choice in chosen):
            raise InputError(f"{name}={value!r}, there are {', '.join(there)}")
        _check_once(name, chosen)


def _check_once(name: str, values: tuple[Any, ...]) -> None:
    if len(set(values)) < len(values):
        raise InputError(f"{name}={values!r} names a value twice, expected each once")


def local_devices() -> list[Any]:
    """Return JAX's devices of this process, its default device first.

    Raises:
        InputError: JAX_PLATFORMS names a platform that is not here.
    """
    import jax

    try:
        return jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # JAX raises either
        platforms = os.environ.get("JAX_PLATFORMS", "")
        reason = " ".join(str(error).split()).partition(" (set JAX_PLATFORMS")[0]
        because = f" ({reason:.200})" if reason else ""
        raise InputError(
            f"JAX_PLATFORMS={platforms}: there is no such device here{because}; expected"
            " cpu, or none for what JAX finds"
        ) from error


def shorten(text: Any, length: int) -> str:
    """Return printable text of at most `length` characters.

    Text that runs from right to left is isolated, so that the text beside it keeps its
    direction.
    """
    line = printable(text, length)
    is_leftwards = any(unicodedata.bidirectional(c) in ("R", "AL") for c in line)
    return f"\u2068{line}\u2069" if is_leftwards else line


def printable(text: Any, length: int) -> str:
    """Return a line of at most `length` characters; control characters become spaces."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= length else line[: length - 1] + "…"
