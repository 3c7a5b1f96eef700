"""Score batches on the device, one batch ahead of writing, and write each as a part."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from vidsme_jax.batch import Forward, Prompt
from vidsme_jax.data.batches import (
    Layout,
    frame_order,
    make_batch,
    make_layout,
    smallest_layout,
)
from vidsme_jax.data.manifest import other_columns
from vidsme_jax.data.prepared import ClipFacts, PreparedClip
from vidsme_jax.records import runs
from vidsme_jax.runs.job import Job
from vidsme_jax.runs.tables import (
    base_table,
    definition_table,
    features_table,
    mark_not_finite,
    other_names,
    part_table,
    row_orders,
    single_frames,
    swept_table,
)
from vidsme_jax.runs.timing import Clock
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.definition import Orders, ScoreRequest
from vidsme_jax.scores.orders import Calibration, EntropyOrders, distinct_orders
from vidsme_jax.scores.program import EXACT, BatchScores, score_program
from vidsme_jax.sharding import Program, pad_clips


@dataclass(frozen=True)
class Engine:
    """A run's program, with all that every step of scoring needs.

    Attributes:
        job: the request.
        program: the compiled scoring function, placed on the devices.
        params: the model's parameters, on the devices.
        request: what a pass computes.
        variants: ways to choose q and r, the run's first.
        layouts: by frame count, the largest shape of a batch.
        calibrations: by frame count; empty where no clip could be read.
        other: the manifest's further columns, by their names in the table.
    """

    job: Job
    program: Program
    params: dict[str, Any]
    request: ScoreRequest
    variants: list[EntropyOrders]
    layouts: dict[int, Layout]
    calibrations: dict[int, Calibration]
    other: dict[str, pa.Array]


@dataclass(frozen=True)
class PendingBatch:
    """A batch that the device is working on.

    Attributes:
        batch: number of the batch.
        frames: the frame count.
        rows: numbers of its manifest rows, group by group.
        places: for each row, the place of its group in the batch.
        base: columns before the scores, of these rows.
        facts: facts of the clip of each row.
        prompts: prompt of each row.
        thumbnails: JPEG strip of frames of each row.
        results: arrays on the device, step by step; None where no clip of the batch is
            good.
    """

    batch: int
    frames: int
    rows: list[int]
    places: list[int]
    base: pa.Table
    facts: list[ClipFacts]
    prompts: list[Prompt]
    thumbnails: list[bytes]
    results: Any


def make_engine(job: Job, calibrations: dict[int, Calibration]) -> Engine:
    """Place the program and load the parameters; the first batch compiles it."""
    settings = job.settings
    calibration = next(iter(calibrations.values()), None)
    betas = (calibration.beta1, calibration.beta2) if calibration else ()
    variants = [EntropyOrders(*betas), *settings.variants]
    forward, request = _request(job, variants)
    program = job.placement.program(score_program(forward, request))
    layouts = {
        n: make_layout(
            job.prompts.longest[n], job.port.video(n), settings.slices, job.text_after
        )
        for n in settings.frames
    }
    params = job.placement.load(job.port, program)
    columns = other_columns(job.rows)
    other = dict(zip(other_names(columns), columns.values(), strict=True))
    return Engine(job, program, params, request, variants, layouts, calibrations, other)


def _request(job: Job, variants: list[EntropyOrders]) -> tuple[Forward, ScoreRequest]:
    """Return the model's forward function, and what to compute from its outputs."""
    definitions, port = job.definitions, job.port
    kept = catalogue.families("video") if job.settings.keep_tokens else ("sme",)
    *_, pairs = distinct_orders(variants)
    request = ScoreRequest(definitions, job.settings.slices, kept, pairs)
    if not any(definition.whole_head for definition in definitions):
        return port.forward, request
    return port.whole_head().forward, replace(request, vocab_keep=port.vocab_keep)


def _orders(engine: Engine, base: pa.Table, frames: int) -> Orders:
    """Return q - 1 and r - 1 of each clip, distinct ones; 0 for a bad clip."""
    calibration = engine.calibrations.get(frames)
    pairs = [row_orders(base, variant, calibration) for variant in engine.variants]
    first_q, first_r, _ = distinct_orders(engine.variants)
    columns = ([pairs[n][0] for n in first_q], [pairs[n][1] for n in first_r])
    q, r = (np.nan_to_num(np.stack(values, axis=1), nan=1.0) - 1 for values in columns)
    return Orders(q.astype(np.float32), r.astype(np.float32))


def start(
    engine: Engine, n: int, frames: int, clips: list[PreparedClip], clock: Clock
) -> PendingBatch:
    """Put a batch on the device and start scoring it; a bad clip has zeros there."""
    with clock.on("batches"):
        pending = _make_pending(engine, n, frames, clips)
        steps = _put_batch(engine, pending, clips)
    with clock.on("device"):  # the first call compiles
        results = [engine.program.run(engine.params, arrays) for arrays in steps]
    return replace(pending, results=results or None)


def _put_batch(
    engine: Engine, pending: PendingBatch, clips: list[PreparedClip]
) -> list[Any]:
    """Return a batch's arrays on the device, step by step; none where no clip is good."""
    job, rows, frames = engine.job, pending.rows, pending.frames
    if "ok" not in pending.base["status"].to_pylist():
        return []
    # The first row of each group stands for all of its rows.
    firsts = [pending.places.index(place) for place in range(len(clips))]
    numbers = [rows[i] for i in firsts]
    video, perturbation = job.port.video(frames), job.settings.perturbation
    perturbed = [frame_order(perturbation, video, job.rows[n].id) for n in numbers]
    pixels = np.stack([clip.sample(frames) for clip in clips])
    longest = [job.prompts.longest[frames][n] for n in numbers]
    prompts = [pending.prompts[i] for i in firsts]
    layout = smallest_layout(engine.layouts[frames], longest)
    batch = make_batch(prompts, pixels, layout, perturbed)
    arrays = (batch, _orders(engine, pending.base.take(firsts), frames))
    size = job.step_clips
    starts = range(0, len(clips), size)
    steps = [jax.tree.map(lambda x, n=n: x[n : n + size], arrays) for n in starts]
    return [engine.program.put_batch(pad_clips(step, size)) for step in steps]


