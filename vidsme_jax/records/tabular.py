"""Read tables that users bring: JSON, JSON Lines, CSV, TSV and Parquet.

Readers raise the errors of their libraries (ValueError, OSError, csv.Error, pyarrow's);
callers add the option that named the file.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from vidsme_jax.records.columns import plain_name

_LONGEST_ROW = 1 << 28  # bytes of CSV


def read_json_rows(path: Path) -> Any:
    """Read a JSON file that should hold a list of objects; a byte order mark is skipped."""
    return json.loads(path.read_text(encoding="utf-8-sig"))


def read_json_lines(path: Path) -> list[Any]:
    """Read a file with a JSON object on each line; blank lines are skipped."""
    # Not splitlines: texts may hold the line ends of Unicode.
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    out = []
    for number, line in enumerate(lines, 1):
        try:
            out += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: {error.msg} at {error.colno}") from error
    return out


def read_csv_texts(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """Read CSV as texts: a dict per row, without empty cells.

    Args:
        path: the file.
        delimiter: character between two cells.

    Raises:
        ValueError: a row with another number of cells than the header, or a column twice.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True, delimiter=delimiter)
        names = list(reader.fieldnames or [])
        rows = list(reader)
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(f"column {repeated} stands twice")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ValueError(f"line {number} has another number of cells than the header")
    return [{k: v for k, v in row.items() if v != ""} for row in rows]


def read_tsv_texts(path: Path) -> list[dict[str, str]]:
    """Read tab-separated values as texts; see `read_csv_texts`."""
    return read_csv_texts(path, "\t")


def read_csv_typed(path: Path, texts: tuple[str, ...], delimiter: str = ",") -> pa.Table:
    """Read CSV as a table; columns that hold only numbers become numbers.

    Args:
        path: the file.
        texts: names of columns that stay texts, so that 007 is not 7; written in any case.
        delimiter: character between two cells.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        names = next(csv.reader(file, delimiter=delimiter), [])
    kept = [name for name in names if plain_name(name) in texts]
    as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(kept, pa.string()))
    # A row must fit a block.
    blocks = pyarrow.csv.ReadOptions(block_size=_LONGEST_ROW)
    cells = pyarrow.csv.ParseOptions(delimiter=delimiter)
    return pyarrow.csv.read_csv(
        path, read_options=blocks, convert_options=as_text, parse_options=cells
    )


def read_parquet_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a Parquet file, a dict per row."""
    return pq.read_table(path).to_pylist()
