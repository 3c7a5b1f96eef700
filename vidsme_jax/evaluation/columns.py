"""Flatten metrics to columns, for a CSV file or the table of a sweep."""

from vidsme_jax.evaluation.result import ScoreMetrics
from vidsme_jax.evaluation.values import Estimate

Cell = float | int | str | None


def estimate_columns(name: str, estimate: Estimate) -> dict[str, Cell]:
    """Return the columns NAME, NAME_low and NAME_high of an estimate."""
    return {
        name: estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
    }


def rate_columns(metrics: ScoreMetrics) -> dict[str, Cell]:
    """Return the columns of the true positive rate at each false positive rate."""
    out: dict[str, Cell] = {}
    for fpr, tpr in metrics.tpr.items():
        out |= estimate_columns(f"tpr_at_{fpr:g}", tpr)
    return out
