"""Read the rows of a run that can be evaluated, as arrays: scores, labels, clusters.

Scores are negated where the catalogue says that members are low, so that higher means
member. Only rows with status ok are evaluated.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from vidsme_jax.errors import InputError
from vidsme_jax.records import runs
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.metrics import LabelledScores

# Numbers that a file shows without any model, higher = member by convention. An AUC far
# from 0.5 on either side means that the two sets differ by themselves.
NUMBERS = (
    "motion",
    "illumination",
    "duration",
    "fps",
    "width",
    "height",
    "frames_total",
)
MEMBER, NON_MEMBER, UNLABELLED = 1, 0, -1


@dataclass(frozen=True)
class Sample:
    """Rows of a frame count with status ok.

    Attributes:
        frames: number of frames per clip.
        ids: id of each row.
        label: `MEMBER`, `NON_MEMBER` or `UNLABELLED`.
        groups: name of each row's group; rows of a group are not independent.
        pixels: hash of the frames that each row shows; None where unknown.
        cluster: index of the row's group; a group with both labels is two clusters. Groups
            that show the same frames are one.
        group: index of the row's group, whatever its label.
        scores: scores by name, higher = member.
        numbers: columns of `NUMBERS` by name, as in the table.
    """

    frames: int
    ids: list[str]
    label: Int[np.ndarray, "row"]
    groups: list[str]
    pixels: list[str | None]
    cluster: Int[np.ndarray, "row"]
    group: Int[np.ndarray, "row"]
    scores: dict[str, Float[np.ndarray, "row"]]
    numbers: dict[str, Float[np.ndarray, "row"]]

    @property
    def member(self) -> Bool[np.ndarray, "row"]:
        """Return whether each row has the label of a member."""
        return self.label == MEMBER

    def take(self, rows: Sequence[int] | Int[np.ndarray, "taken"]) -> "Sample":
        """Return the sample of some rows, in the order of their indices."""
        rows = np.asarray(rows, np.int64)
        indices = rows.tolist()
        return replace(
            self,
            ids=[self.ids[k] for k in indices],
            label=self.label[rows],
            groups=[self.groups[k] for k in indices],
            pixels=[self.pixels[k] for k in indices],
            cluster=self.cluster[rows],
            group=self.group[rows],
            scores={name: values[rows] for name, values in self.scores.items()},
            numbers={name: values[rows] for name, values in self.numbers.items()},
        )

    def with_label(self, *labels: int) -> "Sample":
        """Return the sample of the rows that have one of some labels."""
        return self.take(np.flatnonzero(np.isin(self.label, labels)))


@dataclass(frozen=True)
class PairedSamples:
    """The clips that target and control scored, in the same order.

    Attributes:
        target: rows with the target's scores.
        control: the same rows with the control's scores; their labels and groups are the
            target's.
    """

    target: Sample
    control: Sample


def read_sample(table: pa.Table) -> Sample:
    """Read the rows with status ok of a score table with a single frame count.

    Raises:
        InputError: labels other than 1, 0 and none.
    """
    label, groups, pixels = labels_of(table), groups_of(table), pixels_of(table)
    cluster, group = clusters_of(label == MEMBER, linked(groups, pixels))
    frames = int(table["frames"][0].as_py()) if "frames" in table.column_names else 0
    sample = Sample(
        frames,
        table["id"].to_pylist(),
        label,
        groups,
        pixels,
        cluster,
        group,
        dict(_oriented(table)),
        {name: _floats(table[name]) for name in NUMBERS if _is_numeric(table, name)},
    )
    return sample.take(np.flatnonzero(status_of(table) == "ok"))


def clusters_of(
    member: Bool[np.ndarray, "row"], groups: list[str]
) -> tuple[Int[np.ndarray, "row"], Int[np.ndarray, "row"]]:
    """Return the index of each row's cluster and of its group, see `Sample`."""
    names = [f"{m:d} {g}" for m, g in zip(member, groups, strict=True)]
    cluster, group = (
        np.unique(np.array(keys, object), return_inverse=True)[1]
        for keys in (names, groups)
    )
    return cluster, group


def labelled_scores(sample: Sample, *columns: Float[np.ndarray, "row"]) -> LabelledScores:
    """Return columns of scores with the labels and clusters of a sample."""
    return LabelledScores(np.stack(columns), sample.member, sample.cluster)


def pair(sample: Sample, control: Sample | None) -> PairedSamples:
    """Return the clips that target and control scored, joined by id."""
    if control is None:
        return PairedSamples(sample.take([]), sample.take([]))
    row_of = {name: k for k, name in enumerate(control.ids)}
    target = sample.take([k for k, name in enumerate(sample.ids) if name in row_of])
    rows = [row_of[name] for name in target.ids]
    scores = {name: column[rows] for name, column in control.scores.items()}
    return PairedSamples(target, replace(target, scores=scores))


def with_published(run: runs.Run) -> runs.Run:
    """Return a run with the scores of its published.parquet, if any, in its table.

    Each float column NAME becomes `published: NAME`, joined by id and frames; members are
    low in all of them. Columns of a manifest that have such names are left out.

    Raises:
        InputError: the file lacks id or frames, holds a row twice, or other rows than
            scores.parquet.
    """
    manifest_columns = [c for c in run.table.column_names if catalogue.is_published(c)]
    table = run.table.drop_columns(manifest_columns)
    published = run.extra_tables.get("published")
    if published is None:
        return replace(run, table=table)
    rows = _rows_of(table, published, run.path / "published.parquet")
    published = published.take(rows)
    for name in published.column_names:
        if pa.types.is_floating(published[name].type):
            table = table.append_column(catalogue.PUBLISHED + name, published[name])
    return replace(run, table=table)


