"""Make the cells of a sweep, and evaluate how well the score of each separates.

A cell is one score of one pass over the clips. Model, dtype, perturbation and frames are
axes of the pass. The other axes are computed after the model has run: slice, definition,
orders q and r, family, aggregate, and the clips that are evaluated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from vidsme_jax.evaluation.columns import estimate_columns, rate_columns
from vidsme_jax.evaluation.result import ScoreMetrics
from vidsme_jax.evaluation.samples import Sample
from vidsme_jax.evaluation.score_metrics import evaluate_columns
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import study_table
from vidsme_jax.scores.orders import EntropyOrders
from vidsme_jax.scores.program import NAMED

CLIPS = ("all", "slow", "fast")  # fast: motion above the median of the evaluated clips
AXES = (
    "model",
    "dtype",
    "perturbation",
    "frames",
    "clips",
    "slice",
    "definition",
    "q_rule",
    "r_rule",
    "family",
    "aggregate",
)
_BASE = ("id", "frames", "group", "label", "status", "motion")


@dataclass(frozen=True)
class Pass:
    """One way to run a model over the clips.

    Attributes:
        model: name of the model in the sweep.
        dtype: type of weights and activations.
        perturbation: frame order that the natural order is compared with.
    """

    model: str
    dtype: str = "auto"
    perturbation: str = "reverse"


@dataclass(frozen=True)
class Cell:
    """One score of a sweep, and the clips that it is evaluated on.

    Attributes:
        run: the pass that computes it.
        frames: the frame count.
        clips: evaluated clips, of `CLIPS`.
        slice: of `catalogue.SLICES`.
        definition: of `catalogue.DEFINITIONS`.
        orders: how q and r are chosen; None for families that do not depend on them.
        family: of `catalogue.FAMILY_INFO`.
        aggregate: of `catalogue.AGGREGATES`.
    """

    run: Pass
    frames: int
    clips: str
    slice: str
    definition: str
    orders: EntropyOrders | None
    family: str
    aggregate: str

    @property
    def axes(self) -> dict[str, Any]:
        """Return the cell's value on each of `AXES`; no two cells have all in common."""
        values = vars(self.run) | vars(self)
        q, r = (self.orders.q_key, self.orders.r_key) if self.orders else (None, None)
        values |= {"q_rule": q, "r_rule": r}
        return {name: values[name] for name in AXES}

    @property
    def key(self) -> tuple[Any, ...]:
        """Return the values of the axes."""
        return tuple(self.axes.values())

    @property
    def column(self) -> str | None:
        """Return the name of the score's column; None where there is no such score."""
        return NAMED[self.definition].column(self.slice, self.family, self.aggregate)

    @property
    def sign(self) -> int:
        """Return the sign by which the score is multiplied, so that higher means member."""
        return 1 if NAMED[self.definition].higher_is_member(self.family) else -1


def evaluate_cells(
    cells: list[Cell],
    read: Callable[[str], pa.Table | None],
    settings: EvaluationSettings,
) -> list[dict[str, Any]]:
    """Return one row of the sweep's table per cell: its axes, then its metrics.

    Args:
        cells: of one pass.
        read: from the name of a table of the pass's run, such as `scores`, to the table;
            None where there is none.
        settings: of the evaluation.
    """
    base = read("scores")
    assert base is not None  # every run has it
    base = base.select([name for name in _BASE if name in base.column_names])
    labelled = {study.frames: study.labelled for study in study_table(base)}
    rows: dict[Cell, dict[str, Any]] = {}
    tables = _Tables(read)
    for frames, clips in dict.fromkeys((cell.frames, cell.clips) for cell in cells):
        group = [c for c in cells if (c.frames, c.clips) == (frames, clips)]
        whole = labelled[frames]
        sample = whole.take(_select_rows(whole, clips))
        values = {c: c.sign * tables.column(c, sample.ids) for c in group}
        metrics = evaluate_columns(sample, values, settings)
        rows |= {cell: _row(cell, metrics[cell]) for cell in group}
    return [rows[cell] for cell in cells]


class _Tables:
    """The tables of a run, each read once and filtered once by frame count and orders."""

    def __init__(self, read: Callable[[str], pa.Table | None]):
        """Take the function that reads a table by its name."""
        self._read = read
        self._tables: dict[str, pa.Table | None] = {}
        self._filtered: dict[Any, tuple[pa.Table, dict[str, int]]] = {}

    def column(self, cell: Cell, ids: list[str]) -> Float[np.ndarray, "row"]:
        """Return the cell's score of each clip, by the clips' ids."""
        table, place = self._cell_table(cell)
        values = table[cell.column].cast(pa.float64()).to_numpy()
        return values[[place[name] for name in ids]]

    def _cell_table(self, cell: Cell):
        """Return the rows of a cell's frame count and orders, and the place of each id."""
        name = "scores" if cell.definition == "exact" else cell.definition
        orders = None
        if cell.orders and self._table(f"{cell.definition}-orders") is not None:
            name, orders = f"{cell.definition}-orders", cell.orders
        key = name, cell.frames, orders
        if key not in self._filtered:
            table = self._table(name)
            assert table is not None, name  # the pass was run with its definition
            table = table.filter(pc.equal(table["frames"], cell.frames))
            if orders:
                table = table.filter(
                    pc.and_(
                        pc.equal(table["q_rule"], orders.q_key),
                        pc.equal(table["r_rule"], orders.r_key),
                    )
                )
            place = {name: n for n, name in enumerate(table["id"].to_pylist())}
            self._filtered[key] = table, place
        return self._filtered[key]

    def _table(self, name: str) -> pa.Table | None:
        """Return a table of the run; None where it has none of this name."""
        if name not in self._tables:
            self._tables[name] = self._read(name)
        return self._tables[name]


def _select_rows(sample: Sample, clips: str) -> list[int]:
    """Return the numbers of the rows of a sample that are evaluated."""
    if clips == "all":
        return list(range(len(sample.ids)))
    motion = sample.numbers["motion"]
    is_fast = motion > np.median(motion)
    return np.flatnonzero(is_fast if clips == "fast" else ~is_fast).tolist()


def _row(cell: Cell, metrics: ScoreMetrics) -> dict[str, Any]:
    """Return the cell's row of the sweep's table; adaptive orders have betas as numbers."""
    orders = cell.orders
    row = cell.axes | {
        "beta1": orders.beta1 if orders and orders.q is None else None,
        "beta2": orders.beta2 if orders and orders.r is None and not orders.tied else None,
        "score": cell.column,
    }
    row |= estimate_columns("auc", metrics.auc) | rate_columns(metrics)
    return row | {
        "average_precision": metrics.average_precision.value,
        "fpr_at_95_tpr": metrics.fpr_at_95_tpr.value,
        "best_balanced_accuracy": metrics.best_balanced_accuracy.value,
        "advantage": metrics.advantage.value,
        "members": metrics.counts.members,
        "non_members": metrics.counts.non_members,
        "reason": metrics.reason,
    }
