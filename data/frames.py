"""Frames of a clip: decord behind a guard, else OpenCV read from start to end.

decord is fast but returns wrong frames without an error on some AVI files and cut MP4
files, hangs on MPEG transport streams and does not open AV1. Its own timestamps give the
wrong ones away: they must rise strictly from zero or later. Transport streams never reach
it. Whatever fails the guard is read by OpenCV in order, which is slow and right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from vidsme_jax.opencv import cv2

try:
    import decord
except (ImportError, OSError):  # no wheel for this platform, or a library it lacks
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)  # a bad clip becomes a row, not noise

_TS_PACKET = 188  # an MPEG transport stream has a sync byte 0x47 this often


class DecodeError(Exception):
    """A clip that no reader could turn into frames; the message says why."""


@dataclass(frozen=True)
class Clip:
    """Decoded frames of one clip.

    Attributes:
        frames: the frames at `indices`, RGB, native resolution.
        indices: distinct positions in the clip, rising.
        frames_total: number of frames the reader found.
        fps: frames per second, 0 where the file does not say.
        reader: who decoded it, with the reason where decord was passed over.
    """

    frames: UInt8[np.ndarray, "frame height width 3"]
    indices: Int[np.ndarray, "frame"]
    frames_total: int
    fps: float
    reader: str

    def sample(self, count: int) -> UInt8[np.ndarray, "count height width 3"]:
        """Return the frames of `sample_indices` for this count."""
        wanted = sample_indices(self.frames_total, count)
        return self.frames[np.searchsorted(self.indices, wanted)]


def sample_indices(total: int, count: int) -> Int[np.ndarray, "count"]:
    """Return the positions of `count` uniformly sampled frames, truncated downwards.

    Indices repeat where the clip is shorter than asked. Source: the published code of
    arXiv 2506.03179, numpy.linspace(0, total - 1, count, dtype=int).
    """
    return np.linspace(0, total - 1, count, dtype=int)


def read_clip(path: Path, counts: Sequence[int]) -> Clip:
    """Decode, once, the frames that all the given frame counts need.

    Raises:
        FileNotFoundError: there is no such file.
        DecodeError: no reader could decode it.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not path.is_file():
        raise DecodeError("it is no regular file")
    if path.stat().st_size == 0:
        raise DecodeError("the file is empty")
    reason = _why_not_decord(path)
    if not reason:
        try:
            return _read_decord(path, counts)
        except DecodeError as error:
            reason = str(error)
    return _read_opencv(path, counts, f"opencv ({reason})")


def _why_not_decord(path: Path) -> str:
    if decord is None:
        return "decord is not installed"
    with path.open("rb") as file:
        head = file.read(3 * _TS_PACKET + 8)
    # Plain packets, or packets behind a 4-byte timecode (.m2ts).
    if any(_is_transport(head, size, skip) for size, skip in ((188, 0), (192, 4))):
        return "transport stream"
    return ""


def _is_transport(head: bytes, size: int, skip: int) -> bool:
    return len(head) > skip + 2 * size and all(
        head[skip + n * size] == 0x47 for n in range(3)
    )


def _read_decord(path: Path, counts: Sequence[int]) -> Clip:
    # The reader is local to this call: left open, its decoder thread runs ahead and
    # fills memory with frames.
    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        total = len(reader)
        if total == 0:
            raise DecodeError("decord finds no frames")
        stamps = reader.get_frame_timestamp(range(total))[:, 0]
        _check_stamps(stamps)
        indices = _union(total, counts)
        frames = reader.get_batch(indices).asnumpy()
        return Clip(frames, indices, total, _fps(reader.get_avg_fps()), "decord")
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        # The message is the failed C++ check; what matters is its end.
        line = next(iter(str(error).splitlines()), "").strip()
        raise DecodeError(f"decord: {line[-80:] or type(error).__name__}") from error


def _check_stamps(stamps: np.ndarray) -> None:
    if not np.all(np.isfinite(stamps)) or np.any(np.diff(stamps) <= 0):
        raise DecodeError("decord's timestamps do not rise")
    step = np.median(np.diff(stamps)) if len(stamps) > 1 else 0.0
    if stamps[0] < -step / 2:
        raise DecodeError("decord's timestamps start before zero")


def _read_opencv(path: Path, counts: Sequence[int], reader: str) -> Clip:
    """Count the frames in one pass, then keep the wanted ones in a second.

    The header's count is not trusted, and seeking is not exact; frames passed over are
    grabbed but not converted.
    """
    total, announced, fps = _count_opencv(path)
    if total == 0:
        raise DecodeError(f"{reader} finds no frames: not a video, or damaged")
    if total < announced / 2:  # headers are often a little wrong, not this much
        raise DecodeError(f"cut short: {total} of the {announced} frames in its header")
    indices = _union(total, counts)
    capture = cv2.VideoCapture(str(path))
    frames: list[np.ndarray] = []
    try:
        for n in range(int(indices[-1]) + 1):
            if not capture.grab():
                raise DecodeError(f"{reader} lost frame {n} of {total}")
            if n == indices[len(frames)]:
                ok, frame = capture.retrieve()
                if not ok:
                    raise DecodeError(f"{reader} could not decode frame {n} of {total}")
                frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    return Clip(np.stack(frames), indices, total, fps, reader)


def _count_opencv(path: Path) -> tuple[int, int, float]:
    """Return how many frames come, how many the header has, and the frame rate."""
    capture, total = cv2.VideoCapture(str(path)), 0
    try:
        while capture.grab():
            total += 1
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        announced = int(announced) if np.isfinite(announced) else 0
        return total, announced, _fps(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()


def _union(total: int, counts: Sequence[int]) -> np.ndarray:
    return np.unique(np.concatenate([sample_indices(total, n) for n in counts]))


def _fps(value: float) -> float:
    return float(value) if np.isfinite(value) and 0 < value < 1e4 else 0.0
