"""Read frames by PyAV, in order from start to end; correct for all files FFmpeg reads."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vidsme_jax.data.readers.decoded import (
    DamagedFile,
    DecodedClip,
    DecodeError,
    fps_or_zero,
    read_in_order,
)

try:
    import av
except (ImportError, OSError):
    av = None  # type: ignore[assignment]

# A title that is no UTF-8 does not matter. PyAV before 19 stops at it with an error, unless
# an option says to ignore it; PyAV from 19 on ignores it, and has no such option.
_STOPS_AT_TITLES = av is not None and int(av.__version__.split(".")[0]) < 19
_LENIENT: dict[str, Any] = {"metadata_errors": "ignore"} if _STOPS_AT_TITLES else {}


def read(path: Path, counts: Sequence[int], announced: int = 0) -> DecodedClip:
    """Decode the frames that the frame counts need, and rotate them upright.

    Args:
        path: path of the clip.
        counts: numbers of frames to sample.
        announced: frames according to the header; 0 where it does not tell.

    Raises:
        DamagedFile: the file ends in the middle of its data, or lacks most of its frames.
        DecodeError: PyAV could not read the file.
    """
    try:
        guess, fps = _survey(path)
        frames, indices, total = read_in_order(lambda: _frames(path), counts, guess)
    except av.FFmpegError as error:
        raise DecodeError(error.strerror or type(error).__name__) from error
    if total < announced / 2:  # an edit list may hide some frames, damage hides more
        raise DamagedFile(f"it finds {total} frames where the header has {announced}")
    return DecodedClip(frames, indices, total, fps, "pyav")


def _survey(path: Path) -> tuple[int, float]:
    """Return how many frames the packets most likely hold, and the frame rate."""
    with av.open(str(path), **_LENIENT) as container:
        stream = _video(container)
        # Packets before the start of an edit list are marked; no decoder returns them.
        packets = sum(p.size > 0 and not p.is_discard for p in container.demux(stream))
        return packets, fps_or_zero(float(stream.average_rate or 0))


def _video(container: Any) -> Any:
    if not container.streams.video:
        raise DecodeError("it has no video stream")
    return container.streams.video[0]


def _frames(path: Path) -> Iterator[Callable[[], np.ndarray]]:
    """Yield, for every frame, a function that converts it to RGB."""
    with av.open(str(path), **_LENIENT) as container:
        stream, count = _video(container), 0
        stream.codec_context.thread_count = 1  # clips are decoded in parallel
        decoded = container.decode(stream)
        while True:
            try:
                frame = next(decoded, None)
            except av.FFmpegError as error:
                if not count:
                    raise
                reason = error.strerror or type(error).__name__
                raise DamagedFile(f"damaged after frame {count - 1}: {reason}") from error
            if frame is None:
                return
            count += 1
            yield partial(_upright, frame)


def _upright(frame: Any) -> np.ndarray:
    """Return a frame as RGB, rotated as the file says; other readers rotate it alone."""
    turns = round(frame.rotation / 90)  # counter-clockwise
    return np.rot90(frame.to_ndarray(format="rgb24"), turns)
