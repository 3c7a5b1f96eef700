"""One row per clip: its primary score, calibrated by the control, and its verdict."""

from typing import Any

import numpy as np
import pyarrow as pa

from vidsme_jax.evaluation.samples import (
    Sample,
    groups_of,
    higher_is_member,
    labels_of,
    pair,
    samples,
)
from vidsme_jax.evaluation.score_metrics import calibrated, plain
from vidsme_jax.records import runs


def clip_rows(
    run: runs.Run, control: pa.Table | None, data: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the clips of one frame count that have a score, the most member-like first.

    Args:
        run: whose clips they are.
        control: the same clips under the control.
        data: of the frame count: `frames`, `primary`, `verdict`.

    Returns:
        `id`, `group`, `label` (None where unknown) and `value`, as in the table; with a
        control `control`, and, higher = member, `difference` and `ratio` (see
        `evaluation_table.calibrated`); with a verdict `p_value` and `q_value` of the judged
        clips.
    """
    name, frames = data["primary"], data["frames"]
    found = [s for s in samples(run.table, labelled=False) if s.frames == frames]
    if name is None or not found:
        return []
    sample = found[0]
    sign = 1 if higher_is_member(name) else -1
    known = {key: row for key, row in _known(run.table, frames)}
    further = _further(sample, control, name, sign) | _verdicts(data["verdict"])
    values = sample.scores[name]
    rows = []
    for k in np.argsort(-values, kind="stable").tolist():  # NaN comes last
        key = sample.ids[k]
        row = {"id": key, **known[key], "value": plain(sign * values[k])}
        rows.append(row | {c: held.get(key) for c, held in further.items()})
    return rows


def _known(table: pa.Table, frames: int):
    """Yield id, and group and label, of each row of a frame count."""
    labels, groups = labels_of(table).tolist(), groups_of(table)
    keys = runs.row_keys(table) if "frames" in table.column_names else []
    for (key, count), group, label in zip(keys, groups, labels, strict=True):
        if count == frames:
            yield key, {"group": group, "label": None if label < 0 else label}


def _further(sample: Sample, control, name: str, sign: int) -> dict[str, dict[str, Any]]:
    """Return the columns that a control gives, each by id."""
    if control is None:
        return {}
    ours, theirs = pair(sample, control)
    if name not in theirs.scores:
        return {}
    other = theirs.scores[name]
    columns = {"control": sign * other, **calibrated(ours.scores[name], other)}
    return {
        key: {} if values is None else dict(zip(ours.ids, map(plain, values), strict=True))
        for key, values in columns.items()
    }


def _verdicts(verdict: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    if verdict is None or verdict["reason"]:
        return {}
    clips = verdict["clips"]
    keys = ("p_value", "q_value")
    return {key: dict(zip(clips["id"], clips[key], strict=True)) for key in keys}
