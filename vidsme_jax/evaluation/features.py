"""Make the features of the blind baselines from facts about the clips."""

import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

import numpy as np
from jaxtyping import Bool, Float

from vidsme_jax.evaluation.facts import Facts
from vidsme_jax.stats.cross_validation import FeatureBlock, of_numbers, of_words

_LONGEST = 10_000  # characters of a text that are looked at
_BUCKETS = 4096  # of words by their checksum: no vocabulary has to be fitted
_SIZES = ("duration", "frames_total", "width", "height", "file_bytes")  # as logarithms
_KINDS = ("codec", "container")
_TEXTS = ("question", "candidates", "answer")
_MOVEMENT = ("motion", "illumination")
_VECTORS = ("appearance", "embedding")
_ALL = "all of these together"

# The columns that `baselines` reads.
COLUMNS = frozenset((*_SIZES, *_KINDS, *_TEXTS, *_MOVEMENT, *_VECTORS, "fps"))


def baselines(facts: Facts) -> dict[str, tuple[FeatureBlock, ...]]:
    """Return the feature blocks of each baseline, by its name.

    A block that is equal in all rows is left out.

    Args:
        facts: those of `COLUMNS` that a run has.
    """
    blocks = {name: make(facts) for name, make in _BLOCKS.items()}
    varied = {name: block for name, block in blocks.items() if _varies(block.values)}
    out = {name: (block,) for name, block in varied.items()}
    return out | ({_ALL: tuple(varied.values())} if len(varied) > 1 else {})


def _varies(values) -> bool:
    """Tell whether any row differs from the first; NaN differs from a number."""
    first = values[:1]
    same = (values == first) | (np.isnan(values) & np.isnan(first))
    return values.size > 0 and not same.all()


def _question(facts: Facts) -> FeatureBlock:
    """Return counts of the words of the question."""
    return FeatureBlock(_words(_texts(facts, "question")), of_words)


def _options(facts: Facts) -> FeatureBlock:
    """Return counts of the words of the answer options and the answer."""
    answers = _texts(facts, "answer")
    options = zip(_candidates(facts), answers, strict=True)
    texts = [" ".join([*candidates, answer]) for candidates, answer in options]
    return FeatureBlock(_words(texts), of_words)


def _texts(facts: Facts, name: str) -> list[str]:
    """Return the start of a column's texts; empty where unknown."""
    return ["" if value is None else str(value)[:_LONGEST] for value in facts.of(name)]


def _words(texts: list[str]) -> Float[np.ndarray, "row bucket"]:
    """Return how often words of each bucket occur in each text."""
    counts = np.zeros((len(texts), _BUCKETS))
    for row, text in zip(counts, texts, strict=True):
        for word in re.findall(r"\w+", text.lower()):
            row[zlib.crc32(word.encode()) % _BUCKETS] += 1
    return counts[:, counts.any(axis=0)]


def _candidates(facts: Facts) -> list[list[str]]:
    """Return the answer options of each row; empty where unknown."""
    return [
        [str(text)[:_LONGEST] for text in value]
        if isinstance(value, list | tuple)
        else ([str(value)[:_LONGEST]] if value else [])
        for value in facts.of("candidates")
    ]


def _lengths(facts: Facts) -> FeatureBlock:
    """Return numbers and lengths of the texts."""
    columns = (_candidates(facts), _texts(facts, "question"), _texts(facts, "answer"))
    rows = [[*_counts(*row)] for row in zip(*columns, strict=True)]
    return FeatureBlock(np.array(rows), of_numbers)


def _counts(options: list[str], question: str, answer: str) -> Iterator[float]:
    """Yield the number of options, the lengths of the texts, and the right option."""
    lengths = [len(text) for text in options] or [0]
    yield from (len(options), min(lengths), float(np.mean(lengths)), max(lengths))
    yield from (len(question), len(answer))
    yield options.index(answer) if answer in options else -1


def _file(facts: Facts) -> FeatureBlock:
    """Return sizes, rates and kinds of the file; each kind is a column of 0 and 1."""
    sizes = [np.log1p(np.maximum(_numbers(facts, name), 0)) for name in _SIZES]
    rates = [_numbers(facts, "fps"), _bit_rate(facts)]
    flags = chain.from_iterable(_flags(facts.of(name)) for name in _KINDS)
    columns = np.array([*sizes, *rates, *flags], float)
    return FeatureBlock(np.ascontiguousarray(columns.T), of_numbers)


def _flags(values: list[object]) -> list[Bool[np.ndarray, "row"]]:
    """Return which rows have each value that occurs."""
    kinds = sorted({str(value) for value in values if value is not None})
    return [np.array([value == kind for value in values]) for kind in kinds]


def _bit_rate(facts: Facts) -> Float[np.ndarray, "row"]:
    """Return the logarithm of bytes a second."""
    size, duration = _numbers(facts, "file_bytes"), _numbers(facts, "duration")
    exists = (duration > 0) & (size >= 0)
    rate = np.full(facts.rows, np.nan)
    rate[exists] = np.log1p(size[exists] / duration[exists])
    return rate


def _numbers(facts: Facts, name: str) -> Float[np.ndarray, "row"]:
    """Return a column as numbers; NaN where a value is no finite number."""
    return np.array([_number(value) for value in facts.of(name)], float)


def _number(value: object) -> float:
    """Return a finite number as float; NaN for anything else."""
    is_number = isinstance(value, int | float) and np.isfinite(value)
    return float(value) if is_number else np.nan  # type: ignore[arg-type]


def _movement(facts: Facts) -> FeatureBlock:
    """Return motion and illumination."""
    columns = [_numbers(facts, name) for name in _MOVEMENT]
    return FeatureBlock(np.stack(columns, axis=1), of_numbers)


def _vector(name: str, facts: Facts) -> FeatureBlock:
    """Return a column of vectors, padded with NaN to the same width."""
    vectors: list[list[float]] = [value or [] for value in facts.of(name)]  # type: ignore[misc]
    width = max(map(len, vectors), default=0)
    values = np.full((facts.rows, width), np.nan, np.float32)
    for row, vector in zip(values, vectors, strict=True):
        row[: len(vector)] = vector
    return FeatureBlock(values, of_numbers)


_BLOCKS: dict[str, Callable[[Facts], FeatureBlock]] = {
    "words of the question": _question,
    "words of options and answer": _options,
    "number and length of texts": _lengths,
    "file: duration, size, codec, rates": _file,
    "motion and illumination": _movement,
    "frames: colour, texture, change": partial(_vector, "appearance"),
    "vision tower": partial(_vector, "embedding"),
}
