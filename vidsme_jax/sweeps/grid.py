"""Read the grid of a sweep from a YAML file, or make it in Python."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args

import yaml

from vidsme_jax import reading
from vidsme_jax.data.batches import PERTURBATIONS
from vidsme_jax.data.clips import Decoding
from vidsme_jax.data.manifest import ManifestSettings
from vidsme_jax.data.readers.tfds import PREFIX
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.runs.settings import ScoreSettings
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.catalogue import AGGREGATES
from vidsme_jax.scores.orders import EntropyOrders
from vidsme_jax.sweeps.cells import CLIPS, Cell, Pass

_MOST = 100_000  # cells of a grid


@dataclass(frozen=True)
class Grid:
    """The axes of a sweep, and what all its cells share.

    Attributes:
        models: checkpoint directory or hub id, by its name in the table.
        data: manifests, scored as one set, or one store.
        out: directory of the sweep.
        frames: frame counts.
        slices: of `catalogue.SLICES`.
        definitions: of `catalogue.DEFINITIONS`.
        beta1: widths of the range of an adaptive q.
        beta2: widths of the range of an adaptive r, each with each beta1.
        orders: further ways to choose q and r.
        families: of the catalogue.
        aggregates: of `catalogue.AGGREGATES`.
        perturbations: of `batches.PERTURBATIONS`.
        dtypes: as `vidsme score --dtype`.
        clips: of `cells.CLIPS`.
        shared: further fields of `ScoreSettings`, the same for all passes; see `SHARED`.
        evaluation: of every cell.
        adapters: folder of a LoRA adapter, by the name of the model that it is merged into.
    """

    models: dict[str, str | Path]
    data: tuple[Path, ...]
    out: Path
    frames: tuple[int, ...] = (16,)
    slices: tuple[str, ...] = ("video",)
    definitions: tuple[str, ...] = ("exact",)
    beta1: tuple[float, ...] = (1.0,)
    beta2: tuple[float, ...] = (0.1,)
    orders: tuple[EntropyOrders, ...] = ()
    families: tuple[str, ...] = ("sme",)
    aggregates: tuple[str, ...] = ("mean",)
    perturbations: tuple[str, ...] = ("reverse",)
    dtypes: tuple[str, ...] = ("auto",)
    clips: tuple[str, ...] = ("all",)
    shared: dict[str, Any] = field(default_factory=dict)
    evaluation: EvaluationSettings = EvaluationSettings()
    adapters: dict[str, Path] = field(default_factory=dict)

    @property
    def variants(self) -> tuple[EntropyOrders, ...]:
        """Return all ways to choose q and r, the adaptive ones first."""
        return (
            *(EntropyOrders(a, b) for a, b in product(self.beta1, self.beta2)),
            *self.orders,
        )

    def cells(self) -> list[Cell]:
        """Return the cells whose scores exist, each once, in the order of the table.

        Raises:
            InputError: the grid has more cells than `_MOST`.
        """
        runs = [Pass(*p) for p in product(self.models, self.dtypes, self.perturbations)]
        axes: tuple[Sequence[Any], ...] = (
            *(runs, self.frames, self.clips, self.slices, self.definitions),
            *(self.families, self.aggregates),
        )
        count = math.prod(map(len, (*axes, self.variants)))
        if count > _MOST:
            raise InputError(f"the grid has {count:,} cells, expected up to {_MOST:,}")
        cells: dict[Cell, None] = {}
        for run, frames, clips, name, definition, family, aggregate in product(*axes):
            is_swept = family in catalogue.SWEPT_FAMILIES
            for orders in self.variants if is_swept else (None,):
                cell = Cell(run, frames, clips, name, definition, orders, family, aggregate)
                if cell.column is not None:
                    cells[cell] = None
        return list(cells)


# The axes whose values are names, with all names of each; `all` stands for all of them.
_NAMED = {
    "slices": catalogue.SLICES,
    "definitions": catalogue.DEFINITIONS,
    "families": tuple(catalogue.FAMILY_INFO),
    "aggregates": AGGREGATES,
    "perturbations": PERTURBATIONS,
    "dtypes": ("auto", "float32", "bfloat16"),
    "clips": CLIPS,
}


def read_grid(path: Path, out: Path | None = None) -> Grid:
    """Read a grid from a YAML file; see `grid_from`.

    Raises:
        InputError: not YAML, or what `grid_from` refuses.
    """
    return grid_from(_read_yaml(path), path, out)


def grid_from(content: Mapping[Any, Any], path: Path, out: Path | None = None) -> Grid:
    """Return the grid that a mapping describes; paths in it start from `path`'s folder.

    Args:
        content: its keys are the fields of `Grid` up to `clips`, and those of `SHARED`. A
            model may be a mapping with `model` and `adapter`. A single value stands for a
            list with it, `all` for every name of an axis (but `clips`, where it is a name).
        path: path of the file that the mapping comes from.
        out: directory instead of the content's `out`; without either, `path` without its
            ending.

    Raises:
        InputError: an unknown key, a value that no cell can have.
    """
    axes = {f.name for f in fields(Grid)} - {"shared", "evaluation", "adapters"}
    unknown = sorted(map(str, set(content) - axes - set(SHARED)))
    if unknown:
        keys = ", ".join(sorted([*axes, *SHARED]))
        raise InputError(f"{path}: no such key: {', '.join(unknown)}; there are {keys}")
    for name in ("models", "data"):
        if not content.get(name):
            raise InputError(f"{path} has no {name}, expected at least one")
    base = path.parent
    values: dict[str, Any] = {
        "models": _models(path, content["models"]),
        "adapters": _adapters(path, content["models"]),
        "data": tuple(_data(base, str(p)) for p in _listed(content["data"])),
        "out": out or base / _text(path, "out", content.get("out", path.stem)),
        "shared": _shared(path, content),
    }
    for name, names in _NAMED.items():
        if name in content:
            values[name] = _names(path, name, content[name], names)
    for name in ("beta1", "beta2"):
        if name in content:
            values[name] = _numbers(path, name, content[name])
    if "frames" in content:
        counts = [_count(path, "frames", n) for n in _listed(content["frames"])]
        values["frames"] = _distinct(path, "frames", counts)
    if "orders" in content:
        values["orders"] = tuple(_orders(path, v) for v in _listed(content["orders"]))
    return Grid(**values)


def _data(base: Path, text: str) -> Path:
    """Return the path of a manifest, from the grid's folder on; a dataset's name stays."""
    return Path(text) if text.startswith(PREFIX) else base / text


def _read_yaml(path: Path) -> dict[Any, Any]:
    """Read a YAML file of keys and values."""
    try:
        content = yaml.load(reading.read_text(path, reading.GRID), _Loader)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist, expected a grid in YAML") from None
    except RecursionError:
        raise InputError(f"{path} is not readable YAML: it is nested too deep") from None
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"{path} is not readable YAML: {line:.200}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no keys, expected models, data and the axes")
    return content


class _Loader(yaml.SafeLoader):
    """A YAML reader that refuses a key that stands twice; YAML itself takes the last.

    It refuses aliases, too: a few of aliases of aliases stand for more than fits a memory.
    """

    def compose_node(self, parent, index):
        """Return the next node of the text, or refuse an alias of an earlier one."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"*{event.anchor} is an alias, expected its value again")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        """Return the keys and values of a node, or refuse a repeated key."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.YAMLError(f"the key {key!r:.60} stands twice")
            seen |= {key} if isinstance(key, Hashable) else set()
        return super().construct_mapping(node, deep)


