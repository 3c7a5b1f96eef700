"""Write tables for people as CSV, which spreadsheets open, with a Parquet file beside it.

A spreadsheet runs a cell that begins as a formula does, and a clip's name may come from
anyone. Such texts get a `'` before them, as OWASP advises for CSV injection. The Parquet
file has them as they are.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidsme_jax.records.files import replacing, write_table

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a CSV file, and as a Parquet file of the same stem; each atomically.

    Args:
        path: of the CSV file.
        rows: a value by the name of its column; a column that a row lacks is empty there.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    write_table(path.with_suffix(".parquet"), pa.table(columns))
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="replace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(map(defused, names))
        writer.writerows([defused(row.get(name)) for name in names] for row in rows)


def defused(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula; numbers stay as they are."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    return value if _NUMBER.fullmatch(value) else f"'{value}"


def _column(values: list[Any]) -> pa.Array:
    """Return values as a column; of several types they become texts."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):
        texts = [None if v is None else str(v) for v in values]
        return pa.array([t and t.encode(errors="replace").decode() for t in texts])
