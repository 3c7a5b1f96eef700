"""How numbers and texts are written: in the report, the tables and on the terminal."""

from collections.abc import Sequence
from typing import Any


def estimate(metrics: dict[str, Any], key: str, digits: int = 3) -> str:
    """Return `value (low to high)`; a dash where there is no value."""
    value, ends = number(metrics[key], digits), metrics[f"{key}_interval"]
    if metrics[key] is None or ends[0] is None:
        return value
    return f"{value} ({span(ends, digits)})"


def span(ends: list[float | None], digits: int = 3) -> str:
    """Return `low to high`, or a dash."""
    low, high = (number(end, digits) for end in ends)
    return low if low == "–" else f"{low} to {high}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a value with so many decimals, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(share: float) -> str:
    """Return a share as a percentage, `0.05` as `5 %`."""
    return f"{100 * share:g} %"


def side_of(ends, middle: float = 0.5) -> str:
    """Tell on which side of a number an interval lies: above, below, or in it."""
    low, high = ends
    return "above" if low > middle else "below" if high < middle else "in"


def counted(count: int, thing: str) -> str:
    """Return `1 clip`, `2 clips`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
