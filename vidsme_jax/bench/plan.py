"""`vidsme plan`: what scoring would take, asked of the compiler itself, chips or none."""

from dataclasses import dataclass
from pathlib import Path

import jax

from vidsme_jax.bench import tpu
from vidsme_jax.bench.compile_ahead import (
    Compiled,
    Task,
    TooLarge,
    compile_for,
    compile_largest,
    compiled_flops,
    plan_layout,
)
from vidsme_jax.models import read_graph
from vidsme_jax.models.checkpoints.hub import find_checkpoint
from vidsme_jax.models.flops import ClipFlops
from vidsme_jax.models.placement import Placement, place_model, resolve_dtype
from vidsme_jax.models.port import Graph


@dataclass(frozen=True)
class PlanSettings:
    """What is planned: a model, its place and its work.

    Attributes:
        model: checkpoint directory, hub id, or a config.json alone.
        topology: of TPU chips, such as v5e:2x4; None for the devices here.
        frames: frame counts.
        parallel: auto, replicas or partitioned.
        dtype: auto, float32 or bfloat16.
        batch: clips of a replica and step; None for the most that fit.
        text: tokens of prompt and answer together.
        clips: of the sweep whose time is projected.
        utilisation: share of a chip's peak that necessary operations are assumed to reach.
    """

    model: str
    topology: str | None = None
    frames: tuple[int, ...] = (16,)
    parallel: str = "auto"
    dtype: str = "auto"
    batch: int | None = None
    text: int = 64
    clips: int = 10_000
    utilisation: float = 0.4


@dataclass(frozen=True)
class Plan:
    """What one frame count takes.

    Attributes:
        task: what was compiled.
        batch: clips of a replica and step; 0 where not even one fits.
        compiled: that program, per device; None where it does not fit.
        shortage: the compiler's words where it does not fit.
        necessary: operations of one clip.
        flops: operations of the compiled program, on all devices; None without a topology.
    """

    task: Task
    batch: int
    compiled: Compiled | None
    shortage: str
    necessary: ClipFlops
    flops: float | None


def plan(settings: PlanSettings) -> str:
    """Return the plan of each frame count as text.

    Raises:
        InputError: no such model, topology or placement.
    """
    graph = read_graph(_config_of(settings.model))
    placement, memory = make_placement(settings, graph)
    tasks = [make_task(settings, graph, placement, frames) for frames in settings.frames]
    plans = [make_plan(settings, task, memory) for task in tasks]
    return "\n\n".join(describe(one, settings, memory) for one in plans)


def _config_of(model: str) -> Path:
    """Return the config.json that is meant."""
    path = Path(model)
    if path.is_file():
        return path
    return find_checkpoint(model, weights=False) / "config.json"


def make_placement(settings: PlanSettings, graph: Graph) -> tuple[Placement, float]:
    """Return where the model would be, and a device's memory in bytes (inf: unknown)."""
    if settings.topology is not None:
        devices = tpu.devices_of(settings.topology)
        memory: float = tpu.chip_of(settings.topology).memory
        dtype = "bfloat16" if settings.dtype == "auto" else settings.dtype
    else:
        devices = tuple(jax.local_devices())
        memory = (devices[0].memory_stats() or {}).get("bytes_limit", float("inf"))
        dtype = resolve_dtype(settings.dtype)
    given = (settings.parallel, dtype, devices, memory)
    return place_model(graph, *given), memory


def make_task(
    settings: PlanSettings, graph: Graph, placement: Placement, frames: int
) -> Task:
    """Return what to compile for one frame count."""
    layout = plan_layout(graph, frames, settings.text)
    return Task(graph, placement, layout, settings.text)


def make_plan(settings: PlanSettings, task: Task, memory: float) -> Plan:
    """Compile for one frame count."""
    layout, video = task.layout, task.layout.video
    rows = layout.video_rows + layout.text_rows
    length = video.length + settings.text
    necessary = task.graph.clip_flops(video.frames, length, rows)
    try:
        batch, compiled = _compile(settings, task, memory)
    except TooLarge as error:
        return Plan(task, 0, None, str(error), necessary, None)
    flops = None
    if settings.topology:
        flops = compiled_flops(task, batch, compiled)
    return Plan(task, batch, compiled, "", necessary, flops)


def _compile(settings: PlanSettings, task: Task, memory: float) -> tuple[int, Compiled]:
    """Return clips a replica and step, and the program."""
    if settings.batch is None and memory < float("inf"):
        return compile_largest(task, memory)
    batch = settings.batch or 1
    return batch, compile_for(task, batch)


def describe(one: Plan, settings: PlanSettings, memory: float) -> str:
    """Return a plan in lines of text."""
    place, layout = one.task.placement, one.task.layout
    kind = settings.topology or place.devices[0].device_kind
    split = f" over {place.devices_per_model}" if place.parallel == "partitioned" else ""
    lines = [
        f"{one.task.graph.name}, {layout.video.frames} frames on {kind}:"
        f" {len(place.devices)} devices, {place.parallel}{split}, {place.dtype};"
        f" {layout.video.length} video and {settings.text} text tokens,"
        f" {layout.time} positions"
    ]
    if one.compiled is None:
        return "\n".join([*lines, f"does not fit: {one.shortage}"])
    lines += _memory_lines(one.compiled, one.batch, memory)
    lines += _work_lines(one, settings)
    return "\n".join(lines)


def _memory_lines(compiled: Compiled, batch: int, memory: float) -> list[str]:
    of = "" if memory == float("inf") else f" of {_size(memory)}"
    found = ", ".join(f"{n} {kind}" for kind, n in sorted(compiled.collectives.items()))
    return [
        f"memory      {_size(compiled.peak)}{of} a device with {batch} clips a replica:"
        f" {_size(compiled.arguments)} arguments,"
        f" {_size(compiled.temporaries)} temporaries",
        f"collectives {found or 'none'}",
        f"compiled in {compiled.seconds:.0f} s",
    ]


def _work_lines(one: Plan, settings: PlanSettings) -> list[str]:
    place, total = one.task.placement, one.necessary.total
    parts = {k: v / total for k, v in vars(one.necessary).items()}
    shares = ", ".join(f"{k.replace('_', ' ')} {v:.0%}" for k, v in parts.items())
    work = f"{total / 1e12:.2f} TFLOP" if total > 1e11 else f"{total / 1e9:.2f} GFLOP"
    lines = [f"necessary   {work} a clip: {shares}"]
    if one.flops is not None:
        ratio = one.flops / (one.batch * place.replicas * total)
        lines.append(f"compiled    {ratio:.3f} times the necessary")
    if settings.topology:
        speed = clip_rate(settings, total, len(place.devices))
        lines.append(
            f"projected   {speed:.2f} clips/s at {settings.utilisation:.0%} of the peak;"
            f" {settings.clips} clips take {_duration(settings.clips / speed)}"
        )
    return lines


def _size(count: int | float) -> str:
    return f"{count / 2**30:.2f} GiB" if count > 2**27 else f"{count / 2**20:.2f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 300:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 18_000 else f"{seconds / 3600:.1f} h"


def clip_rate(settings: PlanSettings, necessary: float, devices: int) -> float:
    """Return the clips a second of so many chips at the stated utilisation."""
    peak = tpu.chip_of(settings.topology or "").flops
    return devices * peak * settings.utilisation / necessary
