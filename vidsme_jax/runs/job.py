"""Check a request to score, and make its rows, prompts, batches and placement."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vidsme_jax.data.manifest import ManifestSettings, read_manifests
from vidsme_jax.data.prepared import ClipFacts, ClipSpec
from vidsme_jax.data.preprocess import geometry_of
from vidsme_jax.data.readers.policy import check_policy
from vidsme_jax.data.rows import Row
from vidsme_jax.data.store.store import Store, is_store, open_store
from vidsme_jax.errors import InputError
from vidsme_jax.models import find_port
from vidsme_jax.models.placement import Placement, choose_placement
from vidsme_jax.models.port import Port
from vidsme_jax.progress import say
from vidsme_jax.records import runs
from vidsme_jax.records.files import changed_note, read_info, version_note
from vidsme_jax.runs.batching import Group, make_batches
from vidsme_jax.runs.processes import ALONE, Team, join
from vidsme_jax.runs.prompts import Prompts, make_prompts
from vidsme_jax.runs.settings import ScoreSettings
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.definition import Definition
from vidsme_jax.scores.program import EXACT, NAMED


@dataclass(frozen=True)
class Job:
    """A checked request to score: what the steps of a run share.

    Attributes:
        settings: the request, with the reader that the store was prepared with.
        port: the checkpoint.
        rows: rows of all manifests, in order.
        prompts: the prompt of each row.
        batches: groups of each batch, over all rows or those of the shard; the rows of a
            group score alike.
        placement: devices, dtype and kind of parallelism.
        store: the store with the prepared clips; None where they must be decoded.
        team: the processes that score together; mostly this process alone.
        part_clips: clips of a batch, which is a part of the run on disk. A run that goes
            on elsewhere keeps the parts that it began with.
    """

    settings: ScoreSettings
    port: Port
    rows: list[Row]
    prompts: Prompts
    batches: list[list[Group]]
    placement: Placement
    store: Store | None
    team: Team
    part_clips: int

    @property
    def step_clips(self) -> int:
        """Return how many clips the devices take in a step."""
        replicas = self.placement.replicas
        spread = -(-self.part_clips // replicas) * replicas
        return min(self.settings.batch * replicas, spread)

    @property
    def out(self) -> Path:
        """Return the directory of this run's files."""
        shard, out = self.settings.shard, self.settings.out
        return shard.directory(out) if shard else out

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Return the definitions that are scored, exact first."""
        names = {EXACT.name, *self.settings.definitions}
        return tuple(NAMED[name] for name in catalogue.DEFINITIONS if name in names)

    @property
    def text_after(self) -> int:
        """Return how many text tokens after the video are scored whatever the slices."""
        return max(definition.text_after for definition in self.definitions)

    @property
    def clip_spec(self) -> ClipSpec:
        """Return what to make of every clip: frame counts, pixels and reader."""
        geometry = geometry_of(self.port.processor)
        return ClipSpec(self.settings.frames, geometry, self.settings.reader)

    def facts(self, row: int, clip: ClipFacts) -> ClipFacts:
        """Return the facts of a row: its clip's, or the reason why it has no prompt."""
        return self.prompts.fault(row, clip) or clip

    def part_path(self, frames: int, batch: int) -> Path:
        """Return the path of a finished batch's table."""
        return runs.part_path(self.out, frames, batch)


def make_job(settings: ScoreSettings) -> Job:
    """Read manifests and checkpoint, choose devices and form the batches.

    Raises:
        InputError: anything wrong with them; no clip is decoded before.
    """
    _check_definitions(settings)
    team = join() if settings.parallel == "global" else ALONE
    rows, store = read_data(settings.data, settings.manifests)
    settings = _with_reader(settings, store)
    if settings.shard and not (settings.calibration or store):
        raise InputError(
            f"shards={settings.shard} with calibration=run: part of the clips does not"
            " know the motion of all; expected --calibration FILE, or --data STORE"
        )
    if settings.parallel == "global" and (settings.shard or not store):
        raise InputError(
            "parallel=global has all processes score all rows together, expected --data"
            " STORE of vidsme prepare, which each of them can read, and no --shards"
        )
    port = find_port(settings.model, settings.adapter, settings.ignore_fields)
    port.check_weights()
    prompts = make_prompts(
        port,
        rows,
        settings.frames,
        settings.system,
        settings.published_prompt,
        settings.max_text,
    )
    placement = choose_placement(port, settings.parallel, settings.dtype)
    job = Job(settings, port, rows, prompts, [], placement, store, team, 0)
    if store:
        _check_fits(job, store)
    job = replace(job, part_clips=_part_clips(job))
    return replace(job, batches=_batches(job))


