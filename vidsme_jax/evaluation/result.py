"""The types of an evaluation's result: frozen values, None where something is missing."""

from dataclasses import dataclass, field
from typing import Any

from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.signatures import Signature
from vidsme_jax.evaluation.study import Study
from vidsme_jax.evaluation.values import ClassCounts, Estimate, RowCounts, Significance


@dataclass(frozen=True)
class PublishedMetrics:
    """Metrics as the published code computes them, `stats.metrics.published_metrics`.

    Attributes:
        auc: area under the ROC.
        accuracy: balanced accuracy at the best threshold.
        tpr_below_5: true positive rate at a false positive rate strictly below 5 %.
    """

    auc: float | None
    accuracy: float | None
    tpr_below_5: float | None


@dataclass(frozen=True)
class CalibratedAuc:
    """The AUC of a score that is calibrated by the control's.

    Attributes:
        auc: area under the ROC.
        counts: number of rows that have a value; None where the score has no order.
        reason: why there is no AUC, or None.
    """

    auc: Estimate
    counts: ClassCounts | None
    reason: str | None


@dataclass(frozen=True)
class CalibratedAucs:
    """The AUCs of the primary score after calibration by the control's.

    Attributes:
        difference: of the score less the control's.
        ratio: of the ratio of the score to the control's.
    """

    difference: CalibratedAuc
    ratio: CalibratedAuc


@dataclass(frozen=True)
class ControlMetrics:
    """Metrics of a score under the control, on the clips that both models scored.

    Attributes:
        auc: AUC under the control.
        target_auc: AUC under the target on the same clips.
        difference: AUC of the target minus that of the control, on the same resamples.
        counts: number of rows with a value under both models.
        reason: why there is no AUC, or None.
        p_value: p-value under the control; for the primary score alone.
        calibrated: AUCs after calibration; for the primary score alone.
    """

    auc: Estimate
    target_auc: float | None
    difference: Estimate
    counts: ClassCounts
    reason: str | None
    p_value: float | None = None
    calibrated: CalibratedAucs | None = None


@dataclass(frozen=True)
class PrivacyBounds:
    """Lower bounds on epsilon: no training that is (epsilon, delta)-private fits below.

    Attributes:
        delta: delta of the claim.
        one_run: bound for clips that were members by a fair coin each, in one training.
        independent: bound for clips whose scores do not depend on each other.
    """

    delta: float
    one_run: float
    independent: float


@dataclass(frozen=True)
class ScoreMetrics:
    """How well a column of numbers separates members from non-members.

    Attributes:
        auc: area under the ROC.
        average_precision: area under the steps of precision over recall.
        best_balanced_accuracy: balanced accuracy at the best threshold on these clips.
        fpr_at_95_tpr: the smallest FPR with a TPR of at least 95 %.
        tpr: the largest TPR, by false positive rate.
        counts: number of rows that have a value.
        reason: why there are no metrics, or None.
        published: metrics as the published code computes them; None if not requested.
        significance: p-values of a score; None for a column that was not tested.
        over_primary: AUC less that of the primary score, on the same resamples.
        control: metrics of the same score under the control; None without a control.
        privacy: what the score shows of the training's privacy; the primary score's only.
    """

    auc: Estimate
    average_precision: Estimate
    best_balanced_accuracy: Estimate
    fpr_at_95_tpr: Estimate
    tpr: dict[float, Estimate]
    counts: ClassCounts
    reason: str | None
    published: PublishedMetrics | None = None
    significance: Significance | None = None
    over_primary: Estimate | None = None
    control: ControlMetrics | None = None
    privacy: PrivacyBounds | None = None

    @property
    def advantage(self) -> Estimate:
        """Return TPR - FPR at the best threshold."""
        accuracy = self.best_balanced_accuracy
        ends = (accuracy.value, accuracy.low, accuracy.high)
        return Estimate(*(None if end is None else 2 * end - 1 for end in ends))


@dataclass(frozen=True)
class SearchResult:
    """The AUC of the score that is best on half of the groups, on both halves.

    Attributes:
        scores: number of scores to choose from.
        splits: number of random splits into halves.
        chosen: name of the score that was chosen most often.
        chosen_share: share of the splits in which that score was chosen.
        auc_seen: mean AUC of the chosen scores on the half they were chosen on.
        auc_held_out: mean AUC on the other half; nine of ten splits are in its interval.
        optimism: mean AUC on the first half less that on the other.
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
        auc: AUC of the baseline.
        significance: p-values, plain and corrected for the number of baselines.
        difference: AUC of the primary score less this AUC; None without a score.
    """

    auc: Estimate
    significance: Significance
    difference: Estimate | None


@dataclass(frozen=True)
class BlindResult:
    """The metrics of the blind baselines.

    Attributes:
        rows: number of rows that were used.
        reason: why there are no baselines, or None.
        baselines: metrics by name of the baseline.
    """

    rows: int
    reason: str | None
    baselines: dict[str, BlindMetrics]


@dataclass(frozen=True)
class SetSize:
    """The numbers of rows and of groups of a set of clips."""

    rows: int
    groups: int


