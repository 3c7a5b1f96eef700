"""Compute the interval of a true positive rate at a fixed false positive rate.

Two things are unknown: where the threshold lies that a share t of all non-members exceeds,
and how many of all members exceed that threshold. How many of n non-members lie above it
is binomial (n, t), whatever the scores' distribution. For each such number the threshold
lies between two neighbouring non-members, and the members above these have a share with a
beta distribution. The interval has the quantiles of the mixture of these betas, its lower
end with the higher neighbour, its upper end with the lower one.

NumPy only. No resample is drawn, so that equal clips have equal intervals.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.special import betainc
from scipy.stats import binom

from vidsme_jax.stats.intervals import Ends, effective_clusters
from vidsme_jax.stats.metrics import LabelledScores, measure

_NODES = 513  # true positive rates at which distributions are computed
_RATES = np.sin(np.linspace(0, np.pi / 2, _NODES)) ** 2  # denser towards both ends
_RARE = 1e-9  # probability of a number of non-members that is left out


def tpr_interval(rows: LabelledScores, fprs: tuple[float, ...], confidence: float) -> Ends:
    """Return the intervals of each score's TPR at false positive rates of the population.

    NaN where so few non-members have a value that on average less than one lies above the
    threshold: such clips say nothing of that rate.

    Args:
        rows: scores, labels and clusters; classes count `effective_clusters`.
        fprs: false positive rates.
        confidence: coverage of the interval.

    Returns:
        Lower and upper ends [score fpr].

    Source: for the number of non-members above a quantile, W. R. Thompson, 1936; for
    Jeffreys' interval of a share, L. D. Brown, T. T. Cai and A. DasGupta, 2001.
    """
    scores, member, _ = rows
    out = np.full((2, len(scores), len(fprs)), np.nan)
    for n, counts in enumerate(zip(*effective_clusters(rows), strict=True)):
        has_value = ~np.isnan(scores[n])
        sides = [scores[n][has_value & side] for side in (member, ~member)]
        for k, fpr in enumerate(fprs):
            if counts[0] >= 1 and counts[1] * fpr >= 1 - 1e-9:
                out[:, n, k] = _interval(sides, counts, fpr, confidence)
    return out[0], out[1]


def member_share(
    rows: LabelledScores, confidence: float
) -> tuple[
    Float[np.ndarray, "score"], Float[np.ndarray, "score"], Float[np.ndarray, "score"]
]:
    """Return the least share of members among clips that explains their scores.

    Clips from outside exceed the reference's median one time in two, members at most
    always. So of clips of which a share s exceeds it, at least 2 s - 1 are members. More
    may be, if members score like outsiders.

    Args:
        rows: judged clips, as members, and reference clips, as non-members.
        confidence: coverage of the interval.

    Returns:
        The share, and the ends of its interval; NaN where a set has no value.

    Source: J. D. Storey, 2002, with his lambda at one half. On training data: Z. Liu et
    al., Provable Training Data Identification (arXiv 2510.09717).
    """
    share = measure(rows.scores, rows.member, (0.5,)).tpr
    ends = tpr_interval(rows, (0.5,), confidence)
    return tuple(np.clip(2 * x[:, 0] - 1, 0, 1) for x in (share, *ends))  # type: ignore[return-value]


def _interval(sides, clusters, fpr: float, confidence: float) -> list[float]:
    """Return the interval of a single score at a single rate; members come first."""
    members, others = sides
    count = int(clusters[1] + 1e-9)  # a fraction of a cluster is left out
    above = np.arange(count + 1)
    weight = binom.pmf(above, count, fpr)
    above, weight = above[weight > _RARE], weight[weight > _RARE]
    rows_above = above * (len(others) / count)
    ordered = np.concatenate([[np.inf], -np.sort(-others), [-np.inf]])
    # Neighbours of the threshold: with k above it, the non-members of rank k and k + 1.
    higher = ordered[np.floor(rows_above + 1e-9).astype(int)]
    lower = ordered[np.ceil(rows_above - 1e-9).astype(int) + 1]
    tail = (1 - confidence) / 2
    table = _beta_cdf(len(members), float(clusters[0]))
    return [
        _quantile(table[_count_above(members, limits)], weight, level)
        for limits, level in ((higher, tail), (lower, 1 - tail))
    ]


def _count_above(values, limits):
    """Return the number of values above each limit."""
    return len(values) - np.searchsorted(np.sort(values), limits, side="right")


@lru_cache(maxsize=4)  # most scores have values in the same rows
def _beta_cdf(rows: int, trials: float) -> Float[np.ndarray, "count node"]:
    """Return the distribution of the share, for each number of rows above a threshold."""
    hits = np.arange(rows + 1)[:, None] * (trials / rows)
    return betainc(hits + 0.5, trials - hits + 0.5, _RATES)


def _quantile(cdfs, weight, level: float) -> float:
    """Return a quantile of a mixture of distributions."""
    return float(np.interp(level * np.sum(weight), weight @ cdfs, _RATES))
