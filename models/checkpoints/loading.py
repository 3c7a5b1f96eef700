"""Load a checkpoint's tensors as parameters by the rules of a port, and save them.

All faults of the files come in a single error, before anything is computed. Only
safetensors are read: a pickle can run code.

Tensors go to their device piece by piece, as they lie in the file; transposing, casting
and stacking happen there, in place. So the host holds a piece, never a second model. A
small parameter is assembled on the host instead, which needs no compiled program.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.rules import (
    EVERYWHERE,
    Names,
    Rule,
    TensorHeader,
    Transform,
    find_faults,
    rules_by_key,
)
from vidsme_jax.models.checkpoints.trees import flatten, unflatten

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PIECE_BYTES = 128 * 2**20  # of a tensor on the host at a time
_SMALL_BYTES = 4 * 2**20  # of a parameter that the host assembles


def load_params(
    directory: Path,
    rules: tuple[Rule, ...],
    names: Names,
    abstract: Mapping[str, Any],
    dtype: Any,
    place: Callable[[P, tuple[int, ...]], Any],
) -> dict[str, Any]:
    """Load a checkpoint's parameters onto their devices.

    Args:
        directory: holds model.safetensors, or model.safetensors.index.json and shards.
        rules: which tensor fills which parameter.
        names: names that the layout gives its tensors.
        abstract: shapes of the parameters, as nested dicts.
        dtype: type of the parameters, to which the tensors are cast.
        place: function of a rule's spec and a shape that returns a sharding.

    Raises:
        InputError: every missing, unknown, misshapen or unreadable tensor, in one line.
    """
    shapes = _shapes(abstract)
    files = check_checkpoint(directory, rules, names, abstract)
    rule_of = rules_by_key(rules, shapes)
    leaves: dict[str, Any] = {}
    for path, headers in files.items():
        for key, header in headers.items():
            rule, layer = rule_of.get(names.rule_key(key), (None, 0))
            if rule is None:
                continue
            if rule.path not in leaves:
                leaves[rule.path] = _empty(shapes[rule.path], dtype, rule, place)
            pieces = _pieces(path, key, header, _cut_axis(rule))
            leaves[rule.path] = _fill(leaves.pop(rule.path), rule, layer, pieces, place)
    placed = {rule.path: place(rule.spec, shapes[rule.path]) for rule in rules}
    return unflatten({path: jax.device_put(v, placed[path]) for path, v in leaves.items()})


def _empty(shape: tuple[int, ...], dtype: Any, rule: Rule, place) -> Any:
    """Return an empty parameter: on the host if it is small, else on its devices."""
    if math.prod(shape) * np.dtype(dtype).itemsize <= _SMALL_BYTES:
        return np.zeros(shape, dtype)
    return jnp.zeros(shape, dtype, device=place(rule.spec, shape))


def _fill(leaf: Any, rule: Rule, layer: int, pieces: Iterator, place) -> Any:
    """Write the pieces of a tensor into a parameter, or into its layer of a stack."""
    for start, piece in pieces:
        if isinstance(leaf, np.ndarray):  # small, so that the piece is the whole tensor
            leaf[layer if rule.stacked else ...] = _transform(piece, rule.transform)
            continue
        position = (np.int32(layer), np.int32(start))
        leaf = _write_piece(
            leaf,
            jax.device_put(piece, place(_file_spec(rule), piece.shape)),
            jax.device_put(position, place(EVERYWHERE, ())),
            transform=rule.transform,
            axis=_cut_axis(rule),
        )
        leaf.block_until_ready()  # else the host reads ahead of the device
    return leaf


def _transform(piece: Any, transform: Transform) -> Any:
    """Return a piece of a tensor in the layout of the parameter."""
    if transform is Transform.COPY:
        return piece
    return piece.reshape(piece.shape[0], -1).T


def _cut_axis(rule: Rule) -> int:
    """Return the first axis of the file's tensor that is not split over devices."""
    return next(n for n, name in enumerate((*_file_spec(rule), None)) if name is None)


