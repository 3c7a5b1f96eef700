"""The types that pass between models, data and scores: batches, prompts, forwards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, UInt8

Head = Callable[[Float[Array, "... width"]], Float[Array, "... vocab"]]
Hidden = Float[Array, "clip way time width"]
# A third result, the mean embedding of each clip's frames, feeds the blind baselines.
Forward = Callable[[Any, Any], tuple[Hidden, Head] | tuple[Hidden, Head, Array]]

OWN_ARGMAX = -1  # a target: the row's own most likely token
TEXT = -1  # a source: no embedding of the video stands here
NATURAL, OTHER = 0, 1  # ways: frames in natural order, and reversed or perturbed


@dataclass(frozen=True)
class VideoShape:
    """How the frames of a clip stand in the decoder's sequence.

    Attributes:
        frames: number of frames of the clip.
        unit: number of frames that the tower encodes together, apart from all others.
        tokens_per_unit: number of embeddings of a unit.
        tail: number of embeddings after the last unit.
    """

    frames: int
    unit: int
    tokens_per_unit: int
    tail: int

    @property
    def units(self) -> int:
        """Return the number of units of the clip."""
        return self.frames // self.unit

    @property
    def length(self) -> int:
        """Return the number of embeddings of the clip."""
        return self.units * self.tokens_per_unit + self.tail


class Prompt(NamedTuple):
    """Token ids around the video.

    Attributes:
        before: ids ahead of the video.
        after: ids that follow the video, without those of the answer.
        answer: ids of the answer, without the end of turn.
        gaps: ids between one unit of the video and the next, one tuple a gap; empty for
            models whose units follow each other.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    answer: tuple[int, ...]
    gaps: tuple[tuple[int, ...], ...] = ()


class Batch(NamedTuple):
    """Clips of fixed shape, as a forward takes them.

    A user's own forward may take a batch with further fields.

    Attributes:
        pixels: uint8 frames in natural order.
        tokens: token ids of the text, zeros where the video goes.
        source: number of the video embedding that stands at each position, counted
            through the clip; `TEXT` where there is none.
        positions: rotary position of each token, along each axis that the model has.
        rows: positions whose next-token distribution is scored; video rows first.
        targets: token id that each row should predict, or `OWN_ARGMAX`.
        masks: which rows are in each slice; padding is in none.
        order: index of the frame that way `OTHER` shows at each place, counted from 0 in
            natural order.
        mirror: for a video row, the row at which way `OTHER` shows the same piece of the
            same frame. Any other row points at itself, and so does a row whose frame that
            way lacks.
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
