"""Load a checkpoint's tensors as parameters by the rules of a port, and save them.

All faults of the files come in a single error, before anything is computed. Only
safetensors are read: a pickle can run code.

Tensors go to their device piece by piece, as they lie in the file; transposing, casting
and stacking happen there, in place. So the host holds a piece, never a second model. A
small parameter is assembled on the host instead, which needs no compiled program.
"""

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
from vidsme_jax.models.checkpoints.adapters import Adapter
from vidsme_jax.models.checkpoints.files import (
    INDEX,
    FileTensor,
    equal_values,
    read_headers,
    weight_files,
    weight_map,
)
from vidsme_jax.models.checkpoints.folders import find_quantised, find_wrapper
from vidsme_jax.models.checkpoints.rules import (
    EVERYWHERE,
    Names,
    Rule,
    Transform,
    find_faults,
    rules_by_key,
)
from vidsme_jax.models.checkpoints.trees import flatten, unflatten

_SMALL_BYTES = 4 * 2**20  # of a parameter that the host assembles


def load_params(
    directory: Path,
    rules: tuple[Rule, ...],
    names: Names,
    abstract: Mapping[str, Any],
    dtype: Any,
    place: Callable[[P, tuple[int, ...]], Any],
    adapter: Adapter | None = None,
) -> dict[str, Any]:
    """Load a checkpoint's parameters onto their devices.

    Args:
        directory: holds model.safetensors, or model.safetensors.index.json and shards.
        rules: which tensor fills which parameter.
        names: names that the layout gives its tensors.
        abstract: shapes of the parameters, as nested dicts.
        dtype: type of the parameters, to which the tensors are cast.
        place: function of a rule's spec and a shape that returns a sharding.
        adapter: adapter that is merged into the tensors while they are read.

    Raises:
        InputError: every missing, unknown, misshapen or unreadable tensor, in one line.
    """
    shapes = shapes_of(abstract)
    tensors = check_checkpoint(directory, rules, names, abstract, adapter)
    rule_of = rules_by_key(rules, shapes)
    leaves: dict[str, Any] = {}
    for key, tensor in tensors.items():
        rule, layer = rule_of.get(key, (None, 0))
        if rule is None:
            continue
        if rule.path not in leaves:
            leaves[rule.path] = _empty(shapes[rule.path], dtype, rule, place)
        axis = _cut_axis(rule)
        pieces = adapter.pieces(key, tensor, axis) if adapter else tensor.pieces(axis)
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


def check_checkpoint(
    directory: Path,
    rules: tuple[Rule, ...],
    names: Names,
    abstract: Mapping[str, Any],
    adapter: Adapter | None = None,
) -> dict[str, FileTensor]:
    """Compare the headers of a checkpoint's tensors with the rules, both ways.

    Args:
        directory: holds the weights.
        rules: which tensor fills which parameter.
        names: names that the layout gives its tensors.
        abstract: shapes of the parameters, as nested dicts.
        adapter: adapter whose tensors replace some of the checkpoint's.

    Returns:
        The tensors by key of the rules, file by file.

    Raises:
        InputError: every missing, unknown, misshapen or unreadable tensor, in one line.
    """
    tensors: list[FileTensor] = []
    faults, unreadable = [], set()
    for path in weight_files(directory):
        try:
            tensors += read_headers(path)
        except (SafetensorError, OSError) as error:
            faults.append(f"{path.name} is not a whole safetensors file: {error}")
            unreadable |= _indexed_keys(path)
    unlike = find_wrapper([t.key for t in tensors])
    unlike = unlike or find_quantised([(t.key, t.dtype) for t in tensors])
    if unlike:
        raise InputError(f"model={directory} does not fit: {unlike}")
    by_key = {names.rule_key(t.key): t for t in tensors}
    replaced = dict(adapter.replacements) if adapter else {}
    kept = [t for t in tensors if names.rule_key(t.key) not in replaced]
    keyed = [*((t.key, t) for t in kept), *replaced.items()]
    headers = [(key, (tensor.shape, tensor.dtype)) for key, tensor in keyed]
    unreadable = {names.rule_key(key) for key in unreadable}
    faults += find_faults(headers, rules, names, shapes_of(abstract), unreadable)
    faults = faults or _find_unequal_copies(by_key, names)
    if faults:
        raise InputError(f"model={directory} does not fit: {'; '.join(faults)}")
    return by_key | replaced


def _find_unequal_copies(tensors: Mapping[str, FileTensor], names: Names) -> list[str]:
    """Return a line for every tensor that should repeat another tensor and does not."""
    pairs = [
        (tensors[copy], tensors[original])
        for copy, original in names.copies
        if copy in tensors and original in tensors
    ]
    return [
        f"{copy.key} differs from {original.key}, which it is tied to"
        for copy, original in pairs
        if not equal_values(copy, original)
    ]


def _indexed_keys(path: Path) -> set[str]:
    """Return the keys that the index names for a file; {""} (any key) without an index."""
    index = path.parent / INDEX
    if not index.is_file():
        return {""}
    return {key for key, name in weight_map(index).items() if name == path.name}


def shapes_of(abstract: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters by their dotted path."""
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
    rule_of = rules_by_key(rules, shapes_of(abstract))
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
