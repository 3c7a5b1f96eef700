"""A clip as models take it, what is noted about it, and the request that decides both."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int, UInt8

from vidsme_jax.data.preprocess import FrameGeometry


@dataclass(frozen=True)
class ClipSpec:
    """What to make of every clip.

    Attributes:
        counts: the numbers of frames to sample.
        geometry: the square of pixels that each frame becomes.
        reader: a name of `readers.policy.POLICIES`.
    """

    counts: tuple[int, ...]
    geometry: FrameGeometry
    reader: str = "auto"


@dataclass(frozen=True)
class FrameFacts:
    """What is noted about the frames that are sampled for a frame count.

    Attributes:
        frame_indices: their positions in the clip; a short clip repeats some.
        frame_hash: 16 hex digits that identify their pixels.
        motion: see `motion.flow_variance`, in square pixels.
        illumination: see `motion.illumination`, in gray levels.
    """

    frame_indices: tuple[int, ...]
    frame_hash: str
    motion: float
    illumination: float


@dataclass(frozen=True)
class FileFacts:
    """What is noted about a clip's file; None stands for what is not told.

    Attributes:
        container: mp4, matroska, avi, mpegts, array_record, other.
        codec: its name in four characters.
        frames_total: frames that its reader counted.
        fps: frames per second.
        duration: in seconds.
        width: in pixels.
        height: in pixels.
        file_bytes: size on disk; None for an example of a data set.
    """

    container: str | None = None
    codec: str | None = None
    frames_total: int | None = None
    fps: float | None = None
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    file_bytes: int | None = None


@dataclass(frozen=True)
class ClipFacts:
    """What is noted about a clip, for the score table and for the model's prompt.

    Attributes:
        status: ok, or in one word what is wrong.
        error: what is wrong, in a sentence; None for a good clip.
        reader: who decoded it; None for a bad clip.
        fallback: why the readers before that one were passed over; None for the first.
        file: all unknown for a bad clip.
        appearance: see `appearance.appearance`; None for a bad clip.
        at: what depends on the frame count, by frame count; empty for a bad clip.
    """

    status: str
    error: str | None = None
    reader: str | None = None
    fallback: str | None = None
    file: FileFacts = FileFacts()
    appearance: tuple[float, ...] | None = None
    at: dict[int, FrameFacts] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        """Whether the clip was read and can be scored."""
        return self.status == "ok"


@dataclass(frozen=True)
class PreparedClip:
    """A clip as models take it.

    Attributes:
        frames: the distinct frames that all counts need, as `preprocess` makes them; none
            for a bad clip.
        indices: their positions in the clip, rising.
        facts: what is noted about the clip.
        thumbnail: a strip of frames as JPEG; empty for a bad clip.
    """

    frames: UInt8[np.ndarray, "frame crop crop 3"]
    indices: Int[np.ndarray, "frame"]
    facts: ClipFacts
    thumbnail: bytes

    def sample(self, count: int) -> UInt8[np.ndarray, "count crop crop 3"]:
        """Return the frames of a frame count; zeros for a bad clip."""
        if not len(self.frames):
            return np.zeros((count, *self.frames.shape[1:]), np.uint8)
        positions = self.facts.at[count].frame_indices
        return self.frames[np.searchsorted(self.indices, positions)]


def bad_clip(spec: ClipSpec, status: str, error: str) -> PreparedClip:
    """Return what stands for a clip that could not be read: no frame, and the reason."""
    side = spec.geometry.crop
    facts = ClipFacts(status, " ".join(error.split())[:300])
    frames = np.zeros((0, side, side, 3), np.uint8)
    return PreparedClip(frames, np.zeros(0, np.int64), facts, b"")
