"""Verdicts on clips whose use is unknown, against clips that are known to be outside."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from vidsme_jax.evaluation.blind import evaluate_blind
from vidsme_jax.evaluation.blind_features import Row, feature_rows
from vidsme_jax.evaluation.estimates import estimate
from vidsme_jax.evaluation.samples import (
    Sample,
    by_frames,
    groups_of,
    higher_is_member,
    labels_of,
    primary_of,
    samples,
    status_of,
)
from vidsme_jax.evaluation.score_metrics import plain
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.records import runs
from vidsme_jax.stats.conformal import adjusted, conformal_p, threshold
from vidsme_jax.stats.permutation import permutation_test

_RATES = (0.05, 0.10)  # of false discoveries


def judge(
    run: runs.Run,
    reference: runs.Run | None,
    frames: int,
    settings: EvaluationSettings,
) -> dict[str, Any] | None:
    """Judge the clips of a run at one frame count by its primary score.

    Judged are the rows without a label, against those with label 0; where a reference is
    given, all but those with label 0, against its rows with label 0, or, where it has none,
    its rows without a label.

    Returns:
        None where there is nothing to judge; else a dict with `reason` why no verdict can
        be given, or None, and then `score`, `reference` and `judged` (`rows`, `groups`),
        `dropped` (reference rows of a judged group), `smallest_p`, `thresholds` by false
        positive rate, `discoveries` by rate, `set` (all judged clips together), `baselines`
        (can a judged clip be told from the reference without the model?), and `clips`:
        `id`, `score`, `p_value`, `q_value`, one entry each.
    """
    mine = _part(run.table, frames, {-1} if reference is None else {-1, 1})
    if mine is None or not len(mine):
        return None
    source = run if reference is None else reference
    theirs = _part(source.table, frames, {0})
    if theirs is None or not len(theirs):
        theirs = None if reference is None else _part(source.table, frames, {-1})
    if theirs is None or not len(theirs):
        return {"reason": "no clip is known to be outside", "judged": _size(mine)}
    table, dropped = _together(mine, theirs)
    if dropped == len(theirs):
        return {"reason": "every clip of the reference is judged", "judged": _size(mine)}
    (sample,) = samples(table)
    name = primary_of(sample, settings.score)
    if name is None:
        return {"reason": "the primary score is not in this run", "judged": _size(mine)}
    look = partial(_rows, run, source)
    return _judge(sample, look, name, settings) | {"dropped": dropped}


def _part(table: pa.Table, frames: int, labels: set[int]) -> pa.Table | None:
    """Return a frame count's rows that are ok and have one of the labels (-1: none)."""
    for part in by_frames(table):
        if "frames" in part.column_names and part["frames"][0].as_py() == frames:
            wanted = np.isin(labels_of(part), [*labels]) & (status_of(part) == "ok")
            return part.filter(pa.array(wanted))
    return None


def _size(table: pa.Table) -> dict[str, int]:
    return {"rows": len(table), "groups": len(set(groups_of(table)))}


def _together(mine: pa.Table, theirs: pa.Table) -> tuple[pa.Table, int]:
    """Join judged clips (label 1) and those of the reference (0) from other groups."""
    taken, ids = set(groups_of(mine)), set(mine["id"].to_pylist())
    apart = [
        group not in taken and name not in ids
        for group, name in zip(groups_of(theirs), theirs["id"].to_pylist(), strict=True)
    ]
    kept = theirs.filter(pa.array(apart, pa.bool_()))
    names = [
        name
        for name in mine.column_names
        if name != "label"
        and name in kept.column_names
        and mine.schema.field(name).type == kept.schema.field(name).type
    ]
    parts = [
        part.select(names).append_column("label", pa.array([label] * len(part), pa.int8()))
        for part, label in ((mine, 1), (kept, 0))
    ]
    return pa.concat_tables(parts), len(theirs) - len(kept)


def _rows(run, source, sample: Sample) -> list[Row]:
    """Return what is known of the sample's clips, each from its own run."""
    each = [
        feature_rows(held.table, held.others.get("features"), ids, sample.frames)
        for held, ids in (
            (run, [i for i, m in zip(sample.ids, sample.member, strict=True) if m]),
            (source, [i for i, m in zip(sample.ids, sample.member, strict=True) if not m]),
        )
    ]
    sides = [iter(rows) for rows in each]
    return [next(sides[0] if m else sides[1]) for m in sample.member]


def _judge(
    sample: Sample,
    look: Callable[[Sample], Sequence[Row]],
    name: str,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    values, member = sample.scores[name], sample.member
    known = ~member & ~np.isnan(values)
    reference, group = values[known], sample.unit[known]
    p = conformal_p(values[member], reference, group)
    q = adjusted(p)
    sign = 1 if higher_is_member(name) else -1
    count = len(np.unique(group))
    return {
        "reason": None,
        "score": name,
        "member_is": "higher" if sign > 0 else "lower",
        "reference": {"rows": len(reference), "groups": count},
        "judged": {
            "rows": int(np.sum(~np.isnan(p))),
            "groups": len(np.unique(sample.unit[member])),
        },
        "smallest_p": 1 / (1 + count),
        "thresholds": {
            f"{fpr:g}": _flagged(values[member], reference, group, fpr, settings, sign)
            for fpr in settings.fprs
            if 0 < fpr < 1
        },
        "discoveries": {f"{rate:g}": int(np.sum(q <= rate)) for rate in _RATES},
        "set": _as_a_set(sample, name, settings),
        "baselines": evaluate_blind(sample, look, values, settings),
        "clips": {
            "id": [i for i, judged in zip(sample.ids, member, strict=True) if judged],
            "score": [plain(sign * x) for x in values[member]],
            "p_value": [plain(x) for x in p],
            "q_value": [plain(x) for x in q],
        },
    }


def _flagged(values, reference, group, fpr, settings, sign) -> dict[str, Any]:
    found = threshold(reference, group, fpr, settings.confidence)
    out: dict[str, Any] = {"groups": found.groups, "groups_sure": found.groups_sure}
    for key, limit in (("value", found.value), ("sure", found.sure)):
        above = 0 if limit is None else int(np.sum(values > limit))
        out |= {key: None if limit is None else sign * limit, f"flagged_{key}": above}
    return out


def _as_a_set(sample: Sample, name: str, settings) -> dict[str, Any]:
    """Ask whether the judged clips as a whole score higher than the reference."""
    values = sample.scores[name][None]
    found = estimate(values, sample.member, sample.unit, settings)
    how = (settings.permutations, settings.seed)
    tested = permutation_test(values, sample.member, sample.unit, *how)
    return {
        "auc": plain(found.metrics.auc[0]),
        "auc_interval": [plain(found.low.auc[0]), plain(found.high.auc[0])],
        "p_value": plain(tested.p[0]),
    }
