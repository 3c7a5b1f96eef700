"""Write files that appear whole, and claim directories for one process at a time."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from vidsme_jax import __version__, reading
from vidsme_jax.errors import InputError, Interrupted
from vidsme_jax.records.parquet import read_parquet


def absence(path: Path) -> str:
    """Say why a path is no directory."""
    return "is a file" if path.exists() else "does not exist"


def check_folder(name: str, path: Path) -> None:
    """Refuse a folder that cannot be made, since it or a folder above it is a file.

    Args:
        name: option that names the folder.
        path: of the folder.

    Raises:
        InputError: with the option's name, the path and the file.
    """
    existing = next((p for p in (path, *path.parents) if p.exists()), None)
    if existing is not None and not existing.is_dir():
        where = "is a file" if existing == path else f"lies in {existing}, which is a file"
        raise InputError(f"{name}={path} {where}, expected a directory")


PACKAGE = "vidsme-jax"  # as versions name it
_HOST = re.sub(r"\W", "_", platform.node())  # in the names of temporary files
# Of what lies in run.json and store.json, the types of what commands reckon with.
_INFO_TYPES = {"own_rows": int, "rows": int, "machines": list, "settings_hash": str}
_SETTINGS_TYPES = {"frames": list, "versions": dict}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # some network file systems


def digest(value: Any) -> str:
    """Return 16 hex digits that identify a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and rename it to `path` when the block ends without error.

    Raises:
        Interrupted: the disk, the quota or the file is at its limit.
    """
    temporary = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # a link of this name would be followed
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
    """Return the message of an error that means a full disk; empty for any other error.

    Some libraries keep only the message of the system's error.
    """
    messages = {number: os.strerror(number) for number in _FULL}
    if isinstance(error, OSError) and error.errno in messages:
        return messages[error.errno]
    return next((text for text in messages.values() if text in str(error)), "")


def _drop_temporaries(folder: Path) -> None:
    """Remove temporary files of processes of this machine that were killed."""
    for path in folder.rglob(f".*.{_HOST}-*.tmp"):
        process = path.name.removesuffix(".tmp").rpartition("-")[2]
        if process.isdecimal() and not _is_alive(int(process)):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    """Tell whether a process of this machine still runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # of another user; no number of a process
        pass
    return True


def write_json(path: Path, value: Any) -> None:
    """Write a value as a JSON file, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as a Parquet file, atomically."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


@contextlib.contextmanager
def locked(run: Path, name: str = "run.json") -> Iterator[None]:
    """Lock a directory for this process; another process gets an error of one line.

    Where the file system has no locks, two processes do the same work twice. Both write
    whole files of equal content.

    Args:
        run: the directory; made where missing.
        name: file whose presence shows that a vidsme command made the directory.

    Raises:
        InputError: another process has the lock, or there are files but none of that name.
    """
    refuse_foreign(run, name)
    run.mkdir(parents=True, exist_ok=True)
    with _open_lock(run, os.O_RDWR | os.O_CREAT) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise InputError(
                    f"out={run} is being written by another process"
                ) from error
        _drop_temporaries(run)
        yield


def _open_lock(run: Path, flags: int) -> IO[bytes]:
    """Open the lock file of a directory; a link or a pipe of this name is not followed."""
    number = os.open(run / ".lock", flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    return os.fdopen(number, "rb")


def refuse_foreign(folder: Path, name: str) -> None:
    """Raise an InputError if a directory holds files, but none of this name."""
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
    """Tell whether a process of this machine has the lock of a directory."""
    try:
        with _open_lock(run, os.O_RDONLY) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file, or no locks
        pass
    return False


def claim(
    run: Path, settings: dict[str, Any], about: dict[str, Any], name: str = "run.json"
) -> None:
    """Write the settings of a run into its directory, or check those that are there.

    Args:
        run: the directory.
        settings: everything that decides the numbers.
        about: further facts for a reader.
        name: of the file that holds both.

    Raises:
        InputError: the directory has other settings; each difference is named.
    """
    path = run / name
    if not path.exists():
        write_json(path, {"settings": settings, "settings_hash": digest(settings), **about})
        return
    stored = read_info(path)["settings"]
    if stored != json.loads(json.dumps(settings)):
        raise InputError(
            f"out={run} was made with other settings:"
            f" {settings_differences(stored, settings)};"
            " give another --out, or remove it"
        )


def note_machine(run: Path, machine: Mapping[str, Any]) -> str:
    """Note in run.json that a run goes on on a machine, if it began on another.

    Args:
        run: the directory.
        machine: facts about the machine that change no number beyond rounding.

    Returns:
        A sentence with what differs; "" for a machine that is noted already.
    """
    info = read_info(run / "run.json")
    machines = info.get("machines", [])
    current = json.loads(json.dumps(machine))
    if current in machines:
        return ""
    write_json(run / "run.json", info | {"machines": [*machines, current]})
    return machines_note(run, [*machines, current])


def machines_note(run: Path, machines: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence where a run is from unlike machines; "" where it is from one kind.

    Args:
        run: the directory.
        machines: facts about each machine.
    """
    leaves: dict[str, dict[str, None]] = {}
    for machine in machines:
        versions = machine.get("versions", {})
        for name, value in {**machine, **versions}.items():
            if name != "versions":
                leaves.setdefault(name, {})[str(value)] = None
    parts = [f"{k} {' and '.join(v)}" for k, v in leaves.items() if len(v) > 1]
    if not parts:
        return ""
    return f"{run} is from unlike machines, so rounding may differ: {', '.join(parts)}"


