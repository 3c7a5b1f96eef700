"""The rules of a port: which tensor of a checkpoint fills which parameter.

Every tensor must have a rule or be listed as ignored, and every parameter must be filled.
`find_faults` counts all tensors that break this, and names some.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from jax.sharding import PartitionSpec as P

EVERYWHERE = P()  # a copy on every device
TensorHeader = tuple[tuple[int, ...], str]  # shape and type, as a file's header has them
FLOATS = {"F64", "F32", "F16", "BF16"}
_MOST = 3  # faults of a kind that are named
_NO_HEAD = (
    " (mostly the head is the embedding, and tie_word_embeddings is false or absent in"
    " config.json; true there says so, if the model was trained with a tied head)"
)


class Transform(Enum):
    """The change of layout from a checkpoint's tensor to a parameter."""

    COPY = "copy"
    LINEAR = "(out, in) -> (in, out)"
    CONV = "(out, channel, height, width) -> (channel height width, out)"


@dataclass(frozen=True)
class Rule:
    """The parameter that a tensor of a checkpoint fills, or a tensor per layer.

    Attributes:
        key: name of the tensor. `{}` stands for the number of the layer; the tensors of
            all layers are then stacked along a new first axis.
        path: path of the parameter, the keys of the nested dicts joined by dots.
        spec: placement of the parameter over the "model" axis of a partitioned model.
        transform: change of layout from tensor to parameter.
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

    @property
    def stacked(self) -> bool:
        """Whether the parameter stacks tensors of all layers."""
        return "{}" in self.key

    def keys(self, shape: tuple[int, ...]) -> list[str]:
        """Return the keys of the tensors that fill a parameter of this shape."""
        if not self.stacked:
            return [self.key]
        return [self.key.format(layer) for layer in range(shape[0])]

    def restore(self, value: np.ndarray) -> np.ndarray:
        """Return a parameter of a single layer in the checkpoint's layout."""
        if self.transform is Transform.COPY:
            return value
        if self.transform is Transform.LINEAR:
            return value.T
        side = _patch_side(value.shape[0])
        return value.T.reshape(-1, 3, side, side)

    def tensor_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the tensors that fill a parameter of this shape."""
        shape = shape[1:] if self.stacked else shape
        if self.transform is Transform.CONV:
            side = _patch_side(shape[0])
            return (shape[1], 3, side, side)
        return shape[::-1] if self.transform is Transform.LINEAR else shape


def _patch_side(values: int) -> int:
    """Return the side of a square patch with so many values in three channels."""
    return round((values / 3) ** 0.5)


@dataclass(frozen=True)
class Names:
    """The names that a layout of checkpoints gives its tensors.

    A key of a file becomes a key of the rules by renaming.

    Attributes:
        renames: patterns at the start of a file's key with their replacements, in order.
        ignored: patterns of whole keys of the rules whose tensors are not needed.
        copies: keys of the rules whose tensors repeat others, as (copy, original). Files
            may hold a copy, and it must be equal to its original.
    """

    renames: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()

    def rule_key(self, key: str) -> str:
        """Return the key of the rules for a key of a file."""
        for pattern, text in self.renames:
            key = re.sub(f"^{pattern}", text, key)
        return key

    def ignores(self, key: str) -> bool:
        """Return whether the tensor of a key of the rules is a copy or not needed."""
        is_copy = any(key == copy for copy, _ in self.copies)
        return is_copy or any(re.fullmatch(pattern, key) for pattern in self.ignored)


def rules_by_key(
    rules: tuple[Rule, ...], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[Rule, int]]:
    """Return the rule and the number of the layer for every key of the rules.

    Args:
        rules: rules of the port.
        shapes: shapes of the parameters, by path.
    """
    return {
        key: (rule, layer)
        for rule in rules
        for layer, key in enumerate(rule.keys(shapes[rule.path]))
    }


def find_faults(
    headers: list[tuple[str, TensorHeader]],
    rules: tuple[Rule, ...],
    names: Names,
    shapes: Mapping[str, tuple[int, ...]],
    unreadable: set[str] | frozenset[str] = frozenset(),
) -> list[str]:
    """Return a line for every fault of a checkpoint's tensors.

    Args:
        headers: key, shape and type of every tensor of the files.
        rules: rules of the port.
        names: names that the layout gives its tensors.
        shapes: shapes of the parameters, by path; the rules must fill them all.
        unreadable: keys of the rules in files that cannot be read; "" means any key.
    """
    assert {rule.path for rule in rules} == set(shapes), "the rule table is incomplete"
    expected = {
        key: rule.tensor_shape(shapes[rule.path])
        for key, (rule, _) in rules_by_key(rules, shapes).items()
    }
    keys = [names.rule_key(file_key) for file_key, _ in headers]
    absent = set() if "" in unreadable else set(expected) - set(keys) - unreadable
    faults = _summarise("missing", [key for key in expected if key in absent])
    if len(absent) == 1 and faults[0].endswith("lm_head.weight"):
        faults[0] += _NO_HEAD
    faults += [f"{key} stands {n} times" for key, n in Counter(keys).items() if n > 1]
    unknown, misshapen, mistyped = [], [], []
    for (file_key, (shape, dtype)), key in sorted(zip(headers, keys, strict=True)):
        if key not in expected:
            unknown += [] if names.ignores(key) else [file_key]
            continue
        if shape != expected[key]:
            misshapen.append(f"{file_key} has shape {shape}, expected {expected[key]}")
        if dtype not in FLOATS:
            floats = sorted(FLOATS)
            mistyped.append(f"{file_key} has dtype {dtype}, expected one of {floats}")
    faults += _summarise("unknown", unknown)
    for lines in (misshapen, mistyped):
        faults += lines[:_MOST]
        faults += [f"and {len(lines) - _MOST} more alike"] if len(lines) > _MOST else []
    return faults


def _summarise(fault: str, keys: list[str]) -> list[str]:
    """Return a line for each key, or for many keys their count and the first of them."""
    if len(keys) <= _MOST:
        return [f"{fault} {key}" for key in keys]
    return [f"{fault} {len(keys)} tensors, such as {', '.join(keys[:_MOST])}"]
