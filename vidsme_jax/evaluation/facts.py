"""What is known of clips without the model's answers, by column."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa

from vidsme_jax.evaluation.study import FrameStudy


@dataclass(frozen=True)
class Facts:
    """Columns of some rows; what is unknown of a row is None.

    Attributes:
        rows: how many.
        columns: the values of each, one for every row.
    """

    rows: int
    columns: dict[str, list[object]]

    def of(self, name: str) -> list[object]:
        """Return the values of a column; unknown for all rows if there is no such."""
        return self.columns.get(name, [None] * self.rows)


def read_facts(study: FrameStudy, ids: Sequence[str], names: Collection[str]) -> Facts:
    """Read some columns of the score table and of features.parquet.

    Args:
        study: the rows of a run at one frame count.
        ids: of the rows, in the order wanted.
        names: of the columns; one in both tables is known from either, features first.
    """
    columns: dict[str, list[object]] = {}
    for table in (study.table, study.features):
        if table is None:
            continue
        place = {key: n for n, key in enumerate(table["id"].to_pylist())}
        rows = pa.array([place.get(key) for key in ids], pa.int64())
        for name in (c for c in table.column_names if c in names):
            values = table[name].take(rows).to_pylist()
            if name in columns:
                pairs = zip(values, columns[name], strict=True)
                values = [old if new is None else new for new, old in pairs]
            columns[name] = values
    return Facts(len(ids), columns)


def joined(first: Facts, second: Facts) -> Facts:
    """Return the rows of both, one after the other."""
    names = dict.fromkeys((*first.columns, *second.columns))
    columns = {name: [*first.of(name), *second.of(name)] for name in names}
    return Facts(first.rows + second.rows, columns)