def _make_pending(
    engine: Engine, n: int, frames: int, clips: list[PreparedClip]
) -> PendingBatch:
    """Return batch n without results: all that is known before the device has it."""
    job, groups = engine.job, engine.job.batches[n]
    rows = [row for group in groups for row in group]
    places = [place for place, group in enumerate(groups) for _ in group]
    clip_of = dict(zip(rows, (clips[place] for place in places), strict=True))
    facts = {row: job.facts(row, clip.facts) for row, clip in clip_of.items()}
    calibration = engine.calibrations.get(frames)
    return PendingBatch(
        n,
        frames,
        rows,
        places,
        base_table(job.rows, rows, list(facts.values()), frames, calibration),
        list(facts.values()),
        [job.prompts.of_clip(row, frames, clip) for row, clip in facts.items()],
        [clip.thumbnail for clip in clip_of.values()],
        None,
    )


def wait(engine: Engine, pending: PendingBatch, clock: Clock) -> None:
    """Let the device finish a batch whose results another process writes."""
    with clock.on("device"):
        jax.block_until_ready(pending.results)


def write(engine: Engine, pending: PendingBatch, clock: Clock) -> None:
    """Fetch a batch's results from the device and write its part of the run."""
    results = None
    if pending.results is not None:
        with clock.on("device"):
            steps = [engine.program.fetch(results) for results in pending.results]
            places = pending.places
            results = jax.tree.map(lambda *x: np.concatenate(x)[places], *steps)
    with clock.on("writing"):
        _write_part(engine, pending, results)


def _write_part(engine: Engine, pending: PendingBatch, results: BatchScores | None) -> None:
    """Write the tables, curves and thumbnails of a batch."""
    job, rows = engine.job, pending.rows
    slices, base = job.settings.slices, pending.base
    if results is None:
        results = _no_results(engine, len(rows))
    else:
        broken = np.any(np.isnan(results.curves["sme"]), axis=1)
        base = mark_not_finite(base, broken)
    names = catalogue.columns(slices)
    part = part_table(base, engine.other, rows, names, results.tables[EXACT.name])
    layout = engine.layouts[pending.frames]
    curves = _named_curves(results.curves, layout, base, pending.prompts)
    others = _other_tables(engine, pending, base, results)
    path = job.part_path(pending.frames, pending.batch)
    runs.write_part(path, part, curves, pending.thumbnails, others)


def _no_results(engine: Engine, clips: int) -> BatchScores:
    """Return NaN results of the right shapes, for a batch without a good clip."""
    request = engine.request
    names = {d.name: len(d.columns(request.slices)) for d in request.definitions}
    swept = {d.name: len(d.swept(request.slices)) for d in request.definitions}
    pairs = len(request.pairs)

    def blank(*shape: int) -> np.ndarray:
        return np.full((clips, *shape), np.nan, np.float32)

    return BatchScores(
        {d: blank(n) for d, n in names.items()},
        {d: blank(pairs, n) for d, n in swept.items()},
        dict.fromkeys(request.kept, blank(0)),
        blank(0),
    )


def _other_tables(
    engine: Engine, pending: PendingBatch, base: pa.Table, results: BatchScores
):
    """Return the batch's rows of the tables beside scores.parquet, by name."""
    request, calibration = engine.request, engine.calibrations.get(pending.frames)
    rows = [engine.job.rows[n] for n in pending.rows]
    out = {"features": features_table(base, rows, pending.facts, results.embedding)}
    for d in request.definitions[1:]:
        values = np.asarray(results.tables[d.name])
        out[d.name] = definition_table(base, d.columns(request.slices), values)
    if len(engine.variants) > 1:
        for d in request.definitions:
            columns, values = d.swept(request.slices), results.swept[d.name]
            table = swept_table(base, engine.variants, calibration, columns, values)
            out[f"{d.name}-orders"] = table
    return out


def _named_curves(curves, layout: Layout, base: pa.Table, prompts: list[Prompt]):
    """Return the kept curves of each clip without padding rows; None for a bad clip."""
    good = np.array([status == "ok" for status in base["status"].to_pylist()], bool)
    ordered = good & ~single_frames(base)
    video = layout.video_rows
    out = {}
    for name, values in curves.items():
        ok = ordered if catalogue.compares_orders(name) else good
        if video:
            out[f"video.{name}"] = [
                v[:video] if keep else None for v, keep in zip(values, ok, strict=True)
            ]
        for s in layout.slices:
            if s != "video" and len(curves) > 1 and name in catalogue.families(s):
                spans = [_span(prompt, s, video) for prompt in prompts]
                out[f"{s}.{name}"] = [
                    v[slice(*span)] if keep else None
                    for v, keep, span in zip(values, ok, spans, strict=True)
                ]
    return out


def _span(prompt: Prompt, slice_name: str, video: int) -> tuple[int, int]:
    """Return first row and end of a text slice among the scored rows of a clip."""
    middle = video + len(prompt.after)
    if slice_name == "instruction":
        return video, middle
    return middle, middle + len(prompt.answer)
