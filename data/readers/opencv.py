"""Read frames by OpenCV, in order from start to end, and read the header of a file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidsme_jax.data.opencv import cv2
from vidsme_jax.data.readers.decoded import (
    DamagedFile,
    DecodedClip,
    DecodeError,
    fps_or_zero,
    read_in_order,
)


@dataclass(frozen=True)
class Header:
    """The facts that a file states before a frame is decoded.

    Attributes:
        frames: number of frames, an estimate in some containers; 0 for unknown.
        fps: frames per second; 0 for unknown.
        codec: name of the codec in four characters; "" for unknown.
    """

    frames: int
    fps: float
    codec: str


def read_header(path: Path) -> Header:
    """Read the header of a file; it is empty where OpenCV cannot open the file."""
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


def read(path: Path, counts: Sequence[int], header: Header, least: float) -> DecodedClip:
    """Decode the frames that the counts need, in order, since seeking is not exact.

    Args:
        path: path of the clip.
        counts: numbers of frames to sample.
        header: header of the file.
        least: share of the header's frames below which the file counts as damaged. OpenCV
            stops at a fault as it stops at the end of a file, and reports neither.

    Raises:
        DamagedFile: far fewer frames came than announced.
        DecodeError: OpenCV could not read the file.
    """
    frames, indices, total = read_in_order(lambda: _frames(path), counts, header.frames)
    if total < least * header.frames:
        raise DamagedFile(
            f"{total} of the {header.frames} frames in its header: damaged, or cut with an"
            " edit list, which PyAV can tell apart"
        )
    return DecodedClip(frames, indices, total, header.fps, "opencv")


def _frames(path: Path) -> Iterator[Callable[[], np.ndarray]]:
    """Yield, for every frame, a function that converts it to RGB."""
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
