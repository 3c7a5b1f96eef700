"""`vidsme score`: manifest and checkpoint in, score table out, resumable at any moment.

With calibration over the run itself the clips are decoded first and kept as uint8 in
RUN/prepared, since q and r of every clip depend on the motion of all; then the model runs.
With a calibration file, decoding runs ahead of the model and nothing is kept.
"""

import platform
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from vidsme_jax import records, scores
from vidsme_jax.commands.place import Placement, choose_placement
from vidsme_jax.commands.rows import base_table, other_columns, part_table
from vidsme_jax.data.batches import Layout, make_batch, make_layout
from vidsme_jax.data.clips import PreparedBatch, Wanted, prepare_batches
from vidsme_jax.data.manifest import Row, read_manifests
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.port import Port
from vidsme_jax.motion import Calibration, calibrate
from vidsme_jax.progress import progress, say
from vidsme_jax.scoring import Prompt, score_program
from vidsme_jax.sharding import pad_clips

_VERSIONED = ("jax", "jaxlib", "flax", "numpy", "opencv-python", "decord", "pillow")


@dataclass(frozen=True)
class ScoreSettings:
    """What `vidsme score` was asked for; see its --help.

    Attributes:
        model: checkpoint directory.
        data: manifests, scored as one set.
        out: the run's directory.
        frames: frame counts, each a row of the table per manifest row.
        slices: of `scores.SLICES`.
        root: folder that video paths start from.
        labels: one label a manifest, for lists without labels.
        system: system message instead of the template's own.
        dtype: float32, bfloat16, or auto: float32 on CPU, else bfloat16.
        parallel: auto, replicas or partitioned.
        batch: clips per replica of the model and step.
        calibration: a calibration.json; None calibrates over this run.
        beta1: width of the range of q.
        beta2: width of the range of r.
        keep_tokens: keep every per-token curve, not only that of `sme`.
        workers: decoding threads.
    """

    model: Path
    data: tuple[Path, ...]
    out: Path
    frames: tuple[int, ...] = (16,)
    slices: tuple[str, ...] = scores.SLICES
    root: Path | None = None
    labels: tuple[int, ...] | None = None
    system: str | None = None
    dtype: str = "auto"
    parallel: str = "auto"
    batch: int = 8
    calibration: Path | None = None
    beta1: float = 1.0
    beta2: float = 0.1
    keep_tokens: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class _Job:
    """A checked request: everything that the steps share."""

    settings: ScoreSettings
    port: Port
    rows: list[Row]
    prompts: list[Prompt]
    batches: list[range]
    placement: Placement

    @property
    def wanted(self) -> Wanted:
        processor = self.port.processor
        return Wanted(self.settings.frames, processor.size, processor.crop)

    def prepared_path(self, batch: int) -> Path:
        return self.settings.out / "prepared" / f"batch-{batch:06d}.npz"

    def part_path(self, frames: int, batch: int) -> Path:
        return records.part_path(self.settings.out, frames, batch)


def score(settings: ScoreSettings) -> pa.Table:
    """Score every row of the manifests; return the table of RUN/scores.parquet.

    Raises:
        InputError: wrong input, or not one clip that could be read (the table is written).
    """
    given = _read_calibration(settings) if settings.calibration else None
    rows = read_manifests(list(settings.data), settings.root, _list(settings.labels))
    port = open_port(settings.model)
    port.check_weights()  # now, not after hours of decoding
    placement = choose_placement(port, settings.parallel, settings.dtype)
    size = settings.batch * placement.replicas
    batches = [range(n, min(n + size, len(rows))) for n in range(0, len(rows), size)]
    prompts = [port.prompt(row.question, row.answer, settings.system) for row in rows]
    job = _Job(settings, port, rows, prompts, batches, placement)
    with records.locked(settings.out):
        records.claim(settings.out, _identity(job, given), _about(settings))
        if records.is_finished(settings.out):
            say(f"{settings.out} is complete: nothing left to do")
            records.clean(settings.out)
        else:
            _run(job, given)
        table = records.read_run(settings.out).table
    _refuse_if_nothing_was_read(table, settings.out)
    return table


def _run(job: _Job, given: dict[int, Calibration] | None) -> None:
    out = job.settings.out
    for folder in ("parts", "prepared"):
        (out / folder).mkdir(exist_ok=True)
    if given is None:
        _prepare_all(job)
    calibrations = given or _calibrate_all(job)
    if calibrations:
        content = {str(n): vars(c) for n, c in calibrations.items()}
        records.write_json(out / "calibration.json", content)
    _score_all(job, calibrations, stored=given is None)
    parts = [
        job.part_path(frames, batch)
        for frames in job.settings.frames
        for batch in range(len(job.batches))
    ]
    records.finish(out, parts)


