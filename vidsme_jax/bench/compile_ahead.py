"""Compile the scoring program for devices that need not be there, and say what it takes."""

import math
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vidsme_jax import sharding
from vidsme_jax.batch import Prompt
from vidsme_jax.data.batches import Layout, make_batch, make_layout
from vidsme_jax.models.checkpoints.trees import flatten, numpy_dtype, unflatten
from vidsme_jax.models.flops import Share
from vidsme_jax.models.placement import Placement
from vidsme_jax.models.port import Graph
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.definition import Orders, ScoreRequest
from vidsme_jax.scores.program import EXACT, score_program
from vidsme_jax.scores.reduction import chunk_rows

_COLLECTIVE = re.compile(
    r"= \S.* (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
    r"|collective-broadcast)(?:-start)?\("
)
_FULL = "RESOURCE_EXHAUSTED"
_USED = re.compile(r"Used ([\d.]+[KMG]) of ([\d.]+[KMG]) hbm")


@dataclass(frozen=True)
class Compiled:
    """What a compiled program takes, on each device.

    Attributes:
        arguments: bytes of parameters and batch.
        temporaries: bytes that live while it runs.
        results: bytes of the results.
        flops: operations that the compiler counts, the body of a loop once.
        collectives: number of collectives in the program, by kind.
        seconds: time that compiling took.
    """

    arguments: int
    temporaries: int
    results: int
    flops: float
    collectives: dict[str, int]
    seconds: float

    @property
    def peak(self) -> int:
        """Return the bytes that the program needs at most."""
        return self.arguments + self.temporaries + self.results


class TooLarge(Exception):
    """The compiler found no way to keep the program within the device's memory.

    Attributes:
        excess: bytes beyond it; 0 where the compiler does not say.
    """

    def __init__(self, message: str):
        """Take the sentence about memory out of the compiler's message."""
        match = _USED.search(message)
        super().__init__(match[0] if match else message.splitlines()[0][:150])
        self.excess = 0.0
        if match:
            used, limit = _bytes(match[1]), _bytes(match[2])
            self.excess = used - limit


def _bytes(size: str) -> float:
    """Return the bytes of a size that the compiler writes, such as 15.75G."""
    return float(size[:-1]) * 1024 ** "BKMG".index(size[-1])


def plan_layout(graph: Graph, frames: int, text: int) -> Layout:
    """Return the shapes of a clip whose prompt and answer have `text` tokens together."""
    return make_layout([_stand_in(text)], graph.video(frames), catalogue.SLICES)


def _stand_in(text: int) -> Prompt:
    """Return a prompt of so many tokens, a quarter of them before the video."""
    quarter = text // 4
    return Prompt((1,) * quarter, (1,) * (text - 2 * quarter), (1,) * quarter)


@dataclass(frozen=True)
class Task:
    """What to compile, except for the number of clips.

    Attributes:
        graph: the model.
        placement: where the model lies: real devices, or those of a topology.
        layout: shapes of a clip.
        text: tokens of prompt and answer together.
    """

    graph: Graph
    placement: Placement
    layout: Layout
    text: int


def compile_for(task: Task, clips: int, **layers: int) -> Compiled:
    """Compile the scoring program.

    Args:
        task: what to compile.
        clips: clips of a replica and step.
        layers: for stacks of `Sizes.layers`, how many layers to run instead of all.

    Raises:
        TooLarge: the program does not fit the device's memory.
    """
    place = task.placement
    run = score_program(task.graph.forward, ScoreRequest((EXACT,), kept=("sme",)))
    program = place.program(run)
    batch = _over_replicas(place, _batch(task, clips), program)
    params = _parameters(task, program, layers)
    start = time.monotonic()
    try:
        with place.precision():
            compiled = program.run.lower(params, batch).compile()  # type: ignore[attr-defined]
    except jax.errors.JaxRuntimeError as error:
        if _FULL in str(error):
            raise TooLarge(str(error)) from error
        raise
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    return Compiled(
        arguments=memory.argument_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        results=memory.output_size_in_bytes,
        flops=cost.get("flops", 0.0),
        collectives=dict(Counter(_COLLECTIVE.findall(compiled.as_text()))),
        seconds=time.monotonic() - start,
    )


