"""A figure per pair of swept axes: lines over frame counts, else a heat-map of AUCs.

What the two axes of a figure do not fix is held at its first value in the table, and the
title says so.
"""

from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidsme_jax.figures import Interval, heat_figure, series_figure
from vidsme_jax.records import replacing
from vidsme_jax.sweep_cells import AXES

_LINES = 5  # more are no longer told apart


def write_figures(folder: Path, table: pa.Table) -> list[Path]:
    """Write one SVG per pair of axes that have several values; return their paths."""
    rows = table.to_pylist()
    swept = [axis for axis in AXES if len(_values(rows, axis)) > 1]
    pairs = list(combinations(swept, 2)) or [(axis, None) for axis in swept]
    if pairs:
        folder.mkdir(parents=True, exist_ok=True)
    out = []
    for first, second in pairs:
        path = folder / f"{first}-{second or 'auc'}.svg"
        with replacing(path) as temporary:
            temporary.write_text(_figure(rows, first, second) + "\n", encoding="utf-8")
        out.append(path)
    return out


def _values(rows: list[dict[str, Any]], axis: str) -> list[Any]:
    """Return the values of an axis in the table's order; numbers upwards."""
    values = list(dict.fromkeys(row[axis] for row in rows if row[axis] is not None))
    return sorted(values) if all(isinstance(v, int) for v in values) else values


def _figure(rows: list[dict[str, Any]], first: str, second: str | None) -> str:
    shown, held = _slice(rows, (first, second))
    title = f"AUC by {first}" + (f" and {second}" if second else "")
    note = ", ".join(f"{axis} {value}" for axis, value in held.items())
    x, y = (second, first) if second == "frames" else (first, second)
    lines = y is None or (x == "frames" and len(_values(shown, y)) <= _LINES)
    if y and not lines and len(_values(shown, x)) > len(_values(shown, y)):
        x, y = y, x  # names of rows have more room
    cells = {(row[x], row[y] if y else None): _interval(row) for row in shown}
    across, down = _values(shown, x), _values(shown, y) if y else [None]
    grid = [[cells.get((a, b)) for a in across] for b in down]
    names = [str(value) for value in across], [str(v) if y else "" for v in down]
    if lines:
        return series_figure(title, note, x, names, grid)
    return heat_figure(title, note, (x, y or ""), names, grid)


def _slice(rows: list[dict[str, Any]], free: tuple[str | None, ...]):
    """Return the rows of a figure, and what the other axes are held at.

    A family that does not depend on q and r has no value there, and stays.
    """
    wanted = [row for row in rows if all(row[axis] is not None for axis in free if axis)]
    held: dict[str, Any] = {}
    for axis in AXES:
        values = _values(wanted, axis)
        if axis in free or not values:
            continue
        first = next(row[axis] for row in wanted if row[axis] is not None)
        wanted = [row for row in wanted if row[axis] in (first, None)]
        if len(_values(rows, axis)) > 1:
            held[axis] = first
    return wanted, held


def _interval(row: dict[str, Any]) -> Interval:
    return Interval(row["auc"], row["auc_low"], row["auc_high"])
