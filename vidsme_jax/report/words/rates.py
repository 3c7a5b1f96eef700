"""Merge the false positive rates that so many non-members cannot tell apart."""

from collections.abc import Iterable

import numpy as np

from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.report.words.formatting import listed
from vidsme_jax.stats.metrics import allowed_false


def merged_rates(
    settings: EvaluationSettings, non_members: Iterable[int]
) -> list[tuple[float, ...]]:
    """Return the rates in groups that allow equally many false positives.

    Args:
        settings: settings with the rates and their rule.
        non_members: numbers of non-members behind the rows of a table. Rates form a group
            only if they allow the same for each of them.
    """
    counts = np.array(sorted({count for count in non_members if count}), float)
    if not len(counts):
        return [(rate,) for rate in settings.fprs]
    allowed = allowed_false(settings.fprs, counts[:, None], settings.rule)
    groups: dict[tuple[float, ...], list[float]] = {}
    for rate, column in zip(settings.fprs, allowed.T.tolist(), strict=True):
        groups.setdefault(tuple(column), []).append(rate)
    return [tuple(rates) for rates in groups.values()]


def rates_title(rates: tuple[float, ...]) -> str:
    """Return the name of the column of a group of rates: `TPR at 0 and 1 % FPR`."""
    return f"TPR at {listed([f'{100 * rate:g}' for rate in rates])} % FPR"
