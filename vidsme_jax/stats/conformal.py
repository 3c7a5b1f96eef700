"""Judge clips without labels against clips that are known to be outside.

The one assumption: a judged clip that was not trained on is exchangeable with the
reference clips. It comes from the same source and is treated alike. Groups (videos) are
exchangeable. Rows of a group are not independent, so each group counts once.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binom

# To which p-values are rounded. Without it 0.05 * 3 / 3 is above 0.05, and a clip at the
# limit is not called.
_DIGITS = 12


def conformal_p(
    values: Float[np.ndarray, "clip"],
    reference: Float[np.ndarray, "row"],
    group: Int[np.ndarray, "row"],
) -> Float[np.ndarray, "clip"]:
    """Return the conformal p-value of each clip: how rare its score is outside.

    p = (1 + reference groups that reach the score) / (1 + reference groups), where a group
    counts by the share of its rows that reach it. For a clip that is outside, the chance
    of p <= a is at most a, whatever the distribution, ties included.

    Source: V. Vovk et al., Algorithmic Learning in a Random World, 2005; for groups: Y.
    Lee, R. Barber and R. Willett, Distribution-free inference with hierarchical data, 2023.

    Args:
        values: scores of the judged clips, higher = member; NaN gives NaN.
        reference: scores of clips that are outside, without NaN.
        group: index of the group of each reference row.
    """
    order = np.argsort(reference, kind="stable")
    _, index, size = np.unique(group, return_inverse=True, return_counts=True)
    share = (1 / size[index])[order]
    above = np.concatenate([np.cumsum(share[::-1])[::-1], [0.0]])
    reach = above[np.searchsorted(reference[order], values, side="left")]
    p = np.round((1 + reach) / (1 + len(size)), _DIGITS)
    return np.where(np.isnan(values), np.nan, np.minimum(p, 1))


class Threshold(NamedTuple):
    """Scores above which a clip is called a member; None where the reference is too small.

    Attributes:
        value: the threshold that holds the rate on average over reference sets.
        sure: the threshold that holds the rate for this reference set, at the confidence.
        groups: number of reference groups that `value` needs at least.
        groups_sure: number of reference groups that `sure` needs at least.
    """

    value: float | None
    sure: float | None
    groups: int
    groups_sure: int


def threshold(
    reference: Float[np.ndarray, "row"],
    group: Int[np.ndarray, "row"],
    fpr: float,
    confidence: float,
) -> Threshold:
    """Return the thresholds that hold a false positive rate; see `Threshold`.

    `value` flags clips whose `conformal_p` is at most `fpr`. `sure` is the lowest score
    that few enough groups exceed; a group counts by its highest row. If the true rate
    were above `fpr`, so few would exceed it with a chance of at most 1 - confidence.

    Args:
        reference: scores of clips that are outside, higher = member.
        group: index of the group of each row.
        fpr: false positive rate, in 0 to 1, both excluded.
        confidence: in 0 to 1, both excluded.
    """
    values = np.unique(reference)
    # A score between two values has the p-value of the upper one.
    upper = np.append(values[1:], np.inf)
    p = conformal_p(upper, reference, group)
    allowed = values[p <= fpr]
    tops = np.sort(
        [reference[group == g].max() for g in np.unique(group)] if len(group) else []
    )
    fewest = int(np.ceil(np.log1p(-confidence) / np.log1p(-fpr) - 1e-9))
    is_rare = binom.cdf(np.arange(len(tops)), len(tops), fpr) <= 1 - confidence
    count = int(np.sum(is_rare))  # groups that may exceed the threshold, and one more
    return Threshold(
        float(allowed[0]) if len(allowed) else None,
        float(tops[-count]) if count else None,
        int(np.ceil(1 / fpr - 1e-9)) - 1,
        fewest,
    )


def benjamini_hochberg(p: Float[np.ndarray, "clip"]) -> Float[np.ndarray, "clip"]:
    """Return p-values corrected by Benjamini and Hochberg (1995); NaN stays, uncounted.

    Where clips with a corrected value of at most a are called members, the expected share
    of wrong calls is at most a. This also holds for conformal p-values that share
    their reference (S. Bates et al., Testing for outliers with conformal p-values, 2023).
    """
    rows = np.flatnonzero(~np.isnan(p))
    order = rows[np.argsort(p[rows], kind="stable")]
    scaled = np.round(p[order] * len(order) / np.arange(1, len(order) + 1), _DIGITS)
    out = np.full(len(p), np.nan)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return out