def note_changed(
    run: Path, changed: Sequence[Mapping[str, Any]], name: str = "run.json"
) -> str:
    """Note in run.json or store.json which clips changed after they were read.

    Args:
        run: the directory.
        changed: a note for each clip, with `video`, `rows`, `was` and `now`.
        name: of the file.

    Returns:
        A sentence about all that were noted, now and before; "" where there are none.
    """
    info = read_info(run / name)
    noted = info.get("changed", [])
    new = [note for note in json.loads(json.dumps(changed)) if note not in noted]
    if new:
        info = info | {"changed": [*noted, *new]}
        write_json(run / name, info)
    return changed_note(run, info)


def changed_note(path: Path, info: Mapping[str, Any]) -> str:
    """Return a sentence where clips of a run or a store changed after they were read.

    Args:
        path: of its directory.
        info: its run.json or store.json.
    """
    noted = info.get("changed", [])
    if not noted:
        return ""
    videos = list(dict.fromkeys(note["video"] for note in noted))
    rows = sorted({row for note in noted for row in note["rows"]})
    return (
        f"{path}: clips changed on disk (size or time) after they were read:"
        f" {_first(videos)}; rows {_first(rows)} hold what was read then, another --out"
        " reads them anew"
    )


def _first(values: Sequence[Any]) -> str:
    """Return the first values as text, and how many more there are."""
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    return ", ".join(map(str, values[:5])) + more


def settings_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Say in which settings two runs differ; of a group of settings only what differs."""
    pairs = [(k, there.get(k), here.get(k)) for k in sorted({*there, *here})]
    parts = []
    for name, old, new in pairs:
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = settings_differences(old, new)
            parts += [f"{name}: {inner}"] if inner else []
        elif old != new:
            parts.append(f"{name} {old!r} there, {new!r} here")
    return ", ".join(parts)


def version_note(path: Path, info: Mapping[str, Any]) -> str:
    """Return a sentence where another version of this package wrote a run or a store.

    Args:
        path: of its directory.
        info: its run.json or store.json.
    """
    made_by = info["settings"].get("versions", {}).get(PACKAGE) or info.get("made_by")
    if made_by == __version__:
        return ""
    maker = f"vidsme_jax {made_by}" if made_by else "a version of vidsme_jax before 0.4.0"
    return f"{path} was made by {maker}; this is {__version__}, which reads it as it is"


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return reading.read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist, expected a JSON file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON: {error}") from error


def read_info(path: Path) -> dict[str, Any]:
    """Read the file with the settings of a run or a store.

    Raises:
        InputError: the file is missing, damaged, or no vidsme command wrote it.
    """
    info = read_json(path)
    if not isinstance(info, dict) or not isinstance(info.get("settings"), dict):
        raise InputError(f"{path} holds no settings: no vidsme command wrote it")
    for fields, types in ((info, _INFO_TYPES), (info["settings"], _SETTINGS_TYPES)):
        wrong = [
            k for k, kind in types.items() if not isinstance(fields.get(k, kind()), kind)
        ]
        if wrong:
            raise InputError(
                f"{path}: {wrong[0]}={fields[wrong[0]]!r:.60} was not written so"
            )
    return info


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a table of a run or a store.

    Args:
        path: of the Parquet file.
        columns: names of the columns to read; None for all.

    Raises:
        InputError: the file is missing, damaged, or lacks one of the columns.
    """
    again = "run the command that wrote it again, into a new directory"
    if not path.exists():
        raise InputError(f"{path} is missing; {again}")
    try:
        table = read_parquet(path, columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} is damaged ({one_line(error)}); {again}") from error
    absent = set(columns or ()) - set(table.column_names)
    if absent:
        raise InputError(f"{path} has no {', '.join(sorted(absent))}; {again}")
    return table


def one_line(error: Exception) -> str:
    """Return the first line of an error's message, cut to 200 characters."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
