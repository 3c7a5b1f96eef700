"""`vidsme verify`: check that a run or a store is whole, and name its faults."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidsme_jax.data.store import store as stores
from vidsme_jax.data.store.format import open_source
from vidsme_jax.errors import InputError
from vidsme_jax.progress import progress, say
from vidsme_jax.records import files, runs
from vidsme_jax.records.shards import shard_directories
from vidsme_jax.runs.calibrations import read_calibrations
from vidsme_jax.runs.status import count_text
from vidsme_jax.runs.tables import single_frames
from vidsme_jax.scores import catalogue


def verify(path: Path) -> str:
    """Check a run or a store without model and clips; return a line that it is whole.

    Raises:
        InputError: the faults, or that the directory is neither a run nor a store.
    """
    shards = list(shard_directories(path).values())
    whole = stores.is_store(path) or (path / "run.json").exists()
    if not whole and shards:
        raise InputError(f"run={path} is in {len(shards)} shards: vidsme merge joins them")
    if whole:
        info = files.read_info(
            path / (stores.INFO if stores.is_store(path) else "run.json")
        )
        if note := files.changed_note(path, info):
            say(note)
    faults, line = _check_store(path) if stores.is_store(path) else _check_run(path)
    if faults:
        shown = "; ".join(faults[:5])
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise InputError(f"run={path} has {len(faults)} faults: {shown}{more}")
    return f"{path}: {line}"


def _check_run(path: Path) -> tuple[list[str], str]:
    """Return the faults of a run, and the line for a run without any."""
    run = runs.read_run(path)
    settings, table = run.info["settings"], run.table
    faults = _check_hash(run.info)
    expected = run.info.get("own_rows", table.num_rows)
    for frames in settings["frames"]:
        rows = table.filter(pc.equal(table["frames"], frames))
        faults += _check_rows(rows, frames, expected, settings["shard"] is None)
    faults += _check_scores(table, settings["slices"])
    keys = set(runs.row_keys(table))
    for other in sorted(path.glob("*.parquet")):
        if set(runs.row_keys(files.read_table(other, ["id", "frames"]))) != keys:
            faults.append(f"{other.name} has other rows than scores.parquet")
    statuses = table["status"].to_pylist()
    if "ok" in statuses:  # else there was nothing to calibrate
        faults += _check_calibration(path, settings["frames"])
    counts = count_text(statuses)
    scored = "no score missing" if "ok" in statuses else "none was scored"
    return faults, f"{table.num_rows} rows ({counts}), each once, {scored}"


def _check_calibration(path: Path, counts: Sequence[int]) -> list[str]:
    """Check that calibration.json has every frame count."""
    try:
        read_calibrations(path / "calibration.json", counts)
    except InputError as error:
        return [str(error)]
    return []


def _check_hash(info: dict[str, Any]) -> list[str]:
    """Check that the settings are those that their hash was made from."""
    if info.get("settings_hash") == files.digest(info["settings"]):
        return []
    return ["settings_hash is not that of the settings: they were changed by hand"]


def _check_rows(rows: pa.Table, frames: int, expected: int, whole: bool) -> list[str]:
    """Check that every row of the manifest is there once."""
    faults = []
    for name in ("id", "row"):
        twice = [v for v, n in Counter(rows[name].to_pylist()).items() if n > 1]
        if twice:
            faults.append(f"{frames} frames: {name} {twice[0]} stands more than once")
    if len(rows) != expected:
        faults.append(f"{frames} frames: {len(rows)} rows, expected {expected}")
    if whole:
        absent = sorted(set(range(expected)) - set(rows["row"].to_pylist()))
        if absent:
            faults.append(f"{frames} frames: row {absent[0]} of the manifest is missing")
    return faults


def _check_scores(table: pa.Table, slices: list[str]) -> list[str]:
    """Check that a good row has every score of a slice, or none where it is empty."""
    good = table.filter(pc.equal(table["status"], "ok"))
    names = set(table.column_names)
    faults: list[str] = []
    for name in slices:
        columns = catalogue.columns((name,))
        absent = [c for c in columns if c not in names]
        if absent:
            faults.append(f"{len(absent)} columns are missing, the first: {absent[0]}")
            continue
        values = np.stack([good[c].to_numpy() for c in columns], axis=1).astype(float)
        infinite = np.isinf(values).any(axis=0)
        if infinite.any():
            faults.append(f"{columns[int(np.argmax(infinite))]} holds an infinite value")
        missing = np.isnan(values)
        allowed = missing.all(axis=1) & (name != "video")
        compared = [catalogue.compares_orders(c) for c in columns]
        missing &= ~np.logical_and.outer(single_frames(good), compared)
        for n in np.flatnonzero(missing.any(axis=1) & ~allowed)[:3]:
            column = columns[int(np.argmax(missing[n]))]
            faults.append(f"id {good['id'][int(n)]} is ok, but has no {column}")
    return faults


def _check_store(path: Path) -> tuple[list[str], str]:
    """Return the faults of a store, and the line for a store without any."""
    store, faults = stores.open_store(path), list[str]()
    if len(store.rows) != store.info.get("own_rows"):
        faults.append(f"{len(store.rows)} rows, expected {store.info.get('own_rows')}")
    source = open_source(path)
    if len(source) != len(store.table):
        faults.append(f"frames of {len(source)} clips, facts of {len(store.table)}")
    elif store.clip_numbers and max(store.clip_numbers) >= len(source):
        faults.append(f"a row has clip {max(store.clip_numbers)} of {len(source)}")
    else:
        faults += [
            fault
            for n, facts in enumerate(progress(store.facts, len(store.facts), "verify"))
            if (fault := _check_clip(source, n, facts.status))
        ]
    statuses = [facts.status for facts in store.facts]
    if "ok" in statuses:
        faults += _check_calibration(path, store.spec.counts)
    counts = count_text(statuses)
    return (
        faults,
        f"{len(store.table)} clips ({counts}) of {len(store.rows)} rows, each readable",
    )


def _check_clip(source: Any, number: int, status: str) -> str:
    """Return the fault of a clip in the frames' file; empty where it has none."""
    try:
        clip = source[number]
    except (OSError, ValueError, IndexError, RuntimeError) as error:
        return f"clip {number} cannot be read: {str(error)[:100]}"
    if clip["status"].decode() != status:
        return f"clip {number} is {clip['status'].decode()} there, {status} here"
    if len(clip["frames"]) != len(clip["indices"]):
        return f"clip {number} has {len(clip['frames'])} frames for {len(clip['indices'])}"
    return ""
