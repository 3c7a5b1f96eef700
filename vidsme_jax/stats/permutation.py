"""What chance does: labels permuted over whole clusters, and scores chosen on half of them.

Whoever tries hundreds of scores finds one that separates. Two answers: the p-value of each
score against the largest of all scores under permuted labels, and what the score that is
best on one half of the clusters reaches on the other. NumPy, but for the areas of the
halves.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from vidsme_jax.stats.metrics import Labelled, steps, sum_by_cluster, value_span
from vidsme_jax.stats.resampling import resampled

_CHUNK = 1 << 18  # entries of a temporary array: clusters times permutations
_SAME = 1e-12  # equal areas from clusters of unequal size differ by rounding


class PValues(NamedTuple):
    """One-sided p-values of the AUC of each score.

    (1 + permutations that reach the observed area) / (1 + permutations); NaN where a class
    has no value.

    Attributes:
        p: of the score by itself.
        adjusted: that any of the scores reaches as many of its own standard deviations,
            so that all of them together are wrong at the stated rate (Westfall and Young,
            1993, single step).
    """

    p: Float[np.ndarray, "score"]
    adjusted: Float[np.ndarray, "score"]


def permutation_test(rows: Labelled, permutations: int, seed: int) -> PValues:
    """Permute the labels of whole clusters, the same way for all scores; see `PValues`.

    Args:
        rows: scores and labels; a row without a value is left out.
        permutations: how many.
        seed: of the permutations.
    """
    scores, member, cluster = rows
    _, first = np.unique(cluster, return_index=True)
    labels = member[first].astype(float)
    ranks, sizes = (sum_by_cluster(x, cluster) for x in _midranks(scores, member))
    observed = _areas(ranks, sizes, labels[:, None])[:, 0]
    rng, step = np.random.default_rng(seed), max(1, _CHUNK // max(1, len(first)))
    parts = [np.zeros((len(scores), 0))]
    for start in range(0, permutations, step):
        count = min(step, permutations - start)
        parts.append(_areas(ranks, sizes, _permuted(labels, count, rng).T))
    return reached(np.concatenate(parts, axis=1), observed)


def permuted_labels(
    member: Bool[np.ndarray, "row"],
    cluster: Int[np.ndarray, "row"],
    permutations: int,
    seed: int,
) -> Float[np.ndarray, "row labelling"]:
    """Return the labels, 1 and 0, and after them permutations over whole clusters."""
    _, first, place = np.unique(cluster, return_index=True, return_inverse=True)
    labels = member[first].astype(float)
    drawn = _permuted(labels, permutations, np.random.default_rng(seed))
    return np.vstack([labels, drawn]).T[place]


def _permuted(labels, count: int, rng) -> Float[np.ndarray, "permutation cluster"]:
    return rng.permuted(np.tile(labels, (count, 1)), axis=1)


def reached(
    areas: Float[np.ndarray, "score permutation"], observed: Float[np.ndarray, "score"]
) -> PValues:
    """Return how often areas under permuted labels reach the observed ones; NaN stays.

    Where a permutation leaves a class without a value, nothing is reached.
    """
    permutations = areas.shape[1]
    areas = np.where(np.isnan(areas), -np.inf, areas)
    p = (1 + np.sum(areas >= observed[:, None] - _SAME, axis=1)) / (1 + permutations)
    adjusted = _adjusted(areas, observed, permutations)
    return PValues(*(np.where(np.isnan(observed), np.nan, x) for x in (p, adjusted)))


def _adjusted(areas, observed, permutations):
    """Compare with the largest of all scores, each in its own standard deviations."""
    finite = np.where(np.isfinite(areas), areas - 0.5, 0)
    spread = np.sqrt(np.maximum(np.mean(finite**2, axis=1), 1e-18))
    exists = ~np.isnan(observed)
    if not exists.any():
        return np.full(len(observed), np.nan)
    largest = np.max((areas[exists] - 0.5) / spread[exists, None], axis=0)
    deviations = (observed - 0.5) / spread
    ordered = np.sort(largest)
    reached = len(ordered) - np.searchsorted(ordered, deviations - 1e-9, side="left")
    return (1 + reached) / (1 + permutations)


def _midranks(scores, member):
    """Return each row's rank from 1 upwards, ties sharing one, and if it has a value."""
    ranked = steps(scores, member)
    has_value = ranked.member | ranked.other
    first, last = value_span(ranked)
    rank = np.sum(has_value, axis=1, keepdims=True) - (first + last) / 2
    out = np.zeros(scores.shape)
    np.put_along_axis(out, ranked.order, np.where(has_value, rank, 0), axis=1)
    return out, (~np.isnan(scores)).astype(float)


def _areas(ranks, sizes, labels):
    """Return the AUC by the rank sum of the members, for each column of cluster labels."""
    positives = sizes @ labels
    negatives = np.sum(sizes, axis=1, keepdims=True) - positives
    beaten = ranks @ labels - positives * (positives + 1) / 2
    pairs = positives * negatives
    return np.divide(beaten, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


class HalfChoices(NamedTuple):
    """What comes of choosing the best of many scores, over random halves of the clusters.

    Attributes:
        chosen: index of the score with the largest AUC on the first half.
        auc_seen: its AUC there.
        auc_held_out: its AUC on the other half; NaN where a class has no value.
    """

    chosen: Int[np.ndarray, "split"]
    auc_seen: Float[np.ndarray, "split"]
    auc_held_out: Float[np.ndarray, "split"]


def choose_on_half(rows: Labelled, splits: int, seed: int) -> HalfChoices:
    """Choose the score with the largest AUC on half of each class's clusters."""
    scores, member, cluster = rows
    rng = np.random.default_rng(seed)
    first = np.zeros((len(member), splits), bool)
    for side in (member, ~member):
        kinds, place = np.unique(cluster[side], return_inverse=True)
        halves = np.tile(np.arange(len(kinds)) < len(kinds) / 2, (splits, 1))
        rng.permuted(halves, axis=1, out=halves)
        first[side] = halves.T[place]
    weights = np.concatenate([first, ~first], axis=1).astype(np.uint16)
    areas = [metrics.auc for _, metrics in resampled(scores, member, weights)]
    seen, held_out = np.split(np.concatenate(areas).astype(float), 2, axis=1)
    chosen = np.argmax(np.where(np.isnan(seen), -1, seen), axis=0)
    places = np.arange(splits)
    return HalfChoices(chosen, seen[chosen, places], held_out[chosen, places])
