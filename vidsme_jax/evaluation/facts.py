"""Read facts about clips that do not depend on the model's answers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa

from vidsme_jax.evaluation.study import FrameStudy


@dataclass(frozen=True)
class Facts:
    """Columns of facts about some rows; an unknown value is None.

    Attributes:
        rows: number of rows.
        columns: a value for every row, by name of the column.
    """

    rows: int
    columns: dict[str, list[object]]

    def of(self, name: str) -> list[object]:
        """Return the values of a column; None for all rows where the column is missing."""
        return self.columns.get(name, [None] * self.rows)


def read_facts(study: FrameStudy, ids: Sequence[str], names: Collection[str]) -> Facts:
    """Read some columns of the score table and of features.parquet.

    Args:
        study: rows of a run at a frame count.
        ids: ids of the rows, in the order of the values.
        names: names of the columns. Where both tables have a column, a value comes from
            the features, or from the score table where it is missing there.
    """
    columns: dict[str, list[object]] = {}
    for table in (study.table, study.features):
        if table is None:
            continue
        row_of = {name: n for n, name in enumerate(table["id"].to_pylist())}
        rows = pa.array([row_of.get(name) for name in ids], pa.int64())
        for name in (c for c in table.column_names if c in names):
            values = table[name].take(rows).to_pylist()
            if name in columns:
                pairs = zip(values, columns[name], strict=True)
                values = [old if new is None else new for new, old in pairs]
            columns[name] = values
    return Facts(len(ids), columns)


def join_facts(first: Facts, second: Facts) -> Facts:
    """Return the facts of two sets of rows, one set after the other."""
    names = dict.fromkeys((*first.columns, *second.columns))
    columns = {name: [*first.of(name), *second.of(name)] for name in names}
    return Facts(first.rows + second.rows, columns)
