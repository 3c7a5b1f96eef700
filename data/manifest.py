"""Read manifests: the clips to ask about, the words to ask with, and the labels.

A manifest is JSON (a list), JSON Lines, CSV or Parquet. The column `video` is needed; `id`,
`label`, `question`, `answer`, `candidates` and `group` are optional; other columns are
kept. The lists of the published Vid-SME code are read as they are.
"""

import csv
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidsme_jax.data.readers.tfds import PREFIX, Source, read_examples
from vidsme_jax.errors import InputError
from vidsme_jax.records.tabular import (
    read_csv_texts,
    read_json_lines,
    read_json_rows,
    read_parquet_rows,
)

DEFAULT_QUESTION = "Describe the video."
_COLUMNS = ("id", "video", "label", "question", "answer", "candidates", "group")
_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": read_json_rows,
    ".jsonl": read_json_lines,
    ".csv": read_csv_texts,
    ".parquet": read_parquet_rows,
}
_READS = ", ".join(_READERS)


@dataclass(frozen=True)
class Row:
    """A question about a clip.

    Runs and stores are identified by hashes of rows, so the fields keep their names.

    Attributes:
        id: id of the row, unique within the manifest.
        video: path as the manifest writes it, relative to the root.
        path: path at which the file is expected; or the example of a data set.
        label: 1 for a member, 0 for a non-member, None for unknown.
        asked: the question without its options; `DEFAULT_QUESTION` where the manifest has
            none.
        candidates: options of the question.
        answer: the response; "" where the manifest has none.
        group: name of the group whose rows are not independent; by default the video.
        other: values of the manifest's further columns, by name.
    """

    id: str
    video: str
    path: Source
    label: int | None
    asked: str
    candidates: tuple[str, ...]
    answer: str
    group: str
    other: dict[str, Any]

    @property
    def question(self) -> str:
        """The question, followed by its options."""
        return "\n".join([self.asked, *self.options])

    @property
    def options(self) -> list[str]:
        """The candidates with their letters."""
        return [f"({_letter(n)}) {text}" for n, text in enumerate(self.candidates)]


def read_manifests(
    paths: list[Path], root: Path | None = None, labels: list[int] | None = None
) -> list[Row]:
    """Read several manifests as a single list of rows.

    Args:
        paths: manifests, in order; or tfds:NAME/SPLIT, see `readers.tfds`.
        root: folder that video paths start from; by default the folder of the manifest.
            For tfds:NAME/SPLIT the folder of the data set.
        labels: label of each file, for files that have no label column.

    Raises:
        InputError: the faults of the first file that has any, in a single line.
    """
    if labels is not None and len(labels) != len(paths):
        raise InputError(
            f"label={labels} has {len(labels)} values for {len(paths)} manifests,"
            " expected one each"
        )
    rows: list[Row] = []
    explicit: list[bool] = []
    for n, path in enumerate(paths):
        label = None if labels is None else labels[n]
        if str(path).startswith(PREFIX):
            records, examples = read_examples(str(path), root)
            of_file = _rows(str(path), records, Path("/"), label)
            rows += [replace(r, path=e) for r, e in zip(of_file, examples, strict=True)]
        else:
            if root is not None and not root.is_dir():
                raise InputError(f"root={root} is no folder, expected that of the videos")
            records = _read_records(Path(path))
            rows += _rows(str(path), records, root or Path(path).parent, label)
        explicit += [bool(_text(record, "id")) for record in records]
    return _with_unique_ids(rows, explicit)


def _read_records(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        fault = "is a directory" if path.is_dir() else "does not exist"
        if (path / "shards").is_dir():
            fault = "is in shards, vidsme merge makes a store of them"
        raise InputError(f"data={path} {fault}, expected a manifest file ({_READS})")
    if path.suffix.lower() not in _READERS:
        raise InputError(f"data={path} ends in {path.suffix!r}, expected one of {_READS}")
    try:
        records = _READERS[path.suffix.lower()](path)
    except (ValueError, OSError, csv.Error) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"data={path} cannot be read as {path.suffix}: {first}") from error
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise InputError(f"data={path} holds no list of objects, expected one per clip")
    if not records:
        raise InputError(f"data={path} is empty, expected at least one row")
    return records


def _rows(
    path: str, records: list[dict[str, Any]], root: Path, label: int | None
) -> list[Row]:
    rows, faults = [], []
    for number, record in enumerate(records, 1):
        try:
            rows.append(_row(record, root, label))
        except ValueError as error:
            faults.append(f"row {number}: {error}")
    if faults:
        more = f" (and {len(faults) - 3} more faults)" if len(faults) > 3 else ""
        raise InputError(f"data={path}: {'; '.join(faults[:3])}{more}")
    return rows


