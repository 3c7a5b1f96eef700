"""Compute the interval of a metric: from resamples, from ranks, or from variances.

Every interval counts clusters, not rows, and large clusters more than small ones. A class
whose clusters have sizes n has (sum of n)^2 / (sum of n^2) of them (L. Kish, Survey
Sampling, 1965): as many as it has where all are of equal size, fewer otherwise.

NumPy only. Ends are arrays over scores; NaN where there is no value.
"""

import numpy as np
from jaxtyping import Float, Real
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

from vidsme_jax.stats.metrics import LabelledScores, steps, sum_by_cluster, value_span

Ends = tuple[Float[np.ndarray, "*scores"], Float[np.ndarray, "*scores"]]
_GRID = 4001  # number of AUCs that `rank_interval` tries
_FEW_WRONG = 2.0  # clusters in wrong order, on average, for which variances say little


def percentile(
    values: Float[np.ndarray, "*scores resample"],
    confidence: float,
    *clusters: Float[np.ndarray, "*scores"],
) -> Ends:
    """Return the percentile interval of resampled values, widened where clusters are few.

    Resamples of few clusters vary too little, and their quantiles are those of a normal
    where a t-distribution is due. So the quantiles lie further out, as those of a mean of
    such numbers would have to.

    Args:
        values: resampled values; NaN is left out.
        confidence: coverage of the interval.
        clusters: effective number of clusters of each class that was resampled.

    Source: T. Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section
    4.3, with the degrees of freedom of B. L. Welch, 1947, for two classes.
    """
    share = [1 / np.maximum(count, 1.0) for count in clusters]
    variance = sum(share)
    freedom = variance**2 / sum(s**2 / np.maximum(1 / s - 1, 1e-3) for s in share)
    shrunk = sum(s * (1 - s) for s in share) / variance
    reach = stdtrit(freedom, (1 + confidence) / 2) / np.sqrt(np.maximum(shrunk, 1e-9))
    tail = np.broadcast_to(ndtr(-reach), values.shape[:-1])
    return _quantiles(values, tail, 1 - tail)


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


def effective_clusters(
    rows: LabelledScores,
) -> tuple[Float[np.ndarray, "score"], Float[np.ndarray, "score"]]:
    """Return the effective number of clusters of members and of non-members.

    Only rows with a value count; 0 where a class has none.
    """
    has_value = (~np.isnan(rows.scores)).astype(float)
    return tuple(  # type: ignore[return-value]
        effective_number(sum_by_cluster(has_value[:, side], rows.cluster[side]))
        for side in (rows.member, ~rows.member)
    )


def effective_number(
    sizes: Real[np.ndarray, "*scores cluster"],
) -> Float[np.ndarray, "*scores"]:
    """Return the effective number of clusters of these sizes; 0 where all are empty."""
    squares = np.sum(np.square(sizes), axis=-1)
    return np.asarray(np.sum(sizes, axis=-1) ** 2 / np.maximum(squares, 1), float)


def auc_interval(
    rows: LabelledScores, auc: Float[np.ndarray, "score"], confidence: float
) -> Ends:
    """Return the intervals of AUCs, from the variance of each row's rank.

    On the log-odds of the AUC, with a variance that counts whole clusters and a quantile of
    the t-distribution. Where too few clusters are in wrong order for a variance, it is
    `rank_interval`.

    Args:
        rows: scores, labels and clusters.
        auc: AUC of each score.
        confidence: coverage of the interval.

    Source: E. R. DeLong et al., 1988; for clusters: N. A. Obuchowski, 1997; each cluster's
    deviation is divided by the root of what the others weigh (R. M. Bell and D. F.
    McCaffrey, 2002), and the degrees of freedom are F. E. Satterthwaite's, 1946.
    """
    clusters = effective_clusters(rows)
    variances = _auc_variances(rows)
    variance = variances[0] + variances[1]
    freedom = variance**2 / np.maximum(
        sum(
            v**2 / np.maximum(n - 1, 1e-3) for v, n in zip(variances, clusters, strict=True)
        ),
        1e-300,
    )
    inner = np.clip(auc, 1e-9, 1 - 1e-9)
    quantile = stdtrit(np.where(freedom > 0, freedom, 1.0), (1 + confidence) / 2)
    reach = quantile * np.sqrt(variance) / (inner * (1 - inner))
    ranks = rank_interval(auc, *clusters, confidence)
    wrong = np.minimum(*clusters) * np.minimum(auc, 1 - auc)
    is_rank = ~(wrong >= _FEW_WRONG) | (variance <= 0)  # equal scores do not vary
    usual = (expit(logit(inner) - reach), expit(logit(inner) + reach))
    return tuple(np.where(is_rank, a, b) for a, b in zip(ranks, usual, strict=True))  # type: ignore[return-value]


def _auc_variances(rows: LabelledScores) -> list[Float[np.ndarray, "score"]]:
    """Return the variance of each AUC that is due to members, and to non-members."""
    scores, member, cluster = rows
    placements, has_value = _placements(scores, member)
    out = []
    for side in (member, ~member):
        weight = has_value[:, side].astype(float)
        total = np.maximum(np.sum(weight, axis=1, keepdims=True), 1)
        values = placements[:, side] * weight
        mean = np.sum(values, axis=1, keepdims=True) / total
        deviation, size = (
            sum_by_cluster(x / total, cluster[side])
            for x in (values - mean * weight, weight)
        )
        out.append(np.sum(deviation**2 / np.maximum(1 - size, 1e-9), axis=1))
    return out


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
    members: Float[np.ndarray, "*scores"],
    others: Float[np.ndarray, "*scores"],
    confidence: float,
) -> Ends:
    """Return the interval of an AUC from the numbers of members and non-members alone.

    It has a width even where all pairs are in order, so that no rank varies.

    Args:
        auc: observed.
        members: number of independent members.
        others: number of independent non-members.
        confidence: coverage of the interval.

    Source: R. G. Newcombe, Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic, Part 2, 2006, method 5.
    """
    t = np.linspace(0, 1, _GRID)
    m, n = (np.asarray(count, float)[..., None] for count in (members, others))
    pairs = ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))
    variance = t * (1 - t) * (1 + pairs) / np.maximum(m * n, 1)
    reach = ndtri((1 + confidence) / 2)
    fits = (t - auc[..., None]) ** 2 <= reach**2 * variance + 0.5 / (_GRID - 1) ** 2
    low = t[np.argmax(fits, axis=-1)]
    high = t[_GRID - 1 - np.argmax(fits[..., ::-1], axis=-1)]
    has_value = ~np.isnan(auc)
    return np.where(has_value, low, np.nan), np.where(has_value, high, np.nan)
