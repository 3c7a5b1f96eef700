"""Compute the interval of a metric: from resamples, from counts, or from ranks alone.

NumPy only. Ends are arrays over scores; NaN where there is no value.
"""

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.special import betaincinv, ndtr, ndtri

from vidsme_jax.stats.metrics import LabelledScores, steps, sum_by_cluster, value_span

Ends = tuple[Float[np.ndarray, "*scores"], Float[np.ndarray, "*scores"]]
_GRID = 4001  # number of AUCs that `rank_interval` tries


def percentile(values: Float[np.ndarray, "*scores resample"], confidence: float) -> Ends:
    """Return the percentile interval of resampled values, NaN left out."""
    shape = values.shape[:-1]
    tail = np.full(shape, (1 - confidence) / 2)
    return _quantiles(values, tail, 1 - tail)


def bca(
    values: Float[np.ndarray, "*scores resample"],
    point: Float[np.ndarray, "*scores"],
    acceleration: Float[np.ndarray, "*scores"],
    confidence: float,
) -> Ends:
    """Return the percentile interval, corrected for bias and skewness (BCa).

    Args:
        values: resampled values.
        point: measured values.
        acceleration: of each score, see `auc_acceleration`.
        confidence: coverage of the interval.

    Source: B. Efron, Better bootstrap confidence intervals, 1987.
    """
    count = np.maximum(np.sum(~np.isnan(values), axis=-1), 1)
    below = np.sum(values < point[..., None], axis=-1)
    below = (below + np.sum(values == point[..., None], axis=-1) / 2) / count
    bias = ndtri(np.clip(below, 1 / (count + 1), count / (count + 1)))
    shares = []
    for side in (-1, 1):
        moved = bias + side * ndtri((1 + confidence) / 2)
        shares.append(ndtr(bias + moved / (1 - acceleration * moved)))
    return _quantiles(values, *shares)


def _quantiles(values, low, high) -> Ends:
    """Return two interpolated quantiles of each row, NaN left out."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.sum(~np.isnan(values), axis=-1)
    return tuple(_quantile(ordered, count, share) for share in (low, high))  # type: ignore[return-value]


def _quantile(ordered, count, share):
    """Return an interpolated quantile of the first `count` values of each sorted row."""
    position = share * (np.maximum(count, 1) - 1)
    floor = np.floor(np.nan_to_num(position)).astype(int)
    ends = [
        np.take_along_axis(ordered, np.minimum(n, ordered.shape[-1] - 1)[..., None], -1)
        for n in (floor, np.minimum(floor + 1, np.maximum(count - 1, 0)))
    ]
    low, high = (x[..., 0].astype(np.float64) for x in ends)
    # Equal neighbours may be infinite; their difference is then NaN.
    step = np.where(low == high, 0, (position - floor) * (high - low))
    return np.where(count > 0, low + step, np.nan)


def auc_acceleration(rows: LabelledScores) -> Float[np.ndarray, "score"]:
    """Return the acceleration of the AUC for `bca`, from leaving out each cluster.

    A class with fewer than two clusters adds nothing; 0 where nothing was added.
    """
    scores, member, cluster = rows
    beaten, weight = _placements(scores, member)
    total = np.zeros((len(scores), 2))
    for side in (member, ~member):
        values, weights = beaten[:, side], weight[:, side].astype(float)
        sums, sizes = (
            sum_by_cluster(x, cluster[side]) for x in (values * weights, weights)
        )
        count = sums.shape[1]
        if count < 2:
            continue
        remaining = np.sum(sizes, axis=1, keepdims=True) - sizes
        without = np.divide(
            np.sum(sums, axis=1, keepdims=True) - sums,
            remaining,
            out=np.zeros_like(sums),
            where=remaining > 0,
        )
        influence = np.mean(without, axis=1, keepdims=True) - without
        influence = influence * (1 - 1 / count)
        powers = [np.sum(influence**power, axis=1) for power in (3, 2)]
        total += np.stack(powers, axis=1)
    cubes, squares = total.T
    return np.divide(
        cubes, 6 * squares**1.5, out=np.zeros(len(cubes)), where=squares > 1e-30
    )


def _placements(scores, member):
    """Return how well each row ranks against the other class, and if it has a value.

    A member has the share of non-members below it, a non-member the share of members
    above it; ties count half.
    """
    ranked = steps(scores, member)
    first, last = value_span(ranked)
    sides = (ranked.member, ranked.other)
    out = np.zeros(scores.shape)
    for side, opposite in (sides, sides[::-1]):
        count = np.cumsum(opposite, axis=1)
        above = np.take_along_axis(count - opposite, first, axis=1)
        above = (above + np.take_along_axis(count, last, axis=1)) / 2
        share = above / np.maximum(count[:, -1:], 1)
        share = 1 - share if side is ranked.member else share
        placements = np.zeros(scores.shape)
        np.put_along_axis(placements, ranked.order, np.where(side, share, 0), axis=1)
        out += placements
    return out, ~np.isnan(scores)


def rank_interval(
    auc: Float[np.ndarray, "*scores"],
    members: Int[np.ndarray, "*scores"],
    others: Int[np.ndarray, "*scores"],
    confidence: float,
) -> Ends:
    """Return the interval of an AUC from the numbers of members and non-members alone.

    It has a width even where all pairs are in order, so that no resample differs.

    Args:
        auc: observed.
        members: number of independent members.
        others: number of independent non-members.
        confidence: coverage of the interval.

    Source: R. G. Newcombe, Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic, Part 2, 2006, method 5.
    """
    t = np.linspace(0, 1, _GRID)
    m, n = members[..., None].astype(float), others[..., None].astype(float)
    pairs = ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))
    variance = t * (1 - t) * (1 + pairs) / np.maximum(m * n, 1)
    reach = ndtri((1 + confidence) / 2)
    fits = (t - auc[..., None]) ** 2 <= reach**2 * variance + 0.5 / (_GRID - 1) ** 2
    low = t[np.argmax(fits, axis=-1)]
    high = t[_GRID - 1 - np.argmax(fits[..., ::-1], axis=-1)]
    has_value = ~np.isnan(auc)
    return np.where(has_value, low, np.nan), np.where(has_value, high, np.nan)


def clopper_pearson(
    hits: Real[np.ndarray, "*n"], count: Real[np.ndarray, "*n"], confidence: float
) -> Ends:
    """Return the Clopper-Pearson interval of a share; 0 to 1 where nothing was counted.

    Args:
        hits: may be a fraction, as of clusters of which only some rows are hits.
        count: number of trials; may be a fraction.
        confidence: coverage of the interval.

    Source: C. J. Clopper and E. S. Pearson, 1934.
    """
    tail = (1 - confidence) / 2
    misses = count - hits
    low = betaincinv(np.maximum(hits, 1e-9), misses + 1, tail)
    high = betaincinv(hits + 1, np.maximum(misses, 1e-9), 1 - tail)
    return np.where(hits > 0, low, 0.0), np.where(misses > 0, high, 1.0)
