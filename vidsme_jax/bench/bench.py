"""`vidsme bench`: time ours and PyTorch on the same weights and clips, in alternation."""

import json
import math
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from vidsme_jax.bench import ours as ours_module
from vidsme_jax.bench.agreement import differences
from vidsme_jax.bench.inputs import Inputs, make_inputs
from vidsme_jax.bench.ours import Ours, Scorer
from vidsme_jax.bench.table import describe
from vidsme_jax.errors import InputError, local_devices
from vidsme_jax.models.placement import resolve_dtype
from vidsme_jax.progress import phase, say
from vidsme_jax.records.files import check_folder

TOLERANCE = 1e-3  # by which any float32 value may differ from PyTorch's
_GENERATED = 16  # tokens of the published algorithm's answer
_STATISTICS_ROWS, _LOOPED_ROWS = 256, 8
_ORDERS = (1.5, 1.05)  # q and r where the statistics are timed alone
_LEAST_SECONDS = 0.1  # for a timing of the bare product


@dataclass(frozen=True)
class BenchSettings:
    """What is measured, and for how long.

    Attributes:
        size: size of the model, a name of `inputs.SIZES`.
        frames: frames of a clip.
        clips: clips that a round scores.
        batch: clips at once, a divisor of `clips`; None for 2, or all of fewer.
        rounds: number of rounds; in a round every contestant runs once.
        dtype: type of weights and activations, auto, float32 or bfloat16.
        out: directory for checkpoint, clips and bench.json; None keeps nothing.
    """

    size: str
    frames: int = 16
    clips: int = 2
    batch: int | None = None
    rounds: int = 5
    dtype: str = "auto"
    out: Path | None = None

    @property
    def at_once(self) -> int:
        """Return how many clips are scored at once."""
        return self.batch or min(2, self.clips)


def bench(settings: BenchSettings) -> str:
    """Measure, write bench.json, and return the table as text.

    Raises:
        InputError: no PyTorch, or it sees other devices; clips that make no whole batches;
            `out` holds other files.
    """
    if settings.clips % settings.at_once:
        raise InputError(
            f"clips={settings.clips} with batch={settings.at_once}, expected a multiple"
            " of it"
        )
    if settings.out is not None:
        _make_room(settings.out)
    peer = _import_torch()
    with _folder(settings.out) as folder:
        facts = _measure(settings, peer, folder)
        (folder / "bench.json").write_text(json.dumps(facts, indent=1) + "\n")
    return describe(facts)


