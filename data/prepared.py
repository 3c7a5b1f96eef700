"""A clip as models take it, and what decides that."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from vidsme_jax.data.readers.decoded import sample_indices


@dataclass(frozen=True)
class Wanted:
    """What to make of each clip.

    Attributes:
        counts: the frame counts.
        resize: see `preprocess`.
        crop: likewise.
        reader: one of `frames.POLICIES`.
    """

    counts: tuple[int, ...]
    resize: int | None
    crop: int
    reader: str = "auto"


@dataclass(frozen=True)
class PreparedClip:
    """A clip as models take it.

    Attributes:
        frames: the distinct frames that all counts need, as `preprocess` makes them; none
            for a bad clip.
        indices: their positions in the clip, rising.
        facts: what the score table says of it: `status`, `error`, `reader`, …, and per
            frame count, under its number as text, what depends on it.
        thumbnail: a strip of frames as JPEG; empty for a bad clip.
    """

    frames: UInt8[np.ndarray, "frame crop crop 3"]
    indices: Int[np.ndarray, "frame"]
    facts: dict[str, Any]
    thumbnail: bytes

    def sample(self, count: int) -> UInt8[np.ndarray, "count crop crop 3"]:
        """Return the frames of a count; zeros for a bad clip."""
        if not len(self.frames):
            return np.zeros((count, *self.frames.shape[1:]), np.uint8)
        wanted = sample_indices(self.facts["frames_total"], count)
        return self.frames[np.searchsorted(self.indices, wanted)]


def bad_clip(wanted: Wanted, status: str, why: str) -> PreparedClip:
    """Return what stands for a clip that could not be read."""
    blank = np.zeros((0, wanted.crop, wanted.crop, 3), np.uint8)
    facts = {"status": status, "error": " ".join(why.split())[:300]}
    return PreparedClip(blank, np.zeros(0, np.int64), facts, b"")
