"""Draw a figure per pair of swept axes: lines over frame counts, else a heat-map of AUCs.

The other axes are fixed at their first values in the table, q and r at the adaptive ones
where those are swept. The note says so. A place of the figure that has no such cell shows
the first cell that it has: a fixed q may come with a fixed r alone.
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

    The folder holds nothing else: figures of an earlier, larger grid are removed.
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
    """Return the values of an axis but None: names in the table's order, numbers sorted."""
    values = list(dict.fromkeys(row[axis] for row in rows if row[axis] is not None))
    return sorted(values) if all(isinstance(v, int) for v in values) else values


def _figure(rows: list[dict[str, Any]], first: str, second: str | None) -> str | None:
    """Return the figure of two axes; None where one of them has a single value left.

    So it is with q and families that do not depend on it.
    """
    shown, fixed = _select(rows, (first, second))
    if any(len(_values(shown, axis)) < 2 for axis in (first, second) if axis):
        return None
    title = f"AUC by {first}" + (f" and {second}" if second else "")
    note = ", ".join(f"{axis} {value}" for axis, value in fixed.items())
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
    """Return an axis's name and its values as text; a shared first word joins the name."""
    names = ["" if value is None else str(value) for value in values]
    words = {name.split(" ")[0] for name in names if " " in name}
    if len(words) == 1 and all(" " in name for name in names):
        (word,) = words
        return f"{axis}: {word}", [name.removeprefix(f"{word} ") for name in names]
    return axis, names


def _select(rows: list[dict[str, Any]], free: tuple[str | None, ...]):
    """Return the rows of a figure, and the values that its other axes are fixed at.

    A family that does not depend on q and r has no value there, and stays.
    """
    shown = [row for row in rows if all(row[axis] is not None for axis in free if axis)]
    fixed: dict[str, Any] = {}
    for axis in AXES:
        values = _values(shown, axis)
        if axis in free or not values:
            continue
        first = _USUAL[axis] if _USUAL.get(axis) in values else values[0]
        shown = _fix_axis(shown, axis, first, free)
        if len(_values(rows, axis)) > 1:
            odd = any(row[axis] not in (first, None) for row in shown)
            fixed[axis] = f"{first}, or the only one" if odd else first
    return shown, fixed


def _fix_axis(rows: list[dict[str, Any]], axis: str, first: Any, free):
    """Return, for each place of the figure, its rows at `first`, or at its first value."""
    value_at: dict[Any, Any] = {}
    for row in rows:
        place = tuple(row[name] for name in free if name)
        if row[axis] == first or place not in value_at:
            value_at[place] = row[axis]
    return [
        row
        for row in rows
        if row[axis] in (value_at[tuple(row[name] for name in free if name)], None)
    ]


def _estimate(row: dict[str, Any]) -> Estimate:
    """Return the AUC of a row with its interval."""
    return Estimate(row["auc"], row["auc_low"], row["auc_high"])
