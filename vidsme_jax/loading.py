"""Checkpoints to parameters and back, through one rule table per port, strict both ways.

A rule names one tensor of the checkpoint and where it goes. Every tensor of the files
must have a rule or be listed as ignored, and every parameter must be filled; all faults
come in one error, before anything is computed. Only safetensors are read: a pickle can
run code.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from jax.sharding import PartitionSpec as P
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vidsme_jax.errors import InputError

EVERYWHERE = P()  # a copy on every device
_FLOATS = {"F64", "F32", "F16", "BF16"}


class Transform(Enum):
    """How a checkpoint's tensor becomes ours."""

    COPY = "copy"
    LINEAR = "(out, in) -> (in, out)"
    CONV = "(out, channel, height, width) -> (channel height width, out)"


@dataclass(frozen=True)
class Rule:
    """One tensor of a checkpoint, or one a layer.

    Attributes:
        key: its name; `{}` stands for the layer, and stacks the layers in front.
        path: its parameter, the names of the nested dicts joined by dots.
        spec: its placement over the "model" axis when the model is partitioned.
        transform: what is done to it.
    """

    key: str
    path: str
    spec: P = EVERYWHERE
    transform: Transform = Transform.COPY

    @classmethod
    def linear(cls, key: str, path: str, spec: P = EVERYWHERE) -> "Rule":
        """Make the rule of a linear layer's kernel."""
        return cls(key, path, spec, Transform.LINEAR)

    @classmethod
    def conv(cls, key: str, path: str) -> "Rule":
        """Make the rule of a patch embedding's kernel."""
        return cls(key, path, EVERYWHERE, Transform.CONV)

    def keys(self, shape: tuple[int, ...]) -> list[str]:
        """Return the checkpoint's keys that fill a parameter of this shape."""
        if "{}" not in self.key:
            return [self.key]
        return [self.key.format(layer) for layer in range(shape[0])]

    def convert(self, tensor: np.ndarray) -> np.ndarray:
        """Bring a checkpoint's tensor into our layout."""
        if self.transform is Transform.CONV:
            tensor = tensor.reshape(tensor.shape[0], -1)
        return tensor if self.transform is Transform.COPY else tensor.T

    def restore(self, value: np.ndarray) -> np.ndarray:
        """Bring a parameter (of one layer) back into the checkpoint's layout."""
        if self.transform is Transform.COPY:
            return value
        if self.transform is Transform.LINEAR:
            return value.T
        side = round((value.shape[0] / 3) ** 0.5)
        return value.T.reshape(-1, 3, side, side)

    def theirs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the checkpoint's shape of a parameter (of one layer) of this shape."""
        return self.restore(np.empty(shape, np.bool_)).shape


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves of nested dicts, keyed by their dotted path."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {".".join(str(k.key) for k in path): leaf for path, leaf in leaves}


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `flatten`."""
    out: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *folders, name = path.split(".")
        inner = out
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = leaf
    return out


def load_params(
    directory: Path,
    rules: tuple[Rule, ...],
    ignored: tuple[str, ...],
    abstract: Mapping[str, Any],
    dtype: Any,
    place: Callable[[P, tuple[int, ...]], Any],
) -> dict[str, Any]:
    """Read a checkpoint's safetensors straight into their placement.

    Args:
        directory: holds model.safetensors, or model.safetensors.index.json and shards.
        rules: where every tensor goes.
        ignored: patterns of keys that are known and not needed.
        abstract: nested dicts of the parameters' shapes.
        dtype: of the parameters; the checkpoint's are cast.
        place: sharding of a parameter from its rule's spec and its shape.

    Raises:
        InputError: every missing, unknown, misshapen or unreadable tensor, in one line.
    """
    check_checkpoint(directory, rules, ignored, abstract)
    shapes = _shapes(abstract)
    with _open(directory) as tensors:
        leaves = {}
        for rule in rules:
            shape = shapes[rule.path]
            value = _read(tensors, rule, shape, dtype)
            leaves[rule.path] = jax.device_put(value, place(rule.spec, shape))
    return unflatten(leaves)


def _read(tensors, rule: Rule, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Read one parameter; the layers of a stacked one go into their slices one by one."""
    if "{}" not in rule.key:
        return np.ascontiguousarray(rule.convert(tensors.get(rule.key)), dtype)
    value = np.empty(shape, dtype)
    for layer, key in enumerate(rule.keys(shape)):
        value[layer] = rule.convert(tensors.get(key))
    return value


