"""Measure how often the intervals of `vidsme evaluate` hold the truth, by simulation.

    python experiments/checks/intervals.py

Scores of members are normal with mean d, those of the others with mean 0, so that the true
ROC is known. The true AUC is Phi(d / sqrt 2). The truth of a TPR with an interval from
counts is the members' share above the threshold that these non-members gave. The truth of
any other TPR is their share above the non-members' true quantile. Nominal is 95 %.
"""

import argparse

import numpy as np
from scipy.stats import norm

from vidsme_jax.evaluation.estimates import estimate_metrics
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.stats.metrics import LabelledScores

_FPRS = (0.0, 0.01, 0.05, 0.1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--repeats", type=int, default=2000)
    add("--bootstrap", type=int, default=1000)
    add("--sizes", type=int, nargs="+", default=(20, 64, 200, 1000), help="of each class")
    options = parser.parse_args()
    settings = EvaluationSettings(bootstrap=options.bootstrap, fprs=_FPRS)
    titles = [f"TPR at {rate:.0%}" for rate in _FPRS]
    print("| clips a class | true AUC | AUC | " + " | ".join(titles) + " |")
    print("| ---: " * (3 + len(_FPRS)) + "|")
    for size in options.sizes:
        for truth in (0.5, 0.7, 0.9):
            shares = coverage(truth, size, options.repeats, settings)
            cells = " | ".join(f"{share:.1%}" for share in shares)
            print(f"| {size} | {truth} | {cells} |", flush=True)


def coverage(
    truth: float, size: int, repeats: int, settings: EvaluationSettings
) -> list[float]:
    """Return the share of intervals that hold the truth, of the AUC and of each TPR."""
    rng = np.random.default_rng(0)
    shift = norm.ppf(truth) * np.sqrt(2)
    member = np.arange(2 * size) < size
    scores = rng.normal(size=(repeats, 2 * size)) + shift * member
    rows = LabelledScores(scores, member, np.arange(2 * size))
    estimates = estimate_metrics(rows, settings)
    low, high = estimates.low, estimates.high
    out = [np.mean((low.auc <= truth) & (truth <= high.auc))]
    others = -np.sort(-scores[:, size:], axis=1)
    for n, rate in enumerate(_FPRS):
        allowed = int(np.floor(rate * size + 1e-6))
        drawn = norm.sf(others[:, min(allowed, size - 1)] - shift)
        fixed = norm.sf(norm.isf(rate) - shift) if rate else 0.0
        hits = estimates.metrics.tpr[:, n] * size
        is_few = np.minimum(np.minimum(hits, size - hits), allowed) < 10
        target = np.where(is_few, drawn, fixed)
        out.append(np.mean((low.tpr[:, n] <= target) & (target <= high.tpr[:, n])))
    return [float(share) for share in out]


if __name__ == "__main__":
    main()
