"""Write and read a run directory: settings, finished batches, the score table.

    RUN/run.json            settings, versions, devices; written first
    RUN/prepared/*.npz      decoded batches, only with calibration over the run itself
    RUN/calibration.json    motion and illumination ranges per frame count
    RUN/parts/*.arrow       a finished batch per file; Parquet takes 70 ms for 1,000 columns
    RUN/scores.parquet      all rows in manifest order; written last, then parts/ is removed
    RUN/curves.parquet      per-token curves, one list per row
    RUN/thumbnails.parquet  one strip of small frames per row
    RUN/features.parquet    input of blind baselines: texts, file, frames, vision tower
    RUN/published.parquet   the published code's scores under its own names, if requested

Every file appears by a rename of a complete one. So a run that is killed at any moment
leaves whole files only, and the same command continues from there.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidsme_jax import reading
from vidsme_jax.errors import InputError
from vidsme_jax.records.files import (
    absence,
    one_line,
    read_info,
    read_table,
    replacing,
    write_table,
)

_EXTRA = ("published", "features")  # tables that are read where they exist
STRIP_FRAMES = 6  # frames side by side in a thumbnail
_CURVE, _THUMBNAIL = "curve:", "thumbnail"


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run, as `evaluate` reads it.

    Attributes:
        path: directory of the run.
        info: content of run.json.
        table: scores.parquet, one row per manifest row and frame count.
        curves: `id`, `frames` and one list column per kept token curve.
        thumbnails: `id`, `frames`, `thumbnail` (JPEG bytes or null).
        extra_tables: further tables with `id` and `frames`, by the stem of their file.
    """

    path: Path
    info: dict[str, Any]
    table: pa.Table
    curves: pa.Table
    thumbnails: pa.Table
    extra_tables: dict[str, pa.Table] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.table.num_rows} rows)"


def strip_frames(frames: int) -> list[int]:
    """Return which of a clip's frames stand in its thumbnail, from 0."""
    return np.linspace(0, frames - 1, STRIP_FRAMES).round().astype(int).tolist()


def row_keys(table: pa.Table) -> list[tuple[str, int]]:
    """Return the key of each row of a run's table: id and frame count."""
    return list(zip(table["id"].to_pylist(), table["frames"].to_pylist(), strict=True))


KEYS = ("id", "frames")  # columns that say which row it is
WRITTEN = (*KEYS, "label", "row", "status")  # columns that scores.parquet always has


def part_path(run: Path, frames: int, batch: int) -> Path:
    """Return the path of a finished batch of a frame count."""
    return run / "parts" / f"frames-{frames:03d}-batch-{batch:06d}.arrow"


def write_part(
    path: Path,
    table: pa.Table,
    curves: dict[str, Any],
    thumbnails: list[bytes],
    extra_tables: dict[str, pa.Table],
) -> None:
    """Write a finished batch: rows, token curves and thumbnails side by side.

    Args:
        path: of the file; it is written last, and shows that the batch is finished.
        table: rows of scores.parquet.
        curves: token curves by name, one list per row.
        thumbnails: JPEG bytes of each row, or None.
        extra_tables: rows of further tables, by the stem of their file.
    """
    for name, extra in extra_tables.items():
        _write_arrow(_extra_path(path, name), extra)
    for name, curve in curves.items():
        column = pa.array(curve, pa.list_(pa.float32()))
        table = table.append_column(_CURVE + name, column)
    table = table.append_column(_THUMBNAIL, pa.array(thumbnails, pa.binary()))
    _write_arrow(path, table)


def _extra_path(path: Path, name: str) -> Path:
    """Return the path of a finished batch of a further table."""
    return path.with_suffix(f".{name}.arrow")