def _import_torch() -> ModuleType:
    """Return the module that runs PyTorch, on the same kind of device as JAX."""
    try:
        from vidsme_jax.bench import torch_peer
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise InputError(
            "bench compares with PyTorch, which is not installed: pip install '.[bench]'"
        ) from error
    ours = local_devices()[0].platform
    theirs = {"cuda": "gpu"}.get(torch_peer.device_name(), "cpu")
    if ours != theirs:
        raise InputError(
            f"JAX runs on {ours} and PyTorch on {theirs}, expected one kind of device for"
            " both; JAX_PLATFORMS=cpu CUDA_VISIBLE_DEVICES= compares them on the CPU"
        )
    return torch_peer


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """Make a directory: `out`, or a temporary one that is removed afterwards."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="vidsme-bench-") as name:
            yield Path(name)
        return
    out.mkdir(parents=True, exist_ok=True)
    yield out


def _make_room(out: Path) -> None:
    """Remove what an interrupted bench wrote.

    Raises:
        InputError: there is any other file, or a file where the directory should be.
    """
    check_folder("out", out)
    paths = set(out.iterdir()) if out.exists() else set()
    if not paths:
        return
    if not paths <= {*out.glob("clip-*.mp4"), out / "model"}:
        raise InputError(f"out={out} holds other files; remove it, or give another --out")
    shutil.rmtree(out)


@dataclass(frozen=True)
class _Setup:
    """The checkpoint in both frameworks, and what it scores.

    Attributes:
        inputs: the batches that are scored.
        ours: the checkpoint in JAX.
        scorers: our compiled programs, by contestant.
        peer: the module that runs PyTorch.
        torch_model: the checkpoint in PyTorch.
    """

    inputs: Inputs
    ours: Ours
    scorers: dict[str, Scorer]
    peer: ModuleType
    torch_model: Any


def _measure(settings: BenchSettings, peer: ModuleType, folder: Path) -> dict[str, Any]:
    """Run everything and return all measurements, ready for JSON."""
    setup = _set_up(settings, peer, folder)
    best = _choose_best(setup)
    results, seconds = _run_rounds(
        _contestants(setup, best, settings.clips), settings.rounds
    )
    masks: list[Any] = [batch.masks for batch, _ in setup.inputs.batches]
    scored = {
        "at_best": best,
        "differences": differences(masks, results),
        "tolerance": TOLERANCE if setup.ours.dtype == "float32" else None,
        "seconds_a_clip": seconds,
    }
    apart = _measure_apart(setup, settings.rounds)
    stages = ours_module.time_stages(setup.ours, setup.inputs)
    split = {"parts_seconds_a_clip": stages}
    return _surroundings(settings, setup) | scored | apart | split


def _set_up(settings: BenchSettings, peer: ModuleType, folder: Path) -> _Setup:
    """Write the inputs, load the checkpoint into both frameworks, and compile."""
    s, dtype = settings, resolve_dtype(settings.dtype)
    phase("bench", "write the inputs", f"size {s.size}, {s.clips} clips")
    inputs = make_inputs(folder, s.size, s.frames, s.clips, s.at_once)
    phase("bench", "load and compile")
    ours = ours_module.load_ours(inputs, dtype)
    pixels = inputs.port.processor
    torch_model = peer.load_model(inputs.port.directory, dtype, pixels.mean, pixels.std)
    scorers = {
        "ours": ours_module.make_scorer(ours, ours_module.both_ways(ours), inputs),
        "ours_one": ours_module.make_scorer(ours, ours_module.one_way(ours), inputs),
    }
    return _Setup(inputs, ours, scorers, peer, torch_model)


def _choose_best(setup: _Setup) -> dict[str, int]:
    """Return the rows of a chunk and the clips at once with which PyTorch is fastest."""
    peer, model, (batch, orders) = setup.peer, setup.torch_model, setup.inputs.batches[0]
    clips, rows = len(batch.pixels), batch.rows.shape[1]
    chunk = peer.best_chunk(model, rows)
    if clips == 1:
        return {"chunk": chunk, "clips": 1}
    say("choose PyTorch's batch")

    def score(count: int, at_once: int) -> Any:
        first = jax.tree.map(lambda x: x[:count], (batch, orders))
        return peer.at_best(model, *first, at_once, chunk)

    taken = {}
    for n in (1, clips):
        score(clips, n)  # first calls cost more
        taken[n] = min(peer.seconds(lambda n=n: score(clips, n)) for _ in range(2))
    return {"chunk": chunk, "clips": min(taken, key=taken.__getitem__)}


class _Contestant(NamedTuple):
    """A call to time, and how many clips it scores."""

    call: Callable[[], Any]
    clips: int


def _contestants(setup: _Setup, best: dict[str, int], clips: int) -> dict[str, _Contestant]:
    """Return the calls to time, over all clips; the published one over the first alone."""
    peer, model, inputs = setup.peer, setup.torch_model, setup.inputs
    first = jax.tree.map(lambda x: x[:1], inputs.batches[0])

    def at_best(ways: int) -> list[Any]:
        sizes = (best["clips"], best["chunk"], ways)
        return [peer.at_best(model, *arrays, *sizes) for arrays in inputs.batches]

    def as_called() -> list[Any]:
        return [peer.as_called(model, *arrays) for arrays in inputs.batches]

    return {
        "ours": _Contestant(lambda: setup.scorers["ours"](inputs), clips),
        "as_called": _Contestant(as_called, clips),
        "at_best": _Contestant(lambda: at_best(2), clips),
        "published": _Contestant(lambda: [peer.published(model, *first)], 1),
        "ours_one": _Contestant(lambda: setup.scorers["ours_one"](inputs), clips),
        "at_best_one": _Contestant(lambda: at_best(1), clips),
    }


def _run_rounds(contestants: dict[str, _Contestant], rounds: int):
    """Return each contestant's results, and its seconds a clip in every round."""
    results = {}
    for name, contestant in contestants.items():
        phase("bench", "warm up", name)
        results[name] = contestant.call()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for n in range(rounds):
        phase("bench", "measure", f"round {n + 1} of {rounds}")
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant.call()
            seconds[name].append((time.perf_counter() - start) / contestant.clips)
    return results, seconds


