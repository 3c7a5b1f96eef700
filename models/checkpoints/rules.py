"""The rule table of a port: which tensor of a checkpoint fills which parameter.

Every tensor must have a rule or be listed as ignored, and every parameter must be filled;
`find_faults` says where a set of tensors differs.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from jax.sharding import PartitionSpec as P

EVERYWHERE = P()  # a copy on every device
Fact = tuple[tuple[int, ...], str]  # shape and type of a tensor
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

    @property
    def stacked(self) -> bool:
        """Whether the parameter holds all layers, the checkpoint a tensor each."""
        return "{}" in self.key

    def keys(self, shape: tuple[int, ...]) -> list[str]:
        """Return the checkpoint's keys that fill a parameter of this shape."""
        if not self.stacked:
            return [self.key]
        return [self.key.format(layer) for layer in range(shape[0])]

    def restore(self, value: np.ndarray) -> np.ndarray:
        """Bring a parameter (of one layer) back into the checkpoint's layout."""
        if self.transform is Transform.COPY:
            return value
        if self.transform is Transform.LINEAR:
            return value.T
        side = _patch_side(value.shape[0])
        return value.T.reshape(-1, 3, side, side)

    def theirs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of each tensor that fills a parameter of this shape."""
        shape = shape[1:] if self.stacked else shape
        if self.transform is Transform.CONV:
            side = _patch_side(shape[0])
            return (shape[1], 3, side, side)
        return shape[::-1] if self.transform is Transform.LINEAR else shape


def _patch_side(values: int) -> int:
    """Return the side of a square patch of three channels."""
    return round((values / 3) ** 0.5)


@dataclass(frozen=True)
class Names:
    """How a layout's tensors are called.

    Attributes:
        renames: patterns at the start of a key and what stands there in the rules' form,
            applied in order.
        ignored: patterns of whole keys, in the rules' form, that are known and not needed.
        copies: keys in the rules' form that a file may hold beside the one they repeat, as
            (copy, original); they must be equal.
    """

    renames: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()

    def short(self, key: str) -> str:
        """Return a file's key in the rules' form."""
        for pattern, text in self.renames:
            key = re.sub(f"^{pattern}", text, key)
        return key

    def skips(self, key: str) -> bool:
        """Tell whether a key in the rules' form is known and not needed."""
        copied = any(key == copy for copy, _ in self.copies)
        return copied or any(re.fullmatch(pattern, key) for pattern in self.ignored)


def by_key(
    rules: tuple[Rule, ...], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[Rule, int]]:
    """Return the rule and the layer of every key that the rules take.

    Args:
        rules: the port's table.
        shapes: of the parameters, by path.
    """
    return {
        key: (rule, layer)
        for rule in rules
        for layer, key in enumerate(rule.keys(shapes[rule.path]))
    }


def find_faults(
    facts: list[tuple[str, Fact]],
    rules: tuple[Rule, ...],
    names: Names,
    shapes: Mapping[str, tuple[int, ...]],
    lost: set[str] | frozenset[str] = frozenset(),
) -> list[str]:
    """Return what is wrong with a set of tensors, a line each.

    Args:
        facts: key, shape and type of each tensor of the files.
        rules: the port's table.
        names: how the files call them.
        shapes: of the parameters, by path; the rules must fill them all.
        lost: keys in the rules' form of files that cannot be read; "" means any key.
    """
    assert {rule.path for rule in rules} == set(shapes), "the rule table is incomplete"
    expected = {
        key: rule.theirs(shapes[rule.path])
        for key, (rule, _) in by_key(rules, shapes).items()
    }
    found = [names.short(key) for key, _ in facts]
    absent = set() if "" in lost else set(expected) - set(found) - lost
    faults = [f"missing {key}" for key in expected if key in absent]
    faults += [f"{key} stands {n} times" for key, n in Counter(found).items() if n > 1]
    for (given, (shape, dtype)), key in sorted(zip(facts, found, strict=True)):
        if key not in expected:
            faults += [] if names.skips(key) else [f"unknown {given}"]
            continue
        if shape != expected[key]:
            faults.append(f"{given} has shape {shape}, expected {expected[key]}")
        if dtype not in _FLOATS:
            faults.append(f"{given} has dtype {dtype}, expected one of {sorted(_FLOATS)}")
    return faults
