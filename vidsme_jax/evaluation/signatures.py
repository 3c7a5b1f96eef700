"""The failure signatures of a run as values: numbers only, no sentences."""

from dataclasses import dataclass
from typing import Literal

from vidsme_jax.evaluation.values import Estimate


@dataclass(frozen=True)
class OneFrame:
    """One frame has no order, so that nothing could be looked for."""


@dataclass(frozen=True)
class NoSignature:
    """No signature was found on a slice; `unchecked` of the three were not looked for."""

    slice: str
    unchecked: int


@dataclass(frozen=True)
class Unchecked:
    """A signature that could not be looked for.

    Attributes:
        sign: which one; all, where the table lacks the reversal score.
        missing: columns, or scores with an AUC, that would be needed; empty where no row
            has a value.
        groups: groups of members that have a value of the missing score, if those are
            too few.
    """

    sign: Literal["flat", "inverted", "still", "all"]
    missing: tuple[str, ...] = ()
    groups: int | None = None


@dataclass(frozen=True)
class FlatDifference:
    """Natural and other order give almost the same entropy in many clips.

    Attributes:
        slice: looked at.
        flat: clips in which the order changes next to nothing.
        clips: clips with a value.
        without_value: clips without one.
        not_moving: flat clips without motion.
        moving: flat clips with motion.
        motion_unknown: flat clips of unknown motion.
        strong: whether more than half of the clips are flat.
        share: of the mean entropy, up to which a clip is flat.
        motion_below: square pixels, below which a clip does not move.
    """

    slice: str
    flat: int
    clips: int
    without_value: int
    not_moving: int
    moving: int
    motion_unknown: int
    strong: bool
    share: float
    motion_below: float


@dataclass(frozen=True)
class InvertedMean:
    """The other order of members is the more certain one.

    Attributes:
        score: the reversal score of the slice, as in the table.
        mean: over members; its interval lies above 0.
        members: that have a value.
        groups: of those members.
    """

    score: str
    mean: Estimate
    members: int
    groups: int


@dataclass(frozen=True)
class InvertedAuc:
    """The reversal score separates in the wrong direction."""

    score: str
    auc: Estimate


@dataclass(frozen=True)
class ScoreAucs:
    """The AUC of a score, and the control's; None where there is no control."""

    target: Estimate
    control: Estimate | None


@dataclass(frozen=True)
class StillImages:
    """Scores that need no order separate where the reversal score does not.

    Attributes:
        score: the reversal score of the slice.
        above: scores of one order whose AUC lies above one half.
        looked_at: the AUCs of the reversal score and of all scores of one order.
    """

    score: str
    above: tuple[str, ...]
    looked_at: dict[str, ScoreAucs]


Signature = (
    OneFrame
    | NoSignature
    | Unchecked
    | FlatDifference
    | InvertedMean
    | InvertedAuc
    | StillImages
)
