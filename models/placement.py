"""Choose the devices and the type of a checkpoint's parameters."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import jax

from vidsme_jax import sharding
from vidsme_jax.errors import InputError, local_devices
from vidsme_jax.models.checkpoints.trees import numpy_dtype
from vidsme_jax.models.port import Graph, Port

DTYPES = ("auto", "float32", "bfloat16")
_PARALLEL = ("auto", "replicas", "partitioned", "global")
# A replica needs room for activations beside its parameters.
_FILL = 0.7


@dataclass(frozen=True)
class Placement:
    """The devices of a model, and how its parameters lie on them.

    Attributes:
        parallel: "replicas", "partitioned" or "global".
        dtype: type of weights and activations, float32 or bfloat16.
        devices: all devices of this process; for "global" those of all processes; for a
            plan those of a topology.
        devices_per_model: number of devices that share a copy of the parameters.
    """

    parallel: str
    dtype: str
    devices: tuple[jax.Device, ...]
    devices_per_model: int

    @property
    def replicas(self) -> int:
        """The number of copies of the model; every copy takes its own clips."""
        return len(self.devices) // self.devices_per_model

    def program(self, function: Callable[..., Any]) -> sharding.Program:
        """Return the program that runs a function of (params, *batch) on the devices."""
        if self.parallel == "replicas":
            return sharding.replicated(function, self.devices)
        return sharding.partitioned(function, self.devices, self.devices_per_model)

    def load(self, port: Port, program: sharding.Program) -> dict[str, Any]:
        """Load a checkpoint's parameters to the places where a program expects them."""
        return port.load(numpy_dtype(self.dtype), program.place)

    def __str__(self) -> str:
        kind = self.devices[0].device_kind
        return f"{len(self.devices)} x {kind}: {self.parallel}, {self.dtype}"

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context of matrix products for `dtype`; see `precision`."""
        return precision(self.dtype)


def precision(dtype: str) -> AbstractContextManager[Any]:
    """Return a context in which float32 matrix products are computed in full precision.

    Accelerators compute them in shorter types by default.
    """
    return jax.default_matmul_precision("highest" if dtype == "float32" else "default")


def resolve_dtype(dtype: str) -> str:
    """Return the type of a `--dtype` name; `auto` depends on this process's devices."""
    if dtype not in DTYPES:
        raise InputError(f"dtype={dtype}, there are {', '.join(DTYPES)}")
    if dtype != "auto":
        return dtype
    return "float32" if local_devices()[0].platform == "cpu" else "bfloat16"


def choose_placement(graph: Graph, parallel: str, dtype: str) -> Placement:
    """Return the placement of a model on the devices of this process or of all.

    Args:
        graph: the model.
        parallel: auto, replicas, partitioned or global.
        dtype: auto, float32 or bfloat16.

    Raises:
        InputError: another name in `parallel` or `dtype`.
    """
    if parallel not in _PARALLEL:
        raise InputError(f"parallel={parallel}, there are {', '.join(_PARALLEL)}")
    dtype, local = resolve_dtype(dtype), local_devices()
    devices = tuple(jax.devices() if parallel == "global" else local)
    limit = (local[0].memory_stats() or {}).get("bytes_limit", math.inf)
    return place_model(graph, parallel, dtype, devices, limit)


def place_model(
    graph: Graph,
    parallel: str,
    dtype: str,
    devices: tuple[jax.Device, ...],
    memory: float,
) -> Placement:
    """Return the placement of a model on devices; "auto" prefers replicas.

    In a partitioned model, as many devices share a copy as divide the query heads.

    Args:
        graph: the model.
        parallel: auto, replicas, partitioned or global.
        dtype: float32 or bfloat16.
        devices: the devices.
        memory: memory of a device, bytes. A replica must fit in it for "auto" to choose
            replicas.
    """
    leaves = jax.tree.leaves(graph.abstract)
    size = sum(leaf.size for leaf in leaves) * numpy_dtype(dtype)(0).itemsize
    if parallel == "auto":
        parallel = "replicas" if size < _FILL * memory else "partitioned"
    if parallel == "replicas":
        return Placement(parallel, dtype, devices, 1)
    heads, count = graph.sizes.heads, len(devices)
    divisors = [n for n in range(1, count + 1) if count % n == 0 and heads % n == 0]
    return Placement(parallel, dtype, devices, divisors[-1])
