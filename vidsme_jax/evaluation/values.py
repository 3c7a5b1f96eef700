"""The small types that a result is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; None where they do not exist.

    Attributes:
        value: the number.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """Return `value (low to high)` with two digits; a dash for what does not exist."""
        numbers = (self.value, self.low, self.high)
        texts = ["–" if number is None else f"{number:.2f}" for number in numbers]
        return f"{texts[0]} ({texts[1]} to {texts[2]})"


@dataclass(frozen=True)
class Significance:
    """The p-values of a score.

    Attributes:
        p_value: of the score by itself.
        p_adjusted: corrected for the number of scores.
        detectable_auc: the AUC that four of five such audits would find, at the p-value
            that decides; None where these clips are too few for any.
    """

    p_value: float | None
    p_adjusted: float | None
    detectable_auc: float | None


@dataclass(frozen=True)
class ClassCounts:
    """The number of rows, or groups, of each class."""

    members: int
    non_members: int


@dataclass(frozen=True)
class LabelCounts:
    """The number of rows, or groups, with each label."""

    member: int
    non_member: int
    unlabelled: int


@dataclass(frozen=True)
class RowCounts:
    """The number of rows and groups of a frame count, by label and status.

    Attributes:
        rows: number of all rows.
        labels: number of rows by label.
        status: number of rows by status and label.
        groups: number of groups by the label of their rows.
        mixed_groups: number of groups that have rows with both labels.
        mixed_clips: number of clips that stand under both labels by different names, their
            frames being equal to the last bit.
        mixed_names: names of a few such groups.
        evaluated: number of rows with a label and status ok.
        evaluated_groups: number of groups of the evaluated rows.
    """

    rows: int
    labels: LabelCounts
    status: dict[str, LabelCounts]
    groups: LabelCounts
    mixed_groups: int
    mixed_clips: int
    mixed_names: tuple[str, ...]
    evaluated: ClassCounts
    evaluated_groups: ClassCounts
