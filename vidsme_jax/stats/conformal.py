"""Verdicts on clips without labels, against clips that are known to be outside.

The one assumption: a judged clip that was not trained on is exchangeable with the reference
clips, that is, from the same source and treated alike. Whole groups (videos) are
exchangeable, rows of one are not independent, and each group counts once.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binom


def conformal_p(
    values: Float[np.ndarray, "clip"],
    reference: Float[np.ndarray, "row"],
    group: Int[np.ndarray, "row"],
) -> Float[np.ndarray, "clip"]:
    """Return, for each clip, how rare its score is among clips that are outside.

    (1 + reference groups that reach it) / (1 + reference groups), where a group counts by
    the share of its rows that do. For a clip that is outside, the chance of p <= a is at
    most a, whatever the distribution, ties included; a NaN clip has NaN.

    Source: V. Vovk et al., Algorithmic Learning in a Random World, 2005; for groups: Y.
    Lee, R. Barber and R. Willett, Distribution-free inference with hierarchical data, 2023.

    Args:
        values: higher = member.
        reference: of clips that are outside, without NaN.
        group: index of each reference row's.
    """
    order = np.argsort(reference, kind="stable")
    _, place, size = np.unique(group, return_inverse=True, return_counts=True)
    share = (1 / size[place])[order]
    above = np.concatenate([np.cumsum(share[::-1])[::-1], [0.0]])
    reach = above[np.searchsorted(reference[order], values, side="left")]
    p = (1 + reach) / (1 + len(size))
    return np.where(np.isnan(values), np.nan, np.minimum(p, 1))


class Threshold(NamedTuple):
    """Scores above which a clip is called a member; None where no score is high enough.

    Attributes:
        value: holds the false positive rate on average over reference sets.
        sure: holds it for this very reference set, at the confidence asked for.
        groups: how many reference groups `value` needs at least.
        groups_sure: how many `sure` needs.
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

    The first flags where `conformal_p` is at most `fpr`. The second lets so many groups
    exceed it that, were the true rate above `fpr`, as few would with a chance of at most
    1 - confidence (a group exceeds it by its highest row).

    Args:
        reference: scores of clips that are outside, higher = member.
        group: index of each row's.
        fpr: in 0 to 1, both excluded.
        confidence: in 0 to 1, both excluded.
    """
    values = np.unique(reference)
    # A score between two of the values has the p-value of the upper one.
    between = np.append(values[1:], np.inf)
    p = conformal_p(between, reference, group)
    allowed = values[p <= fpr + 1e-12]
    tops = np.sort(
        [reference[group == g].max() for g in np.unique(group)] if len(group) else []
    )
    fewest = int(np.ceil(np.log1p(-confidence) / np.log1p(-fpr) - 1e-9))
    spare = binom.cdf(np.arange(len(tops)), len(tops), fpr) <= 1 - confidence
    count = int(np.sum(spare))  # groups that may exceed it, and one more
    return Threshold(
        float(allowed[0]) if len(allowed) else None,
        float(tops[-count]) if count else None,
        int(np.ceil(1 / fpr - 1e-9)) - 1,
        fewest,
    )


def adjusted(p: Float[np.ndarray, "clip"]) -> Float[np.ndarray, "clip"]:
    """Return p-values corrected by Benjamini and Hochberg (1995); NaN stays, uncounted.

    Calling the clips at or below a members, a share of at most a is expected to be wrong.
    Conformal p-values that share their reference keep this (S. Bates et al., Testing for
    outliers with conformal p-values, 2023).
    """
    numbers = np.flatnonzero(~np.isnan(p))
    order = numbers[np.argsort(p[numbers], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    out = np.full(len(p), np.nan)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return out
