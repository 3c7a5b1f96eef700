"""How sure the metrics of scores are: intervals for every one of them.

Higher always means member here: `samples.py` negates scores whose members are low. NaN
rows are left out. Rows of one cluster (one video) are never counted as independent:
bootstrap and permutation move whole clusters.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.stats.intervals import (
    Ends,
    auc_acceleration,
    bca,
    clopper_pearson,
    percentile,
    rank_interval,
)
from vidsme_jax.stats.metrics import (
    LabelledScores,
    Metrics,
    allowed_false,
    measure,
    sum_by_cluster,
)
from vidsme_jax.stats.resampling import bootstrap_weights, resampled_metrics

_EXTREME = 0.48  # of an AUC, from one half: few resamples differ there
_FEW = 10  # counts below which a rate's interval comes from counts


@dataclass(frozen=True)
class MetricEstimates:
    """Metrics of some scores, with intervals, arrays over the scores.

    Attributes:
        metrics: as measured.
        low: lower ends of their intervals.
        high: upper ends.
        members: rows of members that have a value.
        non_members: rows of non-members that have a value.
        draws: the AUC of every resample.
    """

    metrics: Metrics
    low: Metrics
    high: Metrics
    members: Int[np.ndarray, "score"]
    non_members: Int[np.ndarray, "score"]
    draws: Float[np.ndarray, "score resample"]


def estimate_metrics(rows: LabelledScores, settings: EvaluationSettings) -> MetricEstimates:
    """Return the metrics of each score and their intervals.

    The AUC's is BCa, or, above 0.98 and below 0.02, `intervals.rank_interval`. A true
    positive rate that rests on fewer than 10 of any kind has Clopper and Pearson's, for
    the threshold that these very non-members give, with clusters for rows. All others are
    percentiles.
    """
    scores, member, cluster = rows
    metrics = measure(scores, member, settings.fprs, settings.rule)
    weights = bootstrap_weights(member, cluster, settings.bootstrap, settings.seed)
    ends: list[tuple[Metrics, Metrics]] = []
    areas = []
    fprs, rule = settings.fprs, settings.rule
    for chosen, draws in resampled_metrics(scores, member, weights, fprs, rule):
        measured = Metrics(*(values[chosen] for values in metrics))
        ends.append(_ends(rows._replace(scores=scores[chosen]), measured, draws, settings))
        areas.append(draws.auc)
    low, high = (
        Metrics(*(np.concatenate(values) for values in zip(*side, strict=True)))
        for side in zip(*ends, strict=True)
    )
    has_value = ~np.isnan(scores)
    members, others = (np.sum(has_value & side, axis=1) for side in (member, ~member))
    return MetricEstimates(metrics, low, high, members, others, np.concatenate(areas))


def _ends(
    rows: LabelledScores, measured: Metrics, draws: Metrics, settings: EvaluationSettings
) -> tuple[Metrics, Metrics]:
    """Return the lower and upper ends of the intervals of some scores."""
    confidence = settings.confidence
    names = ("average_precision", "balanced_accuracy", "fpr_at_recall")
    ends = {name: percentile(getattr(draws, name), confidence) for name in names}
    counts = _cluster_counts(rows)
    ends["auc"] = _auc_ends(rows, measured.auc, draws.auc, counts, confidence)
    ends["tpr"] = _tpr_ends(measured.tpr, draws.tpr, counts, settings)
    both = ({name: value[n] for name, value in ends.items()} for n in (0, 1))
    return tuple(Metrics(**side) for side in both)  # type: ignore[return-value]


def _cluster_counts(rows: LabelledScores) -> list[Int[np.ndarray, "score"]]:
    """Return how many clusters of members and of non-members have a value of each score."""
    has_value = ~np.isnan(rows.scores)
    return [
        np.sum(
            sum_by_cluster(has_value[:, side].astype(int), rows.cluster[side]) > 0, axis=1
        )
        for side in (rows.member, ~rows.member)
    ]


def _auc_ends(rows: LabelledScores, point, draws, counts, confidence) -> Ends:
    skew = auc_acceleration(rows)
    usual, ranks = (
        bca(draws, point, skew, confidence),
        rank_interval(point, counts[0], counts[1], confidence),
    )
    is_extreme = (usual[0] == usual[1]) | (np.abs(point - 0.5) > _EXTREME)
    return tuple(np.where(is_extreme, b, a) for a, b in zip(usual, ranks, strict=True))  # type: ignore[return-value]


def _tpr_ends(point, draws, counts, settings) -> Ends:
    usual = percentile(np.moveaxis(draws, -1, -2), settings.confidence)
    members, others = (x[:, None].astype(float) for x in counts)
    hits = np.nan_to_num(point) * members
    counted = clopper_pearson(hits, members + 0 * hits, settings.confidence)
    allowed = allowed_false(settings.fprs, others, "<=")
    is_few = np.minimum(np.minimum(hits, members - hits), allowed) < _FEW
    is_few &= ~np.isnan(point)
    return tuple(np.where(is_few, b, a) for a, b in zip(usual, counted, strict=True))  # type: ignore[return-value]


def tpr_band(
    rows: LabelledScores, fprs: tuple[float, ...], settings: EvaluationSettings
) -> tuple[Float[np.ndarray, "fpr"], Float[np.ndarray, "fpr"]]:
    """Return the pointwise bootstrap interval of a score's TPR at each FPR, for a figure.

    Args:
        rows: one score.
        fprs: false positive rates.
        settings: resamples, seed, rule and confidence.
    """
    scores, member, cluster = rows
    weights = bootstrap_weights(member, cluster, settings.bootstrap, settings.seed)
    ((_, draws),) = resampled_metrics(scores, member, weights, fprs, settings.rule)
    low, high = percentile(np.moveaxis(draws.tpr, -1, -2), settings.confidence)
    return low[0], high[0]


def plain(value) -> float | None:
    """Return a number of NumPy as Python's; NaN is None."""
    return None if np.isnan(value) else float(value)


def as_estimate(value, low, high) -> Estimate:
    """Return a number and the ends of its interval as plain numbers."""
    return Estimate(plain(value), plain(low), plain(high))


def difference(
    point: float, draws: Float[np.ndarray, "resample"], settings: EvaluationSettings
) -> Estimate:
    """Return a difference of two AUCs, with the interval of its paired resamples."""
    low, high = percentile(draws[None], settings.confidence)
    return as_estimate(point, low[0], high[0])
