"""The types of failure signatures: numbers only, no sentences."""

from dataclasses import dataclass
from typing import Literal

from vidsme_jax.evaluation.values import Estimate


@dataclass(frozen=True)
class OneFrame:
    """Clips of a single frame, which has no order: no signature can be looked for."""


@dataclass(frozen=True)
class NoSignature:
    """No signature was found.

    Attributes:
        slice: name of the slice.
        unchecked: number of the three signatures that could not be looked for.
    """

    slice: str
    unchecked: int


@dataclass(frozen=True)
class UncheckedSign:
    """A signature that could not be looked for.

    Attributes:
        sign: which signature; all, where the table lacks the reversal score.
        missing: names of columns, or of scores with an AUC, that would be needed; empty
            where no row has a value.
        groups: number of member groups that have a value of the missing score, if these
            are too few.
    """

    sign: Literal["flat", "inverted", "still", "all"]
    missing: tuple[str, ...] = ()
    groups: int | None = None


@dataclass(frozen=True)
class FlatDifference:
    """Natural and other order give almost the same entropy in many clips.

    Attributes:
        slice: name of the slice.
        flat: number of clips in which the order changes almost nothing.
        clips: number of clips with a value.
        without_value: number of clips without a value.
        not_moving: number of flat clips without motion.
        moving: number of flat clips with motion.
        motion_unknown: number of flat clips whose motion is unknown.
        strong: whether more than half of the clips are flat.
        share: share of the mean entropy up to which a difference is flat.
        motion_below: motion below which a clip does not move, square pixels.
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
    """The model is more certain of members in the other order.

    Attributes:
        score: name of the reversal score of the slice.
        mean: mean of the score over members, as in the table; its interval is above 0.
        members: number of member rows that have a value.
        groups: number of groups of those rows.
    """

    score: str
    mean: Estimate
    members: int
    groups: int


@dataclass(frozen=True)
class InvertedAuc:
    """The reversal score separates in the wrong direction.

    Attributes:
        score: name of the reversal score.
        auc: its AUC; the interval lies below one half.
    """

    score: str
    auc: Estimate


@dataclass(frozen=True)
class ScoreAucs:
    """The AUC of a score under the target and under the control, None without one."""

    target: Estimate
    control: Estimate | None


@dataclass(frozen=True)
class StillImages:
    """Scores that need no order separate where the reversal score does not.

    Attributes:
        score: name of the reversal score of the slice.
        above: names of still-image scores whose AUC lies above one half.
        looked_at: AUCs of the reversal score and of all still-image scores, by name.
    """

    score: str
    above: tuple[str, ...]
    looked_at: dict[str, ScoreAucs]


Signature = (
    OneFrame
    | NoSignature
    | UncheckedSign
    | FlatDifference
    | InvertedMean
    | InvertedAuc
    | StillImages
)
