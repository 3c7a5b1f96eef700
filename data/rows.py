"""Turn a record of a list into rows: a question about a clip each, in the same words."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidsme_jax.data.cells import (
    checked_text,
    is_missing,
    label_cell,
    list_cell,
    name_cell,
    number_cell,
    text_cell,
)
from vidsme_jax.data.columns import KNOWN, match_part
from vidsme_jax.data.conversations import (
    Dialogue,
    read_dialogue,
    shows_video,
    without_placeholder,
)
from vidsme_jax.data.readers.source import VideoFile
from vidsme_jax.data.readers.tfds import Source
from vidsme_jax.errors import shorten

DEFAULT_QUESTION = "Describe the video."
_WHOLE = (None, None)  # the times of a clip that is no segment
_ASKING = ("question", "answer", "candidates", "answer_key", "history")


@dataclass(frozen=True)
class Row:
    """A question about a clip.

    Runs and stores are identified by hashes of rows, so the fields keep their names.

    Attributes:
        id: id of the row, unique within the manifest.
        video: name of the clip: its path as the manifest writes it, relative to the root,
            and the segment as a media fragment, such as "a.mp4#t=0,3".
        path: file at which the clip is expected, and its segment; or the example of a data
            set.
        label: 1 for a member, 0 for a non-member, None for unknown.
        asked: the question without its options; `DEFAULT_QUESTION` where the manifest has
            none.
        candidates: options of the question.
        answer: the response; "" where the manifest has none.
        group: name of the group whose rows are not independent; by default the video.
        other: values of the manifest's further columns, by name.
        history: earlier turns of the dialogue, each a question and its answer.
        system: system message; None for that of the model's template.
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
    history: tuple[tuple[str, str], ...] = ()
    system: str | None = None

    @property
    def question(self) -> str:
        """The question, followed by its options."""
        return "\n".join([self.asked, *self.options])

    @property
    def options(self) -> list[str]:
        """The candidates with their letters."""
        pairs = zip(self.letters, self.candidates, strict=True)
        return [f"({letter}) {text}" for letter, text in pairs]

    @property
    def letters(self) -> list[str]:
        """The letters of the candidates."""
        return _letters(len(self.candidates))

    @property
    def file(self) -> Any:
        """The file or example that the clip is taken from, whatever its segment."""
        return self.path.path if isinstance(self.path, VideoFile) else self.path


@dataclass(frozen=True)
class RecordRows:
    """The rows of a record, and what its list should say about it.

    Attributes:
        rows: a row for each turn of the dialogue; none where the record is skipped.
        has_id: whether the record itself has an id.
        skipped: why the record has no rows; "" where it has some.
        placeholders: leading placeholders that were taken off questions.
        left: placeholders that stay in questions as text.
    """

    rows: tuple[Row, ...]
    has_id: bool = False
    skipped: str = ""
    placeholders: int = 0
    left: int = 0


@dataclass(frozen=True)
class Place:
    """Where the clips of a list lie, and what its records do not say.

    Attributes:
        root: folder that video paths start from.
        label: label of all records; None where they have their own.
        fps: frames per second of folders of images without a rate of their own.
    """

    root: Path
    label: int | None = None
    fps: float | None = None


def read_record(record: Mapping[str, Any], place: Place) -> RecordRows:
    """Return the rows of a record, under the names of columns that manifests have.

    Raises:
        ValueError: the fault of the record, in a sentence.
    """
    value = record.get("conversations")
    names = [record.get("video"), record.get("videos")]
    if all(map(is_missing, names)) and not shows_video(value):
        return RecordRows((), skipped="no video")
    dialogue = None
    if not is_missing(value):
        dialogue = read_dialogue(value)
        beside = [name for name in _ASKING if not is_missing(record.get(name))]
        if beside:
            raise ValueError(f"has both conversations and {beside[0]}, expected one")
    clips = _clips(record, dialogue)
    if len(clips) != 1:
        return RecordRows((), skipped="several videos" if clips else "no video")
    return _turns(record, _first_row(record, clips[0], place), dialogue)


