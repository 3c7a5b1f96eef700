"""Read manifests: the clips to ask about, the words to ask with, and the labels.

A manifest is JSON (a list), JSON Lines, CSV, TSV or Parquet. The column `video` is needed;
`id`, `label`, `question`, `answer`, `candidates`, `group`, `start`, `end`, `fps`, `system`
and `history` are optional; other columns are kept. Training lists are read as they are,
with `conversations` or `messages`, and so are the lists of the published Vid-SME code.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidsme_jax.data.cells import is_missing
from vidsme_jax.data.columns import ColumnNames, match_manifest
from vidsme_jax.data.readers.tfds import PREFIX, read_examples
from vidsme_jax.data.rows import DEFAULT_QUESTION, Place, RecordRows, Row, read_record
from vidsme_jax.errors import InputError, check_names, check_rates, shorten
from vidsme_jax.progress import say
from vidsme_jax.records.tabular import (
    read_csv_texts,
    read_json_lines,
    read_json_rows,
    read_parquet_rows,
    read_tsv_texts,
)

TURNS = ("each", "first", "last")
_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": read_json_rows,
    ".jsonl": read_json_lines,
    ".csv": read_csv_texts,
    ".tsv": read_tsv_texts,
    ".parquet": read_parquet_rows,
}
_READS = ", ".join(_READERS)


@dataclass(frozen=True)
class ManifestSettings:
    """How manifests are read.

    Attributes:
        root: folder that video paths start from; None for that of the manifest, or of
            the data set.
        labels: one label a manifest, for lists without labels.
        turns: which turns of a dialogue are rows, of `TURNS`.
        fps: frames per second of folders of images that have no column fps.
    """

    root: Path | None = None
    labels: tuple[int, ...] | None = None
    turns: str = "each"
    fps: float | None = None

    def __post_init__(self) -> None:
        """Refuse values with which no manifest is read."""
        check_names(self, turns=TURNS)
        if self.fps is not None:
            check_rates(self, "fps")
            if not self.fps:
                raise InputError(f"fps={self.fps}, expected a number above 0")


def read_manifests(
    paths: Sequence[Path], settings: ManifestSettings | None = None
) -> list[Row]:
    """Read several manifests as a single list of rows.

    A line for each manifest says what of it is read under another name or skipped.

    Args:
        paths: manifests, in order; or tfds:NAME/SPLIT, see `readers.tfds`.
        settings: how they are read.

    Raises:
        InputError: the faults of the first file that has any, in a single line.
    """
    settings = settings or ManifestSettings()
    labels = settings.labels
    if labels is not None and len(labels) != len(paths):
        raise InputError(
            f"label={list(labels)} has {len(labels)} values for {len(paths)} manifests,"
            " expected one each"
        )
    content: list[RecordRows] = []
    for path, label in zip(paths, labels or [None] * len(paths), strict=True):
        content += _read_manifest(Path(path), label, settings)
    return _select_turns(_with_unique_ids(content), settings.turns)


def _read_manifest(
    path: Path, label: int | None, settings: ManifestSettings
) -> list[RecordRows]:
    """Return the rows of a manifest, record by record, and say what is not as written."""
    root = settings.root
    if str(path).startswith(PREFIX):
        records, examples = read_examples(str(path), root)
        content = _rows(path, records, Place(Path("/"), label))
        return [
            replace(of_record, rows=tuple(replace(r, path=e) for r in of_record.rows))
            for of_record, e in zip(content, examples, strict=True)
        ]
    if root is not None and not root.is_dir():
        raise InputError(f"root={root} is no folder, expected that of the videos")
    records = _read_records(path)
    return _rows(path, records, Place(root or path.parent, label, settings.fps))


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
    except (ValueError, OSError, csv.Error, pa.ArrowException) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"data={path} cannot be read as {path.suffix}: {first}") from error
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise InputError(f"data={path} holds no list of objects, expected one per clip")
    if not records:
        raise InputError(f"data={path} is empty, expected at least one row")
    return records


def _rows(path: Path, records: list[dict[str, Any]], place: Place) -> list[RecordRows]:
    columns = dict.fromkeys(name for record in records for name in record)
    try:
        names = match_manifest(columns)
    except ValueError as error:
        raise InputError(f"data={path}: {error}") from error
    content, faults, renamed = [], [], []
    for number, record in enumerate(records, 1):
        try:
            renamed.append(names.read(record))
            content.append(read_record(renamed[-1], place))
        except ValueError as error:
            faults.append(f"row {number}: {error}{_read_as(names, str(error))}")
    if faults:
        more = f" (and {len(faults) - 3} more faults)" if len(faults) > 3 else ""
        raise InputError(f"data={path}: {'; '.join(faults[:3])}{more}")
    if not any(of_record.rows for of_record in content):
        reasons = ", ".join(sorted({of_record.skipped for of_record in content}))
        raise InputError(
            f"data={path}: none of {len(records)} rows has one video ({reasons}), expected"
            f" a path in column video; there are {', '.join(sorted(columns))}"
        )
    notes = [*_column_notes(names, records, renamed), *_record_notes(content)]
    if notes:
        say(f"data={path}: {'; '.join(notes)}")
    return content


def _read_as(names: ColumnNames, fault: str) -> str:
    """Return which column of the file a fault is about, where its name is another."""
    read = [f"{k} is read as {v}" for k, v in names.renamed.items() if v in fault]
    return f" ({', '.join(read)})" if read else ""


def _column_notes(
    names: ColumnNames, records: list[dict[str, Any]], renamed: list[dict[str, Any]]
) -> list[str]:
    """Return which columns are read under another name, and which such ones are not."""
    read: dict[str, None] = {}
    kept: dict[str, None] = {}
    for before, after in zip(records, renamed, strict=True):
        for name, canonical in names.renamed.items():
            if not is_missing(before.get(name)):
                note = f"{name} as {canonical}"
                (kept if name in after else read)[note] = None
        if not is_missing(after.get("answer_key")) and is_missing(after.get("answer")):
            read["answer_key as answer"] = None
    notes = [f"column {', '.join(read)}"] if read else []
    if kept:
        notes.append(f"not read beside the column they could be: {', '.join(kept)}")
    return notes


def _record_notes(content: Sequence[RecordRows]) -> list[str]:
    """Return what a person should know of records that are not read as they stand."""
    skipped = Counter(r.skipped for r in content if r.skipped)
    notes = [f"skipped {_count(n, 'row')} with {why}" for why, n in skipped.items()]
    taken_off = sum(of_record.placeholders for of_record in content)
    if taken_off:
        notes.append(f"a leading placeholder taken off {_count(taken_off, 'question')}")
    left = sum(of_record.left for of_record in content)
    if left:
        notes.append(f"left as text in questions: {_count(left, 'further placeholder')}")
    return [*notes, *_asking_notes([row for r in content for row in r.rows])]


def _asking_notes(rows: Sequence[Row]) -> list[str]:
    """Return what rows are asked without words of their own, if other columns have some."""
    further = dict.fromkeys(name for row in rows for name in row.other)
    unasked = sum(row.asked == DEFAULT_QUESTION for row in rows)
    answered = sum(bool(row.answer) for row in rows)
    notes = []
    letters = sum(row.answer.strip(" ().").upper() in row.letters for row in rows)
    if letters:
        notes.append(
            f"{_count(letters, 'answer')} of a letter alone stay as they are; an answer_key"
            " would be read as an option"
        )
    if further and (unasked or answered < len(rows)):
        names = ", ".join(shorten(name, 30) for name in [*further][:8])
        unanswered = _count(len(rows) - answered, "row")
        notes.append(
            f"{_count(unasked, 'row')} asked {DEFAULT_QUESTION!r}, {unanswered} without an"
            f" answer; columns kept and not read: {names}{', …' * (len(further) > 8)}"
        )
    return notes


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _with_unique_ids(content: Sequence[RecordRows]) -> list[RecordRows]:
    """Return the rows with unique ids: rows of one id get numbers, if of one video.

    Raises:
        InputError: an explicit id stands for several videos.
    """
    videos: dict[str, dict[Any, None]] = {}
    for of_record in content:
        for row in of_record.rows if of_record.has_id else ():
            videos.setdefault(row.id, {})[row.file] = None
    wrong = [name for name, files in videos.items() if len(files) > 1]
    if wrong:
        raise InputError(
            f"id={wrong[0]!r} stands for {len(videos[wrong[0]])} videos, such as"
            f" {', '.join(Path(str(v)).name for v in [*videos[wrong[0]]][:2])}, expected"
            " one; several questions about a video may share an id"
        )
    seen: Counter[str] = Counter()
    out = []
    for of_record in content:
        rows = []
        for row in of_record.rows:
            seen[row.id] += 1
            number = seen[row.id]
            rows.append(row if number == 1 else replace(row, id=f"{row.id}-{number}"))
        out.append(replace(of_record, rows=tuple(rows)))
    _refuse_repeated(row.id for of_record in out for row in of_record.rows)
    return out


def _refuse_repeated(ids: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:  # a written id is also that of another id's second row
        raise InputError(
            f"id={repeated[0]!r} stands twice, expected once; rows of an id x are numbered"
            " x, x-2, x-3"
        )


def _select_turns(content: Sequence[RecordRows], turns: str) -> list[Row]:
    """Return the rows of the turns that are asked for."""
    chosen = {"each": slice(None), "first": slice(1), "last": slice(-1, None)}[turns]
    return [row for of_record in content for row in of_record.rows[chosen]]


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
