"""Match the columns of a table that users bring with those that are expected, by name.

A column that nearly has an expected name changes what a row means, so it is not passed
over: a known synonym is read, and a slip of the pen is refused.
"""

from collections.abc import Iterable, Mapping, Sequence

from vidsme_jax import reading
from vidsme_jax.errors import shorten

_SHORTEST = 5  # letters of a name that a slip of the pen is looked for in
_LONG = 8  # letters from which two slips are taken for the same name


def match_columns(
    names: Iterable[str], expected: Sequence[str], synonyms: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return the expected name of each column that has another name.

    Args:
        names: names of the table's columns.
        expected: names that the reader of the table knows.
        synonyms: further names of expected columns.

    Raises:
        ValueError: a column that is nearly an expected one that the table lacks, or two
            columns of the same name, or too many columns.
    """
    names = list(names)
    reading.check_width(names)
    meant = {other: name for name in expected for other in synonyms.get(name, ())}
    by_letters = {plain_name(name): name for name in meant} | {
        plain_name(name): name for name in expected
    }
    renamed: dict[str, str] = {}
    for name in names:
        plain = by_letters.get(plain_name(name))
        if name in expected or plain is None:
            continue
        if plain in names and plain != name:
            columns = f"{plain} and {shorten(name, 40)}"
            raise ValueError(f"there are columns {columns}, expected only one")
        renamed[name] = meant.get(plain, plain)
    present = {*names, *renamed.values()}
    absent = {k: k for k in expected} | meant
    for name in names:
        if name not in expected and name not in renamed:
            likely = [k for k, target in absent.items() if target not in present]
            _refuse_slip(name, likely, expected)
    return renamed


def plain_name(name: str) -> str:
    """Return the letters and digits of a column's name, in small letters."""
    return "".join(c for c in name.lower() if c.isalnum())


def _refuse_slip(name: str, likely: Sequence[str], expected: Sequence[str]) -> None:
    """Refuse a name that differs from a likely one by a slip of the pen, or by two."""
    for other in likely:
        is_long = len(other) >= _LONG and other in expected and "_" not in other
        slips = 2 if is_long else 1
        spelt = name.strip().lower().replace("-", "_").replace(" ", "_")
        is_near = abs(len(spelt) - len(other)) <= slips and len(other) >= _SHORTEST
        if is_near and _distance(spelt, other) <= slips:
            raise ValueError(
                f"column {shorten(name, 40)} is not known, {other} may be meant; rename it,"
                " to that or to a name that is less alike"
            )


def _distance(a: str, b: str) -> int:
    """Return how many letters must be added, dropped, changed or swapped with the next.

    Each letter takes part in a single change (optimal string alignment).
    """
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
