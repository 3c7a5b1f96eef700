"""`vidsme score`: manifest and checkpoint in, score table out, resumable at any moment.

With calibration over the run itself the clips are decoded first and kept as uint8 in
RUN/prepared, since q and r of every clip depend on the motion of all; then the model runs.
With a calibration file, decoding runs ahead of the model and nothing is kept.
"""

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa

from vidsme_jax import records
from vidsme_jax.commands.engine import make_engine, start, write
from vidsme_jax.commands.job import Job, ScoreSettings, about, identity, make_job
from vidsme_jax.data.clips import PreparedBatch, prepare_batches
from vidsme_jax.data.manifest import Row
from vidsme_jax.errors import InputError
from vidsme_jax.motion import Calibration, calibrate
from vidsme_jax.progress import progress, say

__all__ = ["ScoreSettings", "score"]


def score(settings: ScoreSettings) -> pa.Table:
    """Score every row of the manifests; return the table of RUN/scores.parquet.

    Raises:
        InputError: wrong input, or not one clip that could be read (the table is written).
    """
    given = _read_calibration(settings) if settings.calibration else None
    job = make_job(settings)
    with records.locked(settings.out):
        _forget_a_run_of_nothing(settings.out)
        records.claim(settings.out, identity(job, given), about(settings))
        if records.is_finished(settings.out):
            say(f"{settings.out} is complete: nothing left to do")
            records.clean(settings.out)
        else:
            say(str(job.placement))
            _run_within_memory(job, given)
        table = records.read_run(settings.out).table
    _refuse_if_nothing_was_read(table, settings.out)
    return table


def _forget_a_run_of_nothing(out: Path) -> None:
    """Make room where an earlier try could not score one row, and so decided nothing."""
    if records.is_finished(out):
        status = records.read_run(out).table["status"].to_pylist()
        if "ok" not in status:
            records.forget(out)


def _run_within_memory(job: Job, given: dict[int, Calibration] | None) -> None:
    try:
        _run(job, given)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        prompts = job.prompts.longest[max(job.settings.frames)]
        longest = max(len(p.after) + len(p.answer) for p in prompts)
        raise InputError(
            f"the device is out of memory with batch={job.settings.batch} clips of"
            f" {max(job.settings.frames)} frames and up to {longest} tokens of text;"
            " a smaller --batch, fewer --frames or a smaller --max-text needs less"
        ) from error


def _run(job: Job, given: dict[int, Calibration] | None) -> None:
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
    records.finish(out, parts, _other_names(job))


def _other_names(job: Job) -> tuple[str, ...]:
    """Return the names of the tables that `_other_tables` gives."""
    swept = job.definitions if job.settings.variants else ()
    return (*job.definitions[1:], *(f"{name}-orders" for name in swept))


def _prepare_all(job: Job) -> None:
    """Decode every batch that is not on disk yet."""
    todo = [n for n in range(len(job.batches)) if not job.prepared_path(n).exists()]
    _check_disk(job, len(todo))
    prepared = prepare_batches(_row_batches(job, todo), job.wanted, job.settings.workers)
    done = len(job.batches) - len(todo)
    steps = progress(prepared, len(job.batches), "decode, batches", done)
    for n, batch in zip(todo, steps, strict=True):
        batch.save(job.prepared_path(n))


def _row_batches(job: Job, numbers: list[int]) -> Iterator[list[Row]]:
    return ([job.rows[i] for i in job.batches[n]] for n in numbers)


def _check_disk(job: Job, batches: int) -> None:
    clips = min(batches * len(job.batches[0]), len(job.rows))
    need = clips * sum(job.settings.frames) * 3 * job.port.processor.crop**2
    free = shutil.disk_usage(job.settings.out).free
    if need > free:
        raise InputError(
            f"out={job.settings.out} has {free / 1e9:.1f} GB free, expected"
            f" {need / 1e9:.1f} GB for decoded frames; --calibration FILE keeps none"
        )


def _calibrate_all(job: Job) -> dict[int, Calibration]:
    """Return a calibration per frame count over all clips that could be read."""
    facts = [
        clip
        for n in range(len(job.batches))
        for clip in job.facts(n, PreparedBatch.load(job.prepared_path(n), ()))
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


def _score_all(job: Job, calibrations: dict[int, Calibration], stored: bool) -> None:
    """Score what has no part yet, the device always one batch ahead of writing."""
    numbers = range(len(job.batches))
    todo = [n for n in numbers if _missing(job, n)]
    if not todo:
        return
    engine = make_engine(job, calibrations)
    clips: Iterator[PreparedBatch]
    if stored:
        clips = (PreparedBatch.load(job.prepared_path(n)) for n in todo)
    else:
        rows = _row_batches(job, todo)
        clips = prepare_batches(rows, job.wanted, job.settings.workers)
    done = len(numbers) - len(todo)
    steps = zip(todo, progress(clips, len(numbers), "score, batches", done), strict=True)
    waiting = None
    with jax.transfer_guard("disallow"), job.placement.precision():
        for n, prepared in steps:
            for frames in _missing(job, n):
                started = start(engine, n, frames, prepared)
                if waiting:
                    write(engine, waiting)
                waiting = started
        if waiting:
            write(engine, waiting)


def _missing(job: Job, batch: int) -> list[int]:
    """Return the frame counts of a batch that are not on disk."""
    return [n for n in job.settings.frames if not job.part_path(n, batch).exists()]


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
        raise InputError(
            f"calibration={path} is not one of ours: expected for each frame count the"
            " motion_min, motion_max, illumination_min, illumination_max of a run's"
            " calibration.json"
        ) from error
    betas = {(c.beta1, c.beta2) for c in found.values()}
    if len(betas) > 1:
        raise InputError(
            f"calibration={path} has beta1 and beta2 {sorted(betas)}, expected one pair"
        )
    absent = [n for n in settings.frames if n not in found]
    if absent:
        raise InputError(
            f"calibration={path} has frame counts {sorted(found)}, expected {absent}"
        )
    return {n: found[n] for n in settings.frames}


def _refuse_if_nothing_was_read(table: pa.Table, out: Path) -> None:
    status = table["status"].to_pylist()
    if "ok" not in status:
        raise InputError(
            f"none of {len(status)} rows could be scored, the first: "
            f"{table['error'][0].as_py()} ({out}/scores.parquet has every reason)"
        )
