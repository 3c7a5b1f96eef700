"""Read the values of options from the text that was typed.

Every function raises `argparse.ArgumentTypeError` where the text is no such value.
"""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidsme_jax.records.shards import Shard

# More is a slip of the hand, or does not fit any memory.
_MOST_FRAMES = 10_000  # of a clip
_MOST_TOKENS = 1_000_000  # of a text
_MOST_RESAMPLES = 1_000_000


def positive(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def natural(text: str) -> int:
    """Read a whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def resamples(text: str) -> int:
    """Read a number of resamples; an interval needs at least 100."""
    if not text.isdecimal() or not 100 <= int(text) <= _MOST_RESAMPLES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from 100 to {_MOST_RESAMPLES}"
        )
    return int(text)


def frame_count(text: str) -> int:
    """Read the number of frames of a clip."""
    if positive(text) > _MOST_FRAMES:
        raise argparse.ArgumentTypeError(f"{text!r}, expected up to {_MOST_FRAMES} frames")
    return int(text)


def frame_counts(text: str) -> tuple[int, ...]:
    """Read frame counts, separated by commas."""
    counts = tuple(frame_count(count) for count in text.split(","))
    if len(set(counts)) < len(counts):
        raise argparse.ArgumentTypeError(f"{text!r} names a frame count twice")
    return counts


def token_count(text: str) -> int:
    """Read the number of tokens of a text."""
    if positive(text) > _MOST_TOKENS:
        raise argparse.ArgumentTypeError(f"{text!r}, expected up to {_MOST_TOKENS} tokens")
    return int(text)


def rate(text: str) -> float:
    """Read a finite number from 0 on."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number from 0 on")
    return value


def share(text: str) -> float:
    """Read a number above 0 and up to 1."""
    value = rate(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected above 0 and up to 1")
    return value


def clip_seconds(text: str) -> float:
    """Read the whole seconds that a clip may take."""
    return float(positive(text))


def slice_names(text: str) -> tuple[str, ...]:
    """Read names of slices, separated by commas; return them in the catalogue's order."""
    from vidsme_jax.scores.catalogue import SLICES

    names = text.split(",")
    if not set(names) <= set(SLICES):
        raise argparse.ArgumentTypeError(f"{text!r}: there are {', '.join(SLICES)}")
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} names a slice twice")
    return tuple(name for name in SLICES if name in names)


def definition_names(text: str) -> tuple[str, ...]:
    """Read names of definitions, separated by commas; exact is always among them."""
    from vidsme_jax.scores.catalogue import DEFINITIONS

    names = text.split(",")
    if not set(names) <= set(DEFINITIONS):
        raise argparse.ArgumentTypeError(f"{text!r}: there are {', '.join(DEFINITIONS)}")
    return tuple(name for name in DEFINITIONS if name in ("exact", *names))


def field_names(text: str) -> tuple[str, ...]:
    """Read names of fields, separated by commas; no text is no name."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def calibration_file(text: str) -> Path | None:
    """Read the path of a calibration; None for `run`, whose run makes its own."""
    return None if text == "run" else Path(text)


def published_metrics(text: str) -> bool:
    """Read whether the published code's metrics are computed beside ours."""
    if text not in ("ours", "ours+published"):
        raise argparse.ArgumentTypeError(f"{text!r}, expected ours or ours+published")
    return text == "ours+published"


def shard(text: str) -> "Shard":
    """Read the shard of the rows, K/N or auto."""
    from vidsme_jax.errors import InputError
    from vidsme_jax.records.shards import read_shard

    try:
        return read_shard(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
