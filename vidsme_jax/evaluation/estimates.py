"""What is measured of scores and how sure it is: settings, estimates, tests.

Higher always means member here: `samples.py` turns each score round by its
orientation first. NaN rows are left out. Rows of one unit (one video) are never counted as
independent: bootstrap and permutation move whole units.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.stats.intervals import (
    Ends,
    auc_acceleration,
    bca,
    clopper_pearson,
    percentile,
    rank_interval,
)
from vidsme_jax.stats.metrics import Metrics, allowed_false, measure, sum_by_unit
from vidsme_jax.stats.resampling import bootstrap_weights, resampled

_EXTREME = 0.48  # of an AUC, from one half: few resamples differ there
_FEW = 10  # counts below which a rate's interval comes from counts


@dataclass(frozen=True)
class Estimates:
    """Metrics of some scores, with intervals, arrays over the scores.

    Attributes:
        metrics: as measured.
        low: lower ends of their intervals.
        high: upper ends.
        members: rows that have a value.
        others: likewise of the non-members.
        draws: the AUC of every resample.
    """

    metrics: Metrics
    low: Metrics
    high: Metrics
    members: Int[np.ndarray, "score"]
    others: Int[np.ndarray, "score"]
    draws: Float[np.ndarray, "score resample"]


def estimate(
    scores: Float[np.ndarray, "score row"],
    member: Bool[np.ndarray, "row"],
    unit: Int[np.ndarray, "row"],
    settings: EvaluationSettings,
) -> Estimates:
    """Return the metrics of each score and their intervals.

    The AUC's is BCa, or, above 0.98 and below 0.02, `intervals.rank_interval`. A true
    positive rate that rests on fewer than 10 of any kind has Clopper and Pearson's, for
    the threshold that these very non-members give, with units for rows. All others are
    percentiles.
    """
    found = measure(scores, member, settings.fprs, settings.rule)
    weights = bootstrap_weights(member, unit, settings.bootstrap, settings.seed)
    ends: list[tuple[Metrics, Metrics]] = []
    areas = []
    for part, draws in resampled(scores, member, weights, settings.fprs, settings.rule):
        ends.append(_ends(scores[part], member, unit, found, part, draws, settings))
        areas.append(draws.auc)
    low, high = (
        Metrics(*(np.concatenate(values) for values in zip(*side, strict=True)))
        for side in zip(*ends, strict=True)
    )
    known = ~np.isnan(scores)
    mine, theirs = (np.sum(known & side, axis=1) for side in (member, ~member))
    return Estimates(found, low, high, mine, theirs, np.concatenate(areas))


def _ends(scores, member, unit, found, part, draws, settings) -> tuple[Metrics, Metrics]:
    """Return the ends of the intervals of some scores."""
    confidence = settings.confidence
    names = ("average_precision", "balanced_accuracy", "fpr_at_recall")
    ends = {name: percentile(getattr(draws, name), confidence) for name in names}
    point = found.auc[part]
    units = _units(scores, member, unit)
    ends["auc"] = _auc_ends(scores, member, unit, point, draws.auc, units, confidence)
    ends["tpr"] = _tpr_ends(found.tpr[part], draws.tpr, units, settings)
    both = ({name: value[n] for name, value in ends.items()} for n in (0, 1))
    return tuple(Metrics(**side) for side in both)  # type: ignore[return-value]


def _units(scores, member, unit) -> list[Int[np.ndarray, "score"]]:
    """Return how many units of members and of non-members have a value of each score."""
    known = ~np.isnan(scores)
    return [
        np.sum(sum_by_unit(known[:, side].astype(int), unit[side]) > 0, axis=1)
        for side in (member, ~member)
    ]


def _auc_ends(scores, member, unit, point, draws, units, confidence) -> Ends:
    skew = auc_acceleration(scores, member, unit)
    usual, ranks = (
        bca(draws, point, skew, confidence),
        rank_interval(point, units[0], units[1], confidence),
    )
    is_extreme = (usual[0] == usual[1]) | (np.abs(point - 0.5) > _EXTREME)
    return tuple(np.where(is_extreme, b, a) for a, b in zip(usual, ranks, strict=True))  # type: ignore[return-value]


def _tpr_ends(point, draws, units, settings) -> Ends:
    usual = percentile(np.moveaxis(draws, -1, -2), settings.confidence)
    mine, theirs = (x[:, None].astype(float) for x in units)
    hits = np.nan_to_num(point) * mine
    counted = clopper_pearson(hits, mine + 0 * hits, settings.confidence)
    allowed = allowed_false(settings.fprs, theirs, "<=")
    is_few = np.minimum(np.minimum(hits, mine - hits), allowed) < _FEW
    is_few &= ~np.isnan(point)
    return tuple(np.where(is_few, b, a) for a, b in zip(usual, counted, strict=True))  # type: ignore[return-value]


def tpr_band(
    scores: Float[np.ndarray, "row"],
    member: Bool[np.ndarray, "row"],
    unit: Int[np.ndarray, "row"],
    fprs: tuple[float, ...],
    settings: EvaluationSettings,
) -> tuple[Float[np.ndarray, "fpr"], Float[np.ndarray, "fpr"]]:
    """Return the pointwise bootstrap interval of the TPR at each FPR, for a figure."""
    weights = bootstrap_weights(member, unit, settings.bootstrap, settings.seed)
    ((_, found),) = resampled(scores[None], member, weights, fprs, settings.rule)
    low, high = percentile(np.moveaxis(found.tpr, -1, -2), settings.confidence)
    return low[0], high[0]
