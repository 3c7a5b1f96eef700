"""Compile and time our side of `vidsme bench`: a run's programs, and their stages."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from vidsme_jax import sharding
from vidsme_jax.batch import OWN_ARGMAX, Batch
from vidsme_jax.bench.inputs import Inputs
from vidsme_jax.errors import local_devices
from vidsme_jax.models.checkpoints.trees import numpy_dtype
from vidsme_jax.models.placement import precision
from vidsme_jax.models.port import Graph
from vidsme_jax.records import runs
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.catalogue import TOKEN_FAMILIES
from vidsme_jax.scores.definition import Orders, ScoreRequest
from vidsme_jax.scores.program import EXACT, BatchScores, score_batch, score_program
from vidsme_jax.scores.reduction import reduce_chunk
from vidsme_jax.scores.token_statistics import row_statistics

_KEPT = ("sme", "sme_nat", "sme_rev", *TOKEN_FAMILIES)


@dataclass(frozen=True)
class Ours:
    """A checkpoint on the first device.

    Attributes:
        graph: the model; the whole head takes part in the softmax.
        params: parameters on the device.
        device: the first device.
        dtype: type of weights and activations.
    """

    graph: Graph
    params: Any
    device: Any
    dtype: str

    def place(self, function: Callable[..., Any]) -> sharding.Program:
        """Place a function of parameters and arrays as a run places its program."""
        return sharding.replicated(function, (self.device,))


@dataclass(frozen=True)
class Scorer:
    """A compiled program.

    Attributes:
        run: compiled function of parameters and arrays on the device.
        program: puts arrays on the device and fetches results.
        params: the first argument of `run`.
        compile_seconds: time that compiling took.
        bytes: arguments, results and temporaries, as the compiler counts them.
    """

    run: Callable[..., Any]
    program: sharding.Program
    params: Any
    compile_seconds: float
    bytes: int

    def __call__(self, inputs: Inputs) -> list[Any]:
        """Score every batch; put arrays and fetch results as a run does."""
        out = []
        for arrays in inputs.batches:
            out.append(self.run(self.params, self.program.put_batch(arrays)))
        return [self.program.fetch(results) for results in out]


def load_ours(inputs: Inputs, dtype: str) -> Ours:
    """Read the checkpoint onto the first device."""
    # The whole head is scored, so that every framework has the same to do: the tokenizers
    # of these checkpoints are small.
    port = inputs.port.whole_head()
    empty = Ours(port, None, local_devices()[0], dtype)
    params = port.load(numpy_dtype(dtype), empty.place(_nothing).place)
    return replace(empty, params=params)


def _nothing(params: Any) -> Any:
    """Return the parameters as they are."""
    return params


def both_ways(ours: Ours) -> Callable[..., BatchScores]:
    """Return the program that a run scores with."""
    return score_program(ours.graph.forward, ScoreRequest((EXACT,), kept=_KEPT))


def one_way(ours: Ours) -> Callable[..., dict[str, Any]]:
    """Return the function that computes the statistics of the natural direction alone."""
    forward = ours.graph.train_forward

    def run(params: Any, batch: Batch, orders: Orders) -> dict[str, Any]:
        q, r = 1 + orders.q_less_one[:, 0], 1 + orders.r_less_one[:, 0]
        return score_batch(params, forward, batch, q, r)

    return run


def make_scorer(ours: Ours, function: Callable[..., Any], inputs: Inputs) -> Scorer:
    """Compile a function for the shapes of the batches."""
    program = ours.place(function)
    arrays = program.put_batch(inputs.batches[0])
    start = time.perf_counter()
    with precision(ours.dtype):
        lowered = program.run.lower(ours.params, arrays)  # type: ignore[attr-defined]
        compiled = lowered.compile()
    taken, memory = time.perf_counter() - start, compiled.memory_analysis()
    size = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    size += memory.output_size_in_bytes
    return Scorer(compiled, program, ours.params, taken, size)


def peak_bytes(device: Any) -> int | None:
    """Return the most memory that a device held; None where it does not count."""
    return (device.memory_stats() or {}).get("peak_bytes_in_use")


def time_stages(ours: Ours, inputs: Inputs) -> dict[str, float]:
    """Return the seconds a clip of each stage, timed by itself on the same batch.

    Vision, decoder and head are separate programs here; in a run they are one program.
    """
    arrays, clips = inputs.batches[0], len(inputs.batches[0][0].pixels)
    programs = [ours.place(stage) for stage in _stages(ours.graph)]
    with precision(ours.dtype):
        transfer, put = _timed(lambda: programs[0].put_batch(arrays))
        batch, orders = put
        vision, frames = _timed(lambda: programs[0].run(ours.params, (batch.pixels,)))
        decoder, hidden = _timed(lambda: programs[1].run(ours.params, (frames, batch)))
        scored = (hidden, batch, orders)
        head, results = _timed(lambda: programs[2].run(ours.params, scored))
    with TemporaryDirectory(prefix="vidsme-bench-") as folder:
        path = Path(folder) / "part"
        write, _ = _timed(lambda: _write(programs[2].fetch(results), path))
    seconds = {
        "transfer": transfer,
        "vision": vision,
        "decoder": decoder,
        "head and statistics": head,
        "write": write,
    }
    a_clip = {name: value / clips for name, value in seconds.items()}
    return {"decode": inputs.decode, "flow": inputs.flow} | a_clip


def _stages(graph: Graph) -> tuple[Callable[..., Any], ...]:
    """Return three functions: vision, decoder, and head with statistics."""
    stages = graph.stages

    def forward(params_and_hidden, batch):
        params, hidden = params_and_hidden
        return hidden, stages.head(params)

    scored = score_program(forward, ScoreRequest((EXACT,), kept=("sme",)))

    def head(params, hidden, batch, orders):
        return scored((params, hidden), batch, orders)

    return stages.vision, stages.decoder, head


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the shorter time of two calls after a first, in seconds, and the result."""
    out, times = jax.block_until_ready(call()), []
    for _ in range(2):
        start = time.perf_counter()
        out = jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times), out