def _listed(value: Any) -> list[Any]:
    """Return a list, with a single value in a list of its own."""
    return value if isinstance(value, list) else [value]


def _models(path: Path, value: Any) -> dict[str, str | Path]:
    """Return the models by name; a list is named by the last part of each path."""
    if isinstance(value, dict):
        named = {
            str(n): _text(path, f"models.{n}", _parts(path, n, model)["model"])
            for n, model in value.items()
        }
    else:
        models = [_text(path, "models", model) for model in _listed(value)]
        named = {Path(model).name: model for model in models}
        if len(named) < len(models):
            raise InputError(f"{path}: models={models} end alike; give them names")
    strange = [name for name in named if "/" in name or name.startswith(".") or not name]
    if strange:
        raise InputError(f"{path}: models has the name {strange[0]!r}, expected a word")
    paths = {name: path.parent / model for name, model in named.items()}
    return {n: paths[n] if paths[n].exists() else model for n, model in named.items()}


def _adapters(path: Path, value: Any) -> dict[str, Path]:
    """Return the adapters by the name of their model, from the grid's folder on."""
    parts = (
        {n: _parts(path, n, model) for n, model in value.items()}
        if isinstance(value, dict)
        else {}
    )
    return {
        str(name): _path(path, f"models.{name}.adapter", part["adapter"])
        for name, part in parts.items()
        if "adapter" in part
    }


def _parts(path: Path, name: Any, value: Any) -> dict[str, Any]:
    """Return `model` and maybe `adapter` of a named model."""
    if not isinstance(value, dict):
        return {"model": value}
    if "model" not in value or set(value) - {"model", "adapter"}:
        raise InputError(
            f"{path}: models.{name} has {', '.join(map(str, value))}, expected model and"
            " adapter"
        )
    return value


