"""Prepared clips: frames as models take them, facts about a clip, and their request."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int, UInt8

from vidsme_jax.data.preprocess import FrameGeometry


@dataclass(frozen=True)
class ClipSpec:
    """The frames and facts to make of every clip.

    Attributes:
        counts: numbers of frames to sample.
        geometry: square of pixels that each frame becomes.
        reader: policy of reading, a name of `readers.policy.POLICIES`.
    """

    counts: tuple[int, ...]
    geometry: FrameGeometry
    reader: str = "auto"


@dataclass(frozen=True)
class FrameFacts:
    """Facts about the frames that are sampled for a frame count.

    Attributes:
        frame_indices: positions of the frames in the clip; a short clip repeats some.
        frame_hash: 16 hex digits that identify the pixels of the frames.
        motion: variance of the optical flow, square pixels; see `motion.flow_variance`.
        illumination: deviation of the mean gray level; see `motion.illumination`.
    """

    frame_indices: tuple[int, ...]
    frame_hash: str
    motion: float
    illumination: float


@dataclass(frozen=True)
class FileFacts:
    """Facts about a clip's file; None where a fact is unknown.

    Attributes:
        container: mp4, matroska, avi, mpegts, images, array_record and so on.
        codec: name of the codec in four characters.
        frames_total: number of frames that the reader counted.
        fps: frames per second.
        duration: length of the clip, seconds.
        width: width of the frames, pixels.
        height: height of the frames, pixels.
        file_bytes: size on disk, bytes; None for a part of a file or of a data set.
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
class Stamp:
    """Size and time by which a changed clip is noticed.

    Attributes:
        bytes: size of the file, or of the files of a folder.
        modified_ns: time of the last change, nanoseconds since 1970.
    """

    bytes: int
    modified_ns: int


@dataclass(frozen=True)
class ClipFacts:
    """Facts about a clip, for the score table and for the model's prompt.

    Attributes:
        status: "ok", or a fault in a word, such as "timeout".
        error: the fault in a sentence; None for a good clip.
        reader: name of the reader that decoded the clip; None for a bad clip.
        fallback: faults of the readers that were tried before; None where there are none.
        file: facts about the file; all None for a bad clip.
        appearance: numbers of `appearance.appearance`; None for a bad clip.
        at: facts about the sampled frames by frame count; empty for a bad clip.
        stamp: size and time of what was read; None where there was no file. Equal clips
            may have other stamps.
    """

    status: str
    error: str | None = None
    reader: str | None = None
    fallback: str | None = None
    file: FileFacts = FileFacts()
    appearance: tuple[float, ...] | None = None
    at: dict[int, FrameFacts] = field(default_factory=dict)
    stamp: Stamp | None = field(default=None, compare=False)

    @property
    def is_ok(self) -> bool:
        """Whether the clip was read and can be scored."""
        return self.status == "ok"


@dataclass(frozen=True)
class PreparedClip:
    """The frames of a clip as models take them, and facts about the clip.

    Attributes:
        frames: distinct frames that all frame counts need, from `preprocess`; empty for a
            bad clip.
        indices: positions of the frames in the clip, rising.
        facts: facts about the clip.
        thumbnail: strip of frames as JPEG; empty for a bad clip.
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
    """Return a clip without frames in place of a clip that could not be read.

    Args:
        spec: request of the clip.
        status: the fault in a word.
        error: the fault in a sentence, of which 300 characters are kept.
    """
    side = spec.geometry.crop
    facts = ClipFacts(status, " ".join(error.split())[:300])
    frames = np.zeros((0, side, side, 3), np.uint8)
    return PreparedClip(frames, np.zeros(0, np.int64), facts, b"")