def _file_spec(rule: Rule) -> P:
    """Return the placement of a tensor as it lies in the file."""
    axes = tuple(rule.spec)[1:] if rule.stacked else tuple(rule.spec)
    if rule.transform is Transform.LINEAR:
        axes = (*axes, None, None)[1::-1]
    return P(*axes)


def _pieces(
    path: Path, key: str, header: TensorHeader, axis: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the pieces of a tensor along an axis, each with the index of its start."""
    shape, dtype = header
    size = math.prod(shape) * int(dtype.strip("BF")) // 8
    step = max(shape)
    if size > _PIECE_BYTES and axis < len(shape):
        step = max(1, shape[axis] * _PIECE_BYTES // size)
    else:
        axis = 0
    for start in range(0, shape[axis], step):
        bounds = slice(start, min(start + step, shape[axis]))
        # Opened for every piece: pages of a mapped file stay in memory until it is closed.
        with safe_open(path, framework="numpy") as file:
            tensor = file.get_slice(key)
            piece = tensor[bounds] if axis == 0 else tensor[:, bounds]
        yield start, piece.astype(np.float32) if dtype == "F64" else piece


@partial(jax.jit, static_argnames=("transform", "axis"), donate_argnums=0)
def _write_piece(leaf, piece, position, transform: Transform, axis: int):
    """Write a piece of a tensor into a parameter, in the parameter's layout and type.

    Args:
        leaf: the parameter.
        piece: the piece, in the layout and type of the file.
        position: number of the layer, and index of the piece's start along `axis`.
        transform: change of layout from tensor to parameter.
        axis: axis of the file's tensor along which it is cut.
    """
    layer, start = position
    piece = _transform(piece, transform)
    axis = axis if transform is Transform.COPY else 1 - axis
    stacked = leaf.ndim > piece.ndim
    starts = [start if n == axis else 0 * start for n in range(piece.ndim)]
    piece = piece.astype(leaf.dtype)
    if stacked:
        piece, starts = piece[None], [layer, *starts]
    return jax.lax.dynamic_update_slice(leaf, piece, starts)


_Headers = dict[str, TensorHeader]


def _read_headers(path: Path) -> _Headers:
    """Read the shape and type of every tensor of a safetensors file."""
    with safe_open(path, framework="numpy") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
        return {k: (tuple(s.get_shape()), s.get_dtype()) for k, s in slices.items()}


def weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint; a single file precedes an index.

    Raises:
        InputError: there are none, or the index names files that do not exist or that lie
            outside the directory.
    """
    index = directory / _INDEX
    if (directory / _SINGLE).is_file():
        return [directory / _SINGLE]
    if index.is_file():
        names = sorted(set(_weight_map(index).values()))
        absent = [n for n in names if Path(n).name != n or not (directory / n).is_file()]
        if absent:
            raise InputError(f"{index} names {absent[:3]}, expected files beside it")
        return [directory / name for name in names]
    pickles = sorted(p.name for p in directory.glob("*.bin")) if directory.is_dir() else []
    hint = f"; {pickles[0]} is a pickle, which can run code: convert it" if pickles else ""
    raise InputError(f"model={directory} has no {_SINGLE} and no index of shards{hint}")


def _weight_map(index: Path) -> dict[str, str]:
    """Read the name of the file for every key of a safetensors index."""
    try:
        weight_map = json.loads(index.read_text())["weight_map"]
        return {str(key): str(name) for key, name in weight_map.items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{index} is not a safetensors index: {error!r}") from error


def check_checkpoint(
    directory: Path, rules: tuple[Rule, ...], names: Names, abstract: Mapping[str, Any]
) -> dict[Path, _Headers]:
    """Compare the headers of a checkpoint's tensors with the rules, both ways.

    Returns:
        The shape and type of every tensor by key, for every file.

    Raises:
        InputError: every missing, unknown, misshapen or unreadable tensor, in one line.
    """
    files: dict[Path, _Headers] = {}
    faults, unreadable = [], set()
    for path in weight_files(directory):
        try:
            files[path] = _read_headers(path)
        except (SafetensorError, OSError) as error:
            faults.append(f"{path.name} is not a whole safetensors file: {error}")
            unreadable |= _indexed_keys(path)
    headers = [item for headers in files.values() for item in headers.items()]
    unreadable = {names.rule_key(key) for key in unreadable}
    faults += find_faults(headers, rules, names, _shapes(abstract), unreadable)
    faults = faults or _find_unequal_copies(files, names)
    if faults:
        raise InputError(f"model={directory} does not fit: {'; '.join(faults)}")
    return files


def _find_unequal_copies(files: dict[Path, _Headers], names: Names) -> list[str]:
    """Return a line for every tensor that should repeat another tensor and does not."""
    location = {
        names.rule_key(key): (path, key)
        for path, headers in files.items()
        for key in headers
    }
    pairs = [
        (location[copy], location[original])
        for copy, original in names.copies
        if copy in location
    ]
    return [
        f"{copy[1]} differs from {original[1]}, which it is tied to"
        for copy, original in pairs
        if not _equal(files, copy, original)
    ]


def _equal(
    files: dict[Path, _Headers], first: tuple[Path, str], second: tuple[Path, str]
) -> bool:
    """Return whether two tensors, by file and key, have the same header and values."""
    headers = [files[path][key] for path, key in (first, second)]
    if headers[0] != headers[1]:
        return False
    pieces = zip(
        _pieces(*first, headers[0], 0), _pieces(*second, headers[1], 0), strict=True
    )
    return all(np.array_equal(a, b) for (_, a), (_, b) in pieces)


def _indexed_keys(path: Path) -> set[str]:
    """Return the keys that the index names for a file; {""} (any key) without an index."""
    index = path.parent / _INDEX
    if not index.is_file():
        return {""}
    return {key for key, name in _weight_map(index).items() if name == path.name}


def _shapes(abstract: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {path: leaf.shape for path, leaf in flatten(abstract).items()}


def save_params(
    path: Path,
    params: Mapping[str, Any],
    rules: tuple[Rule, ...],
    unused: Mapping[str, np.ndarray],
    keys: Mapping[str, str] | None = None,
) -> None:
    """Write parameters as a safetensors file under the keys of a checkpoint.

    Args:
        path: the file to write.
        params: parameters, as nested dicts of arrays.
        rules: rules of the port.
        unused: further tensors to write by their key, see `read_unused`.
        keys: key in the file for a key of the rules, where they differ.
    """
    leaves, keys = flatten(params), keys or {}
    tensors = dict(unused)
    for rule in rules:
        value = np.asarray(jax.device_get(leaves[rule.path]))
        layers = value if rule.stacked else [value]
        for key, layer in zip(rule.keys(value.shape), layers, strict=True):
            tensors[keys.get(key, key)] = np.ascontiguousarray(rule.restore(layer))
    save_file(tensors, path, metadata={"format": "np"})
    path.chmod(0o644)  # safetensors creates files that only their owner can read


def read_unused(
    directory: Path, rules: tuple[Rule, ...], names: Names, abstract: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read the tensors of a checkpoint that no rule takes, so that they can be saved again.

    Copies are left out, since they would repeat old values.

    Returns:
        The unused tensors by key of the file; the key of the file by key of the rules.
    """
    rule_of = rules_by_key(rules, _shapes(abstract))
    unused, keys, copies = {}, {}, dict(names.copies)
    for path in weight_files(directory):
        with safe_open(path, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118
                rule_key = names.rule_key(key)
                if rule_key in rule_of:
                    keys[rule_key] = key
                elif rule_key not in copies:
                    unused[key] = file.get_tensor(key)
    return unused, keys
