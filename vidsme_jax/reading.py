"""Read files that may come from anyone: regular files, below a size, within limits.

A pipe would never end, a device has no size, and a small file can stand for a large value.
Every reader of such files asks here first. What is refused is a ValueError with a sentence
that follows the file's name; callers add the name, and the option that gave it.
"""

import json
import os
import stat
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

MB = 10**6
# Largest sizes of files, in bytes.
CONFIG = 32 * MB  # config.json, the index of shards, run.json, calibration.json
TEMPLATE = MB  # a chat template
TOKENIZER = 256 * MB  # tokenizer.json, vocabularies, SentencePiece models
LIST = 256 * MB  # a manifest or a table, as JSON, JSON Lines, CSV or TSV
GRID = MB // 4  # the YAML of a sweep
# Largest numbers of values and of rows in a list, and of columns in a table.
VALUES = 20_000_000
ROWS = 1_000_000
COLUMNS = 10_000
_DEEPEST = 100  # lists and objects inside each other
_DIGITS = 300
_TOO_DEEP = f"its values are nested deeper than {_DEEPEST}"


def check_file(path: Path, most: int | None = None) -> None:
    """Refuse what is no regular file, or is larger than `most` bytes.

    Raises:
        ValueError: it is a pipe, a device, a folder, or too large.
        OSError: there is no such file, or it may not be read.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "a pipe or a device"
        raise ValueError(f"it is {kind}, expected a regular file")
    if most is not None and facts.st_size > most:
        raise ValueError(_too_large(facts.st_size, most))


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Raises:
        ValueError, OSError: see `check_file`.
    """
    check_file(path, most)
    # Files of the kernel have no size beforehand.
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(_too_large(len(content), most))
    return content


def _too_large(size: int, most: int) -> str:
    return f"it has {size / MB:,.1f} MB, expected up to {most / MB:g}"


def read_text(path: Path, most: int, as_written: bool = False) -> str:
    """Return the text of a file in UTF-8; a byte order mark is skipped.

    Args:
        path: the file.
        most: largest number of bytes.
        as_written: whether line ends stay; else all kinds become a line feed.

    Raises:
        ValueError, OSError: see `check_file`; or the bytes are no UTF-8.
    """
    text = read_bytes(path, most).decode("utf-8-sig")
    return text if as_written else text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, most: int = CONFIG) -> Any:
    """Return the value of a JSON file; see `parse_json`."""
    return parse_json(read_text(path, most))


def parse_json(text: str) -> Any:
    """Return the value of a JSON text; NaN and Infinity are read, as Python writes them.

    Raises:
        ValueError: no JSON, a key twice in an object, too many values or too deep.
    """
    check_values(text)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if isinstance(value, dict | list):
        check_depth(value)
    return value


def check_values(text: str) -> None:
    """Refuse a text that may hold more than `VALUES` values, or brackets too deep.

    Values of a list lie between commas. Commas in texts count, too: it is an upper bound.

    Raises:
        ValueError: with the number and the limit.
    """
    count = sum(map(text.count, ",[{"))
    if count > VALUES:
        raise ValueError(f"it holds up to {count:,} values, expected up to {VALUES:,}")


def check_width(names: Collection[str]) -> None:
    """Refuse a table of more columns than `COLUMNS`.

    Raises:
        ValueError: with the number and the limit.
    """
    if len(names) > COLUMNS:
        raise ValueError(f"it has {len(names):,} columns, expected up to {COLUMNS:,}")


def check_depth(value: Any) -> None:
    """Refuse a value with lists and mappings nested deeper than `_DEEPEST`.

    Raises:
        ValueError: with the limit.
    """
    level = [value]
    for _ in range(_DEEPEST):
        contents = (v.values() if isinstance(v, dict) else v for v in level)
        level = [v for inner in contents for v in inner if isinstance(v, dict | list)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _integer(digits: str) -> int:
    """Return a whole number; no float is as large as one of more digits."""
    if len(digits) > _DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of some pairs; JSON readers would keep the last of a key."""
    out = dict(pairs)
    if len(out) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise ValueError(f"the key {twice[:60]!r} stands twice in an object")
    return out


def check_inside(path: Path, folder: Path) -> None:
    """Refuse a file of a folder that is a link to a file elsewhere.

    Files of the hub's cache are links to its folder `blobs`, which is allowed.

    Raises:
        ValueError: with the target of the link.
    """
    target = Path(os.path.realpath(path))
    if target.is_relative_to(os.path.realpath(folder)):
        return
    if target.parent.name == "blobs" and target.parent.parent.name.startswith("models--"):
        return
    raise ValueError(f"it is a link to {target}, outside its folder; copy the file")
