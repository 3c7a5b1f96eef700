"""From a score table to metrics: every score, blind baseline and control comparison.

Scores are turned round by their orientation in `scores.py`, so that higher means
member. Only rows with a label and with status ok are evaluated; the rest are counted.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from vidsme_jax import records, scores
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation import (
    Estimates,
    EvaluationSettings,
    estimate,
)
from vidsme_jax.intervals import percentile
from vidsme_jax.metrics import published_metrics
from vidsme_jax.permutation import choose_on_half, permutation_test

# What can be read off a file without any model, higher = member by convention: an AUC
# far from 0.5 on either side means that the two sets differ by themselves.
BLIND = (
    "motion",
    "illumination",
    "duration",
    "fps",
    "width",
    "height",
    "frames_total",
)
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


@dataclass(frozen=True)
class Sample:
    """The rows of one frame count that can be evaluated: labelled, with status ok.

    Attributes:
        frames: frames per clip.
        ids: the rows' ids.
        member: their labels.
        unit: index of the row's group; a group under both labels is two units.
        scores: score columns, higher = member.
        blind: numbers known without a model, as they are.
    """

    frames: int
    ids: list[str]
    member: Bool[np.ndarray, "row"]
    unit: Int[np.ndarray, "row"]
    scores: dict[str, Float[np.ndarray, "row"]]
    blind: dict[str, Float[np.ndarray, "row"]]

    def take(self, rows: list[int]) -> "Sample":
        """Return the sample of the given rows only."""
        return replace(
            self,
            ids=[self.ids[k] for k in rows],
            member=self.member[rows],
            unit=self.unit[rows],
            scores={name: values[rows] for name, values in self.scores.items()},
            blind={name: values[rows] for name, values in self.blind.items()},
        )


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
        choosing among the scores), `blind`. NaN becomes None, with a `reason` beside it.
        With `settings.published` each score and number has `published`, see
        `published_metrics`.

    Raises:
        InputError: labels other than 0, 1 and null.
    """
    return [
        {
            "frames": sample.frames,
            "counts": _counts(part, sample),
            "primary": _primary(sample),
            "scores": _evaluate_scores(sample, settings, control),
            "search": _search(sample, settings),
            "blind": evaluate_columns(sample, sample.blind, settings),
        }
        for part, sample in zip(_by_frames(table), samples(table), strict=True)
    ]


def samples(table: pa.Table, labelled: bool = True) -> list[Sample]:
    """Return the rows with status ok, one sample per frame count, upwards.

    Args:
        table: a score table.
        labelled: leave out the rows without a label; kept, they are no members.
    """
    return [_sample(p, (_labels(p) >= 0) | (not labelled)) for p in _by_frames(table)]


def with_published(run: records.Run) -> records.Run:
    """Return a run whose table also holds the scores of its published.parquet, if any.

    Each float column NAME becomes `published: NAME`, joined by id and frames; members are
    low in all of them. Columns of a manifest that are called so are left out.

    Raises:
        InputError: the file lacks id or frames, holds a row twice, or other rows than
            scores.parquet.
    """
    own = [c for c in run.table.column_names if scores.is_published(c)]
    table = run.table.drop_columns(own)
    found = run.others.get("published")
    if found is None:
        return replace(run, table=table)
    found = found.take(_places(found, table, run.path / "published.parquet"))
    for name in found.column_names:
        if pa.types.is_floating(found[name].type):
            table = table.append_column(scores.PUBLISHED + name, found[name])
    return replace(run, table=table)


def _places(found: pa.Table, table: pa.Table, path: Path) -> list[int]:
    """Where the rows of `table` are in `found`."""
    keys = ["id", "frames"]
    lacking = [key for key in keys if key not in found.column_names]
    if lacking:
        raise InputError(f"{path} has no column {lacking[0]}; score the clips again")
    place = {key: k for k, key in enumerate(_pairs(found))}
    if len(place) < len(found):
        raise InputError(f"{path} holds an id and frame count twice, expected once each")
    wanted = _pairs(table)
    if set(wanted) != set(place):
        name, frames = next(iter(set(wanted) ^ set(place)))
        where = "scores.parquet" if (name, frames) in place else path.name
        raise InputError(
            f"{path} belongs to another scores.parquet: id={name!r} with {frames} frames"
            f" is not in {where}; expected the same rows in both"
        )
    return [place[key] for key in wanted]


def _pairs(table: pa.Table) -> list[tuple[Any, Any]]:
    columns = (table[name].to_pylist() for name in ("id", "frames"))
    return list(zip(*columns, strict=True))


def pair(sample: Sample, control: pa.Table) -> tuple[Sample, Sample]:
    """Return target and control on the clips that both scored, row by row the same.

    Joined by id and frames; the labels and groups of both are the target's.
    """
    found = samples(control, labelled=False)
    other = next((c for c in found if c.frames == sample.frames), None)
    if other is None:
        return sample.take([]), sample.take([])
    place = {name: k for k, name in enumerate(other.ids)}
    target = sample.take([k for k, name in enumerate(sample.ids) if name in place])
    rows = [place[name] for name in target.ids]
    values = {name: column[rows] for name, column in other.scores.items()}
    return target, replace(target, scores=values)


