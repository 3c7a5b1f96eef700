"""Read a table of ids, labels and scores from elsewhere, as if it were a run.

The file is CSV, TSV, Parquet, JSON Lines, or JSON (a list of objects). Needed columns are
`label` (1 member, 0 non-member, empty unknown) and `score` (higher = member). `id` and
`group` are optional; rows without ids are numbered. Other columns are kept, but not those
that have the name of a score of ours. So users of other tools get every interval and test.
"""

import csv
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidsme_jax import reading
from vidsme_jax.errors import InputError
from vidsme_jax.progress import say
from vidsme_jax.records import runs
from vidsme_jax.records.columns import match_columns
from vidsme_jax.records.parquet import read_parquet
from vidsme_jax.records.tabular import read_csv_typed, read_json_lines, read_json_rows
from vidsme_jax.scores import catalogue

_NEEDED = ("label", catalogue.EXTERNAL)
_EXPECTED = ("id", *_NEEDED, "group")
_SYNONYMS = {"label": ("member", "is_member", "membership")}


def read_scores(path: Path) -> runs.Run:
    """Read a table of scores as a run.

    Raises:
        InputError: the file is damaged, of an unknown kind, or has no rows. An id occurs
            twice, or a column is missing or holds other values.
    """
    if path.suffix not in _READERS:
        suffixes = ", ".join(_READERS)
        raise InputError(
            f"run={path} is a file, expected a run's directory, or a table of scores as"
            f" {suffixes}"
        )
    try:
        table = _READERS[path.suffix](path)
    except (pa.ArrowException, csv.Error, ValueError, OverflowError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be read as {path.suffix}: {reason}") from error
    table = _checked(path, table)
    empty = table.select(["id", "frames"]).slice(0, 0)
    info = {"settings": {}, "scores_from": str(path), "columns": table.column_names}
    return runs.Run(path, info, table, empty, empty)


def _checked(path: Path, table: pa.Table) -> pa.Table:
    """Return the table with the columns of a run.

    Raises:
        InputError: a column is missing, repeated, or has a value that it must not have.
    """
    names = Counter(table.column_names)
    repeated = next((name for name, n in names.items() if n > 1), None)
    if repeated is not None:
        raise InputError(f"{path} has the column {repeated} more than once, expected one")
    if not len(table):
        raise InputError(f"{path} has no rows")
    table, notes = _with_expected_names(path, table)
    lacking = [name for name in _NEEDED if name not in table.column_names]
    if lacking:
        exists = ", ".join(map(str, table.column_names))[:200]
        raise InputError(
            f"{path} has no column {lacking[0]}, expected {', '.join(_NEEDED)} and mostly"
            f" id, with commas (.csv) or tabs (.tsv) between them; there are {exists}"
        )
    if "id" not in table.column_names:
        numbers = [str(n + 1) for n in range(len(table))]
        table = table.append_column("id", pa.array(numbers))
        notes.append(
            "no column id, so rows are numbered from 1; another table without ids must have"
            " the same order"
        )
    reserved = {"frames", *catalogue.columns()}  # in such a table they may mean anything
    reserved |= {name for name in table.column_names if catalogue.is_published(name)}
    columns = {name: table[name] for name in table.column_names if name not in reserved}
    columns["id"] = pa.array(
        [_id(path, n, x) for n, x in enumerate(table["id"].to_pylist())]
    )
    repeated_ids = [k for k, n in Counter(columns["id"].to_pylist()).items() if n > 1]
    if repeated_ids:
        raise InputError(
            f"{path} holds id={repeated_ids[0]!r} more than once, expected once each"
        )
    for name in ("label", "score"):
        columns[name] = _numbers(path, name, table[name])
    wrong = sorted(set(columns["label"].drop_null().to_pylist()) - {0.0, 1.0})
    if wrong:
        raise InputError(f"{path}: label={wrong[0]:g}, expected 1, 0 or none")
    if not np.isfinite(columns["score"].to_numpy()).any():
        raise InputError(f"{path}: no row has a score, expected numbers")
    infinite = np.flatnonzero(np.isinf(columns["score"].to_numpy()))
    if len(infinite):
        value, name = (columns[c][int(infinite[0])].as_py() for c in ("score", "id"))
        raise InputError(f"{path}: score={value} of id={name!r}, expected finite numbers")
    if "group" in columns:
        groups = table["group"].to_pylist()
        columns["group"] = pa.array([None if g is None else str(g) for g in groups])
    columns["frames"] = pa.array([0] * len(table), pa.int64())  # no clip was read
    if notes:
        say(f"{path}: {'; '.join(notes)}")
    return pa.table(columns)


def _numbers(path: Path, name: str, column) -> pa.ChunkedArray:
    """Return a column as float64; an InputError names the first text in it."""
    if pa.types.is_null(column.type):
        return column.cast(pa.float64())
    checks = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)
    if not any(is_type(column.type) for is_type in checks):
        row, value = next((n, x) for n, x in enumerate(column.to_pylist()) if _is_text(x))
        where = f"{name}={str(value)[:40]!r} in row {row + 1}"
        truths = " 1 or true, 0 or false, or nothing" if name == "label" else " numbers"
        raise InputError(f"{path}: {where}, expected{truths}")
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.cast(pa.float64())


def _is_text(value: Any) -> bool:
    """Tell whether a value is neither missing nor a finite number."""
    try:
        return value is not None and not math.isfinite(float(value))
    except (TypeError, ValueError):
        return True


def _id(path: Path, row: int, value: object) -> str:
    """Return an id as text; an InputError names the row of an empty one."""
    if value is None or not str(value).strip():
        raise InputError(
            f"{path}: id={value!r} in row {row + 1}, expected one for each row"
        )
    return str(value)


def _of_objects(read: Callable[[Path], object], path: Path) -> pa.Table:
    """Return the table of a list of JSON objects."""
    rows = read(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("expected a list of objects")
    reading.check_width(dict.fromkeys(name for row in rows for name in row))
    return pa.Table.from_pylist(rows)


def _with_expected_names(path: Path, table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Return the table under the names that are expected, and which others it had."""
    try:
        renamed = match_columns(table.column_names, _EXPECTED, _SYNONYMS)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    notes = [f"column {name} is read as {other}" for name, other in renamed.items()]
    names = [renamed.get(name, name) for name in table.column_names]
    return table.rename_columns(names), notes


_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": partial(read_csv_typed, texts=("id", "group")),
    ".tsv": partial(read_csv_typed, texts=("id", "group"), delimiter="\t"),
    ".parquet": partial(read_parquet, most_rows=reading.ROWS),
    ".json": partial(_of_objects, read_json_rows),
    ".jsonl": partial(_of_objects, read_json_lines),
}
