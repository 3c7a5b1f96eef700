"""The result of every reader: the frames of a clip that the frame counts need."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8


class DecodeError(Exception):
    """A clip that a reader could not turn into frames; the message says why."""


class UntrustedFrames(DecodeError):
    """A reader returned frames, but its timestamps say that they may be wrong."""


class DamagedFile(DecodeError):
    """The file is broken or cut short, so that no other reader is worth a try."""


class BadSegment(DecodeError):
    """The film has no such part, whoever reads it."""


@dataclass(frozen=True)
class DecodedClip:
    """Decoded frames of one clip.

    Attributes:
        frames: frames at `indices`, RGB, upright, native resolution.
        indices: distinct positions in the clip, rising.
        frames_total: number of frames that the reader counted.
        fps: frames per second; 0 where the file does not say.
        reader: name of the reader that decoded the clip.
        fallback: faults of the readers that were tried before, and what else there is to
            say of the choice; "" where there is nothing.
        codec: name of the codec in four characters; "" where the file does not say.
        container: mp4, matroska, avi, mpegts, images, array_record and so on.
    """

    frames: UInt8[np.ndarray, "frame height width 3"]
    indices: Int[np.ndarray, "frame"]
    frames_total: int
    fps: float
    reader: str
    fallback: str = ""
    codec: str = ""
    container: str = ""

    def sample(self, count: int) -> UInt8[np.ndarray, "count height width 3"]:
        """Return the frames that `sample_indices` picks for a frame count."""
        return self.frames[self.places(count)]

    def places(self, count: int) -> Int[np.ndarray, "count"]:
        """Return the indices into `frames` of the frames that a frame count samples."""
        return np.searchsorted(self.indices, sample_indices(self.frames_total, count))


def sample_indices(total: int, count: int) -> Int[np.ndarray, "count"]:
    """Return the positions of `count` uniformly sampled frames, truncated downwards.

    Positions repeat where the clip has fewer frames than `count`. Source: the published
    code of arXiv 2506.03179, numpy.linspace(0, total - 1, count, dtype=int).
    """
    return np.linspace(0, total - 1, count, dtype=int)


def union_indices(total: int, counts: Sequence[int]) -> Int[np.ndarray, "frame"]:
    """Return the distinct positions of the frames that all counts need, rising."""
    return np.unique(np.concatenate([sample_indices(total, n) for n in counts]))


def fps_or_zero(value: float) -> float:
    """Return a number as a frame rate, 0 where it cannot be a frame rate."""
    return float(value) if np.isfinite(value) and 0 < value < 1e4 else 0.0
