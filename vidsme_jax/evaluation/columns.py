"""Metrics as the flat columns of a CSV file or a sweep's table."""

from vidsme_jax.evaluation.result import ScoreMetrics
from vidsme_jax.evaluation.values import Estimate

Cell = float | int | str | None


def estimate_columns(name: str, estimate: Estimate) -> dict[str, Cell]:
    """Return a number and the ends of its interval, named after it."""
    return {
        name: estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
    }


def rate_columns(metrics: ScoreMetrics) -> dict[str, Cell]:
    """Return the true positive rate at each false positive rate, and its interval."""
    out: dict[str, Cell] = {}
    for fpr, tpr in metrics.tpr.items():
        out |= estimate_columns(f"tpr_at_{fpr:g}", tpr)
    return out
