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

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vidsme_jax.errors import InputError, Interrupted, check_folder

STRIP_FRAMES = 6  # side by side in a thumbnail
_CURVE, _THUMBNAIL = "curve:", "thumbnail"
_OTHERS = ("published", "features")  # read where they exist
_HERE = re.sub(r"\W", "_", platform.node())  # in the names of temporary files
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # some network file systems


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


def digest(value: Any) -> str:
    """Return 16 hex digits that identify a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` when the block ends well.

    Raises:
        Interrupted: the disk is full, or takes no more for another reason.
    """
    temporary = path.with_name(f".{path.name}.{_HERE}-{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        reason = _full_disk(error)
        if not reason:
            raise
        raise Interrupted(
            f"{path} could not be written: {reason}; what was finished before is kept,"
            " make room and run the same command again"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _full_disk(error: Exception) -> str:
    """Return in which way a disk is full, if that is the error; some libraries only say."""
    known = {number: os.strerror(number) for number in _FULL}
    if isinstance(error, OSError) and error.errno in known:
        return known[error.errno]
    return next((text for text in known.values() if text in str(error)), "")


def _drop_temporaries(folder: Path) -> None:
    """Remove what processes of this machine left when they were killed."""
    for path in folder.rglob(f".*.{_HERE}-*.tmp"):
        number = path.name.removesuffix(".tmp").rpartition("-")[2]
        if not _lives(int(number)):
            path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def row_keys(table: pa.Table) -> list[tuple[str, int]]:
    """Return what tells the rows of a run's tables apart: id and frame count."""
    return list(zip(table["id"].to_pylist(), table["frames"].to_pylist(), strict=True))


@contextlib.contextmanager
def locked(run: Path, name: str = "run.json") -> Iterator[None]:
    """Hold a directory for one process; a second one gets one clear line.

    Where the file system has no locks, two processes do the same work twice: both write
    whole files of equal content.

    Args:
        run: the directory; made, if it is not there.
        name: of the file that says whose it is.

    Raises:
        InputError: another process holds it, or it has files but none of that name.
    """
    refuse_foreign(run, name)
    run.mkdir(parents=True, exist_ok=True)
    with (run / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise InputError(
                    f"out={run} is being written by another process"
                ) from error
        _drop_temporaries(run)
        yield


def refuse_foreign(folder: Path, name: str) -> None:
    """Raise an InputError where a directory holds files but not the one named."""
    check_folder("out", folder)
    if not folder.exists() or (folder / name).exists():
        return
    names = sorted(p.name for p in folder.iterdir())
    foreign = [n for n in names if not n.startswith(".") and n != "shards"]
    if foreign:
        raise InputError(
            f"out={folder} holds other files ({', '.join(foreign[:3])}) and no {name};"
            " expected a new or empty directory, or an earlier run of this command"
        )


def is_locked(run: Path) -> bool:
    """Tell whether a process of this machine is at work in a directory."""
    try:
        with (run / ".lock").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file, or no locks
        pass
    return False


def claim(
    run: Path, settings: dict[str, Any], about: dict[str, Any], name: str = "run.json"
) -> None:
    """Make `run` the directory of these settings, or check that it already is.

    Args:
        run: the directory.
        settings: what decides the numbers.
        about: what else its reader may want to know.
        name: of the file that holds both.

    Raises:
        InputError: it holds another run's settings, each difference named.
    """
    path = run / name
    if not path.exists():
        write_json(path, {"settings": settings, "settings_hash": digest(settings), **about})
        return
    held = read_info(path)["settings"]
    if held != json.loads(json.dumps(settings)):
        raise InputError(
            f"out={run} was made with other settings: {differences(held, settings)};"
            " give another --out, or remove it"
        )


def differences(held: dict[str, Any], given: dict[str, Any]) -> str:
    """Say in which settings two runs differ."""
    keys = [k for k in sorted({*held, *given}) if held.get(k) != given.get(k)]
    return ", ".join(f"{k} {held.get(k)!r} there, {given.get(k)!r} here" for k in keys)


def read_json(path: Path) -> Any:
    """Read a JSON file; a damaged one is an InputError that names it."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist, expected a JSON file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON: {error}") from error


def read_info(path: Path) -> dict[str, Any]:
    """Read the file that says what decided a run, or a store.

    Raises:
        InputError: it is missing, damaged, or no vidsme command wrote it.
    """
    info = read_json(path)
    if not isinstance(info, dict) or not isinstance(info.get("settings"), dict):
        raise InputError(f"{path} holds no settings: no vidsme command wrote it")
    return info


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


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a table of a run or a store, or some of its columns.

    Raises:
        InputError: it is missing, damaged, or lacks one of the columns.
    """
    again = "run the command that wrote it again, into a new directory"
    if not path.exists():
        raise InputError(f"{path} is missing; {again}")
    try:
        table = pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is damaged ({one_line(error)}); {again}") from error
    absent = set(columns or ()) - set(table.column_names)
    if absent:
        raise InputError(f"{path} has no {', '.join(sorted(absent))}; {again}")
    return table


def one_line(error: Exception) -> str:
    """Return the first line of what a library says of a fault, cut where it is long."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
