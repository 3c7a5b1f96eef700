"""Bound from below the epsilon of a training, from scores of members and non-members.

A training is (epsilon, delta)-private if no clip changes the probability of any outcome by
more than a factor exp(epsilon), but for delta. Scores that tell members apart then refute
small epsilons. A bound holds with a confidence; it is 0 where nothing is refuted.

Thresholds are tried where the ROC has a corner of its convex hull, and the confidence is
corrected for their number (Bonferroni). NumPy and SciPy only.
"""

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.optimize import brentq
from scipy.special import betaincinv, expit
from scipy.stats import binom


def epsilon_independent(
    members: Real[np.ndarray, "member"],
    others: Real[np.ndarray, "other"],
    confidence: float,
    delta: float = 0.0,
) -> float:
    """Return a lower bound on epsilon for clips whose scores do not depend on each other.

    The bound is log((TPR - delta) / FPR), with the ends of the intervals of Clopper and
    Pearson for both rates.

    Args:
        members: scores of members, higher = member.
        others: scores of non-members.
        confidence: probability that the bound holds.
        delta: probability with which privacy may fail.

    Raises:
        ValueError: a class is empty, or an argument is out of its range.

    Source: M. Jagielski et al., Auditing Differentially Private Machine Learning, 2020.
    """
    _check(members, others, confidence, delta)
    missed, flagged = _corners(members, others)
    alpha = (1 - confidence) / len(missed) / 2
    tpr = 1 - _share_below(missed, len(members), alpha)
    fpr = _share_below(flagged, len(others), alpha)
    usable = tpr > delta
    bounds = np.log(tpr[usable] - delta) - np.log(fpr[usable])
    return float(np.max(bounds, initial=0.0))


def epsilon_one_run(
    members: Real[np.ndarray, "member"],
    others: Real[np.ndarray, "other"],
    confidence: float,
    delta: float,
) -> float:
    """Return a lower bound on epsilon for clips that were dealt by coins to one training.

    Each clip was a member by a fair coin of its own. Then of the clips above a threshold a
    private training lets at most a share expit(epsilon) be members, up to chance.

    Args:
        members: scores of members, higher = member.
        others: scores of non-members.
        confidence: probability that the bound holds.
        delta: probability with which privacy may fail.

    Raises:
        ValueError: a class is empty, or an argument is out of its range.

    Source: T. Steinke, M. Nasr and M. Jagielski, Privacy Auditing with One (1) Training
    Run, 2023 (arXiv 2305.08846).
    """
    _check(members, others, confidence, delta)
    missed, flagged = _corners(members, others)
    alpha = (1 - confidence) / len(missed)
    right = len(members) - missed
    guesses = right + flagged
    # The most promising first, so that the others are soon seen to be no better.
    order = np.argsort(_share_below(flagged, guesses, alpha), kind="stable")
    bound, count = 0.0, len(members) + len(others)
    for n in order[guesses[order] > 0].tolist():
        if right[n] / guesses[n] > expit(bound):
            counts = (count, int(guesses[n]), int(right[n]))
            bound = _refuted(counts, delta, alpha, bound)
    return bound


def one_run_p_value(
    clips: int, guesses: int, right: int, delta: float, epsilon: float
) -> float:
    """Return the largest probability of so many right guesses under a private training.

    Args:
        clips: number of clips that coins dealt.
        guesses: number of clips that are called members.
        right: number of those that are.
        delta: probability with which privacy may fail.
        epsilon: of the claim.

    Source: Steinke et al., 2023, theorem 5.2.
    """
    share = expit(epsilon)
    tail = float(binom.sf(right - 1, guesses, share))
    if delta == 0 or right == 0:
        return min(tail, 1.0)
    fewer = np.arange(1, right + 1)
    sums = binom.sf(right - fewer - 1, guesses, share) - tail
    return min(tail + 2 * clips * delta * float(np.max(sums / fewer, initial=0)), 1.0)


def _refuted(
    counts: tuple[int, int, int], delta: float, alpha: float, start: float
) -> float:
    """Return the largest epsilon that the counts of `one_run_p_value` refute.

    `start` where that one is not refuted either.
    """
    if one_run_p_value(*counts, 0.0, start) > alpha:  # cheap, and smaller than with delta
        return start

    def objective(epsilon: float) -> float:
        return alpha - one_run_p_value(*counts, delta, epsilon)

    if objective(start) <= 0:
        return start
    low, high = start, max(1.0, 2 * start)
    while objective(high) > 0:
        low, high = high, 2 * high
    return float(brentq(objective, low, high, xtol=1e-6))


def _corners(
    members, others
) -> tuple[Int[np.ndarray, "corner"], Int[np.ndarray, "corner"]]:
    """Return members missed and non-members flagged, at the corners of the ROC's hull."""
    thresholds = np.append(np.union1d(members, others), np.inf)
    missed, passed = (
        np.searchsorted(np.sort(values), thresholds, side="left")
        for values in (members, others)
    )
    hull: list[tuple[int, int]] = []
    for point in zip(missed.tolist(), passed.tolist(), strict=True):
        while len(hull) > 1 and _is_inside(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    corners = np.array(hull)
    return corners[:, 0], len(others) - corners[:, 1]


def _is_inside(a, b, c) -> bool:
    """Tell whether a point lies on or below the line between its neighbours."""
    return (b[1] - a[1]) * (c[0] - b[0]) <= (c[1] - b[1]) * (b[0] - a[0])


def _share_below(hits, count, alpha: float) -> Float[np.ndarray, "corner"]:
    """Return the one-sided upper end of Clopper and Pearson's interval of a share."""
    inner = betaincinv(hits + 1, np.maximum(count - hits, 1), 1 - alpha)
    return np.where(hits < count, inner, 1.0)


def _check(members, others, confidence: float, delta: float) -> None:
    """Refuse arguments for which there is no bound."""
    for name, values in (("members", members), ("others", others)):
        if not len(values) or np.isnan(values).any():
            raise ValueError(f"{name} has {len(values)} scores, expected numbers, not NaN")
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence={confidence}, expected between 0.5 and 1")
    if not 0 <= delta < 1:
        raise ValueError(f"delta={delta}, expected from 0 to below 1")
