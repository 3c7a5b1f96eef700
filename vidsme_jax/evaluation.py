"""How well one score separates members from non-members, and how sure that is.

Higher always means member here: `evaluation_table.py` turns each score round by its
orientation first. NaN rows are left out; infinite values are values, and sort. Rows of
one unit (one video) are never counted as independent: bootstrap and permutation move
whole units. Numpy only.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from vidsme_jax.errors import InputError

PUBLISHED_METRICS = ("auc", "accuracy", "tpr_below_5")
_CHUNK = 1 << 18  # entries of a temporary array: rows times resamples


@dataclass(frozen=True)
class EvaluationSettings:
    """How to evaluate.

    Attributes:
        fprs: false positive rates at which the true positive rate is read.
        bootstrap: resamples behind every interval.
        permutations: label permutations behind the p-value of the primary score.
        confidence: coverage of the intervals.
        seed: of both; the same seed gives the same numbers.
        published: also give the metrics by the published code's rules.
    """

    fprs: tuple[float, ...] = (0.01, 0.05, 0.10)
    bootstrap: int = 1000
    permutations: int = 9999
    confidence: float = 0.95
    seed: int = 0
    published: bool = False

    def __post_init__(self):
        for name in ("bootstrap", "permutations"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}, expected at least 1")
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence={self.confidence}, expected between 0 and 1")
        if not all(0 <= fpr <= 1 for fpr in self.fprs):
            raise InputError(f"fprs={self.fprs}, expected numbers from 0 to 1")


def settings_dict(settings: EvaluationSettings) -> dict[str, Any]:
    """Return the settings as JSON, for the record beside the numbers."""
    return asdict(settings) | {"fprs": list(settings.fprs)}


def roc(
    scores: Real[np.ndarray, "row"], labels: Shaped[np.ndarray, "row"]
) -> tuple[Float[np.ndarray, "step"], Float[np.ndarray, "step"], Float[np.ndarray, "step"]]:
    """Return the step ROC: false and true positive rates, and their thresholds.

    One step per distinct score, downwards, after (0, 0) at threshold +inf; rows with
    score >= threshold are called members. A rate of an empty class is NaN.

    Args:
        scores: higher = member; NaN rows are left out.
        labels: 1 or true for members, 0 or false for non-members.

    Raises:
        ValueError: labels other than 0 and 1.
    """
    scores, member = _known(scores, labels)
    one = np.ones((len(scores), 1), np.float32)
    tp, fp, thresholds = _cumulative(scores, member, one)
    rates = [
        _ratio(np.append(0, count[:, 0]), np.sum(side))
        for count, side in ((fp, ~member), (tp, member))
    ]
    return *rates, np.append(np.inf, thresholds)


def auc(scores: Real[np.ndarray, "row"], labels: Shaped[np.ndarray, "row"]) -> float:
    """Return the area under the ROC curve, ties counted half; higher = member.

    Args:
        scores: NaN rows are left out.
        labels: 1 or true for members, 0 or false for non-members.

    Returns:
        A number from 0 to 1; NaN where a class is empty.

    Raises:
        ValueError: labels other than 0 and 1.
    """
    scores, member = _known(scores, labels)
    one = np.ones((len(scores), 1), np.float32)
    return float(weighted_metrics(scores, member, one, ())[0][0])


def tpr_at_fpr(
    scores: Real[np.ndarray, "row"], labels: Shaped[np.ndarray, "row"], fpr: float
) -> float:
    """Return the largest true positive rate with false positive rate <= `fpr`.

    Read off the step ROC, without interpolation; NaN where a class is empty.
    """
    scores, member = _known(scores, labels)
    one = np.ones((len(scores), 1), np.float32)
    return float(weighted_metrics(scores, member, one, (fpr,))[1][0, 0])


def best_balanced_accuracy(
    scores: Real[np.ndarray, "row"], labels: Shaped[np.ndarray, "row"]
) -> tuple[float, float]:
    """Return the best (TPR + 1 - FPR) / 2 over thresholds, and its threshold.

    The threshold is chosen on the data it is measured on, so the number is optimistic:
    about 0.52 for scores that carry nothing, with 500 rows a class.
    """
    fpr, tpr, thresholds = roc(scores, labels)
    balanced = (tpr + 1 - fpr) / 2
    if np.isnan(balanced).any():
        return math.nan, math.nan
    best = int(np.argmax(balanced))
    return float(balanced[best]), float(thresholds[best])


def published_metrics(
    scores: Real[np.ndarray, "row"], labels: Shaped[np.ndarray, "row"]
) -> dict[str, float]:
    """Return the three metrics as the published code computes them.

    `auc` is never flipped. `accuracy` is the largest 1 - (FPR + 1 - TPR) / 2.
    `tpr_below_5` is the TPR at the last vertex of the ROC with FPR < 0.05: strictly, not
    interpolated, and on a ROC from which scikit-learn has dropped the vertices between
    equal steps, so that it may be far left of 0.05. Infinite scores first become the
    largest or smallest finite one.

    Args:
        scores: higher = member; the published scores, where low is member, negated. NaN
            rows are left out as everywhere here, where the published code would stop.
        labels: 1 or true for members, 0 or false for non-members.

    Returns:
        NaN where a class is empty or no score is finite.

    Raises:
        ValueError: labels other than 0 and 1.

    Source: the evaluation in the Vid-SME code (arXiv 2506.03179), `roc_curve` of
    scikit-learn with its defaults.
    """
    scores, member = _known(scores, labels)
    finite = scores[np.isfinite(scores)]
    if len(finite) == 0 or member.all() or not member.any():
        return dict.fromkeys(PUBLISHED_METRICS, math.nan)
    fpr, tpr = _thinned_roc(np.clip(scores, finite.min(), finite.max()), member)
    values = (
        np.trapezoid(tpr, fpr),
        np.max(1 - (fpr + 1 - tpr) / 2),
        tpr[np.flatnonzero(fpr < 0.05)[-1]],
    )
    return dict(zip(PUBLISHED_METRICS, map(float, values), strict=True))


def bootstrap_weights(
    member: Bool[np.ndarray, "row"],
    unit: Int[np.ndarray, "row"],
    settings: EvaluationSettings,
) -> Float[np.ndarray, "row resample"]:
    """Return how often each row occurs: once in column 0, then in each resample.

    Units are drawn with replacement within each class, as many as the class has; the
    rows of a unit come together.
    """
    rng = np.random.default_rng(settings.seed)
    weights = np.ones((len(member), 1 + settings.bootstrap), np.float32)
    for side in (member, ~member):
        if not side.any():
            continue
        units, place = np.unique(unit[side], return_inverse=True)
        even = np.full(len(units), 1 / len(units))
        counts = rng.multinomial(len(units), even, size=settings.bootstrap)
        weights[side, 1:] = counts.T[place]
    return weights


def weighted_metrics(
    scores: Float[np.ndarray, "row"],
    member: Bool[np.ndarray, "row"],
    weights: Float[np.ndarray, "row resample"],
    fprs: tuple[float, ...],
) -> tuple[Float[np.ndarray, "resample"], Float[np.ndarray, "fpr resample"]]:
    """Return AUC and TPR at each FPR for every column of weights, from one sort.

    Args:
        scores: higher = member, without NaN.
        member: labels.
        weights: whole numbers, how often a row counts.
        fprs: rule `fpr <= t` on the step ROC, no interpolation.

    Returns:
        float64; NaN where a resample holds no row of a class.
    """
    step = max(1, _CHUNK // max(1, len(scores)))
    parts = [
        _metrics_of_chunk(scores, member, weights[:, start : start + step], fprs)
        for start in range(0, weights.shape[1], step)
    ]
    areas, hits = zip(*parts, strict=True)
    return np.concatenate(areas), np.concatenate(hits, axis=1)


def permutation_p(
    scores: Float[np.ndarray, "row"],
    member: Bool[np.ndarray, "row"],
    unit: Int[np.ndarray, "row"],
    settings: EvaluationSettings,
) -> float:
    """Return the one-sided p-value of the AUC under permuted labels of whole units.

    (1 + number of permuted AUCs >= the observed one) / (1 + permutations); NaN rows are
    left out; NaN where a class is empty.
    """
    known = ~np.isnan(scores)
    scores, member, unit = scores[known], member[known], unit[known]
    if not member.any() or member.all():
        return math.nan
    _, first, place = np.unique(unit, return_index=True, return_inverse=True)
    sizes = np.bincount(place)
    ranks = np.bincount(place, weights=_midranks(scores))
    observed = _rank_auc(member[first].astype(float)[None], sizes, ranks)[0]
    rng = np.random.default_rng(settings.seed)
    reached, step = 0, max(1, _CHUNK // len(sizes))
    for start in range(0, settings.permutations, step):
        rows = min(step, settings.permutations - start)
        permuted = np.tile(member[first].astype(float), (rows, 1))
        rng.permuted(permuted, axis=1, out=permuted)
        # The margin: equal areas from units of unequal size differ by rounding.
        reached += int(np.sum(_rank_auc(permuted, sizes, ranks) >= observed - 1e-12))
    return (1 + reached) / (1 + settings.permutations)


def interval(
    values: Float[np.ndarray, "resample"], confidence: float
) -> tuple[float, float]:
    """Return the percentile interval of resampled values; NaN ones are left out."""
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return math.nan, math.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def roc_band(
    scores: Float[np.ndarray, "row"],
    member: Bool[np.ndarray, "row"],
    unit: Int[np.ndarray, "row"],
    fprs: tuple[float, ...],
    settings: EvaluationSettings,
) -> tuple[Float[np.ndarray, "fpr"], Float[np.ndarray, "fpr"]]:
    """Return the pointwise bootstrap interval of the TPR at each FPR, for a figure."""
    known = ~np.isnan(scores)
    weights = bootstrap_weights(member, unit, settings)[known]
    _, hits = weighted_metrics(scores[known], member[known], weights, fprs)
    ends = [interval(row[1:], settings.confidence) for row in hits]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])


def _known(scores, labels):
    """Split off NaN rows; labels become booleans."""
    labels = np.asarray(labels)
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels={np.unique(labels)}, expected 0 and 1 only")
    scores = np.asarray(scores, np.float64)
    known = ~np.isnan(scores)
    return scores[known], labels[known] == 1


def _ratio(count, total):
    return np.divide(
        count, total, out=np.full(np.shape(count), np.nan), where=np.asarray(total) > 0
    )


def _cumulative(scores, member, weights):
    """Weighted true and false positives at each distinct score, downwards."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
    weights, member = weights[order], member[order][:, None]
    tp = np.cumsum(weights * member, axis=0)
    fp = np.cumsum(weights * ~member, axis=0)
    return tp[last], fp[last], ordered[last]


