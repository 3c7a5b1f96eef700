"""`vidsme prepare`: decode every clip of a manifest once, into a store scored many times.

STORE/shards/0003-of-0016/   the store of one shard, until `vidsme merge` joins them
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsme_jax.data.clips import Decoding
from vidsme_jax.data.manifest import Row, read_manifests
from vidsme_jax.data.prepared import Wanted
from vidsme_jax.data.readers.policy import check_policy
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
from vidsme_jax.data.store.writer import Making, fill
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.checkpoints.hub import find_checkpoint
from vidsme_jax.progress import say
from vidsme_jax.records import files as record_files
from vidsme_jax.records.shards import Shard
from vidsme_jax.runs.calibrations import calibrate_counts, write_calibrations
from vidsme_jax.runs.identity import decoder_versions


@dataclass(frozen=True)
class PrepareSettings:
    """What `vidsme prepare` does; see its --help.

    Attributes:
        model: checkpoint directory or hub id; its processor decides the pixels, its
            weights are not read.
        data: manifests, prepared as one set.
        out: the store.
        frames: frame counts that it can be scored with.
        root: folder that video paths start from.
        labels: one label a manifest, for lists without labels.
        reader: of `policy.POLICIES`.
        decoding: with how many processes, and how long a clip may take.
        shard: prepare its rows only; None prepares all.
    """

    model: str | Path
    data: tuple[Path, ...]
    out: Path
    frames: tuple[int, ...] = (2, 4, 8, 16, 32)
    root: Path | None = None
    labels: tuple[int, ...] | None = None
    reader: str = "auto"
    decoding: Decoding = Decoding()
    shard: Shard | None = None


def prepare(settings: PrepareSettings) -> Store:
    """Decode every clip that is not in the store yet; return the store.

    Raises:
        InputError: wrong input, or not one clip that could be read (the store is written).
    """
    check_policy(settings.reader)
    labels = None if settings.labels is None else list(settings.labels)
    rows = read_manifests(list(settings.data), settings.root, labels)
    processor = open_port(find_checkpoint(str(settings.model), weights=False)).processor
    wanted = Wanted(settings.frames, processor.resize, processor.crop, settings.reader)
    shard = settings.shard
    out = shard.directory(settings.out) if shard else settings.out
    asked = {"model": str(settings.model), "data": [str(p) for p in settings.data]}
    with record_files.locked(out, INFO):
        _forget_a_store_of_nothing(out)
        is_complete = (out / CLIPS).exists()
        fill_store(out, rows, wanted, settings.decoding, shard, {"asked": asked})
        if is_complete:
            say(f"{out} is complete: what could not be read is not tried again")
        store = open_store(out)
        write_calibrations(out, calibrate_counts(store.facts, wanted.counts))
        if not shard:  # of which a part may hold bad clips only
            _refuse_if_nothing_was_read(store)
    return store


def _forget_a_store_of_nothing(out: Path) -> None:
    """Make room where an earlier try could not read one clip, and so decided nothing."""
    if (out / CLIPS).exists():
        status = [facts["status"] for facts in open_store(out).facts]
        if "ok" not in status:
            for name in (CLIPS, ROWS, INFO, "calibration.json"):
                (out / name).unlink(missing_ok=True)
            shutil.rmtree(out / NAME, ignore_errors=True)


def _refuse_if_nothing_was_read(store: Store) -> None:
    if not any(facts["status"] == "ok" for facts in store.facts):
        raise InputError(
            f"none of {len(store.facts)} clips could be read, the first:"
            f" {store.facts[0]['error']} ({store.path / CLIPS} has every reason)"
        )


def fill_store(
    path: Path,
    rows: list[Row],
    wanted: Wanted,
    decoding: Decoding,
    shard: Shard | None = None,
    about: dict[str, Any] | None = None,
) -> None:
    """Make a store of a directory, as far as it is not one yet.

    Args:
        path: the directory, of this process alone.
        rows: of the whole manifest.
        wanted: what to make of each clip.
        decoding: with how many processes, and how long each clip may take.
        shard: keep its rows only.
        about: what else store.json tells.
    """
    path.mkdir(exist_ok=True)
    numbers = [n for n, row in enumerate(rows) if not shard or shard.has(row.id)]
    info = {"rows": len(rows), "own_rows": len(numbers), **(about or {})}
    record_files.claim(path, _identity(rows, wanted, shard), info, INFO)
    own = [rows[n] for n in numbers]
    files, clips = number_clips(own)
    write_rows(path, numbers, own, clips)
    fill(Making(path, tuple(files), wanted), decoding)


def _identity(rows: list[Row], wanted: Wanted, shard: Shard | None) -> dict[str, Any]:
    # Where the clips lie may change between two tries, what they are called may not.
    known = [{k: str(v) for k, v in vars(r).items() if k != "path"} for r in rows]
    return {
        "frames": list(wanted.counts),
        "preprocessing": {"resize": wanted.resize, "crop": wanted.crop},
        "reader": wanted.reader,
        "manifest": record_files.digest(known),
        "shard": str(shard) if shard else None,
        "versions": decoder_versions(),
    }
