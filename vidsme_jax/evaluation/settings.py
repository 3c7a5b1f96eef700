"""The settings with which score tables are evaluated."""

from dataclasses import dataclass

from vidsme_jax.errors import InputError, check_rates
from vidsme_jax.stats.metrics import FPR_RULES


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        fprs: false positive rates at which the true positive rate is read.
        rule: FPR rule: whether a rate of `fprs` may be reached (`<=`) or not (`<`, as
            published).
        bootstrap: number of resamples for every interval.
        permutations: number of label permutations for every p-value.
        splits: number of random splits of the groups, for choosing a score on one half.
        confidence: coverage of the intervals.
        delta: of the bounds on epsilon: probability with which privacy may fail.
        seed: of resamples, permutations and splits.
        published: whether to add the metrics as the published code computes them.
        score: name of the primary score, fixed in advance; None for `catalogue.PRIMARY`.
        by: columns of the table by whose values the primary score is evaluated apart.

    Raises:
        InputError: a value out of its range.
    """

    fprs: tuple[float, ...] = (0.0, 0.001, 0.01, 0.05, 0.10)
    rule: str = "<="
    bootstrap: int = 2000
    permutations: int = 9999
    splits: int = 200
    confidence: float = 0.95
    delta: float = 1e-5
    seed: int = 0
    published: bool = False
    score: str | None = None
    by: tuple[str, ...] = ()

    def __post_init__(self):
        for name in ("bootstrap", "permutations", "splits"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InputError(f"{name}={value!r}, expected at least 1")
        check_rates(self, "confidence", "delta", "seed")
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence={self.confidence}, expected between 0 and 1")
        if not 0 < self.delta < 1:
            raise InputError(f"delta={self.delta}, expected between 0 and 1")
        if not all(0 <= fpr <= 1 for fpr in self.fprs):
            raise InputError(f"fprs={self.fprs}, expected numbers from 0 to 1")
        if self.rule not in FPR_RULES:
            raise InputError(f"rule={self.rule}, there are {', '.join(FPR_RULES)}")