def _by_frames(table) -> list[pa.Table]:
    if "frames" not in table.column_names:
        return [table]
    kinds = sorted(k for k in pc.unique(table["frames"]).to_pylist() if k is not None)
    return [table.filter(pc.equal(table["frames"], k)) for k in kinds]


def _labels(table) -> Int[np.ndarray, "row"]:
    """1 member, 0 non-member, -1 unlabelled."""
    labels = _floats(table["label"])
    labels = np.where(np.isnan(labels), -1, labels)
    strange = sorted(set(labels.tolist()) - {1, 0, -1})
    if strange:
        raise InputError(f"label={strange[0]:g}, expected 1, 0 or none")
    return labels.astype(np.int64)


def _floats(column) -> Float[np.ndarray, "row"]:
    return column.cast(pa.float64()).to_numpy()


def _status(table) -> np.ndarray:
    if "status" not in table.column_names:
        return np.full(len(table), "ok", object)
    return np.array([str(s) for s in table["status"].to_pylist()], object)


def _groups(table) -> list[str]:
    ids = table["id"].to_pylist()
    if "group" not in table.column_names:
        return ids
    held = table["group"].to_pylist()
    return [own if g is None else g for g, own in zip(held, ids, strict=True)]


def _sample(table, wanted) -> Sample:
    keep = wanted & (_status(table) == "ok")
    member = _labels(table) == 1
    names = [f"{m:d} {g}" for m, g in zip(member, _groups(table), strict=True)]
    _, unit = np.unique(np.array(names, object), return_inverse=True)
    frames = int(table["frames"][0].as_py()) if "frames" in table.column_names else 0
    whole = Sample(
        frames,
        table["id"].to_pylist(),
        member,
        unit,
        dict(_oriented(table)),
        {name: _floats(table[name]) for name in BLIND if _numeric(table, name)},
    )
    return whole.take(np.flatnonzero(keep).tolist())


def _numeric(table, name) -> bool:
    place = table.schema.get_field_index(name)  # table.column_names is made anew each time
    if place < 0:
        return False
    kind = table.schema.field(place).type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _oriented(table) -> Iterator[tuple[str, np.ndarray]]:
    known = set(scores.columns())
    known |= {name for name in table.column_names if scores.is_published(name)}
    held = [c for c in table.column_names if c in known and _numeric(table, c)]
    if not held and _numeric(table, "score"):
        yield "score", _floats(table["score"])
    for name in held:
        values = _floats(table[name])
        yield name, values if scores.higher_is_member(name) else -values


def _primary(sample: Sample) -> str | None:
    if list(sample.scores) == ["score"]:
        return "score"
    return scores.PRIMARY if scores.PRIMARY in sample.scores else None


def _counts(table, sample: Sample) -> dict[str, Any]:
    labels, status, groups = (
        _labels(table),
        _status(table),
        np.array(_groups(table), object),
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
    rows = {name: _entry(found, n, settings) for n, name in enumerate(columns)}
    if settings.published:
        for name, column in columns.items():
            rules = published_metrics(column, sample.member)
            rows[name]["published"] = {k: _plain(v) for k, v in rules.items()}
    return rows


def _evaluate_scores(sample, settings, control) -> dict[str, dict[str, Any]]:
    out = evaluate_columns(sample, sample.scores, settings)
    for name, found in _p_values(sample, list(out), settings).items():
        out[name] |= found
    if control is None:
        return out
    primary = _primary(sample)
    target, other = pair(sample, control)
    for name, found in _compare(target, other, settings).items():
        out[name]["control"] = found
    if primary and primary in other.scores:
        alone = _p_values(other, [primary], settings)[primary]
        out[primary]["control"]["p_value"] = alone["p_value"]
    return out


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
        name: {"p_value": _plain(p), "p_adjusted": _plain(adjusted)}
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
        out[key] = _plain(values[name])
        out[f"{key}_interval"] = [_plain(low[name]), _plain(high[name])]
    out["advantage"], *ends = (
        _plain(2 * side["balanced_accuracy"] - 1) for side in (values, low, high)
    )
    out["advantage_interval"] = ends
    rates = [f"{fpr:g}" for fpr in settings.fprs]
    out["tpr"] = dict(zip(rates, map(_plain, values["tpr"]), strict=True))
    out["tpr_interval"] = {
        rate: [_plain(x) for x in pair]
        for rate, *pair in zip(rates, low["tpr"], high["tpr"], strict=True)
    }
    members, others = int(found.members[n]), int(found.others[n])
    return out | {
        "members": members,
        "non_members": others,
        "reason": _reason(members, others),
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
    ends = percentile(own.draws - found.draws, settings.confidence)
    rows = {}
    for n, name in enumerate(target.scores):
        entry = _entry(found, n, settings)
        rows[name] = {
            **{key: entry[key] for key in ("auc", "auc_interval")},
            "target_auc": _plain(own.metrics.auc[n]),
            "difference": _plain(point[n]),
            "difference_interval": [_plain(side[n]) for side in ends],
            **{key: entry[key] for key in ("members", "non_members", "reason")},
        }
    return rows


def _reason(members: int, others: int) -> str | None:
    counts = {"member": members, "non-member": others}
    empty = [name for name, count in counts.items() if not count]
    return f"no {' and no '.join(empty)} has a value" if empty else None


def _plain(value) -> float | None:
    return None if np.isnan(value) else float(value)