def _rows_of(table: pa.Table, published: pa.Table, path: Path) -> list[int]:
    """Return the row of `published`, which comes from `path`, for each row of `table`."""
    lacking = [key for key in ("id", "frames") if key not in published.column_names]
    if lacking:
        raise InputError(f"{path} has no column {lacking[0]}; score the clips again")
    row_of = {key: k for k, key in enumerate(runs.row_keys(published))}
    if len(row_of) < len(published):
        raise InputError(f"{path} holds an id and frame count twice, expected once each")
    keys = runs.row_keys(table)
    if set(keys) != set(row_of):
        name, frames = next(iter(set(keys) ^ set(row_of)))
        where = "scores.parquet" if (name, frames) in row_of else path.name
        raise InputError(
            f"{path} belongs to another scores.parquet: id={name!r} with {frames} frames"
            f" is not in {where}; expected the same rows in both"
        )
    return [row_of[key] for key in keys]


def by_frames(table: pa.Table) -> list[pa.Table]:
    """Split a table into the rows of each frame count, upwards."""
    if "frames" not in table.column_names:
        return [table]
    counts = sorted(k for k in pc.unique(table["frames"]).to_pylist() if k is not None)
    return [table.filter(pc.equal(table["frames"], k)) for k in counts]


def labels_of(table: pa.Table) -> Int[np.ndarray, "row"]:
    """Return `MEMBER`, `NON_MEMBER` or `UNLABELLED` for each row.

    Raises:
        InputError: labels other than 1, 0 and none.
    """
    labels = _floats(table["label"])
    wrong = sorted(set(labels[~np.isnan(labels)].tolist()) - {1, 0})
    if wrong:
        raise InputError(f"label={wrong[0]:g}, expected 1, 0 or none")
    return np.where(np.isnan(labels), UNLABELLED, labels).astype(np.int64)


def _floats(column) -> Float[np.ndarray, "row"]:
    """Return a column as float64; NaN where it has no value."""
    return column.cast(pa.float64()).to_numpy()


def status_of(table: pa.Table) -> np.ndarray:
    """Return the status of each row; ok where the table has no such column."""
    if "status" not in table.column_names:
        return np.full(len(table), "ok", object)
    return np.array([str(s) for s in table["status"].to_pylist()], object)


def groups_of(table: pa.Table) -> list[str]:
    """Return the group of each row; its id where it has none."""
    ids = table["id"].to_pylist()
    if "group" not in table.column_names:
        return ids
    groups = table["group"].to_pylist()
    return [name if g is None else g for g, name in zip(groups, ids, strict=True)]


def pixels_of(table: pa.Table) -> list[str | None]:
    """Return the hash of each row's frames; None where the table does not know it."""
    if "frame_hash" not in table.column_names:
        return [None] * len(table)
    return table["frame_hash"].to_pylist()


def linked(groups: Sequence[str], pixels: Sequence[str | None]) -> list[str]:
    """Return the group of each row, groups that show the same frames under one name.

    Args:
        groups: group of each row.
        pixels: hash of each row's frames; None where unknown.
    """
    parent = {name: name for name in groups}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[str, str] = {}
    for group, frames in zip(groups, pixels, strict=True):
        if frames is not None:
            parent[root(group)] = root(first.setdefault(frames, group))
    return [root(name) for name in groups]


def _is_numeric(table, name) -> bool:
    """Tell whether a table has a column of numbers with this name."""
    index = table.schema.get_field_index(name)  # table.column_names makes a list each time
    if index < 0:
        return False
    column_type = table.schema.field(index).type
    return pa.types.is_floating(column_type) or pa.types.is_integer(column_type)


def _oriented(table) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the values of each score, higher = member."""
    names = set(catalogue.columns())
    names |= {name for name in table.column_names if catalogue.is_published(name)}
    scores = [c for c in table.column_names if c in names and _is_numeric(table, c)]
    if not scores and _is_numeric(table, catalogue.EXTERNAL):
        scores = [catalogue.EXTERNAL]
    for name in scores:
        values = _floats(table[name])
        yield name, values if catalogue.higher_is_member(name) else -values


def primary_of(sample: Sample, score: str | None = None) -> str | None:
    """Return the name of the primary score: the requested one, or the method's.

    Args:
        sample: rows with their scores.
        score: name of the requested score; None for the method's.

    Returns:
        None where no score is requested and the sample lacks the method's.

    Raises:
        InputError: the sample lacks the requested score.
    """
    if score is not None:
        if score not in sample.scores:
            close = difflib.get_close_matches(score, sample.scores, 3, 0)
            raise InputError(
                f"score={score} is not among the scores of this run"
                f" ({len(sample.scores)}, for example {', '.join(close) or 'none'})"
            )
        return score
    if list(sample.scores) == [catalogue.EXTERNAL]:
        return catalogue.EXTERNAL
    return catalogue.PRIMARY if catalogue.PRIMARY in sample.scores else None
