"""Read frames by OpenCV, in order from start to end, and read the header of a file.

OpenCV reads the first stream of pictures. It cannot convert interlaced pictures: in their
place it returns what its memory last held, without an error.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vidsme_jax.data.opencv import cv2
from vidsme_jax.data.readers.containers import DEMUXERS, count_pictures, counts_frames
from vidsme_jax.data.readers.decoded import (
    DamagedFile,
    DecodedClip,
    DecodeError,
    fps_or_zero,
)
from vidsme_jax.data.readers.in_order import read_in_order
from vidsme_jax.data.readers.track import Segment, Track

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


def read_header(path: Path, container: str) -> Track:
    """Return what OpenCV and the file's first bytes tell of the stream of pictures.

    Everything is unknown where OpenCV cannot open the file.

    Args:
        path: path of the clip.
        container: kind of the file, a key of `containers.DEMUXERS`.
    """
    streams, is_exact = count_pictures(path, container), counts_frames(path, container)
    with _open(path, container) as capture:
        # Elsewhere OpenCV multiplies length and nominal rate.
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT) if is_exact else 0
        code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
        text = code.decode("latin1").strip("\0 ")
        return Track(
            container=container,
            index=None,
            is_first=streams == 1,
            streams=streams,
            skipped=int(not _starts_with_key(path, container)),
            packets=int(frames) if np.isfinite(frames) and frames > 0 else 0,
            fps=fps_or_zero(capture.get(cv2.CAP_PROP_FPS)),
            codec=text.lower() if text.isprintable() else "",
        )


def _starts_with_key(path: Path, container: str) -> bool:
    with _open(path, container, (cv2.CAP_PROP_FORMAT, -1)) as packets:
        return packets.grab() and bool(packets.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME))


def read(
    path: Path, counts: Sequence[int], track: Track, segment: Segment, least: float
) -> DecodedClip:
    """Decode the frames that the counts need, in order, since seeking is not exact.

    Args:
        path: path of the clip.
        counts: numbers of frames to sample.
        track: the stream of pictures.
        segment: the part of the film that the clip is.
        least: share of the frames of the track below which the file counts as damaged.
            OpenCV stops at a fault as it stops at the end of a file, and reports neither.

    Raises:
        BadSegment: the film has no such part.
        DamagedFile: far fewer frames came than announced.
        DecodeError: OpenCV could not read the file.
    """
    frames = lambda: _frames(path, track.container)  # noqa: E731
    clip = read_in_order(frames, counts, track, segment, "opencv")
    if segment.is_whole and clip.frames_total < least * track.packets:
        raise DamagedFile(
            f"{clip.frames_total} of the {track.packets} frames in its header: damaged, or"
            " cut with an edit list, which PyAV can tell apart"
        )
    return clip


@contextmanager
def _open(path: Path, container: str, options: Sequence[int] = ()) -> Iterator[Any]:
    """Open a file with the demuxer of its kind, and no other file with it."""
    before = os.environ.get(_OPTIONS)
    os.environ[_OPTIONS] = f"protocol_whitelist;file|format_whitelist;{DEMUXERS[container]}"
    try:  # not by other backends: they would take some names for sequences of images
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, options)
    finally:
        if before is None:
            del os.environ[_OPTIONS]
        else:
            os.environ[_OPTIONS] = before
    try:
        yield capture
    finally:
        capture.release()


def _frames(path: Path, container: str) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
    """Yield the time of every frame, seconds, and a function that converts it to RGB."""
    with _open(path, container) as capture:

        def convert() -> np.ndarray:
            ok, frame = capture.retrieve()
            if not ok:
                raise DecodeError("it could not convert a frame")
            return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

        while capture.grab():
            yield capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, convert
