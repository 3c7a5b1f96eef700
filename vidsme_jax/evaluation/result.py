"""The result of an evaluation: frozen values, read by name; None where there is none."""

from dataclasses import dataclass, field
from typing import Any

from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.signatures import Signature
from vidsme_jax.evaluation.study import Study
from vidsme_jax.evaluation.values import ClassCounts, Estimate, RowCounts, Significance


@dataclass(frozen=True)
class PublishedMetrics:
    """Metrics by the published code's rules, see `stats.metrics.published_metrics`."""

    auc: float | None
    accuracy: float | None
    tpr_below_5: float | None


@dataclass(frozen=True)
class CalibratedAuc:
    """The AUC of a score that was set against the control's, or the reason for none."""

    auc: Estimate
    counts: ClassCounts | None
    reason: str | None


@dataclass(frozen=True)
class CalibratedAucs:
    """The primary score less the control's, and its ratio to the control's."""

    difference: CalibratedAuc
    ratio: CalibratedAuc


@dataclass(frozen=True)
class ControlMetrics:
    """How the control does, on the clips that both models scored.

    Attributes:
        auc: the control's.
        target_auc: the target's on the same clips.
        difference: target minus control, on the same resamples.
        counts: rows with a value of both.
        reason: why there is no AUC, or None.
        p_value: the control's, of the primary score alone.
        calibrated: of the primary score alone.
    """

    auc: Estimate
    target_auc: float | None
    difference: Estimate
    counts: ClassCounts
    reason: str | None
    p_value: float | None = None
    calibrated: CalibratedAucs | None = None


@dataclass(frozen=True)
class ScoreMetrics:
    """How well a column of numbers separates members from non-members.

    Attributes:
        auc: area under the ROC.
        average_precision: area under the steps of precision over recall.
        best_balanced_accuracy: at the threshold that is best on these very clips.
        fpr_at_95_tpr: the smallest FPR with a TPR of 95 %.
        advantage: TPR - FPR at the best threshold.
        tpr: the largest TPR, by false positive rate.
        counts: rows that have a value.
        reason: why there are no metrics, or None.
        published: by the published code's rules, where wanted.
        significance: of a score; None for what was not tested.
        over_primary: AUC less that of the primary score, on the same resamples.
        control: the same score under the control; None without one.
    """

    auc: Estimate
    average_precision: Estimate
    best_balanced_accuracy: Estimate
    fpr_at_95_tpr: Estimate
    advantage: Estimate
    tpr: dict[float, Estimate]
    counts: ClassCounts
    reason: str | None
    published: PublishedMetrics | None = None
    significance: Significance | None = None
    over_primary: Estimate | None = None
    control: ControlMetrics | None = None


@dataclass(frozen=True)
class SearchResult:
    """What the score that is best on half of the groups reaches on the other half.

    Attributes:
        scores: how many there are to choose from.
        splits: random halves.
        chosen: the score that was chosen most often.
        chosen_share: of the splits, in which it was.
        auc_seen: mean AUC of the chosen scores on the half they were chosen on.
        auc_held_out: mean on the other half; its ends hold nine of ten splits.
        optimism: the first less the second.
    """

    scores: int
    splits: int
    chosen: str
    chosen_share: float
    auc_seen: float
    auc_held_out: Estimate
    optimism: float


@dataclass(frozen=True)
class BlindMetrics:
    """How well a baseline that does not ask the model tells members apart.

    Attributes:
        auc: of the baseline.
        significance: p-values, corrected for the number of baselines.
        difference: the primary score's AUC less this one; None without a score.
    """

    auc: Estimate
    significance: Significance
    difference: Estimate | None


@dataclass(frozen=True)
class BlindResult:
    """The blind baselines by name, the rows looked at, or the reason for none."""

    rows: int
    reason: str | None
    baselines: dict[str, BlindMetrics]


@dataclass(frozen=True)
class SetSize:
    """How many rows and groups a set of clips has."""

    rows: int
    groups: int


@dataclass(frozen=True)
class CallLimit:
    """A score beyond which clips are called members.

    Attributes:
        score: as in the table; None where the reference is too small.
        flagged: judged clips beyond it.
        groups: groups of the reference that it needs.
    """

    score: float | None
    flagged: int
    groups: int


@dataclass(frozen=True)
class CallLimits:
    """Limits that hold a false positive rate on average, and for this very reference."""

    average: CallLimit
    sure: CallLimit