def _turns(record: Mapping[str, Any], first: Row, dialogue: Dialogue | None) -> RecordRows:
    """Return the rows of the turns of a dialogue, or the only row of a question."""
    if dialogue is None:
        questions = [(first.asked, first.answer)]
    else:
        questions = list(dialogue.turns)
        system = first.system if dialogue.system is None else dialogue.system
        first = replace(first, system=system)
    text, placeholders, left = without_placeholder(questions[0][0])
    text = text if text or dialogue else DEFAULT_QUESTION
    questions[0] = (text, questions[0][1])
    left += sum(sum(without_placeholder(q)[1:]) for q, _ in questions[1:])
    rows = tuple(
        replace(first, asked=text, answer=answer, history=(*first.history, *questions[:n]))
        for n, (text, answer) in enumerate(questions)
    )
    if not first.id:
        rows = tuple(replace(row, id=_default_id(row, record)) for row in rows)
    return RecordRows(rows, bool(first.id), "", placeholders, left)


_Times = tuple[float | None, float | None]  # start and end of a segment, seconds


def _clips(
    record: Mapping[str, Any], dialogue: Dialogue | None
) -> list[tuple[str, _Times]]:
    """Return the distinct clips that columns and messages of a record name."""
    video, times = record.get("video"), _segment(record)
    parts = dialogue.parts if dialogue else ()
    several = [
        *(video if isinstance(video, list) else [video]),
        *list_cell(record.get("videos"), "videos", "a path an entry"),
        *map(_shown, parts),
    ]
    videos = dict.fromkeys(_path(value) for value in several if not is_missing(value))
    named = dict.fromkeys(_segment(match_part(part)) for part in parts)
    if times != _WHOLE and set(named) - {_WHOLE, times}:
        raise ValueError(
            f"start={times[0]} and end={times[1]}, but its messages show another segment"
        )
    segments = [times] if times != _WHOLE else list(named) or [_WHOLE]
    return [(video, segment) for video in videos for segment in segments]


def _shown(part: Mapping[str, Any]) -> Any:
    """Return the path in the part of a message that shows a video; None for none."""
    for key in ("video", "path", "url", "video_url"):
        value = part.get(key)
        if not is_missing(value):
            return value.get("url") if isinstance(value, Mapping) else value
    return None


def _path(value: Any) -> str:
    path = text_cell({"video": value}, "video").removeprefix("file://")
    if "://" in path:
        raise ValueError(f"video={path[:60]!r} is an address, expected a path")
    return path


def _first_row(record: Mapping[str, Any], clip: tuple[str, _Times], place: Place) -> Row:
    """Return the row of a record, its question as it is written."""
    video, (start, end) = clip
    path = _inside(place.root, video)
    fps = _frame_rate(record, path, place.fps)
    source = VideoFile(path, start, end, fps)
    fragment, is_whole = source.fragment, source == VideoFile(path)
    label = label_cell(record.get("label"))
    if None not in (label, place.label) and label != place.label:
        raise ValueError(f"label={label}, but --label {place.label} was given for the file")
    candidates, keys = _candidates(record.get("candidates"))
    used = {name for name in KNOWN if name != "fps"} | ({"fps"} if fps else set())
    other = {k: v for k, v in record.items() if k not in used}
    for name, value in other.items():
        checked_text(value if isinstance(value, str) else "", shorten(name, 40))
    return Row(
        id=name_cell(record, "id"),
        video=video + fragment,
        path=path if is_whole else source,
        label=place.label if label is None else label,
        asked=text_cell(record, "question") or DEFAULT_QUESTION,
        candidates=tuple(candidates),
        answer=_answer(record, candidates, keys),
        group=text_cell(record, "group") or video,
        other=other,
        history=_history(record.get("history")),
        system=text_cell(record, "system") or None,
    )


def _segment(record: Mapping[str, Any]) -> _Times:
    """Return start and end of the part of the video, seconds; None where it is open."""
    unit = "a number of seconds"
    start, end = (number_cell(record.get(k), k, unit) for k in ("start", "end"))
    if start is not None and end is None and not is_missing(record.get("duration")):
        raise ValueError("start with duration, expected start and end, in seconds")
    pair = list_cell(record.get("segment"), "segment", "[start, end] in seconds")
    if not pair:
        return start, end
    if len(pair) != 2:
        raise ValueError(f"segment={str(pair)[:40]}, expected [start, end] in seconds")
    first, last = (number_cell(value, "segment", unit) for value in pair)
    if (start, end) not in (_WHOLE, (first, last)):
        raise ValueError(f"segment={pair}, but start={start} and end={end}")
    return first, last


