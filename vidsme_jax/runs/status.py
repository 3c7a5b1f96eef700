"""`vidsme status`: say how far a run or a store is, shard by shard."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from vidsme_jax.data.store.store import CLIPS, INFO
from vidsme_jax.errors import InputError
from vidsme_jax.records import files, runs
from vidsme_jax.records.shards import Shard, shard_directories


def count_text(statuses: Iterable[str]) -> str:
    """Say how many rows have each status."""
    listed = list(statuses)
    return ", ".join(f"{listed.count(s)} {s}" for s in sorted(set(listed)))


def status(run: Path) -> str:
    """Return a line for the whole, and one for each shard.

    Raises:
        InputError: the directory holds neither a run nor a store.
    """
    shards = shard_directories(run)
    info = _info_path(run)
    if not shards and info is None:
        fault = "is neither a run nor a store" if run.is_dir() else files.absence(run)
        raise InputError(f"run={run} {fault}, expected what --out was of score or prepare")
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
    """Return the path of run.json or store.json; None where there is neither."""
    return next((p for name in ("run.json", INFO) if (p := run / name).exists()), None)


def _progress(path: Path) -> str:
    """Say how far a run, a store or a shard is."""
    info_path = _info_path(path)
    if info_path is None:
        return "nothing decided yet"
    info = files.read_info(info_path)
    if info_path.name == INFO:
        return _store_progress(path)
    frames = len(info["settings"]["frames"])
    total = info.get("own_rows", 0) * frames
    if runs.is_finished(path):
        table = files.read_table(path / "scores.parquet", ["status"])
        statuses = table["status"].to_pylist()
        return f"finished, {len(statuses)} rows ({count_text(statuses)})"
    parts = sorted((path / "parts").glob("frames-*-batch-??????.arrow"))
    statuses = [s for p in parts for s in runs.read_part(p)["status"].to_pylist()]
    counts = f" ({count_text(statuses)})" if statuses else ""
    decoded = path / "prepared"
    clips = f"; decoding: {_store_progress(decoded)}" if decoded.exists() else ""
    return f"{_state(path)}, {len(statuses)} of {total} rows{counts}{clips}"


def _store_progress(path: Path) -> str:
    """Say how many clips of a store are ready."""
    if (path / CLIPS).exists():
        return f"finished, {len(files.read_table(path / CLIPS, ['video']))} clips"
    pieces = (path / "parts").glob("piece-*.parquet")
    written = sum(pq.read_metadata(piece).num_rows for piece in pieces)
    in_journal = len(list((path / "journal").glob("clip-*.npz")))
    return f"{_state(path)}, {written + in_journal} clips ready"


def _state(path: Path) -> str:
    """Say whether a process is at work in a directory."""
    return "running" if files.is_locked(path) else "stopped"