def _surroundings(settings: BenchSettings, setup: _Setup) -> dict[str, Any]:
    """Return what the numbers depend on: settings, versions, device and sizes."""
    layout, ours = setup.inputs.layout, setup.ours
    names = ("jax", "flax", "torch", "transformers")
    return {
        "settings": asdict(settings)
        | {
            "batch": settings.at_once,
            "dtype": ours.dtype,
            "out": None if settings.out is None else str(settings.out),
        },
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in names},
        "device": ours.device.device_kind,
        "platform": ours.device.platform,
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": setup.peer.threads(),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(ours.params)),
        "vocab": ours.graph.sizes.vocab,
        "video_tokens": layout.video.length,
        "positions": layout.time,
        "rows": layout.video_rows + layout.text_rows,
    }


def _measure_apart(setup: _Setup, rounds: int) -> dict[str, Any]:
    """Return what is measured beside the rounds."""
    ours, peer, scorers = setup.ours, setup.peer, setup.scorers
    return {
        "necessary_flops": _necessary_flops(ours, setup.inputs),
        "product": _products(peer, ours, setup.inputs, rounds),
        "statistics": _statistics(peer, ours),
        "compile_seconds": {name: s.compile_seconds for name, s in scorers.items()},
        "generate_seconds": _generate(setup),
        "generated_tokens": _GENERATED,
        "peak_bytes": {
            "compiled": scorers["ours"].bytes,
            "ours": ours_module.peak_bytes(ours.device),
            "torch": peer.peak_bytes(),
        },
    }


def _necessary_flops(ours: Ours, inputs: Inputs) -> dict[str, int]:
    """Return the operations that a clip needs, in both directions and in one."""
    layout = inputs.layout
    frames, rows = layout.video.frames, layout.video_rows + layout.text_rows
    two_ways, one_way = (
        ours.graph.clip_flops(frames, layout.time, rows, ways).total for ways in (2, 1)
    )
    return {"both": two_ways, "one": one_way}


def _products(peer: ModuleType, ours: Ours, inputs: Inputs, rounds: int) -> dict[str, Any]:
    """Time the bare matrix product of the decoder's MLP, in both frameworks by turns."""
    sizes, clips = ours.graph.sizes, len(inputs.batches[0][0].pixels)
    shape = (2 * clips * inputs.layout.time, sizes.width, sizes.mlp_width)
    calls = {
        "ours": ours_module.product(ours, *shape),
        "torch": peer.product(*shape, ours.dtype),
    }
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = math.ceil(_LEAST_SECONDS / peer.seconds(call))
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(2 * rounds + 1):
        for name, call in calls.items():
            many = range(repeats[name])
            taken = peer.seconds(lambda call=call, many=many: [call() for _ in many])
            rates[name].append(2 * math.prod(shape) * len(many) / taken)
    return {"shape": shape, "flops_a_second": rates}


def _statistics(peer: ModuleType, ours: Ours) -> dict[str, float]:
    """Return seconds a row of the statistics alone."""
    shape = (_STATISTICS_ROWS, ours.graph.sizes.vocab)
    logits = 2 * np.random.default_rng(0).standard_normal(shape, np.float32)
    at_once, loop = peer.time_statistics(logits, *_ORDERS, _LOOPED_ROWS)
    our_time = ours_module.time_statistics(ours, logits, *_ORDERS)
    return {"ours": our_time, "torch": at_once, "published": loop}


def _generate(setup: _Setup) -> float:
    """Return the seconds that writing an answer takes, which the published code does."""
    peer, first = setup.peer, setup.inputs.batches[0]
    return peer.seconds(lambda: peer.generate(setup.torch_model, *first, _GENERATED))