def _row(record: dict[str, Any], root: Path, file_label: int | None) -> Row:
    video = _text(record, "video")
    if "video" not in record:
        raise ValueError(f"no column video, expected a path; there are {sorted(record)}")
    if not video:
        raise ValueError("video is empty, expected a path")
    candidates = _candidates(record.get("candidates"))
    label = _label(record.get("label"))
    if None not in (label, file_label) and label != file_label:
        raise ValueError(f"label={label}, but --label {file_label} was given for the file")
    return Row(
        id=_text(record, "id") or _default_id(record),
        video=video,
        path=_inside(root, video),
        label=file_label if label is None else label,
        asked=_text(record, "question") or DEFAULT_QUESTION,
        candidates=tuple(candidates),
        answer=_answer(_text(record, "answer"), candidates),
        group=_text(record, "group") or video,
        other={k: v for k, v in record.items() if k not in _COLUMNS},
    )


def _text(record: dict[str, Any], column: str) -> str:
    value = record.get(column)
    if isinstance(value, dict | list):
        raise ValueError(f"{column}={str(value)[:60]!r}, expected text")
    text = "" if _missing(value) else str(value)
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(f"{column}={text[:60]!r} is not valid Unicode")
    return text


def _missing(value: Any) -> bool:
    """Return whether a cell is empty; JSON, CSV and Parquet write that differently."""
    return value in (None, "") or (isinstance(value, float) and math.isnan(value))


def _label(value: Any) -> int | None:
    """Read a label, 1 or 0; CSV has it as text, Parquet perhaps as a float."""
    if _missing(value):
        return None
    number = {"1": 1, "0": 0, "1.0": 1, "0.0": 0}.get(str(value))
    if number is None:
        raise ValueError(f"label={value!r}, expected 1 (member) or 0 (non-member)")
    return number


def _candidates(value: Any) -> list[str]:
    if _missing(value):
        return []
    if isinstance(value, str):  # CSV has no lists: JSON in the cell
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list):
        raise ValueError("candidates is not a list, expected one option an entry")
    return [str(option) for option in value]


def _answer(answer: str, candidates: list[str]) -> str:
    if answer in candidates:
        return f"({_letter(candidates.index(answer))}) {answer}"
    return answer


def _letter(n: int) -> str:
    return chr(ord("A") + n) if n < 26 else str(n + 1)


def _inside(root: Path, video: str) -> Path:
    """Return the path of a video, refusing one that leaves the root.

    A manifest may come from anyone.
    """
    base = os.path.abspath(root)
    joined = os.path.normpath(os.path.join(base, video))
    if os.path.commonpath([base, joined]) != base or "\0" in video:
        raise ValueError(
            f"video={video!r} lies outside root={base}, the folder that paths"
            " start from; --root names another"
        )
    return Path(joined)


def _default_id(record: dict[str, Any]) -> str:
    fields = [record.get(k) for k in ("video", "question", "candidates", "answer")]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]


def _with_unique_ids(rows: list[Row], explicit: list[bool]) -> list[Row]:
    """Return the rows with unique ids: equal default ids get numbers.

    Args:
        rows: rows of all manifests.
        explicit: for each row, whether its id is explicit.

    Raises:
        InputError: an explicit id stands twice.
    """
    counts = Counter(row.id for row, has_id in zip(rows, explicit, strict=True) if has_id)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise InputError(
            f"id={repeated[0]!r} stands {counts[repeated[0]]} times, expected once"
        )
    seen, out = Counter(counts), []
    for row, has_id in zip(rows, explicit, strict=True):
        seen[row.id] += not has_id
        number = "" if has_id or seen[row.id] == 1 else f"-{seen[row.id]}"
        out.append(replace(row, id=row.id + number))
    return out


def other_columns(rows: Sequence[Row]) -> dict[str, pa.Array]:
    """Return the further columns of manifests, by name.

    Values of a column that have no common type become JSON text.
    """
    names = dict.fromkeys(name for row in rows for name in row.other)
    return {name: _typed([row.other.get(name) for row in rows]) for name in names}


def _typed(values: list[Any]) -> pa.Array:
    try:
        column = pa.array(values)
        if not pa.types.is_nested(column.type):
            return column
    except (pa.ArrowException, OverflowError):
        pass
    texts = [None if v is None else json.dumps(v, default=str) for v in values]
    return pa.array(texts, pa.string())
