"""Checkpoints to parameters and back, through one rule table per port, strict both ways.

All faults of the files come in one error, before anything is computed. Only safetensors
are read: a pickle can run code.

Tensors go to their device piece by piece, as they lie in the file; transposing, casting
and stacking happen there, in place. So the host holds a piece, never a second model. A
small parameter is put together on the host instead: that needs no program of its own.
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
    Fact,
    Names,
    Rule,
    Transform,
    by_key,
    find_faults,
)
from vidsme_jax.models.checkpoints.trees import flatten, unflatten

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PIECE_BYTES = 128 * 2**20  # of a tensor on the host at a time
_SMALL_BYTES = 4 * 2**20  # of a parameter that the host puts together


def load_params(
    directory: Path,
    rules: tuple[Rule, ...],
    names: Names,
    abstract: Mapping[str, Any],
    dtype: Any,
    place: Callable[[P, tuple[int, ...]], Any],
) -> dict[str, Any]:
    """Read a checkpoint's safetensors straight into their placement.

    Args:
        directory: holds model.safetensors, or model.safetensors.index.json and shards.
        rules: where every tensor goes.
        names: how the files call them.
        abstract: nested dicts of the parameters' shapes.
        dtype: of the parameters; the checkpoint's are cast.
        place: sharding of a parameter from its rule's spec and its shape.

    Raises:
        InputError: every missing, unknown, misshapen or unreadable tensor, in one line.
    """
    shapes = _shapes(abstract)
    files = check_checkpoint(directory, rules, names, abstract)
    wanted = by_key(rules, shapes)
    leaves: dict[str, Any] = {}
    for path, facts in files.items():
        for key, fact in facts.items():
            rule, layer = wanted.get(names.short(key), (None, 0))
            if rule is None:
                continue
            if rule.path not in leaves:
                leaves[rule.path] = _empty(shapes[rule.path], dtype, rule, place)
            pieces = _pieces(path, key, fact, _cut_axis(rule))
            leaves[rule.path] = _fill(leaves.pop(rule.path), rule, layer, pieces, place)
    placed = {rule.path: place(rule.spec, shapes[rule.path]) for rule in rules}
    return unflatten({path: jax.device_put(v, placed[path]) for path, v in leaves.items()})


def _empty(shape: tuple[int, ...], dtype: Any, rule: Rule, place) -> Any:
    """Return a parameter to be filled: of the host if it is small, else in its place."""
    if math.prod(shape) * np.dtype(dtype).itemsize <= _SMALL_BYTES:
        return np.zeros(shape, dtype)
    return jnp.zeros(shape, dtype, device=place(rule.spec, shape))


def _fill(leaf: Any, rule: Rule, layer: int, pieces: Iterator, place) -> Any:
    """Write the pieces of one tensor into a parameter, or into one layer of it."""
    for start, piece in pieces:
        if isinstance(leaf, np.ndarray):  # it came in one piece
            leaf[layer if rule.stacked else ...] = _turned(piece, rule.transform)
            continue
        at = (np.int32(layer), np.int32(start))
        leaf = _write_piece(
            leaf,
            jax.device_put(piece, place(_file_spec(rule), piece.shape)),
            jax.device_put(at, place(EVERYWHERE, ())),
            transform=rule.transform,
            axis=_cut_axis(rule),
        )
        leaf.block_until_ready()  # else the host reads ahead of the device
    return leaf


def _turned(piece: Any, transform: Transform) -> Any:
    """Bring a piece, or a tensor, from the file's layout into the parameter's."""
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
    path: Path, key: str, fact: Fact, axis: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a tensor in pieces along an axis, each with the index that it starts at."""
    shape, dtype = fact
    size = math.prod(shape) * int(dtype.strip("BF")) // 8
    step = max(shape)
    if size > _PIECE_BYTES and axis < len(shape):
        step = max(1, shape[axis] * _PIECE_BYTES // size)
    else:
        axis = 0
    for start in range(0, shape[axis], step):
        here = slice(start, min(start + step, shape[axis]))
        # Opened anew each time: pages of a mapped file stay in memory until it is closed.
        with safe_open(path, framework="numpy") as file:
            part = file.get_slice(key)
            piece = part[here] if axis == 0 else part[:, here]
        yield start, piece.astype(np.float32) if dtype == "F64" else piece


@partial(jax.jit, static_argnames=("transform", "axis"), donate_argnums=0)
def _write_piece(leaf, piece, at, transform: Transform, axis: int):
    """Put a piece, in the file's layout and type, into its place; `at`: layer and start."""
    layer, start = at
    piece = _turned(piece, transform)
    axis = axis if transform is Transform.COPY else 1 - axis
    stacked = leaf.ndim > piece.ndim
    starts = [start if n == axis else 0 * start for n in range(piece.ndim)]
    piece = piece.astype(leaf.dtype)
    if stacked:
        piece, starts = piece[None], [layer, *starts]
    return jax.lax.dynamic_update_slice(leaf, piece, starts)


_Facts = dict[str, Fact]


def _facts(path: Path) -> _Facts:
    """Read the header of a safetensors file."""
    with safe_open(path, framework="numpy") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
        return {k: (tuple(s.get_shape()), s.get_dtype()) for k, s in slices.items()}


def weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint; a single one comes before an index.

    Raises:
        InputError: there are none, or the index names files outside the directory or
            that do not exist.
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
    try:
        found = json.loads(index.read_text())["weight_map"]
        return {str(key): str(name) for key, name in found.items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{index} is not a safetensors index: {error!r}") from error


def check_checkpoint(
    directory: Path, rules: tuple[Rule, ...], names: Names, abstract: Mapping[str, Any]
) -> dict[Path, _Facts]:
    """Compare a checkpoint's tensors with the rule table, both ways; reads headers only.

    Returns:
        Per file, the shape and type of its tensors.

    Raises:
        InputError: every missing, unknown, misshapen or unreadable tensor, in one line.
    """
    files: dict[Path, _Facts] = {}
    faults, lost = [], set()
    for path in weight_files(directory):
        try:
            files[path] = _facts(path)
        except (SafetensorError, OSError) as error:
            faults.append(f"{path.name} is not a whole safetensors file: {error}")
            lost |= _keys_of(path)
    facts = [(key, fact) for part in files.values() for key, fact in part.items()]
    lost = {names.short(key) for key in lost}
    faults += find_faults(facts, rules, names, _shapes(abstract), lost)
    faults = faults or _copies_that_differ(files, names)
    if faults:
        raise InputError(f"model={directory} does not fit: {'; '.join(faults)}")
    return files


def _copies_that_differ(files: dict[Path, _Facts], names: Names) -> list[str]:
    """Return a line for each tensor that should repeat another and does not."""
    where = {names.short(key): (path, key) for path, part in files.items() for key in part}
    pairs = [(where[copy], where[of]) for copy, of in names.copies if copy in where]
    return [
        f"{copy[1]} differs from {of[1]}, which it is tied to"
        for copy, of in pairs
        if not _equal(files, copy, of)
    ]


def _equal(
    files: dict[Path, _Facts], one: tuple[Path, str], other: tuple[Path, str]
) -> bool:
    facts = [files[path][key] for path, key in (one, other)]
    if facts[0] != facts[1]:
        return False
    pieces = zip(_pieces(*one, facts[0], 0), _pieces(*other, facts[1], 0), strict=True)
    return all(np.array_equal(a, b) for (_, a), (_, b) in pieces)


def _keys_of(path: Path) -> set[str]:
    """Return the keys that the index expects in a file, all keys ("") without an index."""
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
    others: Mapping[str, np.ndarray],
    keys: Mapping[str, str] | None = None,
) -> None:
    """Write parameters as a safetensors file under the checkpoint's own keys.

    Args:
        path: the file.
        params: nested dicts of arrays.
        rules: the port's table.
        others: tensors to write beside them, such as those a port ignores.
        keys: the file's key for a key of the rules, where they differ.
    """
    leaves, keys = flatten(params), keys or {}
    tensors = dict(others)
    for rule in rules:
        value = np.asarray(jax.device_get(leaves[rule.path]))
        layers = value if rule.stacked else [value]
        for key, layer in zip(rule.keys(value.shape), layers, strict=True):
            tensors[keys.get(key, key)] = np.ascontiguousarray(rule.restore(layer))
    save_file(tensors, path, metadata={"format": "np"})
    path.chmod(0o644)  # as other files: it is written for its owner's eyes only


def read_others(
    directory: Path, rules: tuple[Rule, ...], names: Names, abstract: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the tensors of a checkpoint that no rule takes, to be carried along.

    Copies of others are left out: they would be stale beside new values. With them comes
    the file's key of each key of the rules, for `save_params`.
    """
    taken = by_key(rules, _shapes(abstract))
    others, keys, copies = {}, {}, dict(names.copies)
    for path in weight_files(directory):
        with safe_open(path, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118
                short = names.short(key)
                if short in taken:
                    keys[short] = key
                elif short not in copies:
                    others[key] = file.get_tensor(key)
    return others, keys
