"""Intervals of a metric: from its resamples, from counts, or from the theory of ranks.

Numpy only. Ends are arrays over scores; NaN where there is no value.
"""

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.special import betaincinv, ndtr, ndtri

from vidsme_jax.stats.metrics import Labelled, steps, sum_by_cluster, value_span

Ends = tuple[Float[np.ndarray, "*scores"], Float[np.ndarray, "*scores"]]
_GRID = 4001  # of AUCs that `rank_interval` tries


def percentile(values: Float[np.ndarray, "*scores resample"], confidence: float) -> Ends:
    """Return both ends of the middle of resampled values; NaN ones are left out."""
    shape = values.shape[:-1]
    tail = np.full(shape, (1 - confidence) / 2)
    return _quantiles(values, tail, 1 - tail)


def bca(
    values: Float[np.ndarray, "*scores resample"],
    point: Float[np.ndarray, "*scores"],
    acceleration: Float[np.ndarray, "*scores"],
    confidence: float,
) -> Ends:
    """Return the percentiles, corrected for the resamples' bias and skewness.

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
    """Return two quantiles of the values of each row that are not NaN, interpolated."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.sum(~np.isnan(values), axis=-1)
    return tuple(_quantile(ordered, count, share) for share in (low, high))  # type: ignore[return-value]


def _quantile(ordered, count, share):
    place = share * (np.maximum(count, 1) - 1)
    floor = np.floor(np.nan_to_num(place)).astype(int)
    ends = [
        np.take_along_axis(ordered, np.minimum(n, ordered.shape[-1] - 1)[..., None], -1)
        for n in (floor, np.minimum(floor + 1, np.maximum(count - 1, 0)))
    ]
    low, high = (x[..., 0].astype(np.float64) for x in ends)
    # Equal ends may be infinite, and their difference then NaN.
    inside = np.where(low == high, 0, (place - floor) * (high - low))
    return np.where(count > 0, low + inside, np.nan)


def auc_acceleration(rows: Labelled) -> Float[np.ndarray, "score"]:
    """Return the skewness of the AUC that `bca` needs, from leaving out each cluster.

    0 where a class has fewer than two clusters with a value.
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
        left = np.sum(sizes, axis=1, keepdims=True) - sizes
        without = np.divide(
            np.sum(sums, axis=1, keepdims=True) - sums,
            left,
            out=np.zeros_like(sums),
            where=left > 0,
        )
        pull = (np.mean(without, axis=1, keepdims=True) - without) * (1 - 1 / count)
        total += np.stack([np.sum(pull**3, axis=1), np.sum(pull**2, axis=1)], axis=1)
    cubes, squares = total.T
    return np.divide(
        cubes, 6 * squares**1.5, out=np.zeros(len(cubes)), where=squares > 1e-30
    )


def _placements(scores, member):
    """Return how well each row ranks against the other class, and if it has a value.

    For a member that is the share of non-members below it, for a non-member the share of
    members above it; ties count half.
    """
    ranked = steps(scores, member)
    first, last = value_span(ranked)
    sides = (ranked.member, ranked.other)
    out = np.zeros(scores.shape)
    for this, other in (sides, sides[::-1]):
        count = np.cumsum(other, axis=1)
        above = np.take_along_axis(count - other, first, axis=1)
        above = (above + np.take_along_axis(count, last, axis=1)) / 2
        share = above / np.maximum(count[:, -1:], 1)
        share = 1 - share if this is ranked.member else share
        placed = np.zeros(scores.shape)
        np.put_along_axis(placed, ranked.order, np.where(this, share, 0), axis=1)
        out += placed
    return out, ~np.isnan(scores)


def rank_interval(
    auc: Float[np.ndarray, "*scores"],
    members: Int[np.ndarray, "*scores"],
    others: Int[np.ndarray, "*scores"],
    confidence: float,
) -> Ends:
    """Return the AUCs that an observed one does not contradict, from the counts alone.

    It has a width even where all pairs are in order, and no resample says anything.

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
    """Return the shares of `count` under which so many hits are neither too few nor many.

    Either may be a fraction, as of clusters whose rows are hits in part.

    Source: C. J. Clopper and E. S. Pearson, 1934; from 0 to 1 where nothing was counted.
    """
    tail = (1 - confidence) / 2
    misses = count - hits
    low = betaincinv(np.maximum(hits, 1e-9), misses + 1, tail)
    high = betaincinv(hits + 1, np.maximum(misses, 1e-9), 1 - tail)
    return np.where(hits > 0, low, 0.0), np.where(misses > 0, high, 1.0)
