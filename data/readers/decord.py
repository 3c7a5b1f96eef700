"""Read frames by decord, as the published code does; nothing else imports decord.

decord 0.6 is fast, but returns wrong frames without an error where it seeks: in open groups
of pictures, MPEG-4 with B-frames, and WMV. So it reads in order here. On some AVI files and
cut MP4 files its frames are wrong even then. Its timestamps show that: correct timestamps
rise strictly from zero.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidsme_jax.data.readers.decoded import (
    DecodedClip,
    DecodeError,
    UntrustedFrames,
    fps_or_zero,
    union_indices,
)
from vidsme_jax.data.readers.track import Segment, Track, clip_rate, film_end

try:
    import decord
except (ImportError, OSError):  # no wheel for this platform, or a library it lacks
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)  # a bad clip becomes a row, not noise


def read(
    path: Path,
    counts: Sequence[int],
    track: Track,
    segment: Segment,
    trusting: bool,
    doubt: str = "",
) -> DecodedClip:
    """Decode the frames that the counts need.

    Args:
        path: path of the clip.
        counts: numbers of frames to sample.
        track: the stream of pictures.
        segment: the part of the film that the clip is.
        trusting: whether to seek, as the published code does, and keep all frames. The
            clip's `fallback` then says whether reading in order gives other frames.
        doubt: a reason not to trust the frames of this file; "" for no reason.

    Raises:
        BadSegment: the film has no such part.
        UntrustedFrames: decord read the file, but perhaps the wrong frames.
        DecodeError: decord could not read the file.
    """
    # The reader is local to this call: left open, its decoder thread runs ahead and
    # fills memory with frames.
    try:
        reader = _open(path)
        total = len(reader)
        if total == 0:
            raise DecodeError("it finds no frames")
        stamps = reader.get_frame_timestamp(range(total))[:, 0]
        is_exact = track.index is not None  # PyAV has counted
        doubt = doubt or _doubt(stamps, track.packets, 0.0 if is_exact else 0.1)
        if doubt and not trusting:
            raise UntrustedFrames(doubt)
        times = (stamps - stamps[0]).astype(float)
        fps, first, stop = fps_or_zero(reader.get_avg_fps()), 0, total
        if not segment.is_whole:
            first, stop = segment.range_in(times, film_end(times, fps))
        fps = clip_rate(times[first:stop], fps)
        indices = union_indices(stop - first, counts)
        if trusting:
            frames = reader.get_batch(first + indices).asnumpy()
            doubt = doubt or _compare(path, frames, first + indices)
        else:
            frames = _in_order(reader, first + indices)
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        # The message is a failed C++ check, whose end says most; the path is in brackets.
        line = next(iter(str(error).splitlines()), "").rsplit("] ", 1)[-1].strip()
        raise DecodeError(line[-80:] or type(error).__name__) from error
    if frames.shape[-1] != 3:  # at widths of 8, 16, 24 and 48 pixels
        raise DecodeError(f"its frames have {frames.shape[-1]} channels")
    kept = f"kept, though {doubt}" * bool(doubt)
    return DecodedClip(frames, indices, stop - first, fps, "decord", kept)


def _open(path: Path):
    return decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)


def _in_order(reader, indices: np.ndarray) -> np.ndarray:
    positions, kept = set(indices.tolist()), []
    for n in range(int(indices[-1]) + 1):
        frame = reader.next()
        if n in positions:
            kept.append(frame.asnumpy())
    return np.stack(kept)


def _compare(path: Path, frames: np.ndarray, indices: np.ndarray) -> str:
    """Return a sentence if seeking gives other frames than reading in order, else ""."""
    right = _in_order(_open(path), indices)
    other = int(np.sum(np.any(frames != right, axis=(1, 2, 3))))
    return f"it seeks to other frames in {other} of {len(frames)} places" * bool(other)


def _doubt(stamps: np.ndarray, announced: int, tolerance: float = 0.1) -> str:
    """Return a reason not to trust frames with these timestamps; "" for no reason.

    Args:
        stamps: timestamp of every frame of the file, seconds.
        announced: number of frames according to packets or header; 0 for unknown.
        tolerance: share of them that may be missing or too many. An edit list may hide a
            single frame, which decord shows.
    """
    if not np.all(np.isfinite(stamps)) or np.any(np.diff(stamps) <= 0):
        return "its timestamps do not rise"
    step = np.median(np.diff(stamps)) if len(stamps) > 1 else np.inf
    if abs(stamps[0]) > step / 2:
        return "its timestamps do not start at zero"
    if announced and abs(len(stamps) / announced - 1) > tolerance:
        return f"it finds {len(stamps)} frames where the header has {announced}"
    return ""
