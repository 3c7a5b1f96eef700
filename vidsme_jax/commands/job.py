"""A request to score, checked: settings, rows, prompts, batches, and what identifies it."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vidsme_jax import records, scores
from vidsme_jax.commands.packing import RULE, Group, make_batches
from vidsme_jax.commands.place import Placement, choose_placement
from vidsme_jax.commands.prompts import Prompts, make_prompts
from vidsme_jax.commands.together import ALONE, Team, join
from vidsme_jax.data.clips import Decoding
from vidsme_jax.data.frames import check_policy
from vidsme_jax.data.manifest import Row, read_manifests
from vidsme_jax.data.prepared import Wanted
from vidsme_jax.data.store import Store, is_store, open_store
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.hub import find_checkpoint
from vidsme_jax.models.port import Port
from vidsme_jax.models.template import Slot
from vidsme_jax.motion import Calibration, OrderRule
from vidsme_jax.opencv import cv2
from vidsme_jax.shards import Shard

_VERSIONED = ("vidsme-jax", "jax", "jaxlib", "flax", "numpy")
_DECODERS = ("decord", "av", "pillow")


@dataclass(frozen=True)
class ScoreSettings:
    """What `vidsme score` was asked for; see its --help.

    Attributes:
        model: checkpoint directory or hub id.
        data: manifests, scored as one set, or one store of `vidsme prepare`.
        out: the run's directory.
        frames: frame counts, each a row of the table per manifest row.
        slices: of `scores.SLICES`.
        root: folder that video paths start from.
        labels: one label a manifest, for lists without labels.
        system: system message instead of the template's own.
        published_prompt: cinepile, nextqa or caption, instead of the port's template.
        definitions: of `scores.DEFINITIONS`; exact is always among them.
        variants: further ways to choose q and r, scored in the same pass.
        perturbation: what way 1 shows, of `batches.PERTURBATIONS`.
        dtype: float32, bfloat16, or auto: float32 on CPU, else bfloat16.
        parallel: auto, replicas, partitioned, or global: over all processes' devices.
        batch: clips per replica of the model and step.
        calibration: a calibration.json; None calibrates over this run.
        beta1: width of the range of q.
        beta2: width of the range of r.
        max_text: tokens of question and answer beyond which a row is too long.
        keep_tokens: keep every per-token curve, not only that of `sme`.
        reader: of `frames.POLICIES`.
        decoding: with how many processes, and how long a clip may take.
        shard: score its rows only; None scores all.
    """

    model: str | Path
    data: tuple[Path, ...]
    out: Path
    frames: tuple[int, ...] = (16,)
    slices: tuple[str, ...] = scores.SLICES
    root: Path | None = None
    labels: tuple[int, ...] | None = None
    system: str | None = None
    published_prompt: str | None = None
    definitions: tuple[str, ...] = ("exact",)
    variants: tuple[OrderRule, ...] = ()
    perturbation: str = "reverse"
    dtype: str = "auto"
    parallel: str = "auto"
    batch: int = 8
    calibration: Path | None = None
    beta1: float = 1.0
    beta2: float = 0.1
    max_text: int = 2048
    keep_tokens: bool = False
    reader: str = "auto"
    decoding: Decoding = Decoding()
    shard: Shard | None = None


@dataclass(frozen=True)
class Job:
    """Everything that the steps of a run share.

    Attributes:
        settings: as asked.
        port: the checkpoint.
        rows: of all manifests, in order.
        prompts: of each row.
        batches: of all rows, or of those of the shard; rows of a group score alike.
        placement: devices, dtype and kind of parallelism.
        store: where the clips are ready; None where they must be decoded.
        team: the processes that score as one; mostly this one alone.
    """

    settings: ScoreSettings
    port: Port
    rows: list[Row]
    prompts: Prompts
    batches: list[list[Group]]
    placement: Placement
    store: Store | None
    team: Team

    @property
    def out(self) -> Path:
        """Where this run's files go."""
        shard, out = self.settings.shard, self.settings.out
        return shard.directory(out) if shard else out

    @property
    def definitions(self) -> tuple[str, ...]:
        """The definitions asked for, exact first."""
        others = [d for d in scores.DEFINITIONS if d in self.settings.definitions]
        return ("exact", *(d for d in others if d != "exact"))

    @property
    def behind(self) -> int:
        """Text tokens behind the video that are scored whatever the slices."""
        return int("published" in self.definitions)

    @property
    def wanted(self) -> Wanted:
        """What to make of each clip."""
        processor = self.port.processor
        frames, reader = self.settings.frames, self.settings.reader
        return Wanted(frames, processor.resize, processor.crop, reader)

    def facts(self, row: int, clip: dict[str, Any]) -> dict[str, Any]:
        """Return what is known of a row's clip, or why the row has no prompt."""
        return self.prompts.fault(row, clip) or clip

    def part_path(self, frames: int, batch: int) -> Path:
        """Return where a finished batch lies."""
        return records.part_path(self.out, frames, batch)


def make_job(settings: ScoreSettings) -> Job:
    """Read manifests and checkpoint, choose devices and form the batches.

    Raises:
        InputError: anything wrong with them, found before anything is decoded.
    """
    _check_definitions(settings)
    team = join() if settings.parallel == "global" else ALONE
    rows, store = read_data(settings.data, settings.root, settings.labels)
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
    port = open_port(find_checkpoint(str(settings.model)))
    port.check_weights()
    prompts = make_prompts(
        port,
        rows,
        settings.frames,
        settings.system,
        settings.published_prompt,
        settings.max_text,
    )
    placement = choose_placement(port.config, settings.parallel, settings.dtype)
    job = Job(settings, port, rows, prompts, [], placement, store, team)
    if store:
        _check_fits(job, store)
    return replace(job, batches=_batches(job))