class _Tensors:
    """The open safetensors files of a checkpoint, as one mapping from key to tensor."""

    def __init__(self, handles: dict[str, Any]):
        self.handles = handles

    def get(self, key: str) -> np.ndarray:
        return self.handles[key].get_tensor(key)

    def facts(self, key: str) -> tuple[tuple[int, ...], str]:
        part = self.handles[key].get_slice(key)
        return tuple(part.get_shape()), part.get_dtype()


@contextmanager
def _open(directory: Path) -> Iterator[_Tensors]:
    handles: dict[str, Any] = {}
    with ExitStack() as stack:
        for path in weight_files(directory):
            try:
                file = stack.enter_context(safe_open(path, framework="numpy"))
            except (SafetensorError, OSError) as error:
                raise InputError(
                    f"{path} is not a whole safetensors file: {error}"
                ) from error
            handles |= dict.fromkeys(file.keys(), file)
        yield _Tensors(handles)


def weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint.

    Raises:
        InputError: there are none, or the index names files outside the directory or
            that do not exist.
    """
    single, index = (
        directory / "model.safetensors",
        directory / "model.safetensors.index.json",
    )
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise InputError(f"{index} is not a safetensors index: {error!r}") from error
        absent = [n for n in names if Path(n).name != n or not (directory / n).is_file()]
        if absent:
            raise InputError(f"{index} names {absent[:3]}, expected files beside it")
        return [directory / name for name in names]
    if single.is_file():
        return [single]
    pickles = sorted(p.name for p in directory.glob("*.bin")) if directory.is_dir() else []
    hint = f"; {pickles[0]} is a pickle, which can run code: convert it" if pickles else ""
    raise InputError(
        f"model={directory} has no model.safetensors and no index of shards{hint}"
    )


def check_checkpoint(
    directory: Path,
    rules: tuple[Rule, ...],
    ignored: tuple[str, ...],
    abstract: Mapping[str, Any],
) -> None:
    """Compare a checkpoint's tensors with the rule table, both ways; reads headers only.

    Raises:
        InputError: every missing, unknown, misshapen or unreadable tensor, in one line.
    """
    shapes = _shapes(abstract)
    assert {rule.path for rule in rules} == set(shapes), "the rule table is incomplete"
    with _open(directory) as tensors:
        faults = _faults(tensors, rules, ignored, shapes)
    if faults:
        raise InputError(f"model={directory} does not fit: {'; '.join(faults)}")


def _faults(tensors, rules, ignored, shapes) -> list[str]:
    expected = {
        key: rule.theirs(shapes[rule.path][1:] if "{}" in rule.key else shapes[rule.path])
        for rule in rules
        for key in rule.keys(shapes[rule.path])
    }
    skip = re.compile("|".join(f"(?:{p})" for p in ignored) or "(?!)")
    known = {key for key in tensors.handles if key in expected}
    unknown = [k for k in tensors.handles if k not in expected and not skip.fullmatch(k)]
    faults = [f"missing {key}" for key in expected if key not in known]
    faults += [f"unknown {key}" for key in sorted(unknown)]
    for key in sorted(known):
        shape, dtype = tensors.facts(key)
        if shape != expected[key]:
            faults.append(f"{key} has shape {shape}, expected {expected[key]}")
        if dtype not in _FLOATS:
            faults.append(f"{key} has dtype {dtype}, expected one of {sorted(_FLOATS)}")
    return faults


def _shapes(abstract: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {path: leaf.shape for path, leaf in flatten(abstract).items()}


def save_params(
    path: Path,
    params: Mapping[str, Any],
    rules: tuple[Rule, ...],
    others: Mapping[str, np.ndarray],
) -> None:
    """Write parameters as a safetensors file under the checkpoint's own keys.

    Args:
        path: the file.
        params: nested dicts of arrays.
        rules: the port's table.
        others: tensors to write beside them, such as those a port ignores.
    """
    leaves = flatten(params)
    tensors = dict(others)
    for rule in rules:
        value = np.asarray(jax.device_get(leaves[rule.path]))
        stacked = "{}" in rule.key
        layers = value if stacked else [value]
        for key, layer in zip(rule.keys(value.shape), layers, strict=True):
            tensors[key] = np.ascontiguousarray(rule.restore(layer))
    save_file(tensors, path, metadata={"format": "np"})


def read_others(directory: Path, rules, abstract) -> dict[str, np.ndarray]:
    """Return the tensors of a checkpoint that no rule takes, to be carried along."""
    shapes = _shapes(abstract)
    taken = {key for rule in rules for key in rule.keys(shapes[rule.path])}
    with _open(directory) as tensors:
        return {key: tensors.get(key) for key in tensors.handles if key not in taken}


def numpy_dtype(name: str) -> Any:
    """Return the NumPy type of a `--dtype` name."""
    return {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}[name]
