"""Parts of a sample by what is known of its clips: a column's values, or thirds of it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.samples import Sample
from vidsme_jax.evaluation.score_metrics import evaluate_columns
from vidsme_jax.evaluation.settings import EvaluationSettings

THIRDS = ("motion", "illumination", "duration")  # always looked at
_VALUES = 12  # of a column; rarer ones are taken together

Row = dict[str, Any]
Parts = dict[str, Bool[np.ndarray, "row"]]


def evaluate_subsets(
    sample: Sample, rows: Sequence[Row], score: str, settings: EvaluationSettings
) -> dict[str, dict[str, Any]]:
    """Return the metrics of a score in parts of the sample, by column and by part.

    Thirds of motion, illumination and duration, and what `settings.by` names. In a part,
    clips are compared with clips of the same part; all see the same resamples.

    Args:
        sample: the rows.
        rows: their columns, in the same order.
        score: name of one of the sample's.
        settings: of the evaluation.

    Raises:
        InputError: a column holds lists.
    """
    names = dict.fromkeys((*THIRDS, *settings.by))
    parts = {name: split(rows, name) for name in names}
    parts = {n: held for n, held in parts.items() if len(held) > 1 or n in settings.by}
    columns = {
        (name, part): np.where(inside, sample.scores[score], np.nan)
        for name, held in parts.items()
        for part, inside in held.items()
    }
    found = evaluate_columns(sample, columns, settings)
    return {
        name: {part: found[name, part] for part in held} for name, held in parts.items()
    }


def check_parts(
    member: Bool[np.ndarray, "row"], rows: Sequence[Row], names: Sequence[str]
) -> None:
    """Raise an InputError for a column that has no part with members and non-members."""
    for name in names:
        parts = split(rows, name)
        named = [*parts.values()][: _VALUES - 1]  # behind them the rest is together
        if not any(len(set(member[inside].tolist())) == 2 for inside in named):
            held = ", ".join(parts)[:200] or "no value"
            raise InputError(
                f"by={name} makes no part that holds both members and non-members; there"
                f" is {held}"
            )


def split(rows: Sequence[Row], name: str) -> Parts:
    """Return which rows have which value of a column; numbers of many values in thirds.

    Args:
        rows: by column; one that no row has makes no parts.
        name: of the column.

    Raises:
        InputError: the column holds lists.
    """
    if not any(name in row for row in rows):
        return {}
    values = [row.get(name) for row in rows]
    strange = next((v for v in values if isinstance(v, list | dict)), None)
    if strange is not None:
        raise InputError(f"by={name} holds lists, expected texts or numbers")
    distinct = set(values) - {None}
    numbers = all(isinstance(v, int | float) for v in distinct)
    if numbers and len(distinct) > _VALUES:
        return _thirds(np.array([np.nan if v is None else v for v in values], float))
    return _by_value([_text(v) for v in values])


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:g}" if _is_number(value) else str(value).strip() or "blank"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _by_value(texts: list[str]) -> Parts:
    """Return the rows of each value, the most frequent first."""
    held = np.array(texts, object)
    ranked = [text for text, _ in Counter(texts).most_common()]
    kept = ranked if len(ranked) <= _VALUES else ranked[: _VALUES - 1]
    out = {text: held == text for text in kept}
    rest = len(ranked) - len(kept)
    if rest:
        out[f"{rest} others"] = ~np.isin(held, kept)
    return out


def _thirds(values) -> Parts:
    """Return the rows of the lower, the middle and the upper third."""
    low, high = np.nanquantile(values, (1 / 3, 2 / 3))
    out = {
        f"up to {low:.4g}": values <= low,
        f"{low:.4g} to {high:.4g}": (values > low) & (values <= high),
        f"above {high:.4g}": values > high,
        "unknown": np.isnan(values),
    }
    return {name: inside for name, inside in out.items() if inside.any()}
