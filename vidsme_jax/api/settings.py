"""Turn what people write in Python into the settings of a command, checked."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from vidsme_jax.data.clips import Decoding
from vidsme_jax.data.manifest import ManifestSettings
from vidsme_jax.errors import InputError
from vidsme_jax.records.shards import Shard, read_shard
from vidsme_jax.training.fit import Recipe

Settings = TypeVar("Settings")
# Settings that hold settings: the fields of these are given like all others.
_GROUPS: dict[str, Any] = {
    "decoding": Decoding,
    "manifests": ManifestSettings,
    "recipe": Recipe,
}
_WORDS = {int: "whole number", float: "number", str: "text", Path: "path"}


def make_settings(
    kind: type[Settings], values: Mapping[str, Any], **needed: Any
) -> Settings:
    """Return settings of a kind.

    A single value may stand for a tuple of one, and text for a path.

    Args:
        kind: class of the settings.
        values: by the names of its fields, and of those of the groups that it holds.
        needed: fields that the caller names itself.

    Raises:
        TypeError: a name that does not exist.
        InputError: a value of a wrong type, or one that the settings refuse.
    """
    hints = get_type_hints(kind)
    groups = {name: group for name, group in _GROUPS.items() if name in hints}
    inner = {f.name: name for name, group in groups.items() for f in fields(group)}
    unknown = sorted(set(values) - set(hints) - set(inner))
    if unknown:
        expected = [name for name in (*hints, *inner) if name not in (*needed, *groups)]
        raise TypeError(f"no setting {', '.join(unknown)}; there are {', '.join(expected)}")
    chosen = {
        name: _value(name, hints[name], value)
        for name, value in (dict(values) | needed).items()
        if name in hints
    }
    for name, group in groups.items():
        types = get_type_hints(group)
        parts = {
            k: _value(k, types[k], v) for k, v in values.items() if inner.get(k) == name
        }
        if parts:
            chosen[name] = replace(chosen.get(name, group()), **parts)
    return kind(**chosen)


def _value(name: str, hint: Any, value: Any) -> Any:
    """Return a value in the type of its field.

    Raises:
        InputError: there is none that it could stand for.
    """
    choices = get_args(hint) if _is_union(hint) else (hint,)
    items = [get_args(choice)[0] for choice in choices if get_origin(choice) is tuple]
    if items and value is not None:
        several = value if isinstance(value, list | tuple) else (value,)
        value = tuple(_as_item(items[0], item) for item in several)
    elif Shard in choices and isinstance(value, str):
        value = read_shard(value)
    else:
        value = _as_item(Path if Path in choices and str not in choices else hint, value)
    if not any(_fits(value, choice) for choice in choices):
        raise InputError(f"{name}={value!r:.60}, expected {_expected(choices)}")
    return value


def _as_item(hint: Any, item: Any) -> Any:
    """Return a number of NumPy as one of Python, and text for a path as a path."""
    item = item.item() if isinstance(item, np.generic) else item
    return Path(item) if hint is Path and isinstance(item, str) else item


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(v, get_args(hint)[0]) for v in value)
    if hint is float:
        return type(value) in (int, float)
    return type(value) is int if hint is int else isinstance(value, hint)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def _expected(choices: tuple[Any, ...]) -> str:
    """Say in words which types a field has, None left out."""
    words = []
    for choice in choices:
        if get_origin(choice) is tuple:
            item = get_args(choice)[0]
            words.append(f"{_WORDS.get(item, item.__name__)}s")
        elif choice is not type(None):
            words.append(f"a {_WORDS.get(choice, choice.__name__)}")
    return " or ".join(words)
