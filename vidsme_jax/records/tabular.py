"""Read tables that users bring: JSON, JSON Lines, CSV, TSV and Parquet.

Readers raise the errors of their libraries (ValueError, OSError, csv.Error, pyarrow's);
callers add the option that named the file.
"""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from vidsme_jax import reading
from vidsme_jax.records.columns import plain_name
from vidsme_jax.records.parquet import read_parquet

_LONGEST_ROW = 1 << 28  # bytes of CSV


def read_json_rows(path: Path) -> Any:
    """Read a JSON file that should hold a list of objects; a byte order mark is skipped."""
    return _few(reading.read_json(path, reading.LIST))


def read_json_lines(path: Path) -> list[Any]:
    """Read a file with a JSON object on each line; blank lines are skipped."""
    text = reading.read_text(path, reading.LIST)
    reading.check_values(text)
    # Not splitlines: texts may hold the line ends of Unicode.
    out = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            out += [reading.parse_json(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: {error.msg} at {error.colno}") from error
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return _few(out)


def read_csv_texts(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """Read CSV as texts: a dict per row, without empty cells.

    Args:
        path: the file.
        delimiter: character between two cells.

    Raises:
        ValueError: a row with another number of cells than the header, or a column twice.
    """
    text = _csv_text(path, delimiter)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    names = list(reader.fieldnames or [])
    reading.check_width(names)
    repeated = next((name for name, n in Counter(names).items() if n > 1), None)
    if repeated is not None:
        raise ValueError(f"column {repeated} stands twice")
    rows = []
    for number, row in enumerate(reader, 2):
        if None in row or None in row.values():
            raise ValueError(f"line {number} has another number of cells than the header")
        rows.append({k: v for k, v in row.items() if v != ""})
    return _few(rows)


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
    text = _csv_text(path, delimiter)
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    reading.check_width(names)
    kept = [name for name in names if plain_name(name) in texts]
    as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(kept, pa.string()))
    # A row must fit a block.
    blocks = pyarrow.csv.ReadOptions(block_size=_LONGEST_ROW)
    cells = pyarrow.csv.ParseOptions(delimiter=delimiter)
    return _few(
        pyarrow.csv.read_csv(
            pa.BufferReader(text.encode()),
            read_options=blocks,
            convert_options=as_text,
            parse_options=cells,
        )
    )


def _csv_text(path: Path, delimiter: str) -> str:
    """Return the text of a CSV file, refused where it holds too many cells."""
    text = reading.read_text(path, reading.LIST, as_written=True)
    cells = text.count(delimiter) + text.count("\n")
    if cells > reading.VALUES:
        raise ValueError(f"it has {cells:,} cells, expected up to {reading.VALUES:,}")
    return text


def _few(rows: Any) -> Any:
    """Return rows, refused where they are more than a list may have."""
    if isinstance(rows, list | pa.Table) and len(rows) > reading.ROWS:
        raise ValueError(
            f"it has {len(rows):,} rows, expected up to {reading.ROWS:,}; split it"
        )
    return rows


def read_parquet_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a Parquet file, a dict per row."""
    return read_parquet(path, most_rows=reading.ROWS).to_pylist()
