"""Read prepared clips from disk: decoded once, scored many times, by any model they fit.

    STORE/store.json             settings that decide the frames; written first
    STORE/rows.parquet           the manifest's rows, each with the number of its clip
    STORE/journal/*.npz          finished clips, until all clips of their file are finished
    STORE/parts/*.parquet        facts of the clips of a full file, until all files exist
    STORE/vidsme_clips/1.0.0/    the frames, a tensorflow-datasets data set of ArrayRecord
    STORE/calibration.json       ranges of motion and illumination per frame count
    STORE/clips.parquet          facts and thumbnails of all clips; written last

`tfds.builder("vidsme_clips", data_dir=STORE).as_data_source("clips")` opens the frames.
Every file appears by a rename of a complete one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidsme_jax.data.manifest import other_columns
from vidsme_jax.data.prepared import ClipFacts, ClipSpec, PreparedClip
from vidsme_jax.data.readers.tfds import Source
from vidsme_jax.data.rows import Row
from vidsme_jax.data.store.facts import facts_from_json, spec_from_settings
from vidsme_jax.data.store.format import open_source
from vidsme_jax.errors import InputError
from vidsme_jax.records import files as record_files

INFO, CLIPS, ROWS = "store.json", "clips.parquet", "rows.parquet"
_OTHER = "other."  # before the names of the manifest's further columns
_ROW = {
    **dict.fromkeys(("id", "video", "asked", "answer", "group", "system"), pa.string()),
    "label": pa.int8(),
    "candidates": pa.list_(pa.string()),
    "history": pa.list_(pa.list_(pa.string())),
}
_TUPLES = ("candidates", "history")


@dataclass(frozen=True)
class Store:
    """A finished store.

    Attributes:
        path: directory of the store.
        info: content of store.json.
        rows: rows of the manifest; a shard holds some of them.
        clip_numbers: for each row, the number of its clip in `table`.
        row_numbers: for each row, its number in the whole manifest.
        table: columns `video`, `facts` (JSON) and `thumbnail`, a row per clip.
    """

    path: Path
    info: dict[str, Any]
    rows: list[Row]
    clip_numbers: list[int]
    row_numbers: list[int]
    table: pa.Table

    @property
    def spec(self) -> ClipSpec:
        """The request for the clips."""
        return spec_from_settings(self.info["settings"])

    @cached_property
    def facts(self) -> list[ClipFacts]:
        """The facts of the clips, by number."""
        return [facts_from_json(text) for text in self.table["facts"].to_pylist()]

    @cached_property
    def _source(self) -> Any:
        return open_source(self.path)

    def clips(self, rows: Sequence[int]) -> list[PreparedClip]:
        """Return the clips of rows, by their numbers; a clip of several is read once."""
        numbers = [self.clip_numbers[row] for row in rows]
        clips = {number: self._clip(number) for number in set(numbers)}
        return [clips[number] for number in numbers]

    def _clip(self, number: int) -> PreparedClip:
        try:
            example = self._source[number]
        except InputError:
            raise
        except Exception as error:  # damage raises errors of no common type
            raise InputError(
                f"data={self.path} is damaged, clip {number} cannot be read"
                f" ({record_files.one_line(error)}); vidsme verify names all"
            ) from error
        facts, thumbnail = self.facts[number], self.table["thumbnail"][number].as_py()
        return PreparedClip(example["frames"], example["indices"], facts, thumbnail)


def is_store(path: Path) -> bool:
    """Return whether a directory is a store, finished or not."""
    return (path / INFO).is_file()


def open_store(path: Path) -> Store:
    """Open a finished store.

    Raises:
        InputError: the directory is no store, or the store is not finished or damaged.
    """
    info = record_files.read_info(path / INFO)
    if not (path / CLIPS).exists():
        raise InputError(
            f"data={path} is a store without {CLIPS}: its vidsme prepare has not ended, run"
            " that command again (and vidsme merge, where it was made in shards)"
        )
    try:
        table = record_files.read_table(path / CLIPS)
        store = Store(path, info, *_read_rows(path), table)
        _check(store)
    except (KeyError, ValueError, TypeError, pa.ArrowException) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__} "
        raise InputError(f"data={path} is damaged: {kind}{error}") from error
    return store


def _check(store: Store) -> None:
    """Refuse a store whose files contradict each other."""
    if store.info.get("settings_hash") != record_files.digest(store.info["settings"]):
        raise ValueError(f"the settings in {INFO} were changed by hand")
    if max(store.clip_numbers, default=0) >= max(1, len(store.table)):
        raise ValueError(f"{ROWS} has more clips than {CLIPS}")
    counts = set(store.spec.counts)
    for facts in store.facts:
        if facts.is_ok and not counts <= set(facts.at):
            raise ValueError(f"{CLIPS} lacks frame counts that {INFO} names")


def number_clips(rows: Sequence[Row]) -> tuple[list[Source], list[int]]:
    """Number the distinct clips of some rows.

    Returns:
        The files of the clips, in order; for each row, the number of its clip.
    """
    files: dict[Source, int] = {}
    clips = [files.setdefault(row.path, len(files)) for row in rows]
    return list(files), clips


def write_rows(
    store: Path, numbers: Sequence[int], rows: Sequence[Row], clips: Sequence[int]
) -> None:
    """Write rows of a manifest beside the clips.

    Args:
        store: directory of the store.
        numbers: for each row, its number in the manifest.
        rows: rows to write.
        clips: for each row, the number of its clip.
    """
    columns = {
        **{name: pa.array([getattr(r, name) for r in rows], _ROW[name]) for name in _ROW},
        "path": pa.array([str(row.path) for row in rows], pa.string()),
        "clip": pa.array(clips, pa.int64()),
        "row": pa.array(numbers, pa.int64()),
        **{f"{_OTHER}{name}": column for name, column in other_columns(rows).items()},
    }
    record_files.write_table(store / ROWS, pa.table(columns))


def _read_rows(store: Path) -> tuple[list[Row], list[int], list[int]]:
    """Return a store's rows, the number of every row's clip, and every row's number."""
    table = record_files.read_table(store / ROWS)
    others = [name for name in table.column_names if name.startswith(_OTHER)]
    rows = [
        Row(
            **{name: record[name] for name in _ROW if name not in _TUPLES},
            path=Path(record["path"]),
            candidates=tuple(record["candidates"]),
            history=tuple((question, answer) for question, answer in record["history"]),
            other={name.removeprefix(_OTHER): record[name] for name in others},
        )
        for record in table.to_pylist()
    ]
    return rows, table["clip"].to_pylist(), table["row"].to_pylist()
