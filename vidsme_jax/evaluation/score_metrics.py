"""From a score table to metrics: of every score, against the primary one and a control."""

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from vidsme_jax.evaluation.estimates import Estimates, estimate
from vidsme_jax.evaluation.samples import (
    Sample,
    by_frames,
    groups_of,
    labels_of,
    pair,
    primary_of,
    samples,
    status_of,
)
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.stats.intervals import percentile
from vidsme_jax.stats.metrics import published_metrics
from vidsme_jax.stats.permutation import choose_on_half, permutation_test

Key = TypeVar("Key", bound=Hashable)
# Of `metrics.Metrics`, and how they are called in the record.
_KEYS = {
    "auc": "auc",
    "average_precision": "average_precision",
    "balanced_accuracy": "best_balanced_accuracy",
    "fpr_at_recall": "fpr_at_95_tpr",
}
_MIDDLE = (0.05, 0.95)  # of the splits
_LABELS = {1: "member", 0: "non_member", -1: "unlabelled"}


def evaluate_table(
    table: pa.Table,
    settings: EvaluationSettings,
    control: pa.Table | None = None,
) -> list[dict[str, Any]]:
    """Evaluate every score of a score table, each frame count apart.

    Args:
        table: a score table; of its columns only `id` and `label` must exist. Without
            any score of the catalogue, a column `score` (higher = member) is evaluated.
        settings: see `EvaluationSettings`.
        control: the same clips under a model that saw none of them, joined by id and
            frames; its labels are not used.

    Returns:
        One JSON-able dict per frame count, upwards: `frames`, `counts`, `primary` (its
        name, or None where the table lacks it), `scores`, `search` (what comes of
        choosing among the scores), `numbers` (of the clips alone). NaN becomes None,
        with a `reason` beside it. With `settings.published` each score and number has
        `published`, see `published_metrics`.

    Raises:
        InputError: labels other than 0, 1 and null; a `settings.score` that is not there.
    """
    return [
        {
            "frames": sample.frames,
            "counts": _counts(part, sample),
            "primary": primary_of(sample, settings.score),
            "scores": _evaluate_scores(sample, settings, control),
            "search": _search(sample, settings),
            "numbers": evaluate_columns(sample, sample.numbers, settings),
        }
        for part, sample in zip(by_frames(table), samples(table), strict=True)
    ]


def _counts(table, sample: Sample) -> dict[str, Any]:
    labels, status, groups = (
        labels_of(table),
        status_of(table),
        np.array(groups_of(table), object),
    )
    by_label = {name: set(groups[labels == k]) for k, name in _LABELS.items()}
    return {
        "rows": len(table),
        **{name: int(np.sum(labels == k)) for k, name in _LABELS.items()},
        "status": {
            s: {n: int(np.sum((status == s) & (labels == k))) for k, n in _LABELS.items()}
            for s in sorted(set(status))
        },
        "groups": {name: len(held) for name, held in by_label.items()},
        "groups_with_both_labels": len(by_label["member"] & by_label["non_member"]),
        "evaluated": {
            "member": int(np.sum(sample.member)),
            "non_member": int(np.sum(~sample.member)),
        },
        "evaluated_groups": {
            "member": len(np.unique(sample.unit[sample.member])),
            "non_member": len(np.unique(sample.unit[~sample.member])),
        },
    }


def evaluate_columns(
    sample: Sample,
    columns: Mapping[Key, Float[np.ndarray, "row"]],
    settings: EvaluationSettings,
) -> dict[Key, dict[str, Any]]:
    """Return the metrics of each column, which holds a number per row of the sample.

    Args:
        sample: whose labels and units count.
        columns: higher = member, by any key.
        settings: of the evaluation.
    """
    if not columns:
        return {}
    values = np.stack(list(columns.values()))
    found = estimate(values, sample.member, sample.unit, settings)
    return _entries(sample, columns, found, settings)


def _entries(sample, columns, found: Estimates, settings):
    rows = {name: _entry(found, n, settings) for n, name in enumerate(columns)}
    if settings.published:
        for name, column in columns.items():
            rules = published_metrics(column, sample.member)
            rows[name]["published"] = {k: plain(v) for k, v in rules.items()}
    return rows


