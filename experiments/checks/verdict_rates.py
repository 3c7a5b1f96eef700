"""Measure how often non-members are called members, over simulated audits.

    python experiments/checks/verdict_rates.py

Reference and judged clips are drawn alike. Scores are normal, and the two rows of a video
are correlated. In the second half of the table they are rounded, so that most are tied.
A rate may be above its nominal value by chance alone. Two standard deviations over 10,000
audits are 0.6, 0.4 and 0.2 points of 10, 5 and 1 %. The last column is the share of
reference sets whose sure threshold lets through more than 10 %; it may be at most 5 %.

The last lines ask for the share of members among 50 judged clips. Its interval should hold
the true share in 95 % of audits where members score four deviations higher. Where they
score one deviation higher, its lower end should lie above the truth in at most 2.5 %.
"""

import argparse

import numpy as np
from scipy.stats import norm

from vidsme_jax.stats.conformal import benjamini_hochberg, conformal_p, threshold
from vidsme_jax.stats.metrics import LabelledScores
from vidsme_jax.stats.permutation import permutation_test
from vidsme_jax.stats.rates import member_share

_RATES = np.array([0.01, 0.05, 0.10])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--audits", type=int, default=10_000)
    add(
        "--videos", type=int, nargs="+", default=(20, 60, 100, 300), help="of the reference"
    )
    options = parser.parse_args()
    titles = " | ".join(f"called at {rate:.0%}" for rate in _RATES)
    print(f"| reference videos | ties | {titles} | sure at 10 % exceeded |")
    print("| ---: | --- | " + "---: | " * 4)
    for tied in (False, True):
        for videos in options.videos:
            called, exceeded = rates(videos, tied, options.audits)
            cells = " | ".join(f"{share:.2%}" for share in called)
            ties = "most" if tied else "none"
            print(f"| {videos} | {ties} | {cells} | {exceeded} |", flush=True)
    for videos in options.videos:
        wrong, recall, by_set = discoveries(videos, options.audits // 10)
        print(
            f"reference of {videos}, 50 clips judged, 10 of them members 4 deviations"
            f" higher: of the calls at 10 % {wrong:.1%} were wrong, {recall:.0%} of the"
            f" members found; with no member, the whole set was called in {by_set:.1%} of"
            " audits at 5 %",
            flush=True,
        )
        covered, above = shares(videos, options.audits // 10)
        print(
            f"reference of {videos}: the interval of the share of members held the truth in"
            f" {covered:.1%} of audits; of those with members that are hard to tell it lay"
            f" above the truth in {above:.1%}",
            flush=True,
        )


def drawn(rng, videos: int, tied: bool):
    """Return random scores of two rows a video, and the video of each row."""
    values = rng.normal(size=(videos, 1)) + 0.5 * rng.normal(size=(videos, 2))
    values = np.round(values) if tied else values
    return values.ravel(), np.repeat(np.arange(videos), 2)


def rates(videos: int, tied: bool, audits: int) -> tuple[np.ndarray, str]:
    """Return the share of clips called, and how often the sure threshold lets too many."""
    rng = np.random.default_rng(0)
    called, exceeded, thresholds = np.zeros(3), 0, 0
    deviation = np.sqrt(1.25)
    for _ in range(audits):
        reference, group = drawn(rng, videos, tied)
        judged, _ = drawn(rng, 1, tied)
        called += conformal_p(judged[:1], reference, group) <= _RATES
        sure = threshold(reference, group, 0.10, 0.95).sure
        if sure is not None:
            thresholds += 1
            limit = sure + 0.5 if tied else sure  # whole numbers above it begin there
            exceeded += norm.sf(limit / deviation) > 0.10
    return called / audits, f"{exceeded / thresholds:.2%}" if thresholds else "–"


def discoveries(videos: int, audits: int) -> tuple[float, float, float]:
    """Return the shares of wrong calls, of members called, and of whole sets called."""
    rng = np.random.default_rng(1)
    wrong, recall, by_set = [], [], 0
    for seed in range(audits):
        reference = rng.normal(size=videos)
        judged = np.concatenate([rng.normal(size=40), 4 + rng.normal(size=10)])
        q = benjamini_hochberg(conformal_p(judged, reference, np.arange(videos))) <= 0.1
        wrong.append(q[:40].sum() / max(1, q.sum()))
        recall.append(q[40:].mean())
        both = np.concatenate([rng.normal(size=50), reference])
        member = np.arange(len(both)) < 50
        rows = LabelledScores(both[None], member, np.arange(len(both)))
        by_set += permutation_test(rows, 199, seed).p[0] <= 0.05
    return float(np.mean(wrong)), float(np.mean(recall)), by_set / audits


def shares(videos: int, audits: int) -> tuple[float, float]:
    """Return how often intervals of the share of members hold it, and begin above it."""
    rng = np.random.default_rng(2)
    member = np.arange(50 + videos) < 50
    out = []
    for shift in (4, 1):
        scores = rng.normal(size=(audits, 50 + videos))
        count = rng.integers(0, 51, size=audits)  # of members among the judged
        scores += shift * (np.arange(50 + videos) < count[:, None])
        rows = LabelledScores(scores, member, np.arange(50 + videos))
        _, low, high = member_share(rows, 0.95)
        out.append((low <= count / 50, count / 50 <= high))
    (is_below, is_above), (is_careful, _) = out
    return float(np.mean(is_below & is_above)), float(np.mean(~is_careful))


if __name__ == "__main__":
    main()
