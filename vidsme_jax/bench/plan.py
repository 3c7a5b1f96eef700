"""`vidsme plan`: say what scoring would take, by the compiler's own account."""

from dataclasses import dataclass
from pathlib import Path

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
from vidsme_jax.errors import local_devices
from vidsme_jax.models import read_graph
from vidsme_jax.models.checkpoints.hub import find_checkpoint
from vidsme_jax.models.flops import ClipFlops
from vidsme_jax.models.placement import Placement, place_model, resolve_dtype
from vidsme_jax.models.port import Graph
from vidsme_jax.progress import phase


@dataclass(frozen=True)
class PlanSettings:
    """What is planned: a model, its devices and its work.

    Attributes:
        model: checkpoint directory, hub id, or a config.json alone.
        topology: TPU chips, such as v5e:2x4; None for the devices of this machine.
        frames: frame counts; a plan for each.
        parallel: auto, replicas or partitioned.
        dtype: type of weights and activations, auto, float32 or bfloat16.
        batch: clips of a replica and step; None for the most that fit.
        text: tokens of prompt and answer together.
        clips: number of clips whose time is projected.
        utilisation: share of a chip's peak that necessary operations are assumed to reach.
        adapter: folder of a LoRA adapter, which costs nothing once it is merged; it may
            bring another vocabulary.
        ignore_fields: fields of the configs that are ignored where no port has them.
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
    adapter: Path | None = None
    ignore_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a frame count takes.

    Attributes:
        task: what was compiled.
        batch: clips of a replica and step; 0 where not even one fits.
        compiled: the program, per device; None where it does not fit.
        shortage: the compiler's words where it does not fit.
        necessary: operations that a clip needs.
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
    config = _config_of(settings.model)
    graph = read_graph(config, settings.ignore_fields, settings.adapter)
    placement, memory = make_placement(settings, graph)
    tasks = [make_task(settings, graph, placement, frames) for frames in settings.frames]
    plans = [make_plan(settings, task, memory) for task in tasks]
    return "\n\n".join(describe(p, settings, memory) for p in plans)


def _config_of(model: str) -> Path:
    """Return the path of a model's config.json."""
    path = Path(model)
    if path.is_file():
        return path
    return find_checkpoint(model, weights=False) / "config.json"


def make_placement(settings: PlanSettings, graph: Graph) -> tuple[Placement, float]:
    """Return the model's placement, and a device's memory in bytes (inf: unknown)."""
    if settings.topology is not None:
        devices = tpu.devices_of(settings.topology)
        memory: float = tpu.chip_of(settings.topology).memory
        dtype = "bfloat16" if settings.dtype == "auto" else settings.dtype
    else:
        devices = tuple(local_devices())
        memory = (devices[0].memory_stats() or {}).get("bytes_limit", float("inf"))
        dtype = resolve_dtype(settings.dtype)
    placement = place_model(graph, settings.parallel, dtype, devices, memory)
    return placement, memory


def make_task(
    settings: PlanSettings, graph: Graph, placement: Placement, frames: int
) -> Task:
    """Return what to compile for a frame count."""
    layout = plan_layout(graph, frames, settings.text)
    return Task(graph, placement, layout, settings.text)


def make_plan(settings: PlanSettings, task: Task, memory: float) -> Plan:
    """Compile for a frame count, and return what it takes."""
    layout, video = task.layout, task.layout.video
    phase("plan", "compile", f"{video.frames} frames")
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
    """Return the clips of a replica and step, and the program."""
    if settings.batch is None and memory < float("inf"):
        return compile_largest(task, memory)
    batch = settings.batch or 1
    return batch, compile_for(task, batch)


def describe(plan: Plan, settings: PlanSettings, memory: float) -> str:
    """Return a plan in lines of text."""
    place, layout = plan.task.placement, plan.task.layout
    kind = settings.topology or place.devices[0].device_kind
    split = f" over {place.devices_per_model}" if place.parallel == "partitioned" else ""
    lines = [
        f"{plan.task.graph.name}, {layout.video.frames} frames on {kind}:"
        f" {len(place.devices)} devices, {place.parallel}{split}, {place.dtype};"
        f" {layout.video.length} video and {settings.text} text tokens,"
        f" {layout.time} positions"
    ]
    if plan.compiled is None:
        return "\n".join([*lines, f"does not fit: {plan.shortage}"])
    lines += _memory_lines(plan.compiled, plan.batch, memory)
    lines += _work_lines(plan, settings)
    return "\n".join(lines)


def _memory_lines(compiled: Compiled, batch: int, memory: float) -> list[str]:
    """Return the lines about memory, collectives and compiling."""
    limit = "" if memory == float("inf") else f" of {_size(memory)}"
    counts = ", ".join(f"{n} {kind}" for kind, n in sorted(compiled.collectives.items()))
    return [
        f"memory      {_size(compiled.peak)}{limit} a device with {batch} clips a replica:"
        f" {_size(compiled.arguments)} arguments,"
        f" {_size(compiled.temporaries)} temporaries",
        f"collectives {counts or 'none'}",
        f"compiled in {compiled.seconds:.0f} s",
    ]


def _work_lines(plan: Plan, settings: PlanSettings) -> list[str]:
    """Return the lines about operations and time."""
    place, total = plan.task.placement, plan.necessary.total
    shares = {k: v / total for k, v in vars(plan.necessary).items()}
    split = ", ".join(f"{k.replace('_', ' ')} {v:.0%}" for k, v in shares.items())
    work = f"{total / 1e12:.2f} TFLOP" if total > 1e11 else f"{total / 1e9:.2f} GFLOP"
    lines = [f"necessary   {work} a clip: {split}"]
    if plan.flops is not None:
        ratio = plan.flops / (plan.batch * place.replicas * total)
        lines.append(f"compiled    {ratio:.3f} times the necessary")
    if settings.topology:
        speed = clip_rate(settings, total, len(place.devices))
        lines.append(
            f"projected   {speed:.2f} clips/s at {settings.utilisation:.0%} of the peak;"
            f" {settings.clips} clips take {_duration(settings.clips / speed)}"
        )
    return lines


def _size(count: int | float) -> str:
    """Return a number of bytes as text, in MiB or GiB."""
    return f"{count / 2**30:.2f} GiB" if count > 2**27 else f"{count / 2**20:.2f} MiB"


def _duration(seconds: float) -> str:
    """Return a time as text, in seconds, minutes or hours."""
    if seconds < 300:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 18_000 else f"{seconds / 3600:.1f} h"


def clip_rate(settings: PlanSettings, necessary: float, devices: int) -> float:
    """Return the clips a second of some chips at the stated utilisation.

    Args:
        settings: topology and utilisation.
        necessary: operations that a clip needs.
        devices: number of chips.
    """
    peak = tpu.chip_of(settings.topology or "").flops
    return devices * peak * settings.utilisation / necessary