def _write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table as an Arrow file, atomically."""
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)


def read_part(path: Path, extra: str = "") -> pa.Table:
    """Read the table of a finished batch, or a further table by the stem of its file.

    Raises:
        InputError: the file is damaged.
    """
    source = _extra_path(path, extra) if extra else path
    try:
        reading.check_file(source)
        with pa.OSFile(str(source)) as file:
            return pa.ipc.open_file(file).read_all()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"{source} is damaged ({one_line(error)}); remove it, and run the same again"
        ) from error


def finish(run: Path, parts: list[Path], extra: tuple[str, ...] = ()) -> pa.Table:
    """Join the finished batches into the tables of the run, then remove their files.

    Args:
        run: directory of the run.
        parts: paths of the finished batches; frame counts stay in their order, and rows
            are sorted as in the manifests.
        extra: stems of the files of further tables.
    """
    joined = pa.concat_tables([read_part(p) for p in parts], promote_options="permissive")
    order = _manifest_order(joined)
    for name in extra:
        table = pa.concat_tables([read_part(path, name) for path in parts])
        write_table(run / f"{name}.parquet", _reorder(table, order))
    joined = _reorder(joined, order)
    keys = ["id", "frames"]
    curves = [c for c in joined.column_names if c.startswith(_CURVE)]
    scores = joined.drop_columns([*curves, _THUMBNAIL])
    curve_table = joined.select([*keys, *curves]).rename_columns(
        [*keys, *(c.removeprefix(_CURVE) for c in curves)]
    )
    for name, content in (
        ("curves", curve_table),
        ("thumbnails", joined.select([*keys, _THUMBNAIL])),
        ("scores", scores),  # last: it shows that the run is finished
    ):
        write_table(run / f"{name}.parquet", content)
    clean(run)
    return scores


def _manifest_order(joined: pa.Table) -> np.ndarray:
    """Return the row numbers that sort joined batches by frame count and manifest row."""
    counts = joined["frames"].to_numpy()
    first = {count: n for n, count in reversed([*enumerate(counts.tolist())])}
    rank = np.array([first[count] for count in counts.tolist()], np.int64)
    return np.lexsort((joined["row"].to_numpy(), rank))


def _reorder(table: pa.Table, order: np.ndarray) -> pa.Table:
    """Sort a table that has the same number of rows for each entry of `order`."""
    repeats = len(table) // max(1, len(order))
    rows = (repeats * order[:, None] + np.arange(repeats)).ravel()
    if np.all(rows == np.arange(len(rows))):  # nothing is copied
        return table
    return table.take(rows)


def clean(run: Path) -> None:
    """Remove the files of a run that are needed only until it is finished."""
    for name in ("parts", "prepared"):
        shutil.rmtree(run / name, ignore_errors=True)


def forget(run: Path) -> None:
    """Remove all files that a run wrote; other files stay."""
    (run / "scores.parquet").unlink(missing_ok=True)  # first: the run is unfinished now
    for path in run.glob("*.parquet"):
        path.unlink()
    for name in ("calibration", "run"):
        (run / f"{name}.json").unlink(missing_ok=True)
    clean(run)


def is_finished(run: Path) -> bool:
    """Tell whether a run has its score table, which is written last."""
    return (run / "scores.parquet").exists()


def read_run(run: Path, option: str = "run", needed: tuple[str, ...] = WRITTEN) -> Run:
    """Read a finished run.

    Args:
        run: its directory.
        option: what named it, for errors.
        needed: columns that its score table must have.

    Raises:
        InputError: the directory is missing, holds no run, or a run that has not ended.
            Its table lacks a column.
    """
    if not (run / "run.json").exists():
        fault = "has no run.json" if run.is_dir() else absence(run)
        raise InputError(
            f"{option}={run} {fault}; expected a directory that vidsme score wrote"
        )
    if not is_finished(run):
        raise InputError(
            f"{option}={run} has no scores.parquet: its vidsme score has not ended;"
            " run that command again"
        )
    table, curves, thumbnails = (
        read_table(run / f"{name}.parquet") for name in ("scores", "curves", "thumbnails")
    )
    lacking = [name for name in needed if name not in table.column_names]
    if lacking:
        raise InputError(
            f"{option}={run}: scores.parquet has no column {lacking[0]}: it was changed by"
            " hand, score the clips again"
        )
    info = read_info(run / "run.json")
    paths = {name: run / f"{name}.parquet" for name in _EXTRA}
    extra = {name: read_table(path) for name, path in paths.items() if path.exists()}
    return Run(run, info, table, curves, thumbnails, extra)


def distinct_names(names: list[str]) -> list[str]:
    """Return the names, with `-2`, `-3` after repeated ones."""
    out: list[str] = []
    for name in names:
        candidate, k = name, 1
        while candidate in out:
            k += 1
            candidate = f"{name}-{k}"
        out.append(candidate)
    return out