@dataclass(frozen=True)
class SetTest:
    """Whether the judged clips as a whole score higher than the reference."""

    auc: Estimate
    p_value: float | None


@dataclass(frozen=True)
class ClipVerdict:
    """How rare a clip's score is outside; corrected for the number of clips as q-value."""

    p_value: float | None = None
    q_value: float | None = None


@dataclass(frozen=True)
class NoVerdict:
    """Clips that were to be judged, and why they were not."""

    reason: str
    judged: SetSize


@dataclass(frozen=True)
class Verdict:
    """What the primary score says of clips whose use is unknown.

    Attributes:
        score: its name.
        higher_is_member: on which side of a limit members are.
        reference: clips that are known to be outside.
        judged: clips that have a p-value.
        dropped: rows of the reference that a judged group has, left out.
        smallest_p: below which no p-value can be.
        limits: by false positive rate.
        discoveries: clips called, by the share of calls that may be wrong.
        whole_set: all judged clips together.
        baselines: can a judged clip be told from the reference without the model?
        clips: by id.
    """

    score: str
    higher_is_member: bool
    reference: SetSize
    judged: SetSize
    dropped: int
    smallest_p: float
    limits: dict[float, CallLimits]
    discoveries: dict[float, int]
    whole_set: SetTest
    baselines: BlindResult
    clips: dict[str, ClipVerdict]


@dataclass(frozen=True)
class ClipControl:
    """A clip's score under the control, and the target's less it and in ratio to it."""

    score: float | None = None
    difference: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class ClipResult:
    """The primary score of a clip.

    Attributes:
        id: of the clip.
        group: of the clip.
        label: 1, 0, or None where unknown.
        value: as in the table.
        control: None without a control.
        verdict: None where no clip was judged; empty for a clip that was not.
    """

    id: str
    group: str
    label: int | None
    value: float | None
    control: ClipControl | None
    verdict: ClipVerdict | None


@dataclass(frozen=True)
class RunComparison:
    """The primary score of a run less that of the first, on the rows that both have."""

    first_auc: float | None
    auc: float | None
    difference: Estimate
    counts: ClassCounts


@dataclass(frozen=True)
class FrameResult:
    """What was measured of a run at one frame count.

    Attributes:
        frames: frames per clip; 0 for scores from elsewhere.
        counts: of the rows.
        primary: name of the score that answers; None where the run lacks it.
        scores: every score by its name.
        search: what comes of choosing among the scores; None where nothing was chosen.
        numbers: of the clips alone, without a model.
        baselines: classifiers that do not ask the model.
        subsets: the primary score by column and by part of the clips.
        verdict: on clips of unknown use; None where there are none.
        clips: those with status ok, the most member-like first.
        signatures: signs by which the method is known to fail.
        versus_first: against the first run and frame count; None for that one.
    """

    frames: int
    counts: RowCounts
    primary: str | None
    scores: dict[str, ScoreMetrics]
    search: SearchResult | None
    numbers: dict[str, ScoreMetrics]
    baselines: BlindResult
    subsets: dict[str, dict[str, ScoreMetrics]]
    verdict: Verdict | NoVerdict | None
    clips: tuple[ClipResult, ...]
    signatures: tuple[Signature, ...]
    versus_first: RunComparison | None


@dataclass(frozen=True)
class RunResult:
    """What was measured of a run.

    Attributes:
        name: tells it from the other runs.
        path: where it lies.
        perturbation: the frame order that the natural one was compared with.
        info: run.json as it was read.
        frames: one result for each frame count, upwards.
    """

    name: str
    path: str
    perturbation: str
    info: dict[str, Any]
    frames: tuple[FrameResult, ...]


@dataclass(frozen=True)
class Result:
    """What was measured of all runs.

    Attributes:
        settings: how they were evaluated.
        control: name of the control run, or None.
        control_differs: in what the control was scored otherwise; empty if in nothing.
        reference: name of the run whose clips are known to be outside, or None.
        runs: in the order in which they came.
        study: the rows that it was measured on, for figures and clips.
    """

    settings: EvaluationSettings
    control: str | None
    control_differs: str
    reference: str | None
    runs: tuple[RunResult, ...]
    study: Study = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return metrics.json without its sentences, see `result_json`."""
        from vidsme_jax.evaluation.result_json import result_json  # it reads this module

        return result_json(self)