def _frame_rate(
    record: Mapping[str, Any], path: Path, default: float | None
) -> float | None:
    """Return the rate of a folder of images; None for a file, which has its own."""
    if (is_missing(record.get("fps")) and default is None) or not path.is_dir():
        return None
    fps = number_cell(record.get("fps"), "fps", "frames per second above 0")
    fps = default if fps is None else fps
    if fps is None or fps <= 0:
        raise ValueError(f"fps={fps}, expected frames per second above 0")
    return fps


def _candidates(value: Any) -> tuple[list[str], list[str]]:
    """Return the options of a question, and the keys by which they are known.

    An object has its options by letters from A on, or by numbers from 0 or 1 on. Parquet
    fills objects with nulls up to the largest of a file.
    """
    if isinstance(value, Mapping):
        options = {str(k): v for k, v in value.items() if v is not None}
        letters = _letters(len(options))
        numbers = [[str(n + first) for n in range(len(options))] for first in (0, 1)]
        by_key = {key.upper(): option for key, option in options.items()}
        for keys in (letters, *numbers):
            if set(by_key) == set(keys):
                return [_option(by_key[key]) for key in keys], keys
        raise ValueError(
            f"candidates has the keys {', '.join(options)[:60]}, expected A, B, … or 0, 1,"
            " … or 1, 2, …, without a gap"
        )
    listed = [_option(v) for v in list_cell(value, "candidates", "one option an entry")]
    return listed, _letters(len(listed))


def _option(value: Any) -> str:
    if is_missing(value):
        raise ValueError("candidates has an empty option, expected texts")
    return text_cell({"candidates": value}, "candidates")


def _answer(record: Mapping[str, Any], candidates: list[str], keys: list[str]) -> str:
    """Return the answer, with its letter where it is an option.

    An `answer` is text. An `answer_key` may also be an option's letter, or its number: from
    0 on, or as the object of the options counts.

    Args:
        record: the record.
        candidates: the options.
        keys: the key of each option.
    """
    answer, key = text_cell(record, "answer"), name_cell(record, "answer_key")
    text = answer or key
    if not candidates or not text:
        return text
    letters = _letters(len(candidates))
    places = {option: n for n, option in reversed([*enumerate(candidates)])}
    if not answer:
        numbers = keys if keys[0].isdecimal() else [str(n) for n in range(len(candidates))]
        short = text.strip(" ().").upper()
        named = [(name, n) for names in (numbers, letters) for n, name in enumerate(names)]
        place = places.get(text, (places | dict(named)).get(short))
        if place is None:
            raise ValueError(
                f"answer_key={text[:40]!r}, expected an option, its letter, or its number"
            )
        return f"({letters[place]}) {candidates[place]}"
    if text in places:
        return f"({letters[places[text]]}) {text}"
    if text.isdecimal():
        raise ValueError(
            f"answer={text[:40]!r} is no candidate, expected an option's text; an"
            " answer_key may be a letter, or a number from 0"
        )
    return text


def _history(value: Any) -> tuple[tuple[str, str], ...]:
    """Return the earlier turns of a row's own column."""
    turns = list_cell(value, "history", "[question, answer] pairs")
    for turn in turns:
        texts = turn if isinstance(turn, list | tuple) else ()
        if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            raise ValueError(
                f"history has {str(turn)[:40]!r}, expected pairs of question and answer"
            )
    return tuple((question, answer) for question, answer in turns)


def _letters(count: int) -> list[str]:
    """Return the letters of so many options; behind Z they are numbers."""
    return [chr(ord("A") + n) if n < 26 else str(n + 1) for n in range(count)]


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


def _default_id(row: Row, record: Mapping[str, Any]) -> str:
    """Return an id made from what the row asks."""
    fields: list[Any]
    if is_missing(record.get("conversations")):
        names = ("question", "candidates", "answer")
        fields = [row.video, *(record.get(name) for name in names)]
    else:
        fields = [row.video, row.asked, None, row.answer]
    more = [row.history, row.system] if row.history or row.system else []
    content = json.dumps([*fields, *more], default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
