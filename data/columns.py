"""Match the columns of a list with those that a manifest has, by their names.

A column that nearly has a known name changes what a row means, so it is never passed over:
a canonical synonym is read, and a slip of the pen is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vidsme_jax.data.cells import is_missing

KNOWN = (
    *("id", "video", "videos", "label", "question", "answer", "candidates", "group"),
    *("start", "end", "segment", "fps", "system", "history", "conversations", "answer_key"),
)
SYNONYMS = {
    "video": ("video_path", "video_file"),
    "label": ("member", "is_member", "membership"),
    "question": ("prompt", "query", "instruction", "q"),
    "answer": ("caption", "response", "a"),
    "candidates": ("choices", "options"),
    "start": ("video_start", "start_time", "start_sec", "start_seconds", "begin"),
    "end": ("video_end", "end_time", "end_sec", "end_seconds"),
    "segment": ("clip", "timestamps"),
    "conversations": ("messages", "conversation"),
}
# Columns that cut a clip in other units; a row without its cut is another row.
_OTHER_UNITS = (
    *("start_frame", "end_frame", "frame_start", "frame_end"),
    *("start_ms", "end_ms", "frame_range"),
)
_SHORTEST = 5  # letters of a name that a slip of the pen is looked for in
_LONG = 8  # letters from which two slips are taken for the same name


@dataclass(frozen=True)
class ColumnNames:
    """How the columns of a file are read.

    Attributes:
        renamed: for a column with another name, the name that a manifest gives it.
    """

    renamed: Mapping[str, str]

    def read(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record under the names of a manifest.

        A synonym beside the column that it stands for stays a further column.

        Raises:
            ValueError: two synonyms of a column have a value.
        """
        out = dict(record)
        source: dict[str, str] = {}
        for name, canonical in self.renamed.items():
            value = record.get(name)
            if is_missing(value) or not is_missing(record.get(canonical)):
                continue
            if name.lower() == "clip" and isinstance(value, str) and value[0] != "[":
                continue  # a clip's name, and no segment
            if canonical in source:
                raise ValueError(f"{source[canonical]} and {name} both are {canonical}")
            source[canonical] = name
            out[canonical] = out.pop(name)
        return out


def match_columns(names: Iterable[str], expected: Sequence[str] = KNOWN) -> ColumnNames:
    """Return how columns are read, from their names.

    Args:
        names: names of the file's columns.
        expected: names that the reader of the file knows.

    Raises:
        ValueError: a column that is nearly a known one, or two columns of the same name.
    """
    meant = {other: name for name in expected for other in SYNONYMS.get(name, ())}
    renamed: dict[str, str] = {}
    names = list(names)
    for name in names:
        plain = name.strip().lower().replace("-", "_").replace(" ", "_")
        if name in expected:
            continue
        if plain in _OTHER_UNITS and "start" in expected:
            raise ValueError(f"column {name}: expected start and end, in seconds")
        target = plain if plain in expected else meant.get(plain)
        if target is None:
            _refuse_slip(name, plain, expected, meant)
        elif plain in names and plain != name:
            raise ValueError(f"there are columns {plain} and {name}, expected only one")
        else:
            renamed[name] = target
    return ColumnNames(renamed)


def _refuse_slip(
    name: str, plain: str, expected: Sequence[str], synonyms: Iterable[str]
) -> None:
    for other in (*expected, *synonyms):
        is_long = len(other) >= _LONG and other in expected and "_" not in other
        slips = 2 if is_long else 1
        if len(other) >= _SHORTEST and _distance(plain, other) <= slips:
            raise ValueError(
                f"column {name} is not known, {other} may be meant; rename it, to that or"
                " to a name that is less alike"
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
