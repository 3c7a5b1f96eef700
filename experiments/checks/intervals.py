"""Measure how often the intervals of `vidsme evaluate` hold the truth, by simulation.

    python experiments/checks/intervals.py

Scores of members are normal with mean d, those of non-members with mean 0. So the AUC
of the population is Phi(d / sqrt 2), and its TPR at a false positive rate t is the
members' share above the threshold that a share t of all non-members exceeds. The
difference is that of two scores of the same clips, whose AUCs differ by d / 2 against d.
Nominal is 95 %. Over 2,000 audits two standard deviations of chance are 1 point. A dash
means that these clips are too few for an interval.

In the second table a video has 1, 2, 3, 5 or 12 rows, whose scores share most of their
variance (correlation 0.8).
"""

import argparse
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from vidsme_jax.evaluation.estimates import auc_difference, estimate_metrics
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.stats.metrics import LabelledScores

_FPRS = (0.01, 0.05, 0.1)
_TRUTHS = (0.5, 0.7, 0.9, 0.95)
_SIZES = ((20, 20), (64, 64), (200, 200), (1000, 1000), (200, 20), (20, 200))
_VIDEOS = (9, 20, 64)  # of each class, in the second table
_ROWS, _SHARED = (1, 2, 3, 5, 12), 0.8


class Design(NamedTuple):
    """Clusters of simulated audits.

    Attributes:
        members: number of member clusters.
        others: number of non-member clusters.
        rows: numbers of rows of the clusters, repeated in this order.
        shared: correlation of the scores of a cluster.
    """

    members: int
    others: int
    rows: tuple[int, ...] = (1,)
    shared: float = 1.0


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--repeats", type=int, default=2000)
    add("--bootstrap", type=int, default=1000)
    options = parser.parse_args()
    settings = EvaluationSettings(bootstrap=options.bootstrap, fprs=_FPRS)
    designs = [Design(*size) for size in _SIZES]
    print_table("members | non-members", designs, options.repeats, settings)
    designs = [Design(videos, videos, _ROWS, _SHARED) for videos in _VIDEOS]
    print()
    print_table("member videos | non-member videos", designs, options.repeats, settings)


def print_table(
    first: str, designs: list[Design], repeats: int, settings: EvaluationSettings
) -> None:
    """Print how often the intervals of some designs hold the truth."""
    rates = [f"TPR at {rate:.0%}" for rate in _FPRS]
    titles = [first, "true AUC", "AUC", "difference", "FPR at 95% TPR", *rates]
    print(f"| {' | '.join(titles)} |")
    print("| ---: " * (1 + len(titles)) + "|")
    for design in designs:
        for truth in _TRUTHS:
            shares = coverage(truth, design, repeats, settings)
            cells = ["–" if np.isnan(share) else f"{share:.1%}" for share in shares]
            sizes = f"| {design.members} | {design.others} | {truth} | "
            print(sizes + " | ".join(cells) + " |", flush=True)


def coverage(
    truth: float, design: Design, repeats: int, settings: EvaluationSettings
) -> list[float]:
    """Return the shares of intervals that hold the truth, NaN where there are none.

    They are those of the AUC, of a difference of AUCs, of the FPR at 95 % TPR, and of the
    TPR at each rate of `settings`.
    """
    rng = np.random.default_rng(0)
    shift = norm.ppf(truth) * np.sqrt(2)
    rows = simulated(design, shift, repeats, rng)
    estimates = estimate_metrics(rows, settings)
    low, high = estimates.low, estimates.high
    out = [_held(low.auc, high.auc, truth)]
    weaker = rows.scores - shift / 2 * rows.member
    weaker += 0.5 * rng.normal(size=weaker.shape)  # another score of the same clips
    out.append(_held_difference(rows, weaker, shift, settings))
    fpr = norm.sf(norm.isf(0.95) + shift)
    out.append(_held(low.fpr_at_recall, high.fpr_at_recall, fpr))
    for n, rate in enumerate(settings.fprs):
        tpr = norm.sf(norm.isf(rate) - shift)
        out.append(_held(low.tpr[:, n], high.tpr[:, n], tpr))
    return out


def _held_difference(
    rows: LabelledScores, weaker, shift: float, settings: EvaluationSettings
) -> float:
    """Return how often the interval of a difference of AUCs holds the true one."""
    first, second = (
        estimate_metrics(rows._replace(scores=scores), settings)
        for scores in (rows.scores, weaker)
    )
    points, draws = first.metrics.auc - second.metrics.auc, first.draws - second.draws
    differences = [
        auc_difference(points[n], draws[n], first.clusters_of(n), settings)
        for n in range(len(points))
    ]
    low, high = (
        np.array([getattr(difference, end) for difference in differences])
        for end in ("low", "high")
    )
    weaker_auc = norm.cdf(shift / 2 / np.sqrt(2 * 1.25))
    return _held(low, high, norm.cdf(shift / np.sqrt(2)) - weaker_auc)


def _held(low, high, truth: float) -> float:
    """Return the share of intervals that hold a number; NaN where there are none."""
    if np.isnan(low).all():
        return float("nan")
    return float(np.mean((low <= truth) & (truth <= high)))


def simulated(design: Design, shift: float, repeats: int, rng) -> LabelledScores:
    """Return the scores of as many audits, one a row of scores."""
    clusters = design.members + design.others
    sizes = np.concatenate(
        [np.resize(design.rows, n) for n in (design.members, design.others)]
    )
    cluster = np.repeat(np.arange(clusters), sizes)
    member = cluster < design.members
    common = rng.normal(size=(repeats, clusters))[:, cluster]
    own_part = rng.normal(size=(repeats, len(cluster)))
    scores = np.sqrt(design.shared) * common + np.sqrt(1 - design.shared) * own_part
    return LabelledScores(scores + shift * member, member, cluster)


if __name__ == "__main__":
    main()
