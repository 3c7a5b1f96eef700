"""Subsets of the rows by what is known of the clips: a column's values, or its thirds."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.facts import Facts
from vidsme_jax.evaluation.result import ScoreMetrics
from vidsme_jax.evaluation.samples import Sample
from vidsme_jax.evaluation.score_metrics import evaluate_columns
from vidsme_jax.evaluation.settings import EvaluationSettings

THIRDS = ("motion", "illumination", "duration")  # always looked at
_VALUES = 12  # of a column; rarer ones are taken together

Subsets = dict[str, Bool[np.ndarray, "row"]]  # which rows belong to each, by name


def evaluate_subsets(
    sample: Sample, facts: Facts, score: str, settings: EvaluationSettings
) -> dict[str, dict[str, ScoreMetrics]]:
    """Return the metrics of a score in subsets of the rows, by column and by subset.

    Thirds of motion, illumination and duration, and what `settings.by` names. Clips are
    compared with clips of the same subset; all see the same resamples.

    Args:
        sample: the rows.
        facts: what is known of them, in the same order.
        score: name of one of the sample's.
        settings: of the evaluation.

    Raises:
        InputError: a column holds lists.
    """
    names = dict.fromkeys((*THIRDS, *settings.by))
    splits = {name: split(name, facts.of(name)) for name in names}
    splits = {n: s for n, s in splits.items() if len(s) > 1 or n in settings.by}
    columns = {
        (name, subset): np.where(inside, sample.scores[score], np.nan)
        for name, subsets in splits.items()
        for subset, inside in subsets.items()
    }
    metrics = evaluate_columns(sample, columns, settings)
    return {
        name: {subset: metrics[name, subset] for subset in subsets}
        for name, subsets in splits.items()
    }


def check_subsets(
    member: Bool[np.ndarray, "row"], facts: Facts, names: Sequence[str]
) -> None:
    """Raise an InputError for a column without a subset of members and non-members."""
    for name in names:
        subsets = split(name, facts.of(name))
        named = [*subsets.values()][: _VALUES - 1]  # after them the rest is together
        if not any(len(set(member[inside].tolist())) == 2 for inside in named):
            values = ", ".join(subsets)[:200] or "no value"
            raise InputError(
                f"by={name} makes no part that holds both members and non-members; there"
                f" is {values}"
            )


def split(name: str, values: Sequence[object]) -> Subsets:
    """Return which rows have which value of a column; numbers of many values in thirds.

    Args:
        name: of the column, for the error.
        values: one for each row; None where unknown. All unknown makes no subsets.

    Raises:
        InputError: the column holds lists.
    """
    if all(value is None for value in values):
        return {}
    strange = next((v for v in values if isinstance(v, list | dict)), None)
    if strange is not None:
        raise InputError(f"by={name} holds lists, expected texts or numbers")
    distinct = set(values) - {None}
    numbers = all(isinstance(v, int | float) for v in distinct)
    if numbers and len(distinct) > _VALUES:
        return _thirds(np.array([np.nan if v is None else v for v in values], float))
    return _by_value([_text(v) for v in values])


def _text(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:g}" if _is_number(value) else str(value).strip() or "blank"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _by_value(texts: list[str]) -> Subsets:
    """Return the rows of each value, the most frequent first."""
    column = np.array(texts, object)
    ranked = [text for text, _ in Counter(texts).most_common()]
    kept = ranked if len(ranked) <= _VALUES else ranked[: _VALUES - 1]
    out = {text: column == text for text in kept}
    rest = len(ranked) - len(kept)
    if rest:
        out[f"{rest} others"] = ~np.isin(column, kept)
    return out


def _thirds(values) -> Subsets:
    """Return the rows of the lower, the middle and the upper third."""
    low, high = np.nanquantile(values, (1 / 3, 2 / 3))
    out = {
        f"up to {low:.4g}": values <= low,
        f"{low:.4g} to {high:.4g}": (values > low) & (values <= high),
        f"above {high:.4g}": values > high,
        "unknown": np.isnan(values),
    }
    return {name: inside for name, inside in out.items() if inside.any()}
