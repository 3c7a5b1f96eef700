"""Make the rows of a run's tables, batch by batch, always with the same column types."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from vidsme_jax.data.prepared import ClipFacts
from vidsme_jax.data.rows import Row
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.orders import Calibration, EntropyOrders, orders

BASE = pa.schema(
    [
        ("id", pa.string()),
        ("frames", pa.int32()),
        ("row", pa.int64()),
        ("group", pa.string()),
        ("label", pa.int8()),
        ("video", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("reader", pa.string()),
        ("fallback", pa.string()),
        ("container", pa.string()),
        ("codec", pa.string()),
        ("frames_total", pa.int64()),
        ("frame_indices", pa.list_(pa.int64())),
        ("frame_hash", pa.string()),
        ("motion", pa.float64()),
        ("illumination", pa.float64()),
        ("q", pa.float64()),
        ("r", pa.float64()),
        ("duration", pa.float64()),
        ("fps", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)

# What the blind baselines of `evaluate` look at, beside the columns of the score table,
# and by what a changed clip is noticed.
FEATURES = pa.schema(
    [
        ("id", pa.string()),
        ("frames", pa.int32()),
        ("question", pa.string()),
        ("candidates", pa.list_(pa.string())),
        ("answer", pa.string()),
        ("file_bytes", pa.int64()),
        ("read_bytes", pa.int64()),
        ("read_modified_ns", pa.int64()),
        ("appearance", pa.list_(pa.float32())),
        ("embedding", pa.list_(pa.float16())),  # thousands a row: half the file
    ]
)


def base_table(
    rows: list[Row],
    numbers: list[int],
    clips: list[ClipFacts],
    frames: int,
    calibration: Calibration | None,
) -> pa.Table:
    """Return the columns before the scores: row, clip, status, and the orders q and r.

    Args:
        rows: rows of the manifests.
        numbers: numbers of the manifest rows that the table holds.
        clips: facts of the clip of each row of the table.
        frames: the frame count.
        calibration: of this frame count; None where no clip could be read.
    """
    records = []
    for number, facts in zip(numbers, clips, strict=True):
        row = rows[number]
        record = {
            "id": row.id,
            "frames": frames,
            "row": number,
            "group": row.group,
            "label": row.label,
            "video": row.video,
        }
        records.append(record | _fact_columns(facts, frames, calibration))
    return pa.Table.from_pylist(records, BASE)


def _fact_columns(
    facts: ClipFacts, frames: int, calibration: Calibration | None
) -> dict[str, Any]:
    """Return the columns of a row that depend on its clip, without the unknown ones."""
    record = {
        "status": facts.status,
        "error": facts.error,
        "reader": facts.reader,
        "fallback": facts.fallback,
        **vars(facts.file),
    }
    if not facts.is_ok:
        return record
    sampled = facts.at[frames]
    record |= vars(sampled)
    if calibration is not None:
        motion, light = np.array([sampled.motion]), np.array([sampled.illumination])
        q, r = orders(calibration, motion, light)
        record |= {"q": float(q[0]), "r": float(r[0])}
    return record


def features_table(
    base: pa.Table,
    rows: list[Row],
    clips: list[ClipFacts],
    embedding: np.ndarray,
) -> pa.Table:
    """Return texts, file size, look and embedding of the rows, for the blind baselines.

    Args:
        base: columns before the scores, of the batch's rows.
        rows: manifest rows of the batch.
        clips: facts of the clip of each row.
        embedding: mean of the vision tower's output over the frames [row width].
    """
    largest = np.finfo(np.float16).max
    halves = np.clip(embedding, -largest, largest).astype(np.float16)
    records = []
    for record, row, facts, values in zip(
        base.select(["id", "frames", "status"]).to_pylist(),
        rows,
        clips,
        halves,
        strict=True,
    ):
        is_good = record.pop("status") == "ok"
        features = {
            "question": row.asked,
            "candidates": list(row.candidates),
            "answer": row.answer,
            "file_bytes": facts.file.file_bytes,
            "read_bytes": facts.stamp.bytes if facts.stamp else None,
            "read_modified_ns": facts.stamp.modified_ns if facts.stamp else None,
            "appearance": facts.appearance,
            "embedding": values if is_good else None,
        }
        records.append(record | features)
    return pa.Table.from_pylist(records, FEATURES)


def other_names(names: Iterable[str]) -> list[str]:
    """Return names for the manifest's further columns: NAME, or `manifest.NAME`.

    The second is for names that the table uses itself.
    """
    return [
        f"manifest.{name}" if name in BASE.names or name.count(".") == 2 else name
        for name in names
    ]


def mark_not_finite(base: pa.Table, broken: np.ndarray) -> pa.Table:
    """Return the table with status not_finite where the model computed NaN.

    Args:
        base: columns before the scores.
        broken: whether the model computed NaN [row].
    """
    status = np.array(base["status"].to_pylist(), object)
    error = np.array(base["error"].to_pylist(), object)
    bad = broken & (status == "ok")
    status[bad] = "not_finite"
    error[bad] = "the model's predictions for this clip are not finite numbers"
    for name, values in (("status", status), ("error", error)):
        column = pa.array(values.tolist(), pa.string())
        base = base.set_column(base.column_names.index(name), BASE.field(name), column)
    return base


def definition_table(
    base: pa.Table, names: tuple[str, ...], values: np.ndarray
) -> pa.Table:
    """Return the scores of a further definition, with id and frames to join them by."""
    return _with_scores(base.select(["id", "frames"]), base, names, values)


def swept_table(
    base: pa.Table,
    variants: list[EntropyOrders],
    calibration: Calibration | None,
    names: tuple[str, ...],
    values: np.ndarray,
) -> pa.Table:
    """Return a row per clip and variant of the orders: its names, q and r, and the scores.

    Args:
        base: columns before the scores, of the batch's rows.
        variants: ways to choose q and r, the run's first.
        calibration: of the frame count; None where no clip could be read.
        names: names of the score columns.
        values: the scores [clip variant score].
    """
    # Clip by clip, so that the order of rows does not depend on the batches.
    clips, count = len(base), len(variants)
    spread = base.take(np.repeat(np.arange(clips), count))
    table = spread.select(["id", "frames"])
    for name, texts in (
        ("q_rule", [variant.q_key for variant in variants]),
        ("r_rule", [variant.r_key for variant in variants]),
    ):
        table = table.append_column(name, pa.array(texts * clips, pa.string()))
    pairs = [row_orders(base, variant, calibration) for variant in variants]
    for n, name in enumerate(("q", "r")):
        column = np.stack([pair[n] for pair in pairs], axis=1).ravel()
        table = table.append_column(name, pa.array(column, pa.float64()))
    return _with_scores(table, spread, names, values[:clips].reshape(clips * count, -1))


def row_orders(
    base: pa.Table, variant: EntropyOrders, calibration: Calibration | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return q and r of every row, chosen one way; NaN for a row that is not ok."""
    motion, light = (
        base[name].to_numpy().astype(float) for name in ("motion", "illumination")
    )
    if calibration is None:
        return motion * np.nan, light * np.nan
    q, r = variant.of_clips(calibration, motion, light)
    good = np.array([status == "ok" for status in base["status"].to_pylist()], bool)
    return np.where(good, q, np.nan), np.where(good, r, np.nan)


