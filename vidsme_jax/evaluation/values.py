"""The small values that a result is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; None where it does not exist."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Significance:
    """P-values: of a score by itself, and corrected for the number of scores."""

    p_value: float | None
    p_adjusted: float | None


@dataclass(frozen=True)
class ClassCounts:
    """How many rows, or groups, of each class."""

    members: int
    non_members: int


@dataclass(frozen=True)
class LabelCounts:
    """How many rows, or groups, with each label."""

    member: int
    non_member: int
    unlabelled: int


@dataclass(frozen=True)
class RowCounts:
    """What became of the rows of a frame count.

    Attributes:
        rows: all of them.
        labels: by their label.
        status: for each status, the rows by their label.
        groups: groups by the label of their rows.
        mixed_groups: groups that stand under both labels.
        evaluated: rows with a label and status ok.
        evaluated_groups: groups of those rows.
    """

    rows: int
    labels: LabelCounts
    status: dict[str, LabelCounts]
    groups: LabelCounts
    mixed_groups: int
    evaluated: ClassCounts
    evaluated_groups: ClassCounts
