"""Estimate the metrics of scores with an interval for each.

Higher always means member here: `samples.py` negates scores whose members are low. NaN
rows are left out. Rows of a cluster (a video) are never counted as independent: the
bootstrap draws whole clusters.
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

_EXTREME = 0.48  # distance of an AUC from one half beyond which few resamples differ
_FEW = 10  # rates that rest on fewer rows have an interval from counts


@dataclass(frozen=True)
class MetricEstimates:
    """Metrics of some scores with their intervals.

    Attributes:
        metrics: measured values.
        low: lower ends of their intervals.
        high: upper ends of their intervals.
        members: number of member rows that have a value.
        non_members: number of non-member rows that have a value.
        draws: AUC of every resample.
    """

    metrics: Metrics
    low: Metrics
    high: Metrics
    members: Int[np.ndarray, "score"]
    non_members: Int[np.ndarray, "score"]
    draws: Float[np.ndarray, "score resample"]


def estimate_metrics(rows: LabelledScores, settings: EvaluationSettings) -> MetricEstimates:
    """Return the metrics of each score and their intervals.

    The interval of the AUC is BCa; above 0.98 and below 0.02 it is
    `intervals.rank_interval`. A true positive rate that rests on fewer than 10 clusters of
    a kind has Clopper and Pearson's, with the threshold of these non-members as fixed. All
    others are percentiles.
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
    """Return for each score how many clusters of each class have a value, members first."""
    has_value = ~np.isnan(rows.scores)
    return [
        np.sum(
            sum_by_cluster(has_value[:, side].astype(int), rows.cluster[side]) > 0, axis=1
        )
        for side in (rows.member, ~rows.member)
    ]


def _auc_ends(rows: LabelledScores, point, draws, counts, confidence) -> Ends:
    """Return the ends of the intervals of AUCs."""
    usual = bca(draws, point, auc_acceleration(rows), confidence)
    ranks = rank_interval(point, counts[0], counts[1], confidence)
    is_extreme = (usual[0] == usual[1]) | (np.abs(point - 0.5) > _EXTREME)
    return tuple(np.where(is_extreme, b, a) for a, b in zip(usual, ranks, strict=True))  # type: ignore[return-value]


def _tpr_ends(point, draws, counts, settings) -> Ends:
    """Return the ends of the intervals of true positive rates."""
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
        rows: rows of a single score.
        fprs: false positive rates.
        settings: resamples, seed, FPR rule and confidence.
    """
    scores, member, cluster = rows
    weights = bootstrap_weights(member, cluster, settings.bootstrap, settings.seed)
    ((_, draws),) = resampled_metrics(scores, member, weights, fprs, settings.rule)
    low, high = percentile(np.moveaxis(draws.tpr, -1, -2), settings.confidence)
    return low[0], high[0]


def float_or_none(value) -> float | None:
    """Return a number as a float of Python; None for NaN."""
    return None if np.isnan(value) else float(value)


def as_estimate(value, low, high) -> Estimate:
    """Return an estimate of a number and the ends of its interval; None for NaN."""
    return Estimate(float_or_none(value), float_or_none(low), float_or_none(high))


def auc_difference(
    point: float, draws: Float[np.ndarray, "resample"], settings: EvaluationSettings
) -> Estimate:
    """Return the estimate of a difference of two AUCs, from its paired resamples."""
    low, high = percentile(draws[None], settings.confidence)
    return as_estimate(point, low[0], high[0])