def _prepare_all(job: _Job) -> None:
    """Decode every batch that is not on disk yet."""
    todo = [n for n in range(len(job.batches)) if not job.prepared_path(n).exists()]
    _check_disk(job, len(todo))
    prepared = prepare_batches(_row_batches(job, todo), job.wanted, job.settings.workers)
    done = len(job.batches) - len(todo)
    steps = progress(prepared, len(job.batches), "decode, batches", done)
    for n, batch in zip(todo, steps, strict=True):
        batch.save(job.prepared_path(n))


def _row_batches(job: _Job, numbers: list[int]) -> Iterator[list[Row]]:
    return ([job.rows[i] for i in job.batches[n]] for n in numbers)


def _check_disk(job: _Job, batches: int) -> None:
    clips = min(batches * len(job.batches[0]), len(job.rows))
    need = clips * sum(job.settings.frames) * 3 * job.port.processor.crop**2
    free = shutil.disk_usage(job.settings.out).free
    if need > free:
        raise InputError(
            f"out={job.settings.out} has {free / 1e9:.1f} GB free, expected"
            f" {need / 1e9:.1f} GB for decoded frames; --calibration FILE keeps none"
        )


def _calibrate_all(job: _Job) -> dict[int, Calibration]:
    """Return a calibration per frame count over all clips that could be read."""
    facts = [
        clip
        for n in range(len(job.batches))
        for clip in PreparedBatch.load(job.prepared_path(n), ()).facts
        if clip["status"] == "ok"
    ]
    if not facts:
        return {}
    out = {}
    for frames in job.settings.frames:
        motions, lights = (
            np.array([clip[str(frames)][name] for clip in facts])
            for name in ("motion", "illumination")
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            out[frames] = calibrate(motions, lights, job.settings.beta1, job.settings.beta2)
        for warning in caught:
            say(f"warning: {frames} frames: {warning.message}")
    return out


def _score_all(job: _Job, calibrations: dict[int, Calibration], stored: bool) -> None:
    settings = job.settings
    kept = scores.families("video") if settings.keep_tokens else ("sme",)
    function = score_program(job.port.forward, settings.slices, kept)
    program, params = job.placement.program(function), None
    for frames in settings.frames:
        numbers = range(len(job.batches))
        todo = [n for n in numbers if not job.part_path(frames, n).exists()]
        if not todo:
            continue
        if params is None:  # not at all where only the joining of parts was left
            params = job.placement.load(program)
        clips = _stored(job, todo, frames) if stored else _streamed(job, todo, frames)
        with job.placement.precision():
            _score_frames(
                job, frames, calibrations.get(frames), todo, clips, program, params
            )


def _stored(job: _Job, todo: list[int], frames: int) -> Iterator[PreparedBatch]:
    return (PreparedBatch.load(job.prepared_path(n), (frames,)) for n in todo)


def _streamed(job: _Job, todo: list[int], frames: int) -> Iterator[PreparedBatch]:
    wanted = Wanted((frames,), job.wanted.size, job.wanted.crop)
    return prepare_batches(_row_batches(job, todo), wanted, job.settings.workers)


def _score_frames(job, frames, calibration, todo, clips, program, params) -> None:
    """Score batches of one frame count, the device always one batch ahead of writing."""
    settings, config = job.settings, job.port.config
    layout = make_layout(job.prompts, frames, config.tokens_per_frame, settings.slices)
    columns = scores.columns(settings.slices)
    other = other_columns(job.rows)
    clip_count = settings.batch * job.placement.replicas

    def start(n: int, prepared: PreparedBatch):
        base = base_table(
            [job.rows[i] for i in job.batches[n]], prepared, frames, calibration
        )
        arrays = _arrays(job, n, prepared.pixels[frames], base, layout)
        arrays = pad_clips(arrays, clip_count)
        return n, prepared, base, program.run(params, program.put_batch(arrays))

    def write(started) -> None:
        n, prepared, base, out = started
        table, curves = program.fetch(out)
        part = part_table(base, other, job.batches[n], columns, table)
        curves = {name: values[: len(base)] for name, values in curves.items()}
        shown = _named_curves(curves, layout, base, job.prompts, job.batches[n])
        records.write_part(job.part_path(frames, n), part, shown, prepared.thumbnails)

    waiting = None
    done = len(job.batches) - len(todo)
    what = f"score {frames} frames, batches"
    steps = zip(todo, progress(clips, len(job.batches), what, done), strict=True)
    with jax.transfer_guard("disallow"):
        for n, prepared in steps:
            started = start(n, prepared)
            if waiting:
                write(waiting)
            waiting = started
        if waiting:
            write(waiting)


def _arrays(job: _Job, n: int, pixels, base: pa.Table, layout: Layout):
    """Return the host arrays of a batch; a bad clip has zeros and any valid q and r."""
    prompts = [job.prompts[i] for i in job.batches[n]]
    q, r = (
        np.nan_to_num(base[name].to_numpy(), nan=1.0).astype(np.float32)
        for name in ("q", "r")
    )
    return make_batch(prompts, pixels, layout), q, r


def _named_curves(curves, layout: Layout, base: pa.Table, prompts, rows: range):
    """Cut the kept curves to each clip's own rows; none for a bad clip."""
    ok = [status == "ok" for status in base["status"].to_pylist()]
    video = layout.video if "video" in layout.slices else 0
    out = {}
    for name, values in curves.items():
        if video:
            out[f"video.{name}"] = [
                v[:video] if good else None for v, good in zip(values, ok, strict=True)
            ]
        for s in layout.slices:
            if s != "video" and len(curves) > 1 and name in scores.families(s):
                spans = [_span(prompts[i], s, video) for i in rows]
                out[f"{s}.{name}"] = [
                    v[slice(*span)] if good else None
                    for v, good, span in zip(values, ok, spans, strict=True)
                ]
    return out


def _span(prompt: Prompt, slice_name: str, video: int) -> tuple[int, int]:
    middle = video + len(prompt.after)
    if slice_name == "instruction":
        return video, middle
    return middle, middle + len(prompt.answer)


def _read_calibration(settings: ScoreSettings) -> dict[int, Calibration]:
    path = settings.calibration
    assert path is not None
    content = records.read_json(path)
    try:
        found = {
            int(n): Calibration(**{name: float(v) for name, v in ranges.items()})
            for n, ranges in content.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"calibration={path} is not one of ours: {error}") from error
    absent = [n for n in settings.frames if n not in found]
    if absent:
        raise InputError(
            f"calibration={path} has frame counts {sorted(found)}, expected {absent}"
        )
    return {n: found[n] for n in settings.frames}


def _identity(job: _Job, given: dict[int, Calibration] | None) -> dict[str, Any]:
    """Return everything that decides the numbers; a run goes on only under the same."""
    s = job.settings
    manifest = [[str(v) for v in vars(row).values()] for row in job.rows]
    return {
        "model": job.port.fingerprint(),
        "port": job.port.name,
        "manifest": records.digest(manifest),
        "frames": list(s.frames),
        "slices": list(s.slices),
        "system": job.port.system if s.system is None else s.system,
        "dtype": job.placement.dtype,
        "parallel": job.placement.parallel,
        "devices": f"{len(jax.local_devices())} {jax.local_devices()[0].device_kind}",
        "batch": s.batch,
        "calibration": "run" if given is None else records.digest(
            {str(n): vars(c) for n, c in given.items()}
        ),
        "beta1": s.beta1,
        "beta2": s.beta2,
        "keep": "tokens" if s.keep_tokens else "sme",
        "reader": "auto",
        "versions": _versions(),
    }  # fmt: skip


def _about(settings: ScoreSettings) -> dict[str, Any]:
    """Return what helps a reader of the run but does not decide its numbers."""
    return {
        "asked": {"model": str(settings.model), "data": [str(p) for p in settings.data]},
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def _versions() -> dict[str, str]:
    out = {"vidsme-jax": version("vidsme-jax")}
    for name in _VERSIONED:
        try:
            out[name] = version(name)
        except PackageNotFoundError:  # decord, or the headless OpenCV under its own name
            out[name] = "absent"
    return out


def _refuse_if_nothing_was_read(table: pa.Table, out: Path) -> None:
    status = table["status"].to_pylist()
    if "ok" not in status:
        raise InputError(
            f"none of {len(status)} rows could be scored, the first: "
            f"{table['error'][0].as_py()} ({out}/scores.parquet has every reason)"
        )


def _list(values):
    return None if values is None else list(values)
