"""`vidsme score`: make the score table of a checkpoint, resumable at any moment.

From a store of `vidsme prepare` the clips are read as they are. A run on files that
calibrates itself prepares them first in RUN/prepared, a store like any other: q and r of
every clip depend on the motion of all clips. Then the model runs. With a calibration file,
decoding runs ahead of the model and no frame is written.
"""

import shutil
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from vidsme_jax.data.clips import prepare_clips
from vidsme_jax.data.prepared import PreparedClip
from vidsme_jax.data.store.store import Store, is_store, open_store
from vidsme_jax.errors import InputError, needing_memory
from vidsme_jax.progress import Stopped, phase, progress, say
from vidsme_jax.records import files, runs
from vidsme_jax.records.files import check_folder, note_machine
from vidsme_jax.records.shards import check_siblings
from vidsme_jax.runs.calibrations import (
    calibrate_counts,
    read_calibrations,
    write_calibrations,
)
from vidsme_jax.runs.changes import changed_since_scored, note_changes
from vidsme_jax.runs.engine import Engine, make_engine, start, wait, write
from vidsme_jax.runs.identity import about, identity, machine
from vidsme_jax.runs.job import Job, make_job
from vidsme_jax.runs.prepare import fill_store
from vidsme_jax.runs.settings import ScoreSettings
from vidsme_jax.runs.tables import single_frames
from vidsme_jax.runs.timing import Clock, traced
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.orders import Calibration

__all__ = ["ScoreSettings", "score"]


def score(settings: ScoreSettings, profile: Path | None = None) -> pa.Table | None:
    """Score every row of the manifests; return the table of RUN/scores.parquet.

    Of several processes that share a model, the first returns the table, the others None.

    Args:
        settings: what to score, and how.
        profile: folder for a trace of the scoring; None writes no trace.

    Raises:
        InputError: wrong input, or no clip that could be read (the table is written).
    """
    clock = Clock()
    fixed = None  # the calibrations, where a file fixes them before a clip is read
    if settings.calibration:
        fixed = read_calibrations(settings.calibration, settings.frames)
    if profile is not None:
        check_folder("profile", profile)
    job = make_job(settings)
    if not job.team.leads:
        _follow(job, fixed, clock, profile)
        return None
    with ExitStack() as stack:
        with job.team.release_on_failure():
            decisive = identity(job, fixed)
            check_siblings(settings.out, settings.shard, decisive, "run.json")
            stack.enter_context(files.locked(job.out))
            _claim(job, decisive)
            note_changes(job, changed_since_scored(job))
        if not job.team.broadcast_go(not runs.is_finished(job.out)):
            untraced = "" if profile is None else ", and no trace to write"
            say(f"{job.out} is complete: nothing left to do{untraced}")
            runs.clean(job.out)
        else:
            say(str(job.placement))
            if "video" in settings.slices and any(row.answer for row in job.rows):
                say(f"note: {catalogue.ANSWERS_UNSEEN}")
            try:
                with traced(profile):
                    _run_within_memory(job, fixed, clock)
            except Exception:
                # Without locks another process may have finished, and cleaned up.
                if not runs.is_finished(job.out):
                    raise
            say(clock.line())
        table = runs.read_run(job.out).table
    single = int(np.sum(single_frames(table)))
    if single:
        say(
            f"{single} rows show a single frame: scores that compare two orders of the"
            " frames are NaN there"
        )
    if not settings.shard:  # a shard may hold bad clips only
        _refuse_without_scores(table, job.out)
    return table


def _claim(job: Job, decisive: dict[str, Any]) -> None:
    """Take the run's directory, or refuse one that holds another run.

    Args:
        job: the request.
        decisive: everything that decides its numbers.
    """
    if not job.settings.shard:
        _remove_run_without_scores(job.out)
    files.claim(job.out, decisive, about(job))
    if line := note_machine(job.out, machine(job)):
        say(line)


def _follow(
    job: Job,
    fixed: dict[int, Calibration] | None,
    clock: Clock,
    profile: Path | None,
) -> None:
    """Score beside the process that leads, and write nothing."""
    if job.team.broadcast_go(False):
        assert job.store is not None
        with traced(profile):
            calibrations = _calibrate_all(job, job.store) if fixed is None else fixed
            _score_all(job, calibrations, job.store, clock)


def _remove_run_without_scores(out: Path) -> None:
    """Remove the run of an earlier try that could score no row, so that all are tried."""
    if runs.is_finished(out):
        statuses = runs.read_run(out).table["status"].to_pylist()
        if "ok" not in statuses:
            runs.forget(out)


def _run_within_memory(
    job: Job, fixed: dict[int, Calibration] | None, clock: Clock
) -> None:
    """Run; where host or device are out of memory, say which settings take less."""
    s = job.settings
    prompts = job.prompts.longest[max(s.frames)]
    longest = max(len(p.after) + len(p.answer) for p in prompts)
    remedy = (
        f"batch={s.batch} clips of {max(s.frames)} frames, up to {longest} tokens of text"
        f" and {s.decoding.workers} workers; a smaller --batch, fewer --frames, a smaller"
        " --max-text or fewer --workers need less"
    )
    with needing_memory(remedy):
        _run(job, fixed, clock)


