"""What every reader gives: frames of a clip, at the places that the frame counts need."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8


class DecodeError(Exception):
    """A clip that a reader could not turn into frames; the message says why."""


class Doubt(DecodeError):
    """A reader gave frames, but its own timestamps say that they may be wrong ones."""


class Damaged(DecodeError):
    """The file itself is broken or cut short: no other reader is worth a try."""


@dataclass(frozen=True)
class Clip:
    """Decoded frames of one clip.

    Attributes:
        frames: the frames at `indices`, RGB, upright, native resolution.
        indices: distinct positions in the clip, rising.
        frames_total: number of frames the reader found.
        fps: frames per second, 0 where the file does not say.
        reader: who decoded it.
        fallback: why the readers before it were passed over; empty for the first.
        codec: the four characters that name it; empty where nothing is known.
        container: mp4, matroska, avi, mpegts, other.
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
        """Return the frames of `sample_indices` for this count."""
        return self.frames[self.places(count)]

    def places(self, count: int) -> Int[np.ndarray, "count"]:
        """Return where in `frames` those of this count are."""
        return np.searchsorted(self.indices, sample_indices(self.frames_total, count))


def sample_indices(total: int, count: int) -> Int[np.ndarray, "count"]:
    """Return the positions of `count` uniformly sampled frames, truncated downwards.

    Indices repeat where the clip is shorter than asked. Source: the published code of
    arXiv 2506.03179, numpy.linspace(0, total - 1, count, dtype=int).
    """
    return np.linspace(0, total - 1, count, dtype=int)


def union_indices(total: int, counts: Sequence[int]) -> Int[np.ndarray, "frame"]:
    """Return the distinct positions that the counts need, rising."""
    return np.unique(np.concatenate([sample_indices(total, n) for n in counts]))


def read_in_order(
    frames: Callable[[], Iterator[Callable[[], np.ndarray]]],
    counts: Sequence[int],
    guess: int,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Decode a file from its start, converting only the frames that the counts need.

    Which these are depends on how many frames there are, and that is known for certain at
    the end only: where the guess was wrong, the file is read a second time.

    Args:
        frames: starts the file and yields, for each frame, what converts it.
        counts: the frame counts.
        guess: how many frames there are.

    Returns:
        The frames, their positions, and how many frames there are.
    """
    for _ in range(2):
        wanted = union_indices(guess, counts) if guess else np.array([], int)
        kept: list[np.ndarray] = []
        total = 0
        for convert in frames():
            if len(kept) < len(wanted) and total == wanted[len(kept)]:
                kept.append(convert())
            total += 1
        if total == 0:
            raise DecodeError("it finds no frames")
        if total == guess:
            if len({frame.shape for frame in kept}) > 1:
                raise DecodeError("its frames are of different sizes")
            return np.stack(kept), wanted, total
        guess = total
    raise DecodeError("it finds another number of frames each time")


def fps_or_zero(value: float) -> float:
    """Return a frame rate, 0 where it cannot be one."""
    return float(value) if np.isfinite(value) and 0 < value < 1e4 else 0.0
