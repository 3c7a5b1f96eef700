"""Read the cells of a list: text, truth, numbers, lists; each format writes them its way.

Every function raises ValueError, with the column and the value, where a cell is no such.
"""

import math
from collections.abc import Mapping
from typing import Any

from vidsme_jax import reading

_TRUTHS = {"1": 1, "0": 0, "1.0": 1, "0.0": 0, "true": 1, "false": 0}


def is_missing(value: Any) -> bool:
    """Return whether a cell is empty; JSON, CSV and Parquet write that differently."""
    if value is None or (isinstance(value, str) and not value):
        return True
    return isinstance(value, float) and math.isnan(value)


def text_cell(record: Mapping[str, Any], column: str) -> str:
    """Return the text of a column; "" for an empty cell."""
    value = record.get(column)
    if isinstance(value, dict | list):
        raise ValueError(f"{column}={str(value)[:60]!r}, expected text")
    if isinstance(value, bytes):
        raise ValueError(f"{column}={str(value)[:60]}, expected text and not bytes")
    text = "" if is_missing(value) else str(value)
    return checked_text(text, column)


def name_cell(record: Mapping[str, Any], column: str) -> str:
    """Return the text of a column of names; whole numbers lose the point of a float."""
    value = record.get(column)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return text_cell(record, column)


def checked_text(text: str, column: str) -> str:
    """Return a text; lone surrogates, which no tokenizer takes, are refused."""
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(f"{column}={text[:60]!r} is not valid Unicode")
    return text


def label_cell(value: Any) -> int | None:
    """Return a label, 1 or 0; None for an empty cell.

    CSV has it as text, Parquet perhaps as a float, and pandas as True and False.
    """
    if is_missing(value):
        return None
    label = _TRUTHS.get(str(value).strip().lower())
    if label is None:
        raise ValueError(
            f"label={value!r}, expected 1 or true (member), 0 or false (non-member)"
        )
    return label


def list_cell(value: Any, column: str, what: str) -> list[Any]:
    """Return a list; [] for an empty cell. CSV has no lists, but JSON in the cell.

    Args:
        value: the cell.
        column: its column.
        what: what the list should hold, in words for the error.
    """
    if is_missing(value):
        return []
    if isinstance(value, str):
        try:
            value = reading.parse_json(value)
        except ValueError:
            value = None
    if not isinstance(value, list):
        raise ValueError(f"{column} is not a list, expected {what}")
    return value


def number_cell(value: Any, column: str, unit: str) -> float | None:
    """Return a finite number; None for an empty cell.

    Args:
        value: the cell; CSV has numbers as text.
        column: its column.
        unit: unit of the number, in words for the error.
    """
    if is_missing(value):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{column}={str(value)[:40]!r}, expected {unit}")
    return number