def _batch(task: Task, clips: int) -> Any:
    """Return the shapes of a replica's batch."""
    size = task.graph.sizes.frame
    pixels = np.zeros((1, task.layout.video.frames, *size, 3), np.uint8)
    single = make_batch([_stand_in(task.text)], pixels, task.layout)
    order: Any = np.zeros((1, 1), np.float32)
    shape = lambda x: jax.ShapeDtypeStruct((clips, *x.shape[1:]), x.dtype)  # noqa: E731
    return jax.tree.map(shape, (single, Orders(order, order)))


def _over_replicas(placement: Placement, batch: Any, program: sharding.Program) -> Any:
    """Return the shapes of all replicas' batches together."""
    count = placement.replicas
    if placement.parallel == "replicas":
        wide = lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype)  # noqa: E731
        return jax.tree.map(wide, batch)
    split = NamedSharding(program.place(P(), ()).mesh, P("data"))

    def wider(x):
        shape = (count * x.shape[0], *x.shape[1:])
        return jax.ShapeDtypeStruct(shape, x.dtype, sharding=split)

    return jax.tree.map(wider, batch)


def _parameters(task: Task, program: sharding.Program, layers: dict[str, int]) -> Any:
    """Return shapes and placement of the parameters."""
    specs = {rule.path: rule.spec for rule in task.graph.rules}
    dtype, out = numpy_dtype(task.placement.dtype), {}
    for path, leaf in flatten(task.graph.abstract).items():
        shape, stack = leaf.shape, path.split(".")[0]
        if ".layers." in path and stack in layers:
            shape = (layers[stack], *shape[1:])
        place = None
        if task.placement.parallel == "partitioned":
            place = program.place(specs[path], shape)
        out[path] = jax.ShapeDtypeStruct(shape, dtype, sharding=place)
    return unflatten(out)


def compiled_flops(task: Task, clips: int, whole: Compiled) -> float:
    """Return the operations of the whole program on all devices, every loop in full.

    The compiler counts the body of a loop once and a kernel not at all. So a layer is
    counted as the difference to a program without layers. Further chunks of the head and
    the pairs of attention are added by hand.
    """
    sizes, layout = task.graph.sizes, task.layout
    counted = whole.flops
    for stack, count in sizes.layers.items():
        layer = whole.flops - compile_for(task, clips, **{stack: 0}).flops
        counted += (count - 1) * layer
    share = Share(
        task.placement.devices_per_model, task.placement.devices[0].platform == "tpu"
    )
    frames = layout.video.frames
    counted += task.graph.uncounted_flops(clips, frames, layout.time, share)
    rows = layout.video_rows + layout.text_rows
    size = chunk_rows(rows, 2 * clips, sizes.vocab)
    chunks = -(-rows // size)
    head = 2 * 2 * clips * size * sizes.width * sizes.vocab
    further = task.placement.replicas * (chunks - 1) * head
    return len(task.placement.devices) * counted + further


def compile_largest(task: Task, memory: float) -> tuple[int, Compiled]:
    """Return the most clips of a replica and step that fit, and their program.

    Memory grows evenly with the clips, so one and two clips predict the most that fit. If
    those do not fit, the compiler says by how much, and fewer are tried.

    Args:
        task: what to compile.
        memory: bytes of a device.

    Raises:
        TooLarge: not even one clip fits.
    """
    single = compile_for(task, 1)
    try:
        pair = compile_for(task, 2)
    except TooLarge:
        return 1, single
    per_clip = max(pair.peak - single.peak, 1)
    guess = 1 + math.floor((memory - single.peak) / per_clip)
    while guess > 2:
        try:
            return guess, compile_for(task, guess)
        except TooLarge as error:
            guess -= max(1, math.ceil(error.excess / per_clip))
    return 2, pair
