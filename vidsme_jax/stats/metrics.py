"""Measure how well scores separate members from non-members: ROC points and areas.

Higher always means member here: the caller negates a score whose members are low.
NaN rows are left out; infinite values are values, and sort. NumPy only.

A true positive rate "at 5 % FPR" is read off the step ROC, never interpolated. The FPR
rule `<=` allows a false positive rate of 5 % itself; the published code's `<` does not.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

PUBLISHED_METRICS = ("auc", "accuracy", "tpr_below_5")
FEW_GROUPS = 10  # a class with fewer groups is said to rest on few
FPR_RULES = ("<=", "<")
RECALL = 0.95  # true positive rate at which the false positive rate is read


class LabelledScores(NamedTuple):
    """Scores of rows with their labels and clusters.

    Attributes:
        scores: higher = member; NaN where a row has no value.
        member: whether a row is a member, the same for all rows of a cluster.
        cluster: index of each row's cluster. Rows of a cluster are not independent, such
            as those of one video; clusters are resampled and permuted whole.
    """

    scores: Float[np.ndarray, "score row"]
    member: Bool[np.ndarray, "row"]
    cluster: Int[np.ndarray, "row"]


class Metrics(NamedTuple):
    """Metrics as arrays over scores, or over scores and resamples of their rows.

    Attributes:
        auc: area under the ROC, ties counted half.
        average_precision: area under the steps of precision over recall.
        balanced_accuracy: the best (TPR + 1 - FPR) / 2 over thresholds, at least 1/2. The
            threshold is chosen on the measured data, so the value is optimistic: about
            0.52 for random scores with 500 rows a class.
        fpr_at_recall: the smallest FPR with a TPR of at least `RECALL`.
        tpr: the largest TPR at each false positive rate.
    """

    auc: Float[np.ndarray, "*scores"]
    average_precision: Float[np.ndarray, "*scores"]
    balanced_accuracy: Float[np.ndarray, "*scores"]
    fpr_at_recall: Float[np.ndarray, "*scores"]
    tpr: Float[np.ndarray, "*scores fpr"]


class Steps(NamedTuple):
    """Rows in falling order of each score; rows without a value come last.

    Attributes:
        order: indices of the rows.
        member: whether a row is a member with a value.
        other: whether a row is a non-member with a value.
        begins: whether a row is the first with its value of the score.
        ends: whether a row is the last with its value; only there can a threshold lie.
    """

    order: Int[np.ndarray, "*scores row"]
    member: Bool[np.ndarray, "*scores row"]
    other: Bool[np.ndarray, "*scores row"]
    begins: Bool[np.ndarray, "*scores row"]
    ends: Bool[np.ndarray, "*scores row"]


def steps(
    scores: Real[np.ndarray, "*scores row"], labels: Shaped[np.ndarray, "row"]
) -> Steps:
    """Return the rows in falling order of each score; see `Steps`.

    Raises:
        ValueError: labels other than 0 and 1.
    """
    labels = np.asarray(labels)
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels={np.unique(labels)}, expected 0 and 1 only")
    order = np.argsort(-np.asarray(scores, np.float64), axis=-1, kind="stable")
    sorted_scores = np.take_along_axis(scores, order, axis=-1)
    member, has_value = (labels == 1)[order], ~np.isnan(sorted_scores)
    changes = sorted_scores[..., 1:] != sorted_scores[..., :-1]
    edge = np.ones((*order.shape[:-1], min(1, order.shape[-1])), bool)
    return Steps(
        order,
        member & has_value,
        ~member & has_value,
        np.concatenate([edge, changes], axis=-1) & has_value,
        np.concatenate([changes, edge], axis=-1) & has_value,
    )


def value_span(
    ranked: Steps,
) -> tuple[Int[np.ndarray, "*scores row"], Int[np.ndarray, "*scores row"]]:
    """Return the first and the last position of the rows that share a row's value."""
    rows = np.arange(ranked.order.shape[-1])
    first = np.maximum.accumulate(np.where(ranked.begins, rows, 0), axis=-1)
    ends = np.where(ranked.ends, rows, len(rows) - 1)
    return first, np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]


def sum_by_cluster(
    values: Real[np.ndarray, "score row"], cluster: Int[np.ndarray, "row"]
) -> Real[np.ndarray, "score cluster"]:
    """Return the sums over the rows of each cluster, in the order of their indices."""
    order = np.argsort(cluster, kind="stable")
    ordered = cluster[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(cluster)])
    if not len(starts):
        return values
    return np.add.reduceat(values[:, order], starts, axis=1)


