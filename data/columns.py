"""The columns that manifests have, and the other names under which lists have them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vidsme_jax.data.cells import is_missing
from vidsme_jax.errors import shorten
from vidsme_jax.records.columns import match_columns, plain_name

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
    "start": (
        *("video_start", "start_time", "start_sec", "start_seconds", "start_timestamp"),
        *("begin", "t_start"),
    ),
    "end": (
        *("video_end", "end_time", "end_sec", "end_seconds", "end_timestamp"),
        *("stop", "t_end"),
    ),
    "system": ("system_prompt", "system_message"),
    "answer_key": ("correct_answer", "correct_option", "correct_choice"),
    "segment": ("clip", "timestamps"),
    "conversations": ("messages", "conversation"),
}
# Columns that cut a clip in other units; a row without its cut is another row.
_OTHER_UNITS = re.compile(
    r"(start|end|begin|stop)(frame|frames|ms|msec|idx|index)"
    r"|frame(start|end|range|idx|idxs|indices)"
)
# Options in columns of their own; of some lists a0 to a4.
_OPTIONS = re.compile(r"(option|choice|candidate)([a-h]|\d+)|a\d")
_INTERVAL = re.compile(r"\W*\d+(\.\d+)?\s*(\W|to)\s*\d+(\.\d+)?\W*")


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
            is_name = isinstance(value, str) and not _INTERVAL.fullmatch(value)
            if name.lower() == "clip" and is_name:
                continue  # a clip's name, and no segment
            if canonical in source:
                raise ValueError(f"{source[canonical]} and {name} both are {canonical}")
            source[canonical] = name
            out[canonical] = out.pop(name)
        return out


def match_manifest(names: Iterable[str]) -> ColumnNames:
    """Return how the columns of a manifest are read.

    Raises:
        ValueError: a column that is nearly a known one, or cuts clips in other units.
    """
    names = list(names)
    for name in names:
        letters, column = plain_name(name), shorten(name, 40)
        if _OTHER_UNITS.fullmatch(letters):
            raise ValueError(f"column {column}: expected start and end, in seconds")
        if _OPTIONS.fullmatch(letters):
            raise ValueError(f"column {column}: expected all options in candidates, a list")
    return ColumnNames(match_columns(names, KNOWN, SYNONYMS))


def match_part(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a message that shows a video, under the names of segments.

    Raises:
        ValueError: a field that is nearly the start or the end.
    """
    times = ("start", "end", "segment")
    return ColumnNames(match_columns(part, times, SYNONYMS)).read(part)