@dataclass(frozen=True)
class CallLimit:
    """A limit of the score beyond which clips are called members.

    Attributes:
        score: the limit, as in the table; None where the reference is too small.
        flagged: number of judged clips beyond the limit.
        groups: number of reference groups that the limit needs.
    """

    score: float | None
    flagged: int
    groups: int


@dataclass(frozen=True)
class CallLimits:
    """Limits that hold a false positive rate.

    Attributes:
        average: limit that holds it on average over references.
        sure: limit that holds it for this reference, at the confidence of the intervals.
    """

    average: CallLimit
    sure: CallLimit


@dataclass(frozen=True)
class SetTest:
    """The test whether all judged clips together score higher than the reference.

    Attributes:
        auc: AUC of judged clips against the reference.
        p_value: permutation p-value of that AUC.
    """

    auc: Estimate
    p_value: float | None


@dataclass(frozen=True)
class ClipVerdict:
    """How rare a clip's score is among clips that are outside.

    Attributes:
        p_value: conformal p-value.
        q_value: p-value corrected for the number of clips.
    """

    p_value: float | None = None
    q_value: float | None = None


@dataclass(frozen=True)
class NoVerdict:
    """The reason why no clip was judged.

    Attributes:
        reason: why.
        judged: number of clips that were to be judged.
        needs_reference: whether clips that are known to be outside are missing.
    """

    reason: str
    judged: SetSize
    needs_reference: bool = False


@dataclass(frozen=True)
class Verdict:
    """What the primary score says of clips whose use is unknown.

    Attributes:
        score: name of the primary score.
        higher_is_member: whether members have higher scores.
        reference: size of the set of clips that are known to be outside.
        judged: number of clips that have a p-value, and of their groups.
        dropped: number of reference rows left out, since their group is judged.
        smallest_p: the smallest p-value that this reference allows.
        limits: limits by false positive rate.
        discoveries: number of clips called, by the share of calls that may be wrong.
        whole_set: test of all judged clips together.
        member_share: least share of members that explains the judged clips' scores.
        baselines: blind baselines of judged clips against the reference.
        clips: verdict by clip id.
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
    member_share: Estimate
    baselines: BlindResult
    clips: dict[str, ClipVerdict]


@dataclass(frozen=True)
class ClipControl:
    """A clip's score under the control, and the target's score calibrated by it.

    Attributes:
        score: the control's score, as in the table.
        difference: the target's score less the control's, higher = member.
        ratio: ratio of the target's score to the control's, higher = member.
    """

    score: float | None = None
    difference: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class ClipResult:
    """The primary score of a clip.

    Attributes:
        id: id of the clip.
        group: group of the clip.
        label: 1, 0, or None where unknown.
        value: the primary score, as in the table.
        control: the control's score; None without a control.
        verdict: verdict on the clip; None where no clip was judged, and without values
            for a clip that was not judged.
    """

    id: str
    group: str
    label: int | None
    value: float | None
    control: ClipControl | None
    verdict: ClipVerdict | None


@dataclass(frozen=True)
class RunComparison:
    """The primary score's AUC against that of the first run, on the rows of both.

    Attributes:
        first_auc: AUC of the first run.
        auc: AUC of this run.
        difference: AUC of this run less that of the first, on the same resamples.
        counts: number of rows with a value in both.
    """

    first_auc: float | None
    auc: float | None
    difference: Estimate
    counts: ClassCounts


@dataclass(frozen=True)
class FrameResult:
    """The result of a run at a frame count.

    Attributes:
        frames: number of frames per clip; 0 for scores from elsewhere.
        counts: numbers of rows and groups by label and status.
        primary: name of the primary score; None where the run lacks it.
        scores: metrics by name of the score.
        search: the best score chosen on half of the groups; None where none was chosen.
        numbers: metrics of numbers that need no model, by name.
        baselines: metrics of classifiers that do not ask the model.
        subsets: metrics of the primary score by column and by subset of the clips.
        verdict: verdict on clips whose use is unknown; None where there are none.
        clips: clips with status ok, the most member-like first.
        signatures: signs by which the method is known to fail.
        versus_first: comparison with the first run and frame count; None for that one.
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
    """The result of a run.

    Attributes:
        name: name of the run, different for all runs.
        path: directory or table of the run.
        perturbation: the frame order that the natural order was compared with.
        info: content of run.json.
        frames: results by frame count, upwards.
    """

    name: str
    path: str
    perturbation: str
    info: dict[str, Any]
    frames: tuple[FrameResult, ...]


@dataclass(frozen=True)
class Result:
    """The result of an evaluation.

    Attributes:
        settings: settings of the evaluation.
        control: name of the control run, or None.
        control_differs: settings with which the control was scored otherwise, as text.
        reference: name of the run whose clips are known to be outside, or None.
        runs: results of the runs, in the order of the call.
        study: the evaluated rows, for figures and clips.
    """

    settings: EvaluationSettings
    control: str | None
    control_differs: str
    reference: str | None
    runs: tuple[RunResult, ...]
    study: Study = field(repr=False, compare=False)
