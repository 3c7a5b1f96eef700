"""What model, data and scores hand to each other: types only."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, UInt8

Head = Callable[[Float[Array, "... width"]], Float[Array, "... vocab"]]


Hidden = Float[Array, "clip way time width"]


# A third result, the mean embedding of each clip's frames, feeds the blind baselines.
Forward = Callable[[Any, Any], tuple[Hidden, Head] | tuple[Hidden, Head, Array]]


OWN_ARGMAX = -1  # as a target: the row's own most likely token


class Prompt(NamedTuple):
    """Token ids around the video.

    Attributes:
        before: ids ahead of the video.
        after: ids behind it, the answer's not included.
        answer: ids of the answer, end of turn not included.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    answer: tuple[int, ...]


class Batch(NamedTuple):
    """Clips of fixed shape. A user's own forward may read any further fields.

    Attributes:
        pixels: uint8 frames in natural order.
        tokens: the text's ids with a gap of zeros where the video goes.
        start: position of the first video embedding.
        rows: positions whose next-token distribution is scored; video rows first.
        targets: token each row should predict, or `OWN_ARGMAX`.
        masks: which rows belong to each slice; padding belongs to none.
        order: which frame way 1 shows at each place; natural order counts from 0.
        mirror: for a video row, the row at which way 1 shows the same part of the same
            frame; any other row, and one whose frame way 1 lacks, points at itself.
        averaged: rows whose distributions the published sequence score averages: the
            video's and the one behind it; used with `--definition published` only.
    """

    pixels: UInt8[Array, "clip frame height width 3"]
    tokens: Int[Array, "clip time"]
    start: Int[Array, "clip"]
    rows: Int[Array, "clip row"]
    targets: Int[Array, "clip row"]
    masks: Bool[Array, "clip slice row"]
    order: Int[Array, "clip frame"]
    mirror: Int[Array, "clip row"]
    averaged: Bool[Array, "clip row"]
