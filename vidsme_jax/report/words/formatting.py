"""Format numbers and lists of names for report and terminal."""

from collections.abc import Sequence

from vidsme_jax.evaluation.values import ClassCounts, Estimate


def with_interval(estimate: Estimate, digits: int = 3) -> str:
    """Return `value (low to high)`, or a dash where there is no value."""
    value = number(estimate.value, digits)
    if estimate.value is None or estimate.low is None:
        return value
    return f"{value} ({span(estimate, digits)})"


def span(estimate: Estimate, digits: int = 3) -> str:
    """Return the interval `low to high`, or a dash where there is none."""
    low, high = number(estimate.low, digits), number(estimate.high, digits)
    return low if low == "–" else f"{low} to {high}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a value with some decimals, or a dash where there is no value."""
    return "–" if value is None else f"{value:.{digits}f}"


def p_text(value: float | None) -> str:
    """Return a p-value with two significant digits, or a dash where there is none."""
    return "–" if value is None else f"{value:.2g}"


def or_one(p_value: float | None) -> float:
    """Return a p-value, or 1 where there is none."""
    return 1.0 if p_value is None else p_value


def percent(share: float) -> str:
    """Return a share as a percentage, `0.05` as `5 %`."""
    return f"{100 * share:g} %"


def side_of(estimate: Estimate, middle: float = 0.5) -> str:
    """Return where an interval lies: above or below a number, or with the number in it.

    A missing interval excludes nothing, so the number is in it.
    """
    if estimate.low is not None and estimate.low > middle:
        return "above"
    return "below" if estimate.high is not None and estimate.high < middle else "in"


def is_small(p_value: float | None, confidence: float) -> bool:
    """Tell whether a p-value is at most 1 - confidence."""
    return p_value is not None and p_value <= 1 - confidence + 1e-12


def is_clear(p_value: float | None, confidence: float) -> bool:
    """Tell whether a one-sided p-value is as small as a two-sided interval asks for."""
    return is_small(p_value, (1 + confidence) / 2)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 clip`, `2 clips`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def both_classes(counts: ClassCounts) -> str:
    """Return the numbers of members and of non-members as text."""
    members = counted(counts.members, "member")
    return f"{members} and {counted(counts.non_members, 'non-member')}"


def listed(names: Sequence[str]) -> str:
    """Return names as a list in words: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
