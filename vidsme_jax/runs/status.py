"""`vidsme status`: how far a run or a store is, shard by shard."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from vidsme_jax.data.store.store import CLIPS, INFO
from vidsme_jax.errors import InputError
from vidsme_jax.records import files, runs
from vidsme_jax.records.shards import Shard, shard_directories


def count_text(status: Iterable[str]) -> str:
    """Say how often each status stands among some rows."""
    known = list(status)
    return ", ".join(f"{known.count(s)} {s}" for s in sorted(set(known)))


def status(run: Path) -> str:
    """Return a line for the whole, and one for each shard.

    Raises:
        InputError: the directory holds neither a run nor a store.
    """
    shards = shard_directories(run)
    info = _info_path(run)
    if not shards and info is None:
        what = "is neither a run nor a store" if run.is_dir() else "does not exist"
        raise InputError(f"run={run} {what}, expected what --out was of score or prepare")
    lines = []
    for count in sorted({shard.count for shard in shards}):
        for shard in (Shard(n, count) for n in range(count)):
            path = shards.get(shard)
            lines.append(f"shard {shard}: {_progress(path) if path else 'not started'}")
    if info:
        lines.append(f"whole: {_progress(run)}")
    elif all(" finished" in line for line in lines):
        lines.append("whole: not merged yet, vidsme merge does that")
    return "\n".join(lines)


def _info_path(run: Path) -> Path | None:
    """Return the file of a run or a store that says what it is."""
    return next((p for name in ("run.json", INFO) if (p := run / name).exists()), None)


def _progress(path: Path) -> str:
    info = _info_path(path)
    if info is None:
        return "nothing decided yet"
    held = files.read_info(info)
    if info.name == INFO:
        return _store_progress(path)
    frames = len(held["settings"]["frames"])
    total = held.get("own_rows", 0) * frames
    if runs.is_finished(path):
        held = files.read_table(path / "scores.parquet", ["status"])
        status = held["status"].to_pylist()
        return f"finished, {len(status)} rows ({count_text(status)})"
    parts = sorted((path / "parts").glob("frames-*-batch-??????.arrow"))
    status = [s for p in parts for s in runs.read_part(p)["status"].to_pylist()]
    text = f" ({count_text(status)})" if status else ""
    decoded = path / "prepared"
    clips = f"; decoding: {_store_progress(decoded)}" if decoded.exists() else ""
    return f"{_state(path)}, {len(status)} of {total} rows{text}{clips}"


def _store_progress(path: Path) -> str:
    if (path / CLIPS).exists():
        return f"finished, {len(files.read_table(path / CLIPS, ['video']))} clips"
    parts = (path / "parts").glob("piece-*.parquet")
    written = sum(pq.read_metadata(part).num_rows for part in parts)
    kept = len(list((path / "journal").glob("clip-*.npz")))
    return f"{_state(path)}, {written + kept} clips ready"


def _state(path: Path) -> str:
    return "running" if files.is_locked(path) else "stopped"
