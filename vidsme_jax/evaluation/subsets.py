"""Split rows into subsets by facts about the clips: values of a column, or thirds."""

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

THIRDS = ("motion", "illumination", "duration")  # columns that are always split
_VALUES = 12  # subsets of a column at most; the rarest values are one subset

Subsets = dict[str, Bool[np.ndarray, "row"]]  # whether a row is in the subset, by name


def evaluate_subsets(
    sample: Sample, facts: Facts, score: str, settings: EvaluationSettings
) -> dict[str, dict[str, ScoreMetrics]]:
    """Return the metrics of a score in subsets of the rows, by column and by subset.

    The columns are motion, illumination and duration, in thirds, and those that
    `settings.by` names. Clips are compared with clips of the same subset; all subsets see
    the same resamples.

    Args:
        sample: the rows.
        facts: facts of the rows, in the same order.
        score: name of a score of the sample.
        settings: settings of the evaluation.

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
        named = [*subsets.values()][: _VALUES - 1]  # without the subset of rare values
        if not any(len(set(member[inside].tolist())) == 2 for inside in named):
            values = ", ".join(subsets)[:200] or "no value"
            raise InputError(
                f"by={name} makes no part that holds both members and non-members; there"
                f" is {values}"
            )


def split(name: str, values: Sequence[object]) -> Subsets:
    """Return the subsets of rows with the same value; thirds for numbers of many values.

    Args:
        name: name of the column, for the error.
        values: value of each row; None where unknown. No subsets where all are unknown.

    Raises:
        InputError: the column holds lists.
    """
    if all(value is None for value in values):
        return {}
    if any(isinstance(v, list | dict) for v in values):
        raise InputError(f"by={name} holds lists, expected texts or numbers")
    distinct = set(values) - {None}
    are_numbers = all(isinstance(v, int | float) for v in distinct)
    if are_numbers and len(distinct) > _VALUES:
        return _thirds(np.array([np.nan if v is None else v for v in values], float))
    return _by_value([_text(v) for v in values])


def _text(value: object) -> str:
    """Return the name of the subset of a value."""
    if value is None:
        return "unknown"
    return f"{value:g}" if _is_number(value) else str(value).strip() or "blank"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _by_value(texts: list[str]) -> Subsets:
    """Return the subset of each value, the most frequent first."""
    column = np.array(texts, object)
    ranked = [text for text, _ in Counter(texts).most_common()]
    kept = ranked if len(ranked) <= _VALUES else ranked[: _VALUES - 1]
    out = {text: column == text for text in kept}
    rest = len(ranked) - len(kept)
    if rest:
        out[f"{rest} others"] = ~np.isin(column, kept)
    return out


def _thirds(values) -> Subsets:
    """Return the subsets of the lower, the middle and the upper third."""
    low, high = np.nanquantile(values, (1 / 3, 2 / 3))
    out = {
        f"up to {low:.4g}": values <= low,
        f"{low:.4g} to {high:.4g}": (values > low) & (values <= high),
        f"above {high:.4g}": values > high,
        "unknown": np.isnan(values),
    }
    return {name: inside for name, inside in out.items() if inside.any()}