def _evaluate_scores(sample, settings, control) -> dict[str, dict[str, Any]]:
    if not sample.scores:
        return {}
    names, primary = list(sample.scores), primary_of(sample, settings.score)
    values = np.stack(list(sample.scores.values()))
    found = estimate(values, sample.member, sample.unit, settings)
    out = _entries(sample, sample.scores, found, settings)
    for name, tested in _p_values(sample, names, settings).items():
        out[name] |= tested
    if primary:
        aucs, draws = found.metrics.auc, found.draws
        n = names.index(primary)
        for k, name in enumerate(names):
            out[name] |= difference(
                aucs[k] - aucs[n], draws[k] - draws[n], settings, "over_primary"
            )
    if control is None:
        return out
    target, other = pair(sample, control)
    for name, compared in _compare(target, other, settings).items():
        out[name]["control"] = compared
    if primary and primary in other.scores:
        alone = _p_values(other, [primary], settings)[primary]
        out[primary]["control"]["p_value"] = alone["p_value"]
        out[primary]["control"] |= _calibrated(target, other, primary, settings)
    return out


def difference(
    point: float,
    draws: Float[np.ndarray, "resample"],
    settings: EvaluationSettings,
    key: str = "difference",
) -> dict[str, Any]:
    """Return a difference of two AUCs, with the interval of its paired resamples."""
    ends = percentile(draws[None], settings.confidence)
    return {key: plain(point), f"{key}_interval": [plain(side[0]) for side in ends]}


def calibrated(
    target: Float[np.ndarray, "row"], control: Float[np.ndarray, "row"]
) -> dict[str, Float[np.ndarray, "row"] | None]:
    """Return each clip's score less the control's, and its ratio to the control's.

    Higher = member in both. Where every control score is negative (a log-probability, an
    entropy turned round), a smaller ratio means member, and it is turned round; where they
    take both signs a ratio has no order, and is None.
    """
    known = control[~np.isnan(control)]
    ratio = None
    if len(known) and (np.all(known > 0) or np.all(known < 0)):
        ratio = target / np.abs(control)
    return {"difference": target - control, "ratio": ratio}


def _calibrated(target: Sample, other: Sample, name: str, settings) -> dict[str, Any]:
    """Return the AUC of the calibrated primary score, and why one of them has none."""
    held = calibrated(target.scores[name], other.scores[name])
    columns = {key: values for key, values in held.items() if values is not None}
    found = evaluate_columns(target, columns, settings)
    kept = ("auc", "auc_interval", "members", "non_members", "reason")
    out: dict[str, Any] = {key: {k: f[k] for k in kept} for key, f in found.items()}
    if "ratio" not in out:
        reason = "the control's values take both signs"
        out["ratio"] = {"auc": None, "auc_interval": [None, None], "reason": reason}
    return {"calibrated": out}


def compare_runs(
    first: Sample, second: Sample, settings: EvaluationSettings
) -> dict[str, Any] | None:
    """Return how the primary score does in the second sample less in the first.

    Rows are joined by id alone, so that models and frame counts can be compared; labels and
    groups are the first's. None where either lacks the score, or they share no row.
    """
    name, other = (primary_of(sample, settings.score) for sample in (first, second))
    place = {name: k for k, name in enumerate(second.ids)}
    rows = [k for k, name in enumerate(first.ids) if name in place]
    if name is None or name != other or not rows:
        return None
    ours = first.take(rows)
    theirs = second.take([place[name] for name in ours.ids])
    values = np.stack([ours.scores[name], theirs.scores[name]])
    values = np.where(np.isnan(values).any(axis=0), np.nan, values)
    found = estimate(values, ours.member, ours.unit, settings)
    auc = found.metrics.auc
    return {
        "auc": [plain(x) for x in auc],
        **difference(auc[1] - auc[0], found.draws[1] - found.draws[0], settings),
        "members": int(found.members[0]),
        "non_members": int(found.others[0]),
    }