def measure(
    scores: Real[np.ndarray, "*scores row"],
    labels: Shaped[np.ndarray, "row"],
    fprs: tuple[float, ...] = (),
    fpr_rule: str = "<=",
) -> Metrics:
    """Return the metrics of each score; NaN where a class has no value.

    Args:
        scores: higher = member; NaN rows are left out.
        labels: 1 or true for members, 0 or false for non-members.
        fprs: false positive rates at which the true positive rate is read.
        fpr_rule: one of `FPR_RULES`.

    Raises:
        ValueError: labels other than 0 and 1, or another FPR rule.
    """
    ranked = steps(scores, labels)
    sides = (ranked.member, ranked.other)
    tp, fp = (np.cumsum(side, axis=-1, dtype=float) for side in sides)
    totals = [np.sum(side, axis=-1, keepdims=True) for side in sides]
    is_whole = (totals[0] > 0) & (totals[1] > 0)
    positives, negatives = (np.where(is_whole, n, np.nan) for n in totals)
    tp_before, fp_before = (_before(count, ranked.ends) for count in (tp, fp))
    added = np.where(ranked.ends, tp - tp_before, 0)  # members of this score value
    lost = np.sum(added * (fp + fp_before), axis=-1, keepdims=True) / 2
    precise = np.sum(added * tp / np.maximum(tp + fp, 1), axis=-1, keepdims=True)
    gain = np.where(ranked.ends, tp / positives - fp / negatives, 0)
    is_enough = ranked.ends & (tp >= np.ceil(RECALL * positives - 1e-6))
    allowed = allowed_false(fprs, negatives, fpr_rule)
    caught = [
        _largest(tp, ranked.ends & (fp <= allowed[..., [n]])) for n in range(len(fprs))
    ]
    return Metrics(
        auc=(1 - lost / (positives * negatives))[..., 0],
        average_precision=(precise / positives)[..., 0],
        balanced_accuracy=((1 + _largest(gain, ranked.ends)) / 2 + 0 * positives)[..., 0],
        fpr_at_recall=(-_largest(-fp, is_enough, start=-np.inf) / negatives)[..., 0],
        tpr=np.concatenate([np.zeros_like(lost)[..., :0], *caught], axis=-1) / positives,
    )


def allowed_false(
    fprs: tuple[float, ...], negatives: Float[np.ndarray, "*n 1"], fpr_rule: str
) -> Float[np.ndarray, "*n fpr"]:
    """Return how many false positives each rate allows; with `<`, a rate of 0 allows -1.

    Counts are whole; 1e-6 forgives the rounding of a product such as 0.1 * 30.

    Raises:
        ValueError: the FPR rule is none of `FPR_RULES`.
    """
    if fpr_rule not in FPR_RULES:
        raise ValueError(f"rule={fpr_rule!r}, there are {', '.join(FPR_RULES)}")
    count = np.array(fprs, float) * negatives
    return np.floor(count + 1e-6) if fpr_rule == "<=" else np.ceil(count - 1e-6) - 1


def _before(count, ends):
    """Return the count at the last end before each row."""
    reached = np.maximum.accumulate(np.where(ends, count, 0), axis=-1)
    return np.concatenate([np.zeros_like(reached[..., :1]), reached[..., :-1]], axis=-1)


def _largest(values, where, start=0):
    """Return the largest value of each row among those where `where` is true."""
    return np.max(values, axis=-1, where=where, initial=start, keepdims=True)


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
    ranked = steps(scores, labels)
    fpr, tpr = (_rates(side, ranked.ends) for side in (ranked.other, ranked.member))
    thresholds = np.asarray(scores, np.float64)[ranked.order[ranked.ends]]
    return fpr, tpr, np.append(np.inf, thresholds)


def _rates(side, ends):
    """Return the share of a class up to each end, from 0 on; NaN for an empty class."""
    total = np.sum(side)
    count = np.append(0, np.cumsum(side)[ends])
    return count / total if total else np.full(len(count), np.nan)


def auc(scores: Real[np.ndarray, "row"], labels: Shaped[np.ndarray, "row"]) -> float:
    """Return the area under the ROC curve, ties counted half; see `measure`."""
    return float(measure(scores, labels).auc)


def published_metrics(
    scores: Real[np.ndarray, "row"], labels: Shaped[np.ndarray, "row"]
) -> dict[str, float]:
    """Return the three metrics as the published code computes them.

    `auc` is never flipped. `accuracy` is the largest 1 - (FPR + 1 - TPR) / 2.
    `tpr_below_5` is the TPR at the last vertex of the ROC with FPR strictly below 0.05,
    not interpolated. scikit-learn drops the vertices between equal steps from that ROC, so
    that the vertex may be far left of 0.05. Infinite scores first become the
    largest or smallest finite one.

    Args:
        scores: higher = member, so published scores are negated. NaN rows are left out as
            everywhere here; the published code would stop.
        labels: 1 or true for members, 0 or false for non-members.

    Returns:
        NaN where a class is empty or no score is finite.

    Raises:
        ValueError: labels other than 0 and 1.

    Source: the evaluation in the Vid-SME code (arXiv 2506.03179), `roc_curve` of
    scikit-learn with its defaults.
    """
    scores = np.asarray(scores, np.float64)
    finite = scores[np.isfinite(scores)]
    if len(finite) == 0:
        return dict.fromkeys(PUBLISHED_METRICS, math.nan)
    fpr, tpr, _ = roc(np.clip(scores, finite.min(), finite.max()), labels)
    if np.isnan(fpr + tpr).any():
        return dict.fromkeys(PUBLISHED_METRICS, math.nan)
    fpr, tpr = _thinned(fpr, tpr, scores, labels)
    values = (
        np.trapezoid(tpr, fpr),
        np.max(1 - (fpr + 1 - tpr) / 2),
        tpr[np.flatnonzero(fpr < 0.05)[-1]],
    )
    return dict(zip(PUBLISHED_METRICS, map(float, values), strict=True))


def _thinned(fpr, tpr, scores, labels):
    """Drop ROC vertices between two steps of equal counts; (0, 0) takes no part."""
    labels = np.asarray(labels)[~np.isnan(scores)]
    fp, tp = (
        np.rint(fpr[1:] * np.sum(labels == 0)),
        np.rint(tpr[1:] * np.sum(labels == 1)),
    )
    if len(fp) <= 2:
        return fpr, tpr
    is_bend = (np.diff(fp, 2) != 0) | (np.diff(tp, 2) != 0)
    kept = np.concatenate([[True, True], is_bend, [True]])
    return fpr[kept], tpr[kept]
