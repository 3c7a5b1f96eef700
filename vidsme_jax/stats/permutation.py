"""Measure what chance does to the best of many scores, by permutations and by halves.

Among hundreds of scores some separate by chance. One test is the p-value of each score
against the largest of all scores under permuted labels. The other is how the score that
is best on half of the clusters does on the other half. NumPy, but for the areas of the
halves.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

from vidsme_jax.stats.metrics import LabelledScores, steps, sum_by_cluster, value_span
from vidsme_jax.stats.resampling import resampled_metrics

_CHUNK = 1 << 18  # most entries of a temporary array: clusters times permutations
_POWER = 0.8  # of an audit that is said to find something
_SAME = 1e-12  # by which equal areas from clusters of unequal size may differ


class PValues(NamedTuple):
    """One-sided p-values of the AUC of each score.

    (1 + permutations that reach the observed area) / (1 + permutations); NaN where a class
    has no value.

    Attributes:
        p: p-value of the score by itself.
        adjusted: p-value that any score reaches as many of its standard deviations. So
            the error rate holds for all scores together (Westfall and Young, 1993, single
            step).
        spread: standard deviation of each area under permuted labels.
        largest: the largest area of each permutation, in its standard deviations.
    """

    p: Float[np.ndarray, "score"]
    adjusted: Float[np.ndarray, "score"]
    spread: Float[np.ndarray, "score"]
    largest: Float[np.ndarray, "permutation"]


def permutation_test(rows: LabelledScores, permutations: int, seed: int) -> PValues:
    """Return the p-values of scores under labels permuted over whole clusters.

    All scores see the same permutations.

    Args:
        rows: scores and labels; a row without a value is left out.
        permutations: number of permutations.
        seed: of the permutations.
    """
    scores, member, cluster = rows
    _, first = np.unique(cluster, return_index=True)
    labels = member[first].astype(float)
    ranks, sizes = (sum_by_cluster(x, cluster) for x in _midranks(scores, member))
    observed = _areas(ranks, sizes, labels[:, None])[:, 0]
    rng, step = np.random.default_rng(seed), max(1, _CHUNK // max(1, len(first)))
    areas = [np.zeros((len(scores), 0))]
    for start in range(0, permutations, step):
        count = min(step, permutations - start)
        areas.append(_areas(ranks, sizes, _permuted(labels, count, rng).T))
    return permutation_p_values(np.concatenate(areas, axis=1), observed)


def permuted_labels(
    member: Bool[np.ndarray, "row"],
    cluster: Int[np.ndarray, "row"],
    permutations: int,
    seed: int,
) -> Float[np.ndarray, "row labelling"]:
    """Return the labels, 1 and 0, followed by permutations over whole clusters."""
    _, first, index = np.unique(cluster, return_index=True, return_inverse=True)
    labels = member[first].astype(float)
    permuted = _permuted(labels, permutations, np.random.default_rng(seed))
    return np.vstack([labels, permuted]).T[index]


def _permuted(labels, count: int, rng) -> Float[np.ndarray, "permutation cluster"]:
    """Return so many permutations of the labels of clusters."""
    return rng.permuted(np.tile(labels, (count, 1)), axis=1)


def permutation_p_values(
    areas: Float[np.ndarray, "score permutation"], observed: Float[np.ndarray, "score"]
) -> PValues:
    """Return how often areas under permuted labels reach the observed ones; NaN stays.

    A permutation that leaves a class without a value reaches nothing.
    """
    permutations = areas.shape[1]
    exists = ~np.isnan(observed)
    areas = np.where(np.isnan(areas), -np.inf, areas)
    finite = np.where(np.isfinite(areas), areas - 0.5, 0)
    spread = np.sqrt(np.maximum(np.mean(finite**2, axis=1), 1e-18))
    if exists.any():
        largest = np.max((areas[exists] - 0.5) / spread[exists, None], axis=0)
    else:
        largest = np.full(permutations, -np.inf)
    p = (1 + np.sum(areas >= observed[:, None] - _SAME, axis=1)) / (1 + permutations)
    below = np.searchsorted(np.sort(largest), (observed - 0.5) / spread - 1e-9, side="left")
    adjusted = (1 + permutations - below) / (1 + permutations)
    values = (np.where(exists, x, np.nan) for x in (p, adjusted, spread))
    return PValues(*values, largest)  # type: ignore[call-arg]


def detectable_areas(
    spread: Float[np.ndarray, "score"], limit: float
) -> Float[np.ndarray, "score"]:
    """Return the true AUC with which four of five such audits would notice a score.

    The measured areas are taken to scatter as they do under permuted labels.

    Args:
        spread: standard deviation of each area under permuted labels.
        limit: how many of them a measured area must lie above one half to be noticed.

    Returns:
        NaN where even an AUC of 1 would be missed more often, or all rows are equal.
    """
    area = 0.5 + (limit + ndtri(_POWER)) * spread
    return np.where((spread > 1e-6) & (area <= 1), area, np.nan)


def corrected_limit(largest: Float[np.ndarray, "permutation"], level: float) -> float:
    """Return how many standard deviations a score must reach for a corrected p-value.

    Args:
        largest: of `PValues`.
        level: largest corrected p-value that counts as a finding.

    Returns:
        Infinity where the permutations are too few for the level.
    """
    reaching = int(level * (1 + len(largest)) + 1e-9) - 1  # permutations that may
    if reaching < 0:
        return float("inf")
    return float(np.sort(largest)[len(largest) - 1 - reaching])


def _midranks(scores, member):
    """Return the rank of each row, from 1 and equal for ties, and if it has a value."""
    ranked = steps(scores, member)
    has_value = ranked.member | ranked.other
    first, last = value_span(ranked)
    rank = np.sum(has_value, axis=1, keepdims=True) - (first + last) / 2
    out = np.zeros(scores.shape)
    np.put_along_axis(out, ranked.order, np.where(has_value, rank, 0), axis=1)
    return out, (~np.isnan(scores)).astype(float)


def _areas(ranks, sizes, labels):
    """Return the AUC for each column of cluster labels, by the members' rank sum."""
    positives = sizes @ labels
    negatives = np.sum(sizes, axis=1, keepdims=True) - positives
    beaten = ranks @ labels - positives * (positives + 1) / 2
    pairs = positives * negatives
    return np.divide(beaten, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


class HalfChoices(NamedTuple):
    """The best of many scores on a random half of the clusters, and on the other half.

    Attributes:
        chosen: index of the score with the largest AUC on the first half.
        auc_seen: AUC of the chosen score on the first half.
        auc_held_out: its AUC on the other half; NaN where a class has no value.
    """

    chosen: Int[np.ndarray, "split"]
    auc_seen: Float[np.ndarray, "split"]
    auc_held_out: Float[np.ndarray, "split"]


def choose_on_half(rows: LabelledScores, splits: int, seed: int) -> HalfChoices:
    """Choose the score with the largest AUC on half of each class's clusters.

    Args:
        rows: scores, labels and clusters.
        splits: number of random splits into halves.
        seed: of the splits.
    """
    scores, member, cluster = rows
    rng = np.random.default_rng(seed)
    in_first = np.zeros((len(member), splits), bool)
    for side in (member, ~member):
        clusters, index = np.unique(cluster[side], return_inverse=True)
        halves = np.tile(np.arange(len(clusters)) < len(clusters) / 2, (splits, 1))
        rng.permuted(halves, axis=1, out=halves)
        in_first[side] = halves.T[index]
    weights = np.concatenate([in_first, ~in_first], axis=1).astype(np.uint16)
    areas = [metrics.auc for _, metrics in resampled_metrics(scores, member, weights)]
    seen, held_out = np.split(np.concatenate(areas).astype(float), 2, axis=1)
    chosen = np.argmax(np.where(np.isnan(seen), -1, seen), axis=0)
    split = np.arange(splits)
    return HalfChoices(chosen, seen[chosen, split], held_out[chosen, split])
