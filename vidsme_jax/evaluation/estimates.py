"""Estimate the metrics of scores with an interval for each.

Higher always means member here: `samples.py` negates scores whose members are low. NaN
rows are left out. Rows of a cluster (a video) are never counted as independent.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.stats.intervals import auc_interval, effective_clusters, percentile
from vidsme_jax.stats.metrics import RECALL, LabelledScores, Metrics, measure
from vidsme_jax.stats.rates import tpr_interval
from vidsme_jax.stats.resampling import (
    ResampledMetrics,
    bootstrap_weights,
    resampled_metrics,
)


@dataclass(frozen=True)
class MetricEstimates:
    """Metrics of some scores with their intervals.

    Attributes:
        metrics: measured values.
        low: lower ends of their intervals.
        high: upper ends of their intervals.
        members: number of member rows that have a value.
        non_members: number of non-member rows that have a value.
        clusters: effective number of clusters of members, and of non-members.
        draws: AUC of every resample.
    """

    metrics: Metrics
    low: Metrics
    high: Metrics
    members: Int[np.ndarray, "score"]
    non_members: Int[np.ndarray, "score"]
    clusters: tuple[Float[np.ndarray, "score"], Float[np.ndarray, "score"]]
    draws: Float[np.ndarray, "score resample"]

    def clusters_of(self, n: int) -> tuple[float, float]:
        """Return the effective number of clusters of each class for score number n."""
        members, non_members = self.clusters
        return float(members[n]), float(non_members[n])


def estimate_metrics(rows: LabelledScores, settings: EvaluationSettings) -> MetricEstimates:
    """Return the metrics of each score and their intervals.

    The interval of the AUC is `intervals.auc_interval`. Those of rates are
    `rates.tpr_interval`; the FPR at a TPR is the same question with the classes exchanged.
    All others are percentiles of resamples of whole clusters.
    """
    scores, member, cluster = rows
    metrics = measure(scores, member, settings.fprs, settings.rule)
    weights = bootstrap_weights(member, cluster, settings.bootstrap, settings.seed)
    parts = [draws for _, draws in resampled_metrics(scores, member, weights)]
    draws = ResampledMetrics(*map(np.concatenate, zip(*parts, strict=True)))
    clusters, confidence = effective_clusters(rows), settings.confidence
    exchanged = LabelledScores(-scores, ~member, cluster)
    tnr = tpr_interval(exchanged, (1 - RECALL,), confidence)
    ends = {
        "auc": auc_interval(rows, metrics.auc, confidence),
        "average_precision": percentile(draws.average_precision, confidence, *clusters),
        "balanced_accuracy": percentile(draws.balanced_accuracy, confidence, *clusters),
        "fpr_at_recall": tuple(1 - side[:, 0] for side in tnr[::-1]),
        "tpr": tpr_interval(rows, settings.fprs, confidence),
    }
    low, high = (Metrics(**{name: pair[n] for name, pair in ends.items()}) for n in (0, 1))
    has_value = ~np.isnan(scores)
    members, others = (np.sum(has_value & side, axis=1) for side in (member, ~member))
    return MetricEstimates(metrics, low, high, members, others, clusters, draws.auc)


def float_or_none(value) -> float | None:
    """Return a number as a float of Python; None for NaN."""
    return None if np.isnan(value) else float(value)


def as_estimate(value, low, high) -> Estimate:
    """Return an estimate of a number and the ends of its interval; None for NaN."""
    return Estimate(float_or_none(value), float_or_none(low), float_or_none(high))


def auc_difference(
    point: float,
    draws: Float[np.ndarray, "resample"],
    clusters: tuple[float, float],
    settings: EvaluationSettings,
) -> Estimate:
    """Return the estimate of a difference of two AUCs.

    Args:
        point: the measured difference.
        draws: the difference in each resample, of both AUCs in the same resamples.
        clusters: effective number of clusters of members, and of non-members.
        settings: settings of the evaluation.
    """
    counts = (np.array([count]) for count in clusters)
    low, high = percentile(draws[None], settings.confidence, *counts)
    return as_estimate(point, low[0], high[0])
