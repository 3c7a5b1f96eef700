"""The run directory: what decided the numbers, finished batches, the score table.

    RUN/run.json            settings, versions, devices; written first
    RUN/prepared/*.npz      decoded batches, only with calibration over the run itself
    RUN/calibration.json    motion and illumination ranges per frame count
    RUN/parts/*.arrow       one finished batch each; 1,000 columns cost Parquet 70 ms
    RUN/scores.parquet      all parts in manifest order; written last, then parts go
    RUN/curves.parquet      per-token curves, one list per row
    RUN/thumbnails.parquet  one strip of small frames per row
    RUN/features.parquet    what blind baselines look at: texts, file, frames, vision tower
    RUN/published.parquet   the published code's scores under its own names, where asked

Every file appears by a rename of a complete one, so that a run killed at any moment
leaves whole files only, and the same command goes on from there.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidsme_jax.errors import InputError
from vidsme_jax.records.files import read_info, read_table, replacing, write_table

_OTHERS = ("published", "features")  # read where they exist
STRIP_FRAMES = 6  # side by side in a thumbnail
_CURVE, _THUMBNAIL = "curve:", "thumbnail"


@dataclass(frozen=True)
class Run:
    """A finished run, as `evaluate` reads it.

    Attributes:
        path: its directory.
        info: run.json.
        table: one row per manifest row and frame count.
        curves: `id`, `frames` and one list column per kept token curve.
        thumbnails: `id`, `frames`, `thumbnail` (JPEG bytes or null).
        others: further tables with `id` and `frames`, by the stem of their file.
    """

    path: Path
    info: dict[str, Any]
    table: pa.Table
    curves: pa.Table
    thumbnails: pa.Table
    others: dict[str, pa.Table] = field(default_factory=dict)


def row_keys(table: pa.Table) -> list[tuple[str, int]]:
    """Return what tells the rows of a run's tables apart: id and frame count."""
    return list(zip(table["id"].to_pylist(), table["frames"].to_pylist(), strict=True))


def part_path(run: Path, frames: int, batch: int) -> Path:
    """Return where the finished batch of a frame count lies."""
    return run / "parts" / f"frames-{frames:03d}-batch-{batch:06d}.arrow"


def write_part(
    path: Path,
    table: pa.Table,
    curves: dict[str, Any],
    thumbnails: list[bytes],
    others: dict[str, pa.Table],
) -> None:
    """Write one finished batch: rows, token curves and thumbnails side by side.

    Args:
        path: of the part; it appears last, and says that the batch is finished.
        table: its rows of scores.parquet.
        curves: by name, one list per row.
        thumbnails: one per row.
        others: its rows of further tables, by the name of their file.
    """
    for name, other in others.items():
        _write_arrow(_other_part(path, name), other)
    for name, curve in curves.items():
        column = pa.array(curve, pa.list_(pa.float32()))
        table = table.append_column(_CURVE + name, column)
    table = table.append_column(_THUMBNAIL, pa.array(thumbnails, pa.binary()))
    _write_arrow(path, table)


def _other_part(path: Path, name: str) -> Path:
    return path.with_suffix(f".{name}.arrow")


def _write_arrow(path: Path, table: pa.Table) -> None:
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)


def read_part(path: Path) -> pa.Table:
    """Read a finished batch."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def finish(run: Path, parts: list[Path], others: tuple[str, ...] = ()) -> pa.Table:
    """Join the parts into the tables of the run; then drop what fed them.

    Frame counts stay in the order of the parts, rows come in that of the manifests.
    """
    whole = pa.concat_tables([read_part(p) for p in parts], promote_options="permissive")
    places = _places(whole)
    for name in others:
        held = pa.concat_tables([read_part(_other_part(part, name)) for part in parts])
        write_table(run / f"{name}.parquet", _reorder(held, places))
    whole = _reorder(whole, places)
    keys = ["id", "frames"]
    curves = [c for c in whole.column_names if c.startswith(_CURVE)]
    table = whole.drop_columns([*curves, _THUMBNAIL])
    curve_table = whole.select([*keys, *curves]).rename_columns(
        [*keys, *(c.removeprefix(_CURVE) for c in curves)]
    )
    for name, content in (
        ("curves", curve_table),
        ("thumbnails", whole.select([*keys, _THUMBNAIL])),
        ("scores", table),  # last: it says that the run is finished
    ):
        write_table(run / f"{name}.parquet", content)
    clean(run)
    return table


def _places(parts: pa.Table) -> np.ndarray:
    """Return where each row of a run's table stands in its joined parts."""
    counts = parts["frames"].to_numpy()
    first = {count: n for n, count in reversed([*enumerate(counts.tolist())])}
    asked = np.array([first[count] for count in counts.tolist()], np.int64)
    return np.lexsort((parts["row"].to_numpy(), asked))


def _reorder(table: pa.Table, places: np.ndarray) -> pa.Table:
    """Put a table with some rows, always as many, for each of `places` in their order."""
    each = len(table) // max(1, len(places))
    rows = (each * places[:, None] + np.arange(each)).ravel()
    if np.all(rows == np.arange(len(rows))):  # nothing is copied
        return table
    return table.take(rows)


def clean(run: Path) -> None:
    """Remove what a finished run no longer needs."""
    for name in ("parts", "prepared"):
        shutil.rmtree(run / name, ignore_errors=True)


def forget(run: Path) -> None:
    """Remove everything that a run wrote; files of others stay."""
    (run / "scores.parquet").unlink(missing_ok=True)  # it says that it is finished
    for path in run.glob("*.parquet"):
        path.unlink()
    for name in ("calibration", "run"):
        (run / f"{name}.json").unlink(missing_ok=True)
    clean(run)


def is_finished(run: Path) -> bool:
    """Tell whether a run has its score table."""
    return (run / "scores.parquet").exists()


def read_run(run: Path) -> Run:
    """Read a finished run.

    Raises:
        InputError: no such directory, not a run, or a run that has not ended.
    """
    if not (run / "run.json").exists():
        what = "has no run.json" if run.is_dir() else "does not exist"
        raise InputError(f"run={run} {what}; expected a directory that vidsme score wrote")
    if not is_finished(run):
        raise InputError(
            f"run={run} has no scores.parquet: its vidsme score has not ended;"
            " run that command again"
        )
    table, curves, thumbnails = (
        read_table(run / f"{name}.parquet") for name in ("scores", "curves", "thumbnails")
    )
    info = read_info(run / "run.json")
    held = {n: path for n in _OTHERS if (path := run / f"{n}.parquet").exists()}
    others = {n: read_table(path) for n, path in held.items()}
    return Run(run, info, table, curves, thumbnails, others)


def distinct(names: list[str]) -> list[str]:
    """Return the names, repeated ones with `-2`, `-3` behind them."""
    out: list[str] = []
    for name in names:
        candidate, k = name, 1
        while candidate in out:
            k += 1
            candidate = f"{name}-{k}"
        out.append(candidate)
    return out
