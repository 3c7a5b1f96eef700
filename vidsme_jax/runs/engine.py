"""The device's side of a run: batches put, scored ahead of writing, written as parts."""

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
    swept_table,
)
from vidsme_jax.runs.timing import Clock
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.definition import Orders, ScoreRequest
from vidsme_jax.scores.orders import Calibration, EntropyOrders, distinct_orders
from vidsme_jax.scores.program import EXACT, Results, score_program
from vidsme_jax.sharding import Program, pad_clips


@dataclass(frozen=True)
class Engine:
    """What every step of scoring needs beside the job: the program and its surroundings."""

    job: Job
    program: Program
    params: dict[str, Any]
    request: ScoreRequest
    variants: list[EntropyOrders]
    layouts: dict[int, Layout]
    calibrations: dict[int, Calibration]
    other: dict[str, pa.Array]


@dataclass(frozen=True)
class Started:
    """A batch that the device is working on.

    Attributes:
        batch: its number.
        frames: of each clip.
        rows: of the manifests, group by group.
        places: of each row's group in the batch.
        base: the rows' part of the table without scores.
        facts: of each row.
        prompts: of each row.
        thumbnails: of each row.
        results: on the device; None where no clip of the batch is worth its time.
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
    """Compile nothing yet: place the program and load the parameters."""
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
    further = other_columns(job.rows)
    other = dict(zip(other_names(further), further.values(), strict=True))
    return Engine(job, program, params, request, variants, layouts, calibrations, other)


def _request(job: Job, variants: list[EntropyOrders]) -> tuple[Forward, ScoreRequest]:
    """Return the model, and what to compute of it."""
    definitions, port = job.definitions, job.port
    kept = catalogue.families("video") if job.settings.keep_tokens else ("sme",)
    *_, pairs = distinct_orders(variants)
    request = ScoreRequest(definitions, job.settings.slices, kept, pairs)
    if not any(definition.whole_head for definition in definitions):
        return port.forward, request
    return port.whole_head().forward, replace(request, vocab_keep=port.vocab_keep)


def _orders(engine: Engine, base: pa.Table, frames: int) -> Orders:
    """Return the distinct orders of each clip; a bad clip gets 1."""
    calibration = engine.calibrations.get(frames)
    pairs = [row_orders(base, variant, calibration) for variant in engine.variants]
    first_q, first_r, _ = distinct_orders(engine.variants)
    columns = ([pairs[n][0] for n in first_q], [pairs[n][1] for n in first_r])
    q, r = (np.nan_to_num(np.stack(values, axis=1), nan=1.0) - 1 for values in columns)
    return Orders(q.astype(np.float32), r.astype(np.float32))


def start(
    engine: Engine, n: int, frames: int, clips: list[PreparedClip], clock: Clock
) -> Started:
    """Put a batch on the device and set it going; a bad clip has zeros there."""
    with clock.on("batches"):
        started, arrays = _make(engine, n, frames, clips)
    if arrays is None:
        return started
    with clock.on("device"):  # the first call compiles
        return replace(started, results=engine.program.run(engine.params, arrays))


def _make(engine: Engine, n: int, frames: int, clips: list[PreparedClip]):
    """Return the batch without results, and its arrays, put; None where no clip is good."""
    started = _open_batch(engine, n, frames, clips)
    job, rows = engine.job, started.rows
    if "ok" not in started.base["status"].to_pylist():
        return started, None
    firsts = [started.places.index(place) for place in range(len(clips))]
    heads = [rows[i] for i in firsts]
    video, perturbation = job.port.video(frames), job.settings.perturbation
    shown = [frame_order(perturbation, video, job.rows[i].id) for i in heads]
    pixels = np.stack([clip.sample(frames) for clip in clips])
    longest = [job.prompts.longest[frames][i] for i in heads]
    prompts = [started.prompts[i] for i in firsts]
    layout = smallest_layout(engine.layouts[frames], longest)
    batch = make_batch(prompts, pixels, layout, shown)
    arrays = (batch, _orders(engine, started.base.take(firsts), frames))
    arrays = pad_clips(arrays, job.settings.batch * job.placement.replicas)
    return started, engine.program.put_batch(arrays)


def _open_batch(engine: Engine, n: int, frames: int, clips: list[PreparedClip]) -> Started:
    """Return all that is known of a batch before the device has it."""
    job, groups = engine.job, engine.job.batches[n]
    rows = [row for group in groups for row in group]
    places = [place for place, group in enumerate(groups) for _ in group]
    clip_of = dict(zip(rows, (clips[place] for place in places), strict=True))
    facts = {row: job.facts(row, clip.facts) for row, clip in clip_of.items()}
    calibration = engine.calibrations.get(frames)
    return Started(
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


def wait(engine: Engine, started: Started, clock: Clock) -> None:
    """Let the device finish a batch whose results another process keeps."""
    with clock.on("device"):
        jax.block_until_ready(started.results)


def write(engine: Engine, started: Started, clock: Clock) -> None:
    """Bring a batch's results home and write its part."""
    results = None
    if started.results is not None:
        with clock.on("device"):
            results = engine.program.fetch(started.results)
            results = jax.tree.map(lambda x: x[started.places], results)
    with clock.on("writing"):
        _write(engine, started, results)


def _write(engine: Engine, started: Started, results: Results | None) -> None:
    job, rows = engine.job, started.rows
    slices, base = job.settings.slices, started.base
    if results is None:
        results = _no_results(engine, len(rows))
    else:
        broken = np.any(np.isnan(results.curves["sme"]), axis=1)
        base = mark_not_finite(base, broken)
    names = catalogue.columns(slices)
    part = part_table(base, engine.other, rows, names, results.tables[EXACT.name])
    layout = engine.layouts[started.frames]
    shown = _named_curves(results.curves, layout, base, started.prompts)
    others = _other_tables(engine, started, base, results)
    path = job.part_path(started.frames, started.batch)
    runs.write_part(path, part, shown, started.thumbnails, others)


def _no_results(engine: Engine, clips: int) -> Results:
    """Return results of the right shapes for a batch without one good clip."""
    request = engine.request
    names = {d.name: len(d.columns(request.slices)) for d in request.definitions}
    swept = {d.name: len(d.swept(request.slices)) for d in request.definitions}
    pairs = len(request.pairs)

    def blank(*shape: int) -> np.ndarray:
        return np.full((clips, *shape), np.nan, np.float32)

    return Results(
        {d: blank(n) for d, n in names.items()},
        {d: blank(pairs, n) for d, n in swept.items()},
        dict.fromkeys(request.kept, blank(0)),
        blank(0),
    )


def _other_tables(engine: Engine, started: Started, base: pa.Table, results: Results):
    """Return the batch's rows of the tables beside scores.parquet, by name."""
    request, calibration = engine.request, engine.calibrations.get(started.frames)
    rows = [engine.job.rows[n] for n in started.rows]
    out = {"features": features_table(base, rows, started.facts, results.embedding)}
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
    """Cut the kept curves to each clip's own rows; none for a bad clip."""
    ok = [status == "ok" for status in base["status"].to_pylist()]
    video = layout.video_rows
    out = {}
    for name, values in curves.items():
        if video:
            out[f"video.{name}"] = [
                v[:video] if good else None for v, good in zip(values, ok, strict=True)
            ]
        for s in layout.slices:
            if s != "video" and len(curves) > 1 and name in catalogue.families(s):
                spans = [_span(prompt, s, video) for prompt in prompts]
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
