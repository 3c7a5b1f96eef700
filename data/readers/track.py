"""The stream of pictures that a clip is read from, and the part of it that the clip is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidsme_jax.data.readers.decoded import BadSegment

TOLERANCE = 5e-4  # seconds; times in files are rounded to milliseconds
_ROUNDED_UP = 1.0  # seconds that lists may put a segment's end behind the film's


@dataclass(frozen=True)
class Track:
    """The stream of pictures to read, chosen once for every reader.

    Attributes:
        container: kind of the file, see `containers`.
        index: number of the stream in the file; None where PyAV is not there to tell.
        is_first: whether it is the first with pictures, covers included. OpenCV reads that.
        streams: number of streams of moving pictures.
        skipped: number of packets before the first key frame, which nobody can decode.
        packets: number of frames behind those, as packets or a header count them; 0 for
            unknown.
        fps: frames per second according to the header; 0 for unknown.
        codec: name of the codec in four characters; "" for unknown.
        times: presentation times of the packets, seconds from the first, rising; empty for
            unknown.
        packet_bytes: size of a typical packet, bytes; 0 for unknown.
        whole: number of packets, hidden ones included, that the file's end cannot have cut.
            A recording that announces no length may end in the middle of a picture.
    """

    container: str
    index: int | None
    is_first: bool
    streams: int
    skipped: int
    packets: int
    fps: float
    codec: str
    times: Sequence[float] = ()
    packet_bytes: int = 0
    whole: int = 0


@dataclass(frozen=True)
class Segment:
    """The part of a film that a clip is: all frames with start <= time < end.

    Attributes:
        start: seconds from the first frame of the film.
        end: seconds from the first frame of the film.
    """

    start: float = 0.0
    end: float = np.inf

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole film."""
        return self.start <= 0 and self.end == np.inf

    def is_over(self, time: float) -> bool:
        """Return whether a frame shown at this time lies behind the segment."""
        return time >= self.end - TOLERANCE

    def check(self) -> None:
        """Refuse a segment that no film can have.

        Raises:
            BadSegment: it is reversed, empty, or begins before the film.
        """
        if not np.isfinite(self.start) or np.isnan(self.end):
            raise BadSegment(f"start={self.start:g} and end={self.end:g} are no times")
        if self.start < 0:
            raise BadSegment(
                f"start={self.start:g} lies before the film, expected 0 or more"
            )
        if self.end <= self.start:
            raise BadSegment(f"start={self.start:g} is not before end={self.end:g}")

    def range_in(self, times: np.ndarray, film_end: float) -> tuple[int, int]:
        """Return the numbers of the first frame inside and of the first one after it.

        Args:
            times: presentation times from the film's first frame, rising, seconds. Frames
                after the segment may be missing.
            film_end: end of the film's last frame, seconds; infinity for unknown.

        Raises:
            BadSegment: no frame lies inside, or the segment ends far behind the film.
        """
        first, stop = np.searchsorted(
            times, [self.start - TOLERANCE, self.end - TOLERANCE]
        ).tolist()
        film = f"the film has 0 to {film_end:.3f} s"
        if self.start >= film_end - TOLERANCE and first == len(times):
            raise BadSegment(f"start={self.start:g} lies behind the film: {film}")
        if np.isfinite(self.end) and self.end > film_end + _ROUNDED_UP:
            raise BadSegment(f"end={self.end:g} lies behind the film: {film}")
        if first == stop and len(times):
            end = f"end={self.end:g}" if np.isfinite(self.end) else "the film's end"
            raise BadSegment(f"no frame lies between start={self.start:g} and {end}")
        return first, stop


def film_end(times: np.ndarray, fps: float) -> float:
    """Return when the last of a film's frames ends, as far as their times tell, seconds."""
    if len(times) > 1:
        return float(times[-1] + np.median(np.diff(times)))
    return float(times[-1] + (1 / fps if fps else 0.0)) if len(times) else 0.0


def clip_rate(times: np.ndarray, fps: float) -> float:
    """Return the frames per second of a clip: its file's, unless its frames say otherwise.

    The file's rate stays where it gives the clip's length within half a frame. Elsewhere it
    is nominal, or an average over the whole film.

    Args:
        times: presentation times of the clip's frames, seconds; empty for unknown.
        fps: frames per second according to the header; 0 for unknown.
    """
    span = film_end(times, 0.0) - float(times[0]) if len(times) > 1 else 0.0
    if not span > 0 or (fps and abs(len(times) - span * fps) <= 0.5):
        return fps
    return len(times) / span