def _names(path: Path, key: str, value: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    """Read names of an axis; `all` stands for every name."""
    if value == "all" and value not in choices:  # of `clips` it is a value
        return choices
    names = [str(name) for name in _listed(value)]
    for name in names:
        if name not in choices:
            raise InputError(
                f"{path}: {key} has {name!r}, there are {', '.join(choices)};"
                " or all, without a list"
            )
    return _distinct(path, key, names)


def _numbers(path: Path, key: str, value: Any) -> tuple[float, ...]:
    """Read finite numbers from 0 on."""
    return _distinct(path, key, [_number(path, key, n) for n in _listed(value)])


def _number(path: Path, key: str, value: Any) -> float:
    """Read a finite number from 0 on."""
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)  # of text too: 1e-1 is text to YAML
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        shown = f"{value!r:.40}"
        raise InputError(f"{path}: {key} has {shown}, expected finite numbers from 0 on")
    return number


def _count(path: Path, key: str, value: Any) -> int:
    """Read a whole number above 0."""
    if type(value) is not int or value < 1:
        raise InputError(f"{path}: {key} has {value!r}, expected whole numbers above 0")
    return value


def _distinct(path: Path, key: str, values: list[Any]) -> tuple[Any, ...]:
    """Return the values of an axis; refuse none, and a value that stands twice."""
    if not values:
        raise InputError(f"{path}: {key} is empty, expected at least one value")
    twice = [value for n, value in enumerate(values) if value in values[:n]]
    if twice:
        raise InputError(f"{path}: {key} has {twice[0]!r} twice, expected each value once")
    return tuple(values)


def _orders(path: Path, value: Any) -> EntropyOrders:
    """Read one way to choose q and r, such as {q: 2, r: 1} or {q: 2, tied: true}."""
    keys = {f.name for f in fields(EntropyOrders)}
    if not isinstance(value, dict) or not value or set(value) - keys:
        raise InputError(
            f"{path}: orders has {value!r}, expected some of {', '.join(sorted(keys))}"
        )
    tied = value.get("tied", False)
    if not isinstance(tied, bool):
        raise InputError(f"{path}: orders has tied={tied!r}, expected true or false")
    if tied and "r" in value:
        raise InputError(
            f"{path}: orders has {value!r}, expected tied: true or r, not both"
        )
    numbers = {k: _number(path, f"orders.{k}", v) for k, v in value.items() if k != "tied"}
    return EntropyOrders(**numbers, tied=tied)


def _text(path: Path, key: str, value: Any) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise InputError(f"{path}: {key}={value!r}, expected text")
    return value


def _flag(path: Path, key: str, value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise InputError(f"{path}: {key}={value!r}, expected true or false")
    return value


def _path(path: Path, key: str, value: Any) -> Path:
    """Read a path, from the grid's folder on."""
    return path.parent / _text(path, key, value)


def _labels(path: Path, key: str, value: Any) -> tuple[int, ...]:
    """Read the labels of the manifests, 0 or 1."""
    labels = tuple(_listed(value))
    if any(type(label) is not int or label not in (0, 1) for label in labels):
        raise InputError(f"{path}: {key}={list(labels)}, expected 0 and 1, one a manifest")
    return labels


def _field_names(path: Path, key: str, value: Any) -> tuple[str, ...]:
    """Read names of fields of a config."""
    return tuple(_text(path, key, name) for name in _listed(value))


# The reader of a field of the settings, by the field's type.
_READERS: dict[Any, Callable[[Path, str, Any], Any]] = {
    bool: _flag,
    float: _number,
    int: _count,
    str: _text,
    Path: _path,
    tuple[int, ...]: _labels,
    tuple[str, ...]: _field_names,
}
# Fields of the settings that are no key: a sweep sets them itself or never uses them.
_SET_BY_SWEEP = {
    *("model", "data", "out", "frames", "slices", "definitions", "variants"),
    *("perturbation", "dtype", "beta1", "beta2"),
    *("decoding", "manifests", "shard", "adapter"),
}
# Fields of the settings that hold settings, whose fields are keys like all others.
_GROUPS: dict[str, Any] = {"decoding": Decoding, "manifests": ManifestSettings}


def _reader(kind: Any) -> Callable[[Path, str, Any], Any]:
    """Return the reader of a field's type, in which None may stand beside another type."""
    kinds = [k for k in get_args(kind) if k is not NoneType]
    return _READERS[kinds[0] if isinstance(kind, UnionType) else kind]


# The keys that all passes share: every other field of the settings, with its reader.
SHARED = {
    f.name: _reader(f.type)
    for kind in (ScoreSettings, *_GROUPS.values())
    for f in fields(kind)
    if f.name not in _SET_BY_SWEEP
}


def _shared(path: Path, content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the fields of `ScoreSettings` that the file sets for all passes."""
    if content.get("parallel") == "global":
        raise InputError(f"{path}: parallel=global, but a sweep runs in one process")
    values = {k: read(path, k, content[k]) for k, read in SHARED.items() if k in content}
    for name, group in _GROUPS.items():
        chosen = {f.name for f in fields(group)} & set(values)
        parts = {key: values.pop(key) for key in chosen}
        if parts:
            values[name] = group(**parts)
    return values
