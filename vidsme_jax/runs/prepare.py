"""`vidsme prepare`: decode every clip of a manifest once, into a store scored many times.

STORE/shards/0003-of-0016/   the store of one shard, until `vidsme merge` joins them
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsme_jax import __version__
from vidsme_jax.data.clips import Decoding
from vidsme_jax.data.manifest import ManifestSettings, read_manifests
from vidsme_jax.data.prepared import ClipSpec
from vidsme_jax.data.preprocess import geometry_of
from vidsme_jax.data.readers.policy import check_policy
from vidsme_jax.data.rows import Row
from vidsme_jax.data.stamps import ChangedClip, find_changed, stamps_of_rows
from vidsme_jax.data.store.facts import spec_to_settings
from vidsme_jax.data.store.format import NAME
from vidsme_jax.data.store.store import (
    CLIPS,
    INFO,
    ROWS,
    Store,
    number_clips,
    open_store,
    write_rows,
)
from vidsme_jax.data.store.writer import StoreDraft, read_facts, write_missing_clips
from vidsme_jax.errors import InputError, check_counts, needing_memory
from vidsme_jax.models import find_port
from vidsme_jax.progress import phase, say
from vidsme_jax.records import files as record_files
from vidsme_jax.records.shards import Shard, check_siblings
from vidsme_jax.runs.calibrations import calibrate_counts, write_calibrations
from vidsme_jax.runs.identity import decoder_versions, rows_digest


@dataclass(frozen=True)
class PrepareSettings:
    """What `vidsme prepare` does; see its --help.

    Attributes:
        model: checkpoint directory or hub id; its processor decides the pixels, its
            weights are not read.
        data: manifests, prepared as one set.
        out: directory of the store.
        frames: frame counts that its clips can be scored with.
        manifests: how the manifests are read.
        reader: of `policy.POLICIES`.
        decoding: with how many processes, and how long a clip may take.
        shard: the shard whose rows are prepared; None prepares all.
        adapter: folder of a LoRA adapter of PEFT, checked and changing no pixel.
        ignore_fields: fields of the model's configs that are ignored where the port lacks
            them.
    """

    model: str | Path
    data: tuple[Path, ...]
    out: Path
    frames: tuple[int, ...] = (2, 4, 8, 16, 32)
    manifests: ManifestSettings = ManifestSettings()
    reader: str = "auto"
    decoding: Decoding = Decoding()
    shard: Shard | None = None
    adapter: Path | None = None
    ignore_fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that no store can have."""
        check_counts(self, "frames")


def prepare(settings: PrepareSettings) -> Store:
    """Decode every clip that is not in the store yet; return the store.

    Raises:
        InputError: wrong input, or no clip that could be read (the store is written).
    """
    check_policy(settings.reader)
    rows = read_manifests(settings.data, settings.manifests)
    model = (settings.model, settings.adapter, settings.ignore_fields)
    processor = find_port(*model, weights=False).processor
    spec = ClipSpec(settings.frames, geometry_of(processor), settings.reader)
    shard = settings.shard
    out = shard.directory(settings.out) if shard else settings.out
    request = {"model": str(settings.model), "data": [str(p) for p in settings.data]}
    identity = store_identity(rows, spec, shard)
    check_siblings(settings.out, shard, identity, INFO)
    with record_files.locked(out, INFO):
        _remove_store_without_clips(out)
        is_complete = (out / CLIPS).exists()
        phase("prepare", "decode the clips")
        counts, workers = list(settings.frames), settings.decoding.workers
        with needing_memory(
            f"{workers} workers and clips of {counts} frames; fewer --workers or --frames"
            " need less"
        ):
            about = {"asked": request}
            changed = fill_store(out, rows, spec, settings.decoding, shard, about)
        if changed:
            notes = [clip.to_json() for clip in changed]
            say(record_files.note_changed(out, notes, INFO))
        if is_complete:
            say(f"{out} is complete: what could not be read is not tried again")
        phase("prepare", "calibrate")
        store = open_store(out)
        write_calibrations(out, calibrate_counts(store.facts, spec.counts))
        if not shard:  # a shard may hold bad clips only
            _refuse_without_clips(store)
    return store


def _remove_store_without_clips(out: Path) -> None:
    """Remove the store of an earlier try that could read no clip, so that all are tried."""
    if not (out / CLIPS).exists():
        return
    if not any(facts.is_ok for facts in open_store(out).facts):
        for name in (CLIPS, ROWS, INFO, "calibration.json"):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / NAME, ignore_errors=True)


def _refuse_without_clips(store: Store) -> None:
    """Refuse a store of which no clip could be read."""
    if not any(facts.is_ok for facts in store.facts):
        raise InputError(
            f"none of {len(store.facts)} clips could be read, the first:"
            f" {store.facts[0].error} ({store.path / CLIPS} has every reason)"
        )


def fill_store(
    path: Path,
    rows: list[Row],
    spec: ClipSpec,
    decoding: Decoding,
    shard: Shard | None = None,
    about: dict[str, Any] | None = None,
) -> list[ChangedClip]:
    """Write into a directory all clips that its store lacks.

    Clips that are there stay as they are.

    Args:
        path: the directory, used by this process alone.
        rows: all rows of the manifests.
        spec: what to make of each clip.
        decoding: with how many processes, and how long a clip may take.
        shard: the shard whose rows are kept; None keeps all.
        about: further notes for store.json.

    Returns:
        The clips of earlier tries whose files changed since.
    """
    path.mkdir(exist_ok=True)
    numbers = [n for n, row in enumerate(rows) if not shard or shard.has(row.id)]
    made = {"made_by": __version__}
    info = {"rows": len(rows), "own_rows": len(numbers), **made, **(about or {})}
    record_files.claim(path, store_identity(rows, spec, shard), info, INFO)
    shard_rows = [rows[n] for n in numbers]
    files, clips = number_clips(shard_rows)
    draft = StoreDraft(path, tuple(files), spec)
    read = stamps_of_rows(numbers, clips, read_facts(draft))
    changed = find_changed(rows, read)
    write_rows(path, numbers, shard_rows, clips)
    write_missing_clips(draft, decoding)
    return changed


def store_identity(rows: list[Row], spec: ClipSpec, shard: Shard | None) -> dict[str, Any]:
    """Return everything that decides what is in the store."""
    return spec_to_settings(spec) | {
        "manifest": rows_digest(rows),
        "shard": str(shard) if shard else None,
        "versions": decoder_versions(),
    }
