"""A figure per pair of swept axes: lines over frame counts, else a heat-map of AUCs.

What the two axes of a figure do not fix is held at its first value in the table (q and r
adaptive as published, if they are there), and the note says so. A place of the figure that
has no such cell shows the first one that it has: a fixed q may come with a fixed r alone.
"""

from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.records.files import replacing
from vidsme_jax.report.figures import heat_figure, series_figure
from vidsme_jax.scores.orders import EntropyOrders
from vidsme_jax.sweeps.cells import AXES

_LINES = 5  # more are no longer told apart
_USUAL = {"q_rule": EntropyOrders().q_key, "r_rule": EntropyOrders().r_key}


def write_figures(folder: Path, table: pa.Table) -> list[Path]:
    """Write one SVG per pair of axes that have several values; return their paths.

    The folder is theirs alone: those of an earlier, larger grid go.
    """
    rows = table.to_pylist()
    swept = [axis for axis in AXES if len(_values(rows, axis)) > 1]
    pairs: list[tuple[str, str | None]] = list(combinations(swept, 2))
    pairs = pairs or [(axis, None) for axis in swept]
    if pairs:
        folder.mkdir(parents=True, exist_ok=True)
    out = []
    for first, second in pairs:
        figure = _figure(rows, first, second)
        if figure is None:
            continue
        path = folder / f"{first}-{second or 'auc'}.svg"
        with replacing(path) as temporary:
            temporary.write_text(f"{figure}\n", encoding="utf-8")
        out.append(path)
    for stale in set(folder.glob("*.svg")) - set(out):
        stale.unlink()
    return out


def _values(rows: list[dict[str, Any]], axis: str) -> list[Any]:
    """Return the values of an axis in the table's order; numbers upwards."""
    values = list(dict.fromkeys(row[axis] for row in rows if row[axis] is not None))
    return sorted(values) if all(isinstance(v, int) for v in values) else values


def _figure(rows: list[dict[str, Any]], first: str, second: str | None) -> str | None:
    """Return a figure; None where the two axes vary with each other alone.

    Families that do not depend on q and r have none, for one.
    """
    shown, held = _slice(rows, (first, second))
    if any(len(_values(shown, axis)) < 2 for axis in (first, second) if axis):
        return None
    title = f"AUC by {first}" + (f" and {second}" if second else "")
    note = ", ".join(f"{axis} {value}" for axis, value in held.items())
    x, y = (second, first) if second == "frames" else (first, second)
    lines = y is None or (x == "frames" and len(_values(shown, y)) <= _LINES)
    if y and not lines and len(_values(shown, x)) > len(_values(shown, y)):
        x, y = y, x  # names of rows have more room
    cells = {(row[x], row[y] if y else None): _estimate(row) for row in shown}
    across, down = _values(shown, x), _values(shown, y) if y else [None]
    grid = [[cells.get((a, b)) for a in across] for b in down]
    (x, names), (y, series) = _labels(x, across), _labels(y or "", down)
    if lines:
        return series_figure(title, note, (x, y), (names, series), grid)
    return heat_figure(title, note, (x, y), (names, series), grid)


def _labels(axis: str, values: list[Any]) -> tuple[str, list[str]]:
    """Return the axis's name and its values as text; a word they share goes to the name."""
    names = ["" if value is None else str(value) for value in values]
    words = {name.split(" ")[0] for name in names if " " in name}
    if len(words) == 1 and all(" " in name for name in names):
        (word,) = words
        return f"{axis}: {word}", [name.removeprefix(f"{word} ") for name in names]
    return axis, names


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
        first = _USUAL[axis] if _USUAL.get(axis) in values else values[0]
        shown = _held_at(wanted, axis, first, free)
        if len(_values(rows, axis)) > 1:
            odd = any(row[axis] not in (first, None) for row in shown)
            held[axis] = f"{first}, or the only one" if odd else first
        wanted = shown
    return wanted, held


def _held_at(rows: list[dict[str, Any]], axis: str, first: Any, free):
    """Keep, in each place of the figure, the rows at `first`, or at its first value."""
    there: dict[Any, Any] = {}
    for row in rows:
        place = tuple(row[name] for name in free if name)
        if row[axis] == first or place not in there:
            there[place] = row[axis]
    return [
        row
        for row in rows
        if row[axis] in (there[tuple(row[name] for name in free if name)], None)
    ]


def _estimate(row: dict[str, Any]) -> Estimate:
    return Estimate(row["auc"], row["auc_low"], row["auc_high"])