def _part_clips(job: Job) -> int:
    """Return the clips of a part: as the run began, or as the devices take them now.

    Of several processes, the first one's disk counts.
    """
    size, path = job.settings.batch * job.placement.replicas, job.out / "run.json"
    if path.exists():
        size = read_info(path).get("part_clips", size)
    return int(job.team.broadcast(np.array(size)))


def _batches(job: Job) -> list[list[Group]]:
    """Return the batches of all rows, or of those of the shard."""
    s = job.settings
    numbers = [n for n, row in enumerate(job.rows) if not s.shard or s.shard.has(row.id)]
    clips: list[Any] = (
        job.store.clip_numbers if job.store else [row.path for row in job.rows]
    )
    if s.perturbation == "shuffle":  # its random order depends on the row's id
        clips = [*range(len(job.rows))]
    return make_batches(
        numbers, clips, job.prompts, s.slices, job.text_after, job.part_clips
    )


def read_data(
    data: Sequence[Path], manifests: ManifestSettings
) -> tuple[list[Row], Store | None]:
    """Return the rows to score, and the store if they come from one.

    Args:
        data: manifests, taken as one set, or one store.
        manifests: how manifests are read.

    Raises:
        InputError: a fault of a manifest; something beside a store.
    """
    stores = [path for path in data if is_store(path)]
    if not stores:
        return read_manifests(data, manifests), None
    if len(data) > 1:
        raise InputError(f"data={stores[0]} is a store, expected no other data beside it")
    if manifests != ManifestSettings():
        raise InputError(
            f"data={stores[0]} is a store, which holds the rows and clips that vidsme"
            " prepare was given; expected no label, root, turns or fps"
        )
    store = open_store(stores[0])
    for note in (version_note, changed_note):
        if line := note(store.path, store.info):
            say(line)
    return store.rows, store


def _with_reader(settings: ScoreSettings, store: Store | None) -> ScoreSettings:
    """Return the settings with the reader that the store was prepared with."""
    if store is None:
        check_policy(settings.reader)
        return settings
    reader = store.spec.reader
    if settings.reader not in ("auto", reader):
        raise InputError(
            f"reader={settings.reader}, but data={store.path} was prepared with {reader}"
        )
    return replace(settings, reader=reader)


def _check_fits(job: Job, store: Store) -> None:
    """Refuse a store made for other pixels, or without a frame count of the request."""
    stored, needed = store.spec.geometry, job.clip_spec.geometry
    if stored != needed:
        raise InputError(
            f"data={store.path} holds frames resized to {stored.resize} ({stored.resample})"
            f" and cropped to {stored.crop}, model={job.settings.model} takes"
            f" {needed.resize} ({needed.resample}) and {needed.crop};"
            " prepare the clips for this model into another store"
        )
    counts = store.spec.counts
    absent = [n for n in job.settings.frames if n not in counts]
    if absent:
        raise InputError(
            f"data={store.path} holds frame counts {list(counts)}, expected {absent}"
        )


def _check_definitions(settings: ScoreSettings) -> None:
    """Refuse a definition that does not exist, or whose slice is not scored."""
    unknown = [d for d in settings.definitions if d not in catalogue.DEFINITIONS]
    if unknown:
        names = ", ".join(catalogue.DEFINITIONS)
        raise InputError(f"definition={unknown[0]}, there are {names}")
    for name in settings.definitions:
        for needed in set(NAMED[name].needs) - set(settings.slices):
            raise InputError(
                f"definition={name} scores the {needed} slice, slices={settings.slices} has"
                f" none; add {needed}"
            )
