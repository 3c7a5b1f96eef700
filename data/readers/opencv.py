"""Frames by OpenCV, decoded in order from start to end; and what a header says."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidsme_jax.data.opencv import cv2
from vidsme_jax.data.readers.decoded import (
    Clip,
    Damaged,
    DecodeError,
    fps_or_zero,
    read_in_order,
)


@dataclass(frozen=True)
class Header:
    """What a file says of itself, before a frame is decoded.

    Attributes:
        frames: how many, 0 where it does not say; an estimate in some containers.
        fps: frames per second, 0 where it does not say.
        codec: the four characters that name it; empty where nothing is known.
    """

    frames: int
    fps: float
    codec: str


def read_header(path: Path) -> Header:
    """Open the file and ask; a file that OpenCV cannot open has no header."""
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            return Header(0, 0.0, "")
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
        text = code.decode("latin1").strip("\0 ")
        return Header(
            int(frames) if np.isfinite(frames) and frames > 0 else 0,
            fps_or_zero(capture.get(cv2.CAP_PROP_FPS)),
            text.lower() if text.isprintable() else "",
        )
    finally:
        capture.release()


def read(path: Path, counts: Sequence[int], header: Header, least: float) -> Clip:
    """Decode the frames that the counts need, in order: its seeking is not exact.

    Args:
        path: of the clip.
        counts: the frame counts.
        header: of the file.
        least: the part of the announced frames below which the file counts as damaged,
            since OpenCV ends at a fault as it ends at the end.

    Raises:
        Damaged: far fewer frames came than announced.
        DecodeError: it could not read it.
    """
    frames, indices, total = read_in_order(lambda: _frames(path), counts, header.frames)
    if total < least * header.frames:
        raise Damaged(
            f"{total} of the {header.frames} frames in its header: damaged, or cut with an"
            " edit list, which PyAV can tell apart"
        )
    return Clip(frames, indices, total, header.fps, "opencv")


def _frames(path: Path) -> Iterator[Callable[[], np.ndarray]]:
    """Yield, for each frame, what converts it to RGB."""
    capture = cv2.VideoCapture(str(path))

    def convert() -> np.ndarray:
        ok, frame = capture.retrieve()
        if not ok:
            raise DecodeError("it could not convert a frame")
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    try:
        while capture.grab():
            yield convert
    finally:
        capture.release()