def _p_values(
    sample: Sample, names: list[str], settings: EvaluationSettings
) -> dict[str, dict[str, float | None]]:
    """Return each score's p-value, and the one adjusted for all these scores."""
    if not names:
        return {}
    values = np.stack([sample.scores[name] for name in names])
    how = (settings.permutations, settings.seed)
    tested = permutation_test(values, sample.member, sample.unit, *how)
    return {
        name: {"p_value": plain(p), "p_adjusted": plain(adjusted)}
        for name, p, adjusted in zip(names, *tested, strict=True)
    }


def _search(sample: Sample, settings: EvaluationSettings) -> dict[str, Any] | None:
    """Return what the score that is best on half of the groups reaches on the others.

    None where there is nothing to choose from, or a class has fewer than two groups.
    """
    names, sides = list(sample.scores), (sample.member, ~sample.member)
    groups = min(len(np.unique(sample.unit[side])) for side in sides)
    if len(names) < 2 or groups < 2:
        return None
    values = np.stack(list(sample.scores.values()))
    how = (settings.splits, settings.seed)
    found = choose_on_half(values, sample.member, sample.unit, *how)
    known = ~np.isnan(found.held)
    if not known.any():
        return None
    often = np.bincount(found.chosen, minlength=len(names))
    seen, held = (float(np.mean(x[known])) for x in (found.seen, found.held))
    return {
        "scores": len(names),
        "splits": settings.splits,
        "chosen": names[int(np.argmax(often))],
        "chosen_share": float(np.max(often)) / settings.splits,
        "auc_seen": seen,
        "auc_held_out": held,
        "auc_held_out_range": [float(x) for x in np.quantile(found.held[known], _MIDDLE)],
        "optimism": seen - held,
    }


def _entry(found: Estimates, n: int, settings: EvaluationSettings) -> dict[str, Any]:
    """All metrics of one score; a class without rows gives None and a reason."""
    values, low, high = (
        {name: side[n] for name, side in metrics._asdict().items()}
        for metrics in (found.metrics, found.low, found.high)
    )
    out: dict[str, Any] = {}
    for name, key in _KEYS.items():
        out[key] = plain(values[name])
        out[f"{key}_interval"] = [plain(low[name]), plain(high[name])]
    out["advantage"], *ends = (
        plain(2 * side["balanced_accuracy"] - 1) for side in (values, low, high)
    )
    out["advantage_interval"] = ends
    rates = [f"{fpr:g}" for fpr in settings.fprs]
    out["tpr"] = dict(zip(rates, map(plain, values["tpr"]), strict=True))
    out["tpr_interval"] = {
        rate: [plain(x) for x in pair]
        for rate, *pair in zip(rates, low["tpr"], high["tpr"], strict=True)
    }
    members, others = int(found.members[n]), int(found.others[n])
    return out | {
        "members": members,
        "non_members": others,
        "fpr_step": 1 / others if others else None,
        "reason": reason_of(members, others),
    }


def _compare(target: Sample, other: Sample, settings) -> dict[str, dict[str, Any]]:
    """The control's AUC, and target minus control on the same resampled groups."""
    missing = np.full(len(target.ids), np.nan)
    ours = np.stack(list(target.scores.values()))
    theirs = np.stack([other.scores.get(name, missing) for name in target.scores])
    known = ~(np.isnan(ours) | np.isnan(theirs))
    ours, theirs = (np.where(known, x, np.nan) for x in (ours, theirs))
    own, found = (estimate(x, target.member, target.unit, settings) for x in (ours, theirs))
    point = own.metrics.auc - found.metrics.auc
    rows = {}
    for n, name in enumerate(target.scores):
        entry = _entry(found, n, settings)
        rows[name] = {
            **{key: entry[key] for key in ("auc", "auc_interval")},
            "target_auc": plain(own.metrics.auc[n]),
            **difference(point[n], own.draws[n] - found.draws[n], settings),
            **{key: entry[key] for key in ("members", "non_members", "reason")},
        }
    return rows


def reason_of(members: int, others: int) -> str | None:
    """Return why there are no metrics; None where there are."""
    counts = {"member": members, "non-member": others}
    empty = [name for name, count in counts.items() if not count]
    return f"no {' and no '.join(empty)} has a value" if empty else None


def plain(value) -> float | None:
    """Return a number as JSON can hold it."""
    return None if np.isnan(value) else float(value)
