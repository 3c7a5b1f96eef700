"""Find the safetensors files of a checkpoint, and read their tensors piece by piece.

Only safetensors are read: a pickle can run code.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from vidsme_jax import reading
from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.folders import missing_weights

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_PIECE_BYTES = 128 * 2**20  # of a tensor on the host at a time


@dataclass(frozen=True)
class FileTensor:
    """A tensor in a safetensors file.

    Attributes:
        path: path of the file.
        key: name of the tensor in the file.
        shape: sizes of its axes.
        dtype: its type, as the file's header spells it.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: str

    def pieces(self, axis: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the pieces of the tensor along an axis, each with the index of its start.

        A tensor that is small, or has no such axis, is a single piece.
        """
        size = math.prod(self.shape) * _bits(self.dtype) // 8
        if size <= _PIECE_BYTES or axis >= len(self.shape):
            yield 0, self.read()
            return
        length = self.shape[axis]
        step = max(1, length * _PIECE_BYTES // size)
        for start in range(0, length, step):
            yield start, self.read(axis, start, min(start + step, length))

    def read(self, axis: int = 0, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Read the values from a start to a stop along the first or second axis."""
        # Opened for every piece: pages of a mapped file stay in memory until it is closed.
        with safe_open(self.path, framework="numpy") as file:
            tensor, bounds = file.get_slice(self.key), slice(start, stop)
            values = tensor[:, bounds] if axis == 1 else tensor[bounds]
        return values.astype(np.float32) if self.dtype == "F64" else values


def _bits(dtype: str) -> int:
    """Return the width of a type, as a file's header spells it."""
    return int("".join(filter(str.isdecimal, dtype)) or 8)


def equal_values(first: FileTensor, second: FileTensor) -> bool:
    """Return whether two tensors have the same shape and values, whatever their types."""
    if first.shape != second.shape:
        return False
    wider = max(first, second, key=lambda tensor: _bits(tensor.dtype))
    for start, piece in wider.pieces(0):
        stop = start + len(piece)
        a, b = (t.read(0, start, stop).astype(np.float64) for t in (first, second))
        if not np.array_equal(a, b):
            return False
    return True


def read_headers(path: Path) -> list[FileTensor]:
    """Return the tensors of a safetensors file, of which only the header is read."""
    with safe_open(path, framework="numpy") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
        return [
            FileTensor(path, key, tuple(s.get_shape()), s.get_dtype())
            for key, s in slices.items()
        ]


def weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint; a single file precedes an index.

    Raises:
        InputError: there are none, or the index names files that do not exist or that lie
            outside the directory.
    """
    index = directory / INDEX
    if (directory / SINGLE).is_file():
        return [directory / SINGLE]
    if index.is_file():
        names = sorted(set(weight_map(index).values()))
        absent = [n for n in names if Path(n).name != n or not (directory / n).is_file()]
        if absent:
            raise InputError(f"{index} names {absent[:3]}, expected files beside it")
        return [directory / name for name in names]
    raise InputError(
        f"model={directory} has no {SINGLE} and no index of shards"
        f"{missing_weights(directory)}"
    )


def weight_map(index: Path) -> dict[str, str]:
    """Read the name of the file for every key of a safetensors index."""
    try:
        content = reading.read_json(index)["weight_map"]
        return {str(key): str(name) for key, name in content.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{index} is not a safetensors index: {error!r}") from error
