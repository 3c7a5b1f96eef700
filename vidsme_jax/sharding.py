"""Place a function on devices: a whole model on each, or one model across them.

Both ways take the same function `run(params, *batch)`; its batch arrays and results lead
with the clip axis. Both give a `Program` with the same four steps: put the parameters
once, put each batch ahead of time, run, fetch. No other copies are made, so a run passes
under `jax.transfer_guard("disallow")`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vidsme_jax.errors import local_devices


@dataclass(frozen=True)
class Program:
    """A scoring function placed on devices.

    Attributes:
        run: run(params, batch) with arrays that were put; returns without waiting.
        place: PartitionSpec over "model" and shape of a parameter -> its sharding.
        put_batch: tuple of host arrays, the clip axis first -> the batch for `run`.
        fetch: results of `run` -> host arrays, the clip axis first.
    """

    run: Callable[..., Any]
    place: Callable[[P, tuple[int, ...]], NamedSharding]
    put_batch: Callable[[Any], Any]
    fetch: Callable[[Any], Any]


@lru_cache  # the same function on the same devices is compiled once a process
def replicated(function: Callable[..., Any], devices: tuple[jax.Device, ...]) -> Program:
    """Place a whole model on each device, for its own clips, by `jax.pmap`.

    Parameters are put once on all devices and passed with `in_axes=None`, so that a call
    copies none of them.

    Args:
        function: run(params, *batch).
        devices: of this process.
    """
    count = len(devices)
    mesh = Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))
    everywhere, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    mapped = jax.pmap(_with_one_batch(function), in_axes=(None, 0), devices=list(devices))

    def put_batch(batch):
        folded = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
        return jax.device_put(folded, split)

    def fetch(out):
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.device_get(out))

    return Program(mapped, lambda spec, shape: everywhere, put_batch, fetch)


@lru_cache
def partitioned(
    function: Callable[..., Any], devices: tuple[jax.Device, ...], model: int
) -> Program:
    """Place one model across each group of `model` devices, by `jax.jit`.

    Args:
        function: run(params, *batch).
        devices: a multiple of `model` in number; of all processes, or of this process
            alone.
        model: number of devices that share one copy of the parameters.

    Raises:
        ValueError: `model` does not divide the number of devices.
    """
    if len(devices) % model:
        raise ValueError(f"{model=} must divide the number of devices, {len(devices)}")
    mesh = jax.make_mesh(
        (len(devices) // model, model),
        ("data", "model"),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=list(devices),
    )
    split = NamedSharding(mesh, P("data"))
    # With devices of other processes, each puts the clips of its devices, and gets all
    # results.
    is_alone = jax.process_count() == 1 or set(devices) <= set(local_devices())
    out = split if is_alone else NamedSharding(mesh, P())

    def put_batch(batch):
        if is_alone:
            return jax.device_put(batch, split)
        with jax.transfer_guard_host_to_device("allow"):  # this transfer is intended
            return jax.tree.map(put_local, batch)

    def put_local(x):
        return jax.make_array_from_callback(x.shape, split, x.__getitem__)

    def place(spec: P, shape: tuple[int, ...]) -> NamedSharding:
        return NamedSharding(mesh, _fitting(spec, shape, model))

    def in_mesh(params, batch):  # attention needs the mesh: its kernels run per device
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(params, *batch)

    run = jax.jit(in_mesh, out_shardings=out)
    return Program(run, place, put_batch, jax.device_get)


def _with_one_batch(function):
    """Return the function of a batch in one argument, so that it has one placement."""
    return lambda params, batch: function(params, *batch)


def _fitting(spec: P, shape: tuple[int, ...], model: int) -> P:
    """Return a spec with "model" only on axes that it divides; others are copied."""
    axes = (*spec, *[None] * (len(shape) - len(spec)))
    return P(
        *(
            axis if axis is None or size % model == 0 else None
            for axis, size in zip(axes, shape, strict=True)
        )
    )


def pad_clips(batch: Any, count: int) -> Any:
    """Repeat the last clip of host arrays until there are `count` clips.

    The caller drops the repeated clips from the fetched results.
    """

    def pad(x):
        return np.concatenate([x, np.repeat(x[-1:], count - len(x), axis=0)])

    return jax.tree.map(pad, batch)
