"""Read Parquet files that may come from anyone: a small file can hold a huge table.

A column chunk may say "this text, a million times" in a few bytes. So a table that could
outgrow the limit is read in pieces, and refused at the piece with which it does.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vidsme_jax import reading

_SMALL = 2**30  # bytes in memory that any file may take
_RATIO = 20  # bytes in memory that a larger file may take for each of its own
_PIECE = 2**28  # bytes in memory of a piece, however well it is compressed
_FIXED = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE")  # at most 12 bytes


def read_parquet(
    path: Path, columns: Sequence[str] | None = None, most_rows: int | None = None
) -> pa.Table:
    """Read a Parquet file as a table.

    Args:
        path: the file.
        columns: names of the columns to read, where it has them; None for all.
        most_rows: largest number of rows; None for any.

    Raises:
        ValueError: no regular file, too many rows or columns, or a content of more than
            1 GiB that is more than 20 times the file.
        OSError, pa.ArrowException: damaged.
    """
    reading.check_file(path)
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        names = file.schema_arrow.names
        chosen = None if columns is None else [n for n in columns if n in names]
        width = len(names) if chosen is None else len(chosen)
        if width > reading.COLUMNS:
            raise ValueError(
                f"it has {width:,} columns, expected up to {reading.COLUMNS:,}"
            )
        rows = file.metadata.num_rows
        if most_rows is not None and rows > most_rows:
            raise ValueError(f"it has {rows:,} rows, expected up to {most_rows:,}")
        most = max(_SMALL, _RATIO * path.stat().st_size)
        fixed, per_row = _bounds(file, chosen)
        if fixed > most:
            raise ValueError(_too_large(fixed, most))
        if fixed + per_row * rows <= most:
            return _plain(file.read(columns=chosen))
        return _read_in_pieces(file, chosen, max(1, _PIECE // per_row), most)


def _bounds(file: pq.ParquetFile, columns: Sequence[str] | None) -> tuple[int, int]:
    """Return upper bounds of the bytes in memory, as the file's footer tells them.

    Returns:
        The bytes of all numbers; the bytes of a row's texts and lists.
    """
    fixed, per_row = 0, 0
    for group in range(file.metadata.num_row_groups):
        metadata, texts = file.metadata.row_group(group), 0
        for n in range(metadata.num_columns):
            chunk = metadata.column(n)
            if columns is not None and chunk.path_in_schema.split(".")[0] not in columns:
                continue
            if chunk.physical_type in _FIXED:
                fixed += 12 * chunk.num_values
            else:
                texts += chunk.total_uncompressed_size
        per_row = max(per_row, texts)
    return fixed, max(1, per_row)


def _read_in_pieces(
    file: pq.ParquetFile, columns: Sequence[str] | None, rows: int, most: int
) -> pa.Table:
    """Read a table some rows at a time; see `read_parquet`."""
    pieces, total = [_plain(file.schema_arrow.empty_table())], 0
    if columns is not None:
        pieces = [pieces[0].select(columns)]
    for batch in file.iter_batches(batch_size=min(rows, 65536), columns=columns):
        piece = _plain(pa.Table.from_batches([batch]))
        pieces.append(piece)
        total += piece.nbytes
        if total > most:
            raise ValueError(_too_large(total, most))
    return pa.concat_tables(pieces)


def _plain(table: pa.Table) -> pa.Table:
    """Return a table with its values themselves where it has numbers that stand for them.

    Else a text would be counted once and made anew for each row.
    """
    for n, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = table.column(n).cast(field.type.value_type)
            table = table.set_column(n, field.name, column)
    return table


def _too_large(size: int, most: int) -> str:
    return (
        f"its content takes {size / reading.MB:,.0f} MB or more in memory, expected up to"
        f" {most / reading.MB:,.0f} for a file of its size"
    )