def single_frames(table: pa.Table) -> Bool[np.ndarray, "row"]:
    """Return whether the clip of each row shows a single frame, so has no other order.

    Args:
        table: columns before the scores, or a whole score table.
    """
    frames = table["frame_indices"].to_pylist()
    return np.array([len(set(indices or ())) == 1 for indices in frames], bool)


def part_table(
    base: pa.Table,
    other: dict[str, pa.Array],
    rows: list[int],
    columns: tuple[str, ...],
    scores: np.ndarray,
) -> pa.Table:
    """Join the rows of a batch with their scores; a row that is not ok has none."""
    for name, values in other.items():
        base = base.append_column(name, values.take(pa.array(rows, pa.int64())))
    return _with_scores(base, base, columns, scores)


def _with_scores(
    table: pa.Table, base: pa.Table, names: tuple[str, ...], values: np.ndarray
) -> pa.Table:
    """Return a table with score columns; empty where `base` is not ok, padding cut off.

    Scores that compare two orders of the frames are NaN for a clip of a single frame.
    """
    bad = np.array([status != "ok" for status in base["status"].to_pylist()], bool)
    compared = [catalogue.compares_orders(name) for name in names]
    blank = np.logical_and.outer(single_frames(base), compared)
    values = np.where(blank, np.float32(np.nan), values[: len(base)])
    columns = [pa.array(column, pa.float32(), mask=bad) for column in values[: len(base)].T]
    arrays = [*table.columns, *columns]
    return pa.table(arrays, names=[*table.column_names, *names])
