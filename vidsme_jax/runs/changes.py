"""Notice clips that changed after a run had read them, and note them in run.json.

What was finished stays: its rows hold the scores of the files as they were. Nothing is
refused, since a copy or a restored backup also changes times. The note stays with the run.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vidsme_jax.data.prepared import Stamp
from vidsme_jax.data.rows import Row
from vidsme_jax.data.stamps import ChangedClip, find_changed
from vidsme_jax.progress import say
from vidsme_jax.records import files, runs
from vidsme_jax.runs.job import Job

_COLUMNS = ["id", "read_bytes", "read_modified_ns"]


def changed_since_scored(job: Job) -> list[ChangedClip]:
    """Return the clips that changed after an earlier try had read and scored them.

    A run from a store reads no files. One that keeps its decoded clips in RUN/prepared
    compares those, until it is finished.
    """
    if job.store is not None:
        return []
    if runs.is_finished(job.out):
        return changed_since_finished(job.out, job.rows)
    paths = [
        job.part_path(frames, batch)
        for frames in job.settings.frames
        for batch in range(len(job.batches))
    ]
    scored = [path for path in paths if path.exists()] if job.settings.calibration else []
    return _compare(job.rows, (runs.read_part(path, "features") for path in scored))


def changed_since_finished(run: Path, rows: Sequence[Row]) -> list[ChangedClip]:
    """Return the clips that changed after a finished run of some rows had read them."""
    path = run / "features.parquet"
    if not set(_COLUMNS) <= set(pq.read_schema(path).names):  # older versions noted none
        return []
    return _compare(rows, [files.read_table(path, _COLUMNS)])


def _compare(rows: Sequence[Row], tables: Iterable[pa.Table]) -> list[ChangedClip]:
    """Return the clips that are not what tables of features say was read."""
    numbers = {row.id: n for n, row in enumerate(rows)}
    read = [
        (numbers[id_], None if size is None else Stamp(size, time))
        for table in tables
        for id_, size, time in zip(*(table[c].to_pylist() for c in _COLUMNS), strict=True)
    ]
    return find_changed(rows, read)


def note_changes(job: Job, changed: Sequence[ChangedClip]) -> None:
    """Note changed clips in run.json, and say so in one line, if there are any."""
    if changed:
        say(files.note_changed(job.out, [clip.to_json() for clip in changed]))
