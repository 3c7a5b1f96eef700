"""Say where a clip comes from: a file, a part of one, or a folder of frames."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class VideoFile:
    """A file or a folder of frames, with what a manifest says about its times.

    A plain path stands for a file of which all frames are used.

    Attributes:
        path: path of a video, of an image, or of a folder of images.
        start: start of the segment, seconds from the first frame; None for the start.
        end: end of the segment, seconds, itself left out; None for the end.
        fps: frames per second of a folder of images; None for unknown.
    """

    path: Path
    start: float | None = None
    end: float | None = None
    fps: float | None = None

    @property
    def fragment(self) -> str:
        """Segment and rate in the form of a media fragment; "" for neither."""
        times = ["" if t is None else f"{t:.12g}" for t in (self.start, self.end)]
        parts = [f"t={','.join(times).rstrip(',')}"] if any(times) else []
        parts += [] if self.fps is None else [f"fps={self.fps:.12g}"]
        return f"#{'&'.join(parts)}" if parts else ""

    def __str__(self) -> str:
        return f"{self.path}{self.fragment}"
