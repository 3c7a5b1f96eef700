"""A request to score, checked: settings, rows, prompts, batches, and what identifies it."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vidsme_jax import records, scores
from vidsme_jax.commands.place import Placement, choose_placement
from vidsme_jax.commands.prompts import Prompts, make_prompts
from vidsme_jax.data.clips import PreparedBatch, Wanted
from vidsme_jax.data.manifest import Row, read_manifests
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.hub import find_checkpoint
from vidsme_jax.models.port import Port
from vidsme_jax.models.template import Slot
from vidsme_jax.motion import Calibration, OrderRule
from vidsme_jax.opencv import cv2

_VERSIONED = ("vidsme-jax", "jax", "jaxlib", "flax", "numpy", "decord", "pillow")


@dataclass(frozen=True)
class ScoreSettings:
    """What `vidsme score` was asked for; see its --help.

    Attributes:
        model: checkpoint directory or hub id.
        data: manifests, scored as one set.
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
        parallel: auto, replicas or partitioned.
        batch: clips per replica of the model and step.
        calibration: a calibration.json; None calibrates over this run.
        beta1: width of the range of q.
        beta2: width of the range of r.
        max_text: tokens of question and answer beyond which a row is too long.
        keep_tokens: keep every per-token curve, not only that of `sme`.
        workers: decoding threads.
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
    workers: int | None = None


@dataclass(frozen=True)
class Job:
    """Everything that the steps of a run share.

    Attributes:
        settings: as asked.
        port: the checkpoint.
        rows: of all manifests, in order.
        prompts: of each row.
        batches: the rows of each batch.
        placement: devices, dtype and kind of parallelism.
    """

    settings: ScoreSettings
    port: Port
    rows: list[Row]
    prompts: Prompts
    batches: list[range]
    placement: Placement

    @property
    def definitions(self) -> tuple[str, ...]:
        """The definitions asked for, exact first."""
        others = [d for d in scores.DEFINITIONS if d in self.settings.definitions]
        return ("exact", *(d for d in others if d != "exact"))

    @property
    def wanted(self) -> Wanted:
        """What to make of each clip."""
        processor = self.port.processor
        return Wanted(self.settings.frames, processor.resize, processor.crop)

    def facts(self, batch: int, prepared: PreparedBatch) -> list[dict[str, Any]]:
        """Return what is known of each clip of a batch, rows without a prompt marked."""
        return [
            self.prompts.fault(n, facts) or facts
            for n, facts in zip(self.batches[batch], prepared.facts, strict=True)
        ]

    def prepared_path(self, batch: int) -> Path:
        """Return where a decoded batch lies."""
        return self.settings.out / "prepared" / f"batch-{batch:06d}.npz"

    def part_path(self, frames: int, batch: int) -> Path:
        """Return where a finished batch lies."""
        return records.part_path(self.settings.out, frames, batch)


def make_job(settings: ScoreSettings) -> Job:
    """Read manifests and checkpoint, choose devices and form the batches.

    Raises:
        InputError: anything wrong with them, found before anything is decoded.
    """
    _check_definitions(settings)
    labels = None if settings.labels is None else list(settings.labels)
    rows = read_manifests(list(settings.data), settings.root, labels)
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
    placement = choose_placement(port, settings.parallel, settings.dtype)
    size = settings.batch * placement.replicas
    batches = [range(n, min(n + size, len(rows))) for n in range(0, len(rows), size)]
    return Job(settings, port, rows, prompts, batches, placement)


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
        "calibration": "run" if ranges is None else records.digest(ranges),
        "beta1": s.beta1,
        "beta2": s.beta2,
        "max_text": s.max_text,
        "keep": "tokens" if s.keep_tokens else "sme",
        "reader": "auto",
        "versions": _versions(),
    }


def _spell(prompts: Prompts) -> str:
    """Return the prompt with its slots named, the system message filled in."""
    template = prompts.template.saying(prompts.system)
    slots = {slot: f"{{{slot.value}}}" for slot in Slot} | {Slot.SYSTEM: template.system}
    return "".join(slots[p] if isinstance(p, Slot) else p for p in template.pieces)


def about(settings: ScoreSettings) -> dict[str, Any]:
    """Return what helps a reader of the run but does not decide its numbers."""
    return {
        "asked": {"model": str(settings.model), "data": [str(p) for p in settings.data]},
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def _versions() -> dict[str, str]:
    out = {"opencv": cv2.__version__}  # under whichever of its packages' names
    for name in _VERSIONED:
        try:
            out[name] = version(name)
        except PackageNotFoundError:  # decord has no wheels for some platforms
            out[name] = "absent"
    return out