def _write(results: BatchScores, path: Path) -> None:
    """Write a batch's results as a run does."""
    table, curves = results.tables[EXACT.name], results.curves["sme"]
    named = dict(zip(catalogue.columns(), np.asarray(table).T, strict=True))
    scores = pa.table({"id": [str(n) for n in range(len(table))]} | named)
    runs.write_part(path, scores, {"video.sme": list(curves)}, [b""] * len(table), {})


def product(ours: Ours, rows: int, inner: int, outer: int) -> Callable[[], Any]:
    """Return a call that does one matrix product [rows inner] x [inner outer]."""
    rng = np.random.default_rng(0)
    kind = numpy_dtype(ours.dtype)
    a, b = (
        jax.device_put(rng.standard_normal(shape, np.float32).astype(kind), ours.device)
        for shape in ((rows, inner), (inner, outer))
    )
    with precision(ours.dtype):
        run = jax.jit(jnp.matmul).lower(a, b).compile()
    return lambda: jax.block_until_ready(run(a, b))


def time_statistics(ours: Ours, logits: np.ndarray, q: float, r: float) -> float:
    """Return the seconds that the statistics alone take for a row.

    Args:
        ours: the checkpoint, for its device.
        logits: rows of logits [row vocab], float32.
        q: Sharma-Mittal order.
        r: Sharma-Mittal degree.
    """

    def reduce(carry, logits, target):
        orders = (jnp.full(target.shape, order, jnp.float32) for order in (q, r))
        return carry, row_statistics(logits, target, *orders)

    targets = np.full((1, 1, len(logits)), OWN_ARGMAX, np.int32)
    arrays = jax.device_put((logits[None, None], targets), ours.device)
    run = jax.jit(lambda *chunk: reduce_chunk(reduce, None, *chunk)[1])
    return _timed(lambda: run(*arrays))[0] / len(logits)
