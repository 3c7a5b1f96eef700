"""Make a store, file by file, so that a machine may die at any moment.

A clip that is ready lies in the journal until all clips of its file are; then the file is
written at once and the journal's entries go. What is finished is found again.
"""

import json
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vidsme_jax.data.clips import Decoding, prepare_clips
from vidsme_jax.data.prepared import PreparedClip, Wanted
from vidsme_jax.data.readers.tfds import Source
from vidsme_jax.data.store.format import (
    NAME,
    VERSION,
    describe,
    example,
    features,
    file_name,
)
from vidsme_jax.data.store.store import CLIPS
from vidsme_jax.progress import progress
from vidsme_jax.records import files as record_files


@dataclass(frozen=True)
class Making:
    """A store that is being made.

    Attributes:
        path: of the store.
        files: of the distinct clips, in order.
        wanted: what is made of each.
    """

    path: Path
    files: tuple[Source, ...]
    wanted: Wanted

    @property
    def pieces(self) -> list[range]:
        """The clips of each file: 128, more where that would make over 512 files."""
        count = len(self.files)
        size = max(128, -(-count // 512))
        return [range(n, min(n + size, count)) for n in range(0, max(count, 1), size)]

    def record_path(self, piece: int) -> Path:
        """Return the file of a piece's frames."""
        return self.path / NAME / VERSION / file_name(piece, len(self.pieces))

    def part_path(self, piece: int) -> Path:
        """Return the file of a piece's facts; where it is, the piece is finished."""
        return self.path / "parts" / f"piece-{piece:05d}.parquet"

    def journal_path(self, clip: int) -> Path:
        """Return where a finished clip of an unfinished piece lies."""
        return self.path / "journal" / f"clip-{clip:07d}.npz"


def fill(making: Making, decoding: Decoding) -> None:
    """Decode and write everything that is not there yet."""
    if not (making.path / CLIPS).exists():
        try:
            _fill(making, decoding)
        except Exception:
            # Without locks another process may have finished, and cleaned up.
            if not (making.path / CLIPS).exists():
                raise
    for folder in ("journal", "parts"):
        shutil.rmtree(making.path / folder, ignore_errors=True)


def _fill(making: Making, decoding: Decoding) -> None:
    for folder in ("journal", "parts", f"{NAME}/{VERSION}"):
        (making.path / folder).mkdir(parents=True, exist_ok=True)
    pieces = making.pieces
    unfinished = [n for n in range(len(pieces)) if not making.part_path(n).exists()]
    todo = [k for n in unfinished for k in pieces[n] if not making.journal_path(k).exists()]
    batches = ([making.files[k]] for k in todo)
    with closing(prepare_clips(batches, making.wanted, decoding)) as ready:
        count = len(making.files)
        clips = progress(ready, count, "decode, clips", count - len(todo))
        left = set(todo)
        for n in unfinished:
            for k in sorted(left.intersection(pieces[n])):
                _keep(making.journal_path(k), *next(clips))
            try:
                _write(making, n)
            except FileNotFoundError:
                # Without locks another process may have written it and dropped its journal.
                if not making.part_path(n).exists():
                    raise
    _finish(making)


def _keep(path: Path, clip: PreparedClip) -> None:
    arrays = {
        "frames": clip.frames,
        "indices": clip.indices,
        "facts": np.frombuffer(json.dumps(clip.facts).encode(), np.uint8),
        "thumbnail": np.frombuffer(clip.thumbnail, np.uint8),
    }
    with record_files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _kept(path: Path) -> PreparedClip:
    with np.load(path, allow_pickle=False) as held:
        facts = json.loads(held["facts"].tobytes())
        thumbnail = held["thumbnail"].tobytes()
        return PreparedClip(held["frames"], held["indices"], facts, thumbnail)


def _write(making: Making, piece: int) -> None:
    """Write one file from the journal, its facts, and drop the journal's entries."""
    from array_record.python.array_record_module import ArrayRecordWriter

    kinds, entries = features(making.wanted), []
    with record_files.replacing(making.record_path(piece)) as temporary:
        writer = ArrayRecordWriter(str(temporary), "group_size:1")  # each by itself, zstd
        for k in making.pieces[piece]:
            clip, video = _kept(making.journal_path(k)), str(making.files[k])
            writer.write(kinds.serialize_example(example(video, clip, making.wanted)))
            entries.append((video, json.dumps(clip.facts), clip.thumbnail))
        writer.close()
    columns = list(zip(*entries, strict=True)) or [(), (), ()]
    names = {"video": pa.string(), "facts": pa.string(), "thumbnail": pa.binary()}
    arrays = [pa.array(c, kind) for c, kind in zip(columns, names.values(), strict=True)]
    record_files.write_table(making.part_path(piece), pa.table(arrays, names=list(names)))
    for k in making.pieces[piece]:
        making.journal_path(k).unlink(missing_ok=True)


def _finish(making: Making) -> None:
    """Join the facts of all files and describe them to tensorflow-datasets."""
    tables = [pq.read_table(making.part_path(n)) for n in range(len(making.pieces))]
    folder = making.path / NAME / VERSION
    describe(folder, [len(table) for table in tables], making.wanted)
    record_files.write_table(making.path / CLIPS, pa.concat_tables(tables))
