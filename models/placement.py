"""Which devices a checkpoint's parameters go to, and in which type."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import jax

from vidsme_jax import sharding
from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.trees import numpy_dtype
from vidsme_jax.models.port import Graph, Port

DTYPES = ("auto", "float32", "bfloat16")
_PARALLEL = ("auto", "replicas", "partitioned", "global")
# A replica needs room for activations beside its parameters.
_FILL = 0.7


@dataclass(frozen=True)
class Placement:
    """A model on devices.

    Attributes:
        parallel: replicas, partitioned or global.
        dtype: of weights and activations, float32 or bfloat16.
        devices: all of this process; for global, of all processes; or those of a topology.
        model: devices that share one copy of the parameters.
    """

    parallel: str
    dtype: str
    devices: tuple[jax.Device, ...]
    model: int

    @property
    def replicas(self) -> int:
        """Copies of the model, each of which takes its own clips."""
        return len(self.devices) // self.model

    def program(self, function: Callable[..., Any]) -> sharding.Program:
        """Place a function run(params, *batch)."""
        if self.parallel == "replicas":
            return sharding.replicated(function, self.devices)
        return sharding.partitioned(function, self.devices, self.model)

    def load(self, port: Port, program: sharding.Program) -> dict[str, Any]:
        """Put a checkpoint's parameters where a program expects them."""
        return port.load(numpy_dtype(self.dtype), program.place)

    def __str__(self) -> str:
        kind = self.devices[0].device_kind
        return f"{len(self.devices)} x {kind}: {self.parallel}, {self.dtype}"

    def precision(self) -> AbstractContextManager[Any]:
        """Return `precision` of its type."""
        return precision(self.dtype)


def precision(dtype: str) -> AbstractContextManager[Any]:
    """Make float32 mean float32: accelerators shorten its products by default."""
    return jax.default_matmul_precision("highest" if dtype == "float32" else "default")


def resolve_dtype(dtype: str) -> str:
    """Return the type that `auto` stands for on the devices there are."""
    if dtype not in DTYPES:
        raise InputError(f"dtype={dtype}, there are {', '.join(DTYPES)}")
    if dtype != "auto":
        return dtype
    return "float32" if jax.local_devices()[0].platform == "cpu" else "bfloat16"


def choose_placement(graph: Graph, parallel: str, dtype: str) -> Placement:
    """Resolve `auto` for the devices here."""
    if parallel not in _PARALLEL:
        raise InputError(f"parallel={parallel}, there are {', '.join(_PARALLEL)}")
    dtype, local = resolve_dtype(dtype), jax.local_devices()
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
    """Resolve `auto`: replicas where a whole model fits one device's memory, in bytes.

    Partitioned, as many devices share a model as the query heads divide over.
    """
    leaves = jax.tree.leaves(graph.abstract)
    size = sum(leaf.size for leaf in leaves) * numpy_dtype(dtype)(0).itemsize
    if parallel == "auto":
        parallel = "replicas" if size < _FILL * memory else "partitioned"
    if parallel == "replicas":
        return Placement(parallel, dtype, devices, 1)
    heads, count = graph.sizes.heads, len(devices)
    shared = [n for n in range(1, count + 1) if count % n == 0 and heads % n == 0]
    return Placement(parallel, dtype, devices, shared[-1])
