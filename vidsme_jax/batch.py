"""What model, data and scores hand to each other: types only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, UInt8

Head = Callable[[Float[Array, "... width"]], Float[Array, "... vocab"]]
Hidden = Float[Array, "clip way time width"]
# A third result, the mean embedding of each clip's frames, feeds the blind baselines.
Forward = Callable[[Any, Any], tuple[Hidden, Head] | tuple[Hidden, Head, Array]]

OWN_ARGMAX = -1  # as a target: the row's own most likely token
TEXT = -1  # as a source: no embedding of the video stands here
NATURAL, OTHER = 0, 1  # the ways: frames in natural order, and reversed or perturbed


@dataclass(frozen=True)
class VideoShape:
    """How the frames of a clip stand in the decoder's sequence.

    Attributes:
        frames: of the clip.
        unit: frames that the tower encodes together, apart from all others.
        tokens_per_unit: embeddings of a unit.
        tail: embeddings after the last unit.
    """

    frames: int
    unit: int
    tokens_per_unit: int
    tail: int

    @property
    def units(self) -> int:
        """Units of the clip."""
        return self.frames // self.unit

    @property
    def length(self) -> int:
        """Embeddings of the clip."""
        return self.units * self.tokens_per_unit + self.tail


class Prompt(NamedTuple):
    """Token ids around the video.

    Attributes:
        before: ids ahead of the video.
        after: ids that follow the video, the answer's not included.
        answer: ids of the answer, end of turn not included.
        gaps: ids between one unit of the video and the next, one tuple a gap; empty for
            models whose units follow each other.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    answer: tuple[int, ...]
    gaps: tuple[tuple[int, ...], ...] = ()


class Batch(NamedTuple):
    """Clips of fixed shape. A user's own forward may read any further fields.

    Attributes:
        pixels: uint8 frames in natural order.
        tokens: the text's ids, zeros where the video goes.
        source: number of the video embedding that stands at each position, counted
            through the clip; `TEXT` where there is none.
        positions: rotary position of each place, along each axis that the model has.
        rows: positions whose next-token distribution is scored; video rows first.
        targets: token each row should predict, or `OWN_ARGMAX`.
        masks: which rows belong to each slice; padding belongs to none.
        order: which frame way 1 shows at each place; natural order counts from 0.
        mirror: for a video row, the row at which way 1 shows the same part of the same
            frame; any other row, and one whose frame way 1 lacks, points at itself.
    """

    pixels: UInt8[Array, "clip frame height width 3"]
    tokens: Int[Array, "clip time"]
    source: Int[Array, "clip time"]
    positions: Int[Array, "clip axis time"]
    rows: Int[Array, "clip row"]
    targets: Int[Array, "clip row"]
    masks: Bool[Array, "clip slice row"]
    order: Int[Array, "clip frame"]
    mirror: Int[Array, "clip row"]
