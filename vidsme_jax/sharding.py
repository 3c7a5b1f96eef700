"""Where arrays live: a whole model on every device, or one model across devices.

Both take the same function `run(params, *batch)` whose batch arrays and results lead with
the clip axis, and both give a `Program` with the same four steps: put the parameters
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


@dataclass(frozen=True)
class Program:
    """A scoring function placed on devices.

    Attributes:
        run: run(params, *batch) with arrays that were put; returns without waiting.
        place: sharding of a parameter, given its PartitionSpec over "model" and shape.
        put_batch: host arrays leading with the clip axis -> arrays for `run`.
        fetch: results of `run` -> host arrays leading with the clip axis.
    """

    run: Callable[..., Any]
    place: Callable[[P, tuple[int, ...]], NamedSharding]
    put_batch: Callable[[Any], Any]
    fetch: Callable[[Any], Any]


@lru_cache  # the same function on the same devices is compiled once a process
def replicated(function: Callable[..., Any], devices: tuple[jax.Device, ...]) -> Program:
    """Run a whole model on each device, over its own clips, by `jax.pmap`.

    Parameters are put once on all devices and passed with `in_axes=None`: placed like
    that, a call copies none of them.
    """
    count = len(devices)
    mesh = Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))
    everywhere, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    mapped = jax.pmap(_of_tuple(function), in_axes=(None, 0), devices=list(devices))

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
    """Run one model over each group of `model` devices, by `jax.jit` and `NamedSharding`.

    Args:
        function: run(params, *batch).
        devices: as many as a multiple of `model`; of all processes, or of this one where
            it is the only one.
        model: devices that share one copy of the parameters.
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
    # With devices of other processes, each puts its own part, and gets all results.
    alone = jax.process_count() == 1 or set(devices) <= set(jax.local_devices())
    out = split if alone else NamedSharding(mesh, P())

    def put_batch(batch):
        if alone:
            return jax.device_put(batch, split)
        with jax.transfer_guard_host_to_device("allow"):  # it is asked for here
            return jax.tree.map(own_part, batch)

    def own_part(x):
        return jax.make_array_from_callback(x.shape, split, x.__getitem__)

    def place(spec: P, shape: tuple[int, ...]) -> NamedSharding:
        return NamedSharding(mesh, _fitting(spec, shape, model))

    def meshed(params, batch):  # attention looks for the mesh: its kernels run per device
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(params, *batch)

    run = jax.jit(meshed, out_shardings=out)
    return Program(run, place, put_batch, jax.device_get)


def _of_tuple(function):
    """Take the batch as one argument, so that its arrays share one placement."""
    return lambda params, batch: function(params, *batch)


def _fitting(spec: P, shape: tuple[int, ...], model: int) -> P:
    """Keep "model" on the axes that it divides; elsewhere the parameter is copied."""
    axes = (*spec, *[None] * (len(shape) - len(spec)))
    return P(
        *(
            axis if axis is None or size % model == 0 else None
            for axis, size in zip(axes, shape, strict=True)
        )
    )


def pad_clips(batch: Any, count: int) -> Any:
    """Repeat the last clip until there are `count`, on the host; cut after fetching."""

    def pad(x):
        return np.concatenate([x, np.repeat(x[-1:], count - len(x), axis=0)])

    return jax.tree.map(pad, batch)