def _thinned_roc(scores, member):
    """ROC without the vertices between two equal steps, in counts; then (0, 0) in front.

    In this order, as scikit-learn has it: (0, 0) takes no part in the thinning.
    """
    tp, fp, _ = _cumulative(scores, member, np.ones((len(scores), 1)))
    tp, fp = tp[:, 0], fp[:, 0]
    bend = (np.diff(fp, 2) != 0) | (np.diff(tp, 2) != 0)
    kept = np.concatenate([[True], bend, [True]]) if len(fp) > 2 else slice(None)
    return np.append(0, fp[kept]) / fp[-1], np.append(0, tp[kept]) / tp[-1]


def _metrics_of_chunk(scores, member, weights, fprs):
    columns = np.arange(weights.shape[1])
    ours, tp = _downwards(scores[member], weights[member])
    theirs, fp = _downwards(scores[~member], weights[~member])
    positives, negatives = tp[-1], fp[-1]
    # Of the pairs, those in which the member is below; ties count half.
    above, upto = (np.searchsorted(-theirs, -ours, side) for side in ("left", "right"))
    below = np.diff(tp, axis=0) * (fp[above] + fp[upto]) / 2
    pairs = positives.astype(float) * negatives
    area = pairs - np.sum(below, axis=0, dtype=np.float64)
    # Members above each non-member: what is caught if that one may not be.
    caught = np.append(np.searchsorted(-ours, -theirs, "left"), len(ours))
    hits = np.empty((len(fprs), len(columns)))
    for k, fpr in enumerate(fprs):
        # Counts are whole; 1e-6 forgives the rounding of a product such as 0.1 * 30.
        allowed = np.floor(fpr * negatives.astype(float) + 1e-6)
        hits[k] = tp[caught[np.sum(fp[1:] <= allowed, axis=0)], columns]
    valid = np.where(negatives > 0, positives, 0).astype(float)
    return _ratio(area, pairs), _ratio(hits, valid[None])


def _downwards(scores, weights):
    """Sort downwards; return scores and how much weight the first n rows have."""
    order = np.argsort(-scores, kind="stable")
    sums = np.cumsum(weights[order], axis=0)
    none = np.zeros((1, weights.shape[1]), weights.dtype)
    return scores[order], np.concatenate([none, sums])


def _midranks(scores):
    """Ranks from 1, tied values sharing their mean rank."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _rank_auc(labels, sizes, ranks):
    """AUC by the rank sum of the members, for each row of unit labels."""
    positives = labels @ sizes.astype(float)
    negatives = np.sum(sizes) - positives
    return (labels @ ranks - positives * (positives + 1) / 2) / (positives * negatives)