def _batches(job: Job) -> list[list[Group]]:
    s, size = job.settings, job.settings.batch * job.placement.replicas
    mine = [n for n, row in enumerate(job.rows) if not s.shard or s.shard.has(row.id)]
    clips: list[Any] = job.store.places if job.store else [row.path for row in job.rows]
    if s.perturbation == "shuffle":  # it hangs on the id
        clips = [*range(len(job.rows))]
    return make_batches(mine, clips, job.prompts, s.slices, job.behind, size)


def read_data(
    data: Sequence[Path], root: Path | None, labels: Sequence[int] | None
) -> tuple[list[Row], Store | None]:
    """Return the rows to score, and the store where that is what was given.

    Args:
        data: manifests, taken as one set, or one store.
        root: folder that video paths start from.
        labels: one label a manifest, for lists without labels.

    Raises:
        InputError: a fault of a manifest; something beside a store.
    """
    stores = [path for path in data if is_store(path)]
    if not stores:
        return read_manifests(
            list(data), root, None if labels is None else list(labels)
        ), None
    if len(data) > 1:
        raise InputError(f"data={stores[0]} is a store, expected no other data beside it")
    if labels is not None or root is not None:
        raise InputError(
            f"data={stores[0]} is a store, which holds the labels and clips that vidsme"
            " prepare was given; expected neither label nor root"
        )
    store = open_store(stores[0])
    return store.rows, store


def _with_reader(settings: ScoreSettings, store: Store | None) -> ScoreSettings:
    """Take over the reader that a store was prepared with; refuse another."""
    if store is None:
        check_policy(settings.reader)
        return settings
    held = store.wanted.reader
    if settings.reader not in ("auto", held):
        raise InputError(
            f"reader={settings.reader}, but data={store.path} was prepared with {held}"
        )
    return replace(settings, reader=held)


def _check_fits(job: Job, store: Store) -> None:
    """Refuse a store made for other pixels, or without the frames asked for."""
    held, wanted = store.wanted, job.wanted
    shape = (held.resize, held.crop)
    if shape != (wanted.resize, wanted.crop):
        raise InputError(
            f"data={store.path} holds frames resized to {held.resize} and cropped to"
            f" {held.crop}, model={job.settings.model} takes {wanted.resize} and"
            f" {wanted.crop}; prepare the clips for this model into another store"
        )
    absent = [n for n in wanted.counts if n not in held.counts]
    if absent:
        raise InputError(
            f"data={store.path} holds frame counts {list(held.counts)}, expected {absent}"
        )


def _check_definitions(settings: ScoreSettings) -> None:
    unknown = [d for d in settings.definitions if d not in scores.DEFINITIONS]
    if unknown:
        known = ", ".join(scores.DEFINITIONS)
        raise InputError(f"definition={unknown[0]}, there are {known}")
    if "published" in settings.definitions and "video" not in settings.slices:
        raise InputError(
            f"definition=published scores the video slice, slices={settings.slices} has"
            " none; add video"
        )


def identity(job: Job, given: dict[int, Calibration] | None) -> dict[str, Any]:
    """Return everything that decides the numbers; a run goes on only under the same.

    Args:
        job: the request.
        given: the calibration of each frame count, None where the run makes its own.
    """
    s, devices = job.settings, job.placement.devices
    decoders = job.store.info["settings"]["versions"] if job.store else decoder_versions()
    # Where the clips lie may change between two tries, what they are called may not.
    rows = [{k: str(v) for k, v in vars(r).items() if k != "path"} for r in job.rows]
    ranges = None if given is None else {str(n): vars(c) for n, c in given.items()}
    return {
        "model": job.port.fingerprint(),
        "port": job.port.name,
        "manifest": records.digest(rows),
        "frames": list(s.frames),
        "slices": list(s.slices),
        "definitions": list(s.definitions),
        "variants": [vars(rule) for rule in s.variants],
        "perturbation": s.perturbation,
        "prompt": _spell(job.prompts),
        "template": records.digest([str(job.prompts.template)]),
        "vocab_keep": job.port.config.vocab_keep,
        "dtype": job.placement.dtype,
        "parallel": job.placement.parallel,
        "devices": f"{len(devices)} {devices[0].device_kind}",
        "batch": s.batch,
        "batches": RULE,
        "calibration": "run" if ranges is None else records.digest(ranges),
        "beta1": s.beta1,
        "beta2": s.beta2,
        "max_text": s.max_text,
        "keep": "tokens" if s.keep_tokens else "sme",
        "reader": s.reader,
        "shard": str(s.shard) if s.shard else None,
        "versions": versions(_VERSIONED) | decoders,
    }


def _spell(prompts: Prompts) -> str:
    """Return the prompt with its slots named, the system message filled in."""
    template = prompts.template.saying(prompts.system)
    slots = {slot: f"{{{slot.value}}}" for slot in Slot} | {Slot.SYSTEM: template.system}
    return "".join(slots[p] if isinstance(p, Slot) else p for p in template.pieces)


def about(job: Job) -> dict[str, Any]:
    """Return what helps a reader of the run but does not decide its numbers."""
    asked = job.settings
    return {
        "asked": {"model": str(asked.model), "data": [str(p) for p in asked.data]},
        "rows": len(job.rows),
        "own_rows": sum(len(group) for batch in job.batches for group in batch),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def decoder_versions() -> dict[str, str]:
    """Return the versions of what turns files into pixels."""
    # OpenCV goes by the names of several packages.
    return {"opencv": cv2.__version__} | versions(_DECODERS)


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of some packages."""
    out = {}
    for name in packages:
        try:
            out[name] = version(name)
        except PackageNotFoundError:  # decord has no wheels for some platforms
            out[name] = "absent"
    return out
