"""What the blind baselines look at, read from a run's score table and features.parquet."""

import re
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from vidsme_jax.records import runs
from vidsme_jax.stats.cross_validation import Block, of_numbers, of_words

_BUCKETS = 4096  # of words, by their checksum: no vocabulary has to be fitted
_SIZES = ("duration", "frames_total", "width", "height", "file_bytes")  # by their logarithm
_KINDS = ("codec", "container")
_TEXTS = ("question", "candidates", "answer")
_VECTORS = ("appearance", "embedding")
_ALL = "all of these together"

Row = dict[str, Any]


def baselines(rows: Sequence[Row]) -> dict[str, tuple[Block, ...]]:
    """Return the blocks of each baseline that some row has something for.

    A block in which all rows are alike is left out: it can tell nothing apart.

    Args:
        rows: from `feature_rows`.
    """
    held = {name: make(rows) for name, make in _BLOCKS.items()}
    told = {name: b for name, b in held.items() if _varies(b.values)}
    out = {name: (block,) for name, block in told.items()}
    return out | ({_ALL: tuple(told.values())} if len(told) > 1 else {})


def feature_rows(
    table: pa.Table,
    features: pa.Table | None,
    ids: Sequence[str],
    frames: int,
    names: Collection[str] | None = None,
) -> list[Row]:
    """Return what is known of some rows of a run, by column.

    Args:
        table: the score table.
        features: features.parquet, which runs of earlier versions lack.
        ids: of the rows.
        frames: their frame count.
        names: of the columns; all that baselines look at where None.
    """
    wanted = {(name, frames): place for place, name in enumerate(ids)}
    out: list[Row] = [{} for _ in ids]
    looked = {*_SIZES, *_KINDS, *_TEXTS, *_VECTORS, "fps", "motion", "illumination"}
    names = looked if names is None else names
    for held in (table, features):
        if held is None or "frames" not in held.column_names:
            continue
        there = [n for n, key in enumerate(runs.row_keys(held)) if key in wanted]
        chosen = [c for c in held.column_names if c in names]
        part = held.select(["id", "frames", *chosen]).take(pa.array(there, pa.int64()))
        for row in part.to_pylist():
            out[wanted[row["id"], row["frames"]]] |= {
                k: v for k, v in row.items() if v is not None
            }
    return out


def _varies(values) -> bool:
    """Tell whether two rows differ; one number known of some rows only is a difference."""
    first = values[:1]
    same = (values == first) | (np.isnan(values) & np.isnan(first))
    return values.size > 0 and not same.all()


def _question(rows) -> Block:
    return Block(_words([row.get("question", "") for row in rows]), of_words)


def _options(rows) -> Block:
    texts = [" ".join([*_candidates(row), row.get("answer", "")]) for row in rows]
    return Block(_words(texts), of_words)


def _words(texts: Sequence[Any]) -> Float[np.ndarray, "row bucket"]:
    counts = np.zeros((len(texts), _BUCKETS))
    for row, text in zip(counts, texts, strict=True):
        for word in re.findall(r"\w+", str(text).lower()):
            row[zlib.crc32(word.encode()) % _BUCKETS] += 1
    return counts[:, counts.any(axis=0)]


def _candidates(row: Row) -> list[str]:
    held = row.get("candidates") or ()
    return [str(text) for text in held] if isinstance(held, list | tuple) else [str(held)]


def _lengths(rows) -> Block:
    return Block(np.array([[*_counts(row)] for row in rows]), of_numbers)


def _counts(row: Row) -> Iterator[float]:
    """Yield how many options there are, how long texts are, which option is right."""
    options, answer = _candidates(row), str(row.get("answer", ""))
    lengths = [len(text) for text in options] or [0]
    yield from (len(options), min(lengths), float(np.mean(lengths)), max(lengths))
    yield from (len(str(row.get("question", ""))), len(answer))
    yield options.index(answer) if answer in options else -1


def _file(rows) -> Block:
    """Return sizes, rates and kinds; a kind is one number per value that occurs."""
    sizes = np.log1p(np.maximum([[_number(row, n) for n in _SIZES] for row in rows], 0))
    rates = [[_number(row, "fps"), _bit_rate(row)] for row in rows]
    kinds = [
        [float(row.get(name) == value) for row in rows]
        for name in _KINDS
        for value in sorted({str(row[name]) for row in rows if name in row})
    ]
    flags = np.array(kinds).reshape(len(kinds), len(rows)).T
    return Block(np.concatenate([sizes, rates, flags], axis=1), of_numbers)


def _bit_rate(row: Row) -> float:
    """Return the logarithm of bytes a second."""
    size, duration = _number(row, "file_bytes"), _number(row, "duration")
    return float(np.log1p(size / duration)) if duration > 0 and size >= 0 else np.nan


def _number(row: Row, name: str) -> float:
    value = row.get(name)
    is_number = isinstance(value, int | float) and np.isfinite(value)
    return float(value) if is_number else np.nan  # type: ignore[arg-type]


def _movement(rows) -> Block:
    values = [[_number(row, n) for n in ("motion", "illumination")] for row in rows]
    return Block(np.array(values), of_numbers)


def _vector(name: str) -> Callable[[Sequence[Row]], Block]:
    def make(rows: Sequence[Row]) -> Block:
        width = max((len(row.get(name) or ()) for row in rows), default=0)
        values = np.full((len(rows), width), np.nan, np.float32)
        for place, row in zip(values, rows, strict=True):
            held = row.get(name) or ()
            place[: len(held)] = held
        return Block(values, of_numbers)

    return make


_BLOCKS: dict[str, Callable[[Sequence[Row]], Block]] = {
    "words of the question": _question,
    "words of options and answer": _options,
    "number and length of texts": _lengths,
    "file: duration, size, codec, rates": _file,
    "motion and illumination": _movement,
    "frames: colour, texture, change": _vector("appearance"),
    "vision tower": _vector("embedding"),
}
