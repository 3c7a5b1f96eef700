"""Write a store, file by file, so that it survives a crash at any moment.

A finished clip lies in the journal until all clips of its file are finished. Then the file
is written at once, and its clips leave the journal. A second try keeps finished clips.
"""

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from vidsme_jax.data.clips import Decoding, prepare_clips
from vidsme_jax.data.prepared import ClipFacts, ClipSpec, PreparedClip
from vidsme_jax.data.readers.tfds import Source
from vidsme_jax.data.store.facts import facts_from_json, facts_to_json
from vidsme_jax.data.store.format import (
    NAME,
    VERSION,
    clip_example,
    clip_features,
    file_name,
    write_metadata,
)
from vidsme_jax.data.store.store import CLIPS
from vidsme_jax.progress import progress
from vidsme_jax.records import files as record_files


@dataclass(frozen=True)
class StoreDraft:
    """A store that is not finished yet.

    Its clips are written in pieces: a file of frames, and a file of facts, per piece.

    Attributes:
        path: directory of the store.
        files: files of the distinct clips, in order.
        spec: frames and facts to make of each clip.
    """

    path: Path
    files: tuple[Source, ...]
    spec: ClipSpec

    @property
    def pieces(self) -> list[range]:
        """The numbers of the clips of each piece: 128, or more to stay below 513 pieces."""
        count = len(self.files)
        size = max(128, -(-count // 512))
        return [range(n, min(n + size, count)) for n in range(0, max(count, 1), size)]

    def record_path(self, piece: int) -> Path:
        """Return the file of a piece's frames."""
        return self.path / NAME / VERSION / file_name(piece, len(self.pieces))

    def facts_path(self, piece: int) -> Path:
        """Return the file of a piece's facts; once it exists, the piece is finished."""
        return self.path / "parts" / f"piece-{piece:05d}.parquet"

    def journal_path(self, clip: int) -> Path:
        """Return the file of a finished clip of an unfinished piece."""
        return self.path / "journal" / f"clip-{clip:07d}.npz"


def read_facts(draft: StoreDraft) -> dict[int, ClipFacts]:
    """Return the facts of the clips that an earlier try finished, by number."""
    if (draft.path / CLIPS).exists():
        texts = record_files.read_table(draft.path / CLIPS, ["facts"])["facts"]
        return {k: facts_from_json(text) for k, text in enumerate(texts.to_pylist())}
    facts: dict[int, ClipFacts] = {}
    for n, clips in enumerate(draft.pieces):
        if draft.facts_path(n).exists():
            texts = record_files.read_table(draft.facts_path(n), ["facts"])["facts"]
            pairs = zip(clips, texts.to_pylist(), strict=True)
            facts |= {k: facts_from_json(text) for k, text in pairs}
            continue
        finished = [k for k in clips if draft.journal_path(k).exists()]
        facts |= {k: _read_journal_facts(draft.journal_path(k)) for k in finished}
    return facts


def write_missing_clips(draft: StoreDraft, decoding: Decoding) -> None:
    """Decode and write all clips that a store lacks."""
    if not (draft.path / CLIPS).exists():
        try:
            _write_all(draft, decoding)
        except Exception:
            # There are no locks: another process may have finished and cleaned up.
            if not (draft.path / CLIPS).exists():
                raise
    for folder in ("journal", "parts"):
        shutil.rmtree(draft.path / folder, ignore_errors=True)


def _write_all(draft: StoreDraft, decoding: Decoding) -> None:
    for folder in ("journal", "parts", f"{NAME}/{VERSION}"):
        (draft.path / folder).mkdir(parents=True, exist_ok=True)
    pieces = draft.pieces
    unfinished = [n for n in range(len(pieces)) if not draft.facts_path(n).exists()]
    todo = [k for n in unfinished for k in pieces[n] if not draft.journal_path(k).exists()]
    batches = ([draft.files[k]] for k in todo)
    with closing(prepare_clips(batches, draft.spec, decoding)) as ready:
        count = len(draft.files)
        clips = progress(ready, count, "decode", count - len(todo))
        left = set(todo)
        for n in unfinished:
            for k in sorted(left.intersection(pieces[n])):
                _write_journal(draft.journal_path(k), *next(clips))
            try:
                _write_piece(draft, n)
            except FileNotFoundError:
                # There are no locks: another process may have written the same piece.
                if not draft.facts_path(n).exists():
                    raise
    _finish(draft)


def _write_journal(path: Path, clip: PreparedClip) -> None:
    arrays = {
        "frames": clip.frames,
        "indices": clip.indices,
        "facts": np.frombuffer(facts_to_json(clip.facts).encode(), np.uint8),
        "thumbnail": np.frombuffer(clip.thumbnail, np.uint8),
    }
    with record_files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _read_journal_facts(path: Path) -> ClipFacts:
    with np.load(path, allow_pickle=False) as arrays:  # reads what is asked for
        return facts_from_json(arrays["facts"].tobytes().decode())


def _read_journal(path: Path) -> PreparedClip:
    facts = _read_journal_facts(path)
    with np.load(path, allow_pickle=False) as arrays:
        thumbnail = arrays["thumbnail"].tobytes()
        return PreparedClip(arrays["frames"], arrays["indices"], facts, thumbnail)


def _write_piece(draft: StoreDraft, piece: int) -> None:
    """Write the frames of a piece and its facts, and drop the journal's entries."""
    from array_record.python.array_record_module import ArrayRecordWriter

    features, entries = clip_features(draft.spec), []
    with record_files.replacing(draft.record_path(piece)) as temporary:
        # Each clip is compressed by itself, so that it can be read alone.
        writer = ArrayRecordWriter(str(temporary), "group_size:1")
        for k in draft.pieces[piece]:
            clip, video = _read_journal(draft.journal_path(k)), str(draft.files[k])
            example = clip_example(video, clip, draft.spec)
            writer.write(features.serialize_example(example))
            entries.append((video, facts_to_json(clip.facts), clip.thumbnail))
        writer.close()
    columns = list(zip(*entries, strict=True)) or [(), (), ()]
    names = {"video": pa.string(), "facts": pa.string(), "thumbnail": pa.binary()}
    arrays = [pa.array(c, kind) for c, kind in zip(columns, names.values(), strict=True)]
    record_files.write_table(draft.facts_path(piece), pa.table(arrays, names=list(names)))
    for k in draft.pieces[piece]:
        draft.journal_path(k).unlink(missing_ok=True)


def _finish(draft: StoreDraft) -> None:
    """Write the metadata of the frames, then the facts of all clips as one table."""
    tables = [
        record_files.read_table(draft.facts_path(n)) for n in range(len(draft.pieces))
    ]
    folder = draft.path / NAME / VERSION
    write_metadata(folder, [len(table) for table in tables], draft.spec)
    record_files.write_table(draft.path / CLIPS, pa.concat_tables(tables))
