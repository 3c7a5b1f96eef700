"""`vidsme merge`: join the shards of a run, or of a store, into what a single host makes.

The shards stay as they are. The frames of a store are linked where the file system has
links, and copied elsewhere.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vidsme_jax.data.store import store as stores
from vidsme_jax.data.store.format import (
    NAME,
    VERSION,
    array_record_files,
    file_name,
    write_metadata,
)
from vidsme_jax.errors import InputError
from vidsme_jax.progress import phase, say
from vidsme_jax.records import files as record_files
from vidsme_jax.records import runs
from vidsme_jax.records.shards import Shard, shard_directories
from vidsme_jax.runs.calibrations import calibrate_counts, write_calibrations

_OF_A_SHARD = ("settings", "settings_hash", "part_clips", "machines", "changed")


def merge(directories: Sequence[Path], out: Path) -> str:
    """Join all shards of some directories into a directory; return a line that says so.

    Raises:
        InputError: no shards; a shard that is missing or not finished; shards of several
            settings.
    """
    shards = _collect(directories)
    info_name = stores.INFO if stores.is_store(shards[0]) else "run.json"
    infos = [record_files.read_info(path / info_name) for path in shards]
    settings = _common_settings(shards, infos)
    about = {k: v for k, v in infos[0].items() if k not in _OF_A_SHARD}
    about["own_rows"] = about.get("rows")
    machines = [machine for info in infos for machine in info.get("machines", [])]
    if machines:
        about["machines"] = [m for n, m in enumerate(machines) if m not in machines[:n]]
        if line := record_files.machines_note(out, machines):
            say(line)
    phase("merge", "join them", f"{len(shards)} shards")
    changed = [note for info in infos for note in info.get("changed", [])]
    if changed:
        about["changed"] = changed
        say(record_files.changed_note(out, about))
    join: Callable[[Path, list[Path]], None] = _join_runs
    if info_name == stores.INFO:
        join = _join_stores
    with record_files.locked(out, info_name):
        record_files.claim(out, settings, about, info_name)
        join(out, shards)
    kind = "store" if info_name == stores.INFO else "run"
    return f"{out}: the {kind} of {about['rows']} rows, from {len(shards)} shards"


def _collect(directories: Sequence[Path]) -> list[Path]:
    """Return the directories of all shards in order; refuse those that are unfinished."""
    paths: dict[Shard, Path] = {}
    for directory in directories:
        shard_paths = shard_directories(directory)
        if not shard_paths:
            fault = (
                "has no shards/" if directory.is_dir() else record_files.absence(directory)
            )
            raise InputError(
                f"run={directory} {fault}, expected what --out was of vidsme score or"
                " prepare with --shards"
            )
        for shard, path in shard_paths.items():
            if shard not in paths or not _is_finished(paths[shard]):
                paths[shard] = path
    counts = {shard.count for shard in paths}
    if len(counts) > 1:
        raise InputError(
            f"run={directories[0]} has shards of {sorted(counts)}, expected one"
        )
    (count,) = counts
    shards = [Shard(n, count) for n in range(count)]
    absent = [str(s) for s in shards if s not in paths or not _is_finished(paths[s])]
    if absent:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        raise InputError(
            f"run={directories[0]}: shards {', '.join(absent[:5])}{more} are missing or not"
            " finished; vidsme status says how far each is"
        )
    return [paths[s] for s in shards]


def _is_finished(path: Path) -> bool:
    """Return whether the run or the store in a directory is finished."""
    return runs.is_finished(path) or (path / stores.CLIPS).exists()


def _common_settings(shards: list[Path], infos: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the settings that all shards share; refuse a shard that has others."""
    common = [info["settings"] | {"shard": None} for info in infos]
    for path, settings in zip(shards, common, strict=True):
        if settings != common[0]:
            raise InputError(
                f"{path} has other settings than {shards[0]}:"
                f" {record_files.settings_differences(common[0], settings)}"
            )
    return common[0]


def _join_runs(out: Path, shards: list[Path]) -> None:
    """Write the joined tables of the shards of a run."""
    names = {path.stem for path in shards[0].glob("*.parquet")}
    scores = pa.concat_tables(
        [record_files.read_table(path / "scores.parquet") for path in shards],
        promote_options="permissive",
    )
    frames = record_files.read_json(shards[0] / "run.json")["settings"]["frames"]
    places = pc.index_in(scores["frames"], pa.array(frames, pa.int32()))
    keyed = scores.append_column("place", places)
    order = pc.sort_indices(keyed, [("place", "ascending"), ("row", "ascending")])
    scores = scores.take(order)
    rank = {key: n for n, key in enumerate(runs.row_keys(scores))}
    for name in sorted(names - {"scores"}):
        tables = [record_files.read_table(path / f"{name}.parquet") for path in shards]
        record_files.write_table(out / f"{name}.parquet", _in_order(tables, rank))
    for path in shards:  # a shard without a good clip has no calibration
        if (path / "calibration.json").exists():
            ranges = record_files.read_json(path / "calibration.json")
            record_files.write_json(out / "calibration.json", ranges)
    # Last: it says that the run is finished.
    record_files.write_table(out / "scores.parquet", scores)


def _in_order(tables: list[pa.Table], rank: dict[tuple[str, int], int]) -> pa.Table:
    """Join tables that have one or more rows per id and frame count.

    Args:
        tables: a table of each shard.
        rank: the place of each id and frame count in the joined table.
    """
    table = pa.concat_tables(tables, promote_options="permissive")
    keys = runs.row_keys(table)
    if set(keys) != set(rank):
        other = min(set(keys) ^ set(rank))
        raise InputError(
            f"row {other} stands in only one of the tables of a shard: one was changed by"
            " hand; remove that shard and score it again"
        )
    ranks = [rank[key] for key in keys]
    return table.take(sorted(range(len(ranks)), key=ranks.__getitem__))


def _join_stores(out: Path, shards: list[Path]) -> None:
    """Write the joined store of the shards of a store."""
    shard_stores = [stores.open_store(path) for path in shards]
    spec = shard_stores[0].spec
    files = [file for path in shards for file in array_record_files(path)]
    folder = out / NAME / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    for number, (file, _) in enumerate(files):
        _link(file, folder / file_name(number, len(files)))
    write_metadata(folder, [length for _, length in files], spec)
    rows = sorted(
        (number, row, clip + start)
        for store, start in zip(shard_stores, _starts(shard_stores), strict=True)
        for number, row, clip in zip(
            store.row_numbers, store.rows, store.clip_numbers, strict=True
        )
    )
    stores.write_rows(out, *zip(*rows, strict=True))
    table = pa.concat_tables([store.table for store in shard_stores])
    facts = [facts for store in shard_stores for facts in store.facts]
    write_calibrations(out, calibrate_counts(facts, spec.counts))
    record_files.write_table(out / stores.CLIPS, table)


def _starts(shard_stores: list[stores.Store]) -> list[int]:
    """Return the number of each store's first clip among the clips of all stores."""
    lengths = [len(store.table) for store in shard_stores]
    return [sum(lengths[:n]) for n in range(len(lengths))]


def _link(file: Path, target: Path) -> None:
    """Link a file to a second path, or copy it where that is impossible."""
    if target.exists():
        return
    with record_files.replacing(target) as temporary:
        try:
            os.link(file, temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(file, temporary)
