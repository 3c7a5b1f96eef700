"""Describe a run: all that decides its numbers, and notes that do not."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vidsme_jax.data.opencv import cv2
from vidsme_jax.data.rows import Row
from vidsme_jax.models.prompts.template import Slot
from vidsme_jax.records import files
from vidsme_jax.runs.batching import BATCHING
from vidsme_jax.runs.job import Job
from vidsme_jax.runs.prompts import Prompts
from vidsme_jax.scores.orders import Calibration

_ROUNDING = ("jax", "jaxlib", "flax", "numpy")  # their versions change no more
_DECODERS = ("decord", "av", "pillow")

# Fields of the settings that are no part of the identity under their names. Where results
# go, how many processes decode, and how the work lies on devices decides no number beyond
# rounding. For the others stands what is made from them: the rows of the manifests, the
# prompt, the curves that are kept, and the fingerprint of the model with its adapter.
_NOT_BY_NAME = {
    *("out", "decoding", "batch", "parallel"),
    *("data", "manifests", "adapter"),
    *("system", "published_prompt"),
    "keep_tokens",
}


def identity(job: Job, calibrations: dict[int, Calibration] | None) -> dict[str, Any]:
    """Return everything that decides the numbers; a run continues only where it is equal.

    It holds every field of the settings but a few, some by what was made from them.

    Args:
        job: the request.
        calibrations: by frame count; None where the run makes its own.
    """
    s = job.settings
    fields = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(s).items()
        if name not in _NOT_BY_NAME
    }
    decoders = job.store.info["settings"]["versions"] if job.store else decoder_versions()
    return fields | {
        "model": job.port.fingerprint(),
        "port": job.port.name,
        "manifest": rows_digest(job.rows),
        "prompt": _spell(job.prompts),
        "template": files.digest([str(job.prompts.template)]),
        "variants": [vars(variant) for variant in s.variants],
        "vocab_keep": job.port.vocab_keep,
        "dtype": job.placement.dtype,
        "batches": BATCHING,
        "calibration": "run" if calibrations is None else _digest(calibrations),
        "keep": "tokens" if s.keep_tokens else "sme",
        "shard": str(s.shard) if s.shard else None,
        "versions": versions((files.PACKAGE,)) | decoders,
    }


def rows_digest(rows: Sequence[Row]) -> str:
    """Return a digest of the rows of manifests, the paths of their clips left out.

    Where the clips lie may change between two tries, what they are called may not.
    """
    return files.digest(
        [{k: str(v) for k, v in vars(r).items() if k != "path"} for r in rows]
    )


def _digest(calibrations: dict[int, Calibration]) -> str:
    """Return a digest of the calibrations of all frame counts."""
    return files.digest({str(frames): vars(c) for frames, c in calibrations.items()})


def _spell(prompts: Prompts) -> str:
    """Return the prompt's text with the names of its slots and the system message."""
    template = prompts.template.with_system(prompts.system)
    slots = {slot: f"{{{slot.value}}}" for slot in Slot} | {Slot.SYSTEM: template.system}
    return "".join(slots[p] if isinstance(p, Slot) else p for p in template.pieces)


def about(job: Job) -> dict[str, Any]:
    """Return notes for a reader of run.json, which decide no number."""
    s = job.settings
    return {
        "asked": {"model": str(s.model), "data": [str(p) for p in s.data]}
        | ({"adapter": str(s.adapter)} if s.adapter else {}),
        "rows": len(job.rows),
        "own_rows": sum(len(group) for batch in job.batches for group in batch),
        "part_clips": job.part_clips,
        "machines": [machine(job)],
    }


def machine(job: Job) -> dict[str, Any]:
    """Return what a run notes of the machine it is on, which decides only rounding."""
    devices = job.placement.devices
    return {
        "devices": f"{len(devices)} {devices[0].device_kind}",
        "parallel": job.placement.parallel,
        "processes": job.team.count,
        "batch": job.settings.batch,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(_ROUNDING),
    }


def decoder_versions() -> dict[str, str]:
    """Return the versions of the libraries that turn files into pixels."""
    # OpenCV goes by the names of several packages.
    return {"opencv": cv2.__version__} | versions(_DECODERS)


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the installed version of each package; `absent` where there is none."""
    out = {}
    for name in packages:
        try:
            out[name] = version(name)
        except PackageNotFoundError:  # decord has no wheels for some platforms
            out[name] = "absent"
    return out