def _run(job: Job, fixed: dict[int, Calibration] | None, clock: Clock) -> None:
    """Prepare, calibrate, score, and join the batches into the run's tables."""
    (job.out / "parts").mkdir(exist_ok=True)
    store = job.store
    if store is None and fixed is None:
        with clock.on("clips"):
            store = _prepare(job)
    calibrations = fixed
    if calibrations is None:
        assert store is not None
        calibrations = _calibrate_all(job, store)
    if calibrations:
        write_calibrations(job.out, calibrations)
    _score_all(job, calibrations, store, clock)
    parts = [
        job.part_path(frames, batch)
        for frames in job.settings.frames
        for batch in range(len(job.batches))
    ]
    phase("score", "write the tables")
    with clock.on("writing"):
        runs.finish(job.out, parts, _other_names(job))


def _other_names(job: Job) -> tuple[str, ...]:
    """Return the names of the tables beside scores.parquet."""
    names = [definition.name for definition in job.definitions]
    swept = names if job.settings.variants else []
    return ("features", *names[1:], *(f"{name}-orders" for name in swept))


def _prepare(job: Job) -> Store:
    """Decode every clip into a store inside the run's directory."""
    phase("score", "decode the clips")
    path = job.out / "prepared"
    if not is_store(path):
        _check_disk(job)
    changed = fill_store(path, job.rows, job.clip_spec, job.settings.decoding)
    note_changes(job, changed)
    return open_store(path)


def _check_disk(job: Job) -> None:
    """Refuse a disk without room for the decoded frames of all clips."""
    clips = len({row.path for row in job.rows})
    need = clips * sum(job.settings.frames) * 3 * job.clip_spec.geometry.crop**2
    free = shutil.disk_usage(job.out).free
    if need > free:
        raise InputError(
            f"out={job.out} has {free / 1e9:.1f} GB free, expected up to"
            f" {need / 1e9:.1f} GB for decoded frames; --calibration FILE keeps none"
        )


def _calibrate_all(job: Job, store: Store) -> dict[int, Calibration]:
    """Return a calibration per frame count over all rows that can be scored.

    Rows of the whole manifest count, also where this run scores one shard.
    """
    facts = [job.facts(n, store.facts[clip]) for n, clip in enumerate(store.clip_numbers)]
    s = job.settings
    return calibrate_counts(facts, s.frames, s.beta1, s.beta2)


def _score_all(
    job: Job, calibrations: dict[int, Calibration], store: Store | None, clock: Clock
) -> None:
    """Score the batches that are not on disk, the device a batch ahead of writing."""
    missing = _missing(job)
    if not missing:
        return
    phase("score", "load the model")
    engine = make_engine(job, calibrations)
    sizes = [len(batch) for batch in job.batches]
    left = [sizes[n] for n in missing]
    phase("score", "compile and score", f"{sum(left)} clips")
    with (
        closing(_read_ahead(job, [*missing], store)) as clips,
        jax.transfer_guard("disallow"),
        job.placement.precision(),
    ):
        clips_in_time = clock.waiting_for(clips, "clips")
        done = sum(sizes) - sum(left)
        steps = progress(clips_in_time, sum(sizes), "score", done, left)
        _score_batches(engine, zip(missing.items(), steps, strict=True), clock)


def _score_batches(
    engine: Engine,
    steps: Iterator[tuple[tuple[int, list[int]], list[PreparedClip]]],
    clock: Clock,
) -> None:
    """Start each batch on the device, and then finish the batch before it."""
    pending = None
    finish = write if engine.job.team.leads else wait
    try:
        for (n, counts), clips in steps:
            for frames in counts:
                started = start(engine, n, frames, clips, clock)
                if pending:
                    finish(engine, pending, clock)
                pending = started
    except Stopped:
        if pending:
            finish(engine, pending, clock)
        raise
    if pending:
        finish(engine, pending, clock)


def _read_ahead(
    job: Job, batches: list[int], store: Store | None
) -> Generator[list[PreparedClip], None, None]:
    """Yield the clips of each batch, read or decoded while the device works."""
    if store is None:
        paths = ([job.rows[i].path for i in _first_rows(job, n)] for n in batches)
        yield from prepare_clips(paths, job.clip_spec, job.settings.decoding)
        return
    with ThreadPoolExecutor(1) as reader:  # one batch ahead of the one in use
        current = None
        for n in batches:
            following = reader.submit(store.clips, _first_rows(job, n))
            if current:
                yield current.result()
            current = following
        if current:
            yield current.result()


def _first_rows(job: Job, batch: int) -> list[int]:
    """Return the first row of each group of a batch."""
    return [group[0] for group in job.batches[batch]]


def _missing(job: Job) -> dict[int, list[int]]:
    """Return, by number of an unfinished batch, the frame counts that are not on disk.

    Of several processes, the first one's disk counts.
    """
    counts, numbers = job.settings.frames, range(len(job.batches))
    absent = [[not job.part_path(c, n).exists() for c in counts] for n in numbers]
    missing = {
        n: [c for c, is_absent in zip(counts, row, strict=True) if is_absent]
        for n, row in enumerate(job.team.broadcast(np.array(absent)))
    }
    return {n: counts for n, counts in missing.items() if counts}


def _refuse_without_scores(table: pa.Table, out: Path) -> None:
    """Refuse a run of which no row could be scored."""
    statuses = table["status"].to_pylist()
    if "ok" not in statuses:
        raise InputError(
            f"none of {len(statuses)} rows could be scored, the first: "
            f"{table['error'][0].as_py()} ({out}/scores.parquet has every reason)"
        )
