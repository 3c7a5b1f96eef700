"""The rows of a run that can be evaluated, as arrays: scores, labels, who belongs together.

Scores are turned round by their orientation in `scores.py`, so that higher means
member. Only rows with a label and with status ok are evaluated.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from vidsme_jax.errors import InputError
from vidsme_jax.records import runs
from vidsme_jax.scores import catalogue

# What can be read off a file without any model, higher = member by convention: an AUC
# far from 0.5 on either side means that the two sets differ by themselves.
NUMBERS = (
    "motion",
    "illumination",
    "duration",
    "fps",
    "width",
    "height",
    "frames_total",
)


@dataclass(frozen=True)
class Sample:
    """The rows of one frame count that can be evaluated: labelled, with status ok.

    Attributes:
        frames: frames per clip.
        ids: the rows' ids.
        member: their labels.
        unit: index of the row's group; a group under both labels is two units.
        scores: score columns, higher = member.
        numbers: known without a model, as they are.
        group: index of the row's group, whatever its label.
    """

    frames: int
    ids: list[str]
    member: Bool[np.ndarray, "row"]
    unit: Int[np.ndarray, "row"]
    scores: dict[str, Float[np.ndarray, "row"]]
    numbers: dict[str, Float[np.ndarray, "row"]]
    group: Int[np.ndarray, "row"]

    def take(self, rows: list[int]) -> "Sample":
        """Return the sample of the given rows only."""
        return replace(
            self,
            ids=[self.ids[k] for k in rows],
            member=self.member[rows],
            unit=self.unit[rows],
            scores={name: values[rows] for name, values in self.scores.items()},
            numbers={name: values[rows] for name, values in self.numbers.items()},
            group=self.group[rows],
        )


def samples(table: pa.Table, labelled: bool = True) -> list[Sample]:
    """Return the rows with status ok, one sample per frame count, upwards.

    Args:
        table: a score table.
        labelled: leave out the rows without a label; kept, they are no members.
    """
    return [_sample(p, (labels_of(p) >= 0) | (not labelled)) for p in by_frames(table)]


def higher_is_member(name: str) -> bool:
    """Tell which way a score points; one from elsewhere points up."""
    return name == "score" or catalogue.higher_is_member(name)


def with_published(run: runs.Run) -> runs.Run:
    """Return a run whose table also holds the scores of its published.parquet, if any.

    Each float column NAME becomes `published: NAME`, joined by id and frames; members are
    low in all of them. Columns of a manifest that are called so are left out.

    Raises:
        InputError: the file lacks id or frames, holds a row twice, or other rows than
            scores.parquet.
    """
    own = [c for c in run.table.column_names if catalogue.is_published(c)]
    table = run.table.drop_columns(own)
    found = run.others.get("published")
    if found is None:
        return replace(run, table=table)
    found = found.take(_places(found, table, run.path / "published.parquet"))
    for name in found.column_names:
        if pa.types.is_floating(found[name].type):
            table = table.append_column(catalogue.PUBLISHED + name, found[name])
    return replace(run, table=table)


def _places(found: pa.Table, table: pa.Table, path: Path) -> list[int]:
    """Where the rows of `table` are in `found`."""
    keys = ["id", "frames"]
    lacking = [key for key in keys if key not in found.column_names]
    if lacking:
        raise InputError(f"{path} has no column {lacking[0]}; score the clips again")
    place = {key: k for k, key in enumerate(_pairs(found))}
    if len(place) < len(found):
        raise InputError(f"{path} holds an id and frame count twice, expected once each")
    wanted = _pairs(table)
    if set(wanted) != set(place):
        name, frames = next(iter(set(wanted) ^ set(place)))
        where = "scores.parquet" if (name, frames) in place else path.name
        raise InputError(
            f"{path} belongs to another scores.parquet: id={name!r} with {frames} frames"
            f" is not in {where}; expected the same rows in both"
        )
    return [place[key] for key in wanted]


def _pairs(table: pa.Table) -> list[tuple[Any, Any]]:
    columns = (table[name].to_pylist() for name in ("id", "frames"))
    return list(zip(*columns, strict=True))


def pair(sample: Sample, control: pa.Table) -> tuple[Sample, Sample]:
    """Return target and control on the clips that both scored, row by row the same.

    Joined by id and frames; the labels and groups of both are the target's.
    """
    found = samples(control, labelled=False)
    other = next((c for c in found if c.frames == sample.frames), None)
    if other is None:
        return sample.take([]), sample.take([])
    place = {name: k for k, name in enumerate(other.ids)}
    target = sample.take([k for k, name in enumerate(sample.ids) if name in place])
    rows = [place[name] for name in target.ids]
    values = {name: column[rows] for name, column in other.scores.items()}
    return target, replace(target, scores=values)


def by_frames(table) -> list[pa.Table]:
    """Return the part of each frame count, upwards."""
    if "frames" not in table.column_names:
        return [table]
    kinds = sorted(k for k in pc.unique(table["frames"]).to_pylist() if k is not None)
    return [table.filter(pc.equal(table["frames"], k)) for k in kinds]


def labels_of(table) -> Int[np.ndarray, "row"]:
    """1 member, 0 non-member, -1 unlabelled."""
    labels = _floats(table["label"])
    strange = sorted(set(labels[~np.isnan(labels)].tolist()) - {1, 0})
    if strange:
        raise InputError(f"label={strange[0]:g}, expected 1, 0 or none")
    return np.where(np.isnan(labels), -1, labels).astype(np.int64)


def _floats(column) -> Float[np.ndarray, "row"]:
    return column.cast(pa.float64()).to_numpy()


def status_of(table) -> np.ndarray:
    """Return the status of each row."""
    if "status" not in table.column_names:
        return np.full(len(table), "ok", object)
    return np.array([str(s) for s in table["status"].to_pylist()], object)


def groups_of(table) -> list[str]:
    """Return the group of each row; its own id where it has none."""
    ids = table["id"].to_pylist()
    if "group" not in table.column_names:
        return ids
    held = table["group"].to_pylist()
    return [own if g is None else g for g, own in zip(held, ids, strict=True)]


def _sample(table, wanted) -> Sample:
    keep = wanted & (status_of(table) == "ok")
    member = labels_of(table) == 1
    groups = groups_of(table)
    names = [f"{m:d} {g}" for m, g in zip(member, groups, strict=True)]
    unit, group = (
        np.unique(np.array(each, object), return_inverse=True)[1]
        for each in (names, groups)
    )
    frames = int(table["frames"][0].as_py()) if "frames" in table.column_names else 0
    whole = Sample(
        frames,
        table["id"].to_pylist(),
        member,
        unit,
        dict(_oriented(table)),
        {name: _floats(table[name]) for name in NUMBERS if _numeric(table, name)},
        group,
    )
    return whole.take(np.flatnonzero(keep).tolist())


def _numeric(table, name) -> bool:
    place = table.schema.get_field_index(name)  # table.column_names is made anew each time
    if place < 0:
        return False
    kind = table.schema.field(place).type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _oriented(table) -> Iterator[tuple[str, np.ndarray]]:
    known = set(catalogue.columns())
    known |= {name for name in table.column_names if catalogue.is_published(name)}
    held = [c for c in table.column_names if c in known and _numeric(table, c)]
    if not held and _numeric(table, "score"):
        yield "score", _floats(table["score"])
    for name in held:
        values = _floats(table[name])
        yield name, values if higher_is_member(name) else -values


def primary_of(sample: Sample, asked: str | None = None) -> str | None:
    """Return the name of the score that answers: the one asked for, or the method's own.

    None where there is neither.

    Raises:
        InputError: the score asked for is not there.
    """
    if asked is not None:
        if asked not in sample.scores:
            close = difflib.get_close_matches(asked, sample.scores, 3, 0)
            raise InputError(
                f"score={asked} is not among the scores of this run"
                f" ({len(sample.scores)}, for example {', '.join(close) or 'none'})"
            )
        return asked
    if list(sample.scores) == ["score"]:
        return "score"
    return catalogue.PRIMARY if catalogue.PRIMARY in sample.scores else None
