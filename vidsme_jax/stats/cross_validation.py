"""Cross-validate blind baselines, which tell members apart by the clips alone.

A baseline never sees what the model predicts: it is a kernel ridge regression on blocks of
features. If it tells the two sets apart, they differ by more than the training. Then a
score may only follow that difference (Das et al., arXiv 2406.16201).

Folds hold whole groups and ignore the labels, and everything is fitted on the training
rows of a fold alone. So permuted labels are exchangeable. Areas compare clips of the same
fold only: fits of different folds have different levels. Without a signal, these would
pull an area over all folds below one half.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import rankdata

from vidsme_jax.stats.permutation import (
    PValues,
    permutation_p_values,
    permuted_labels,
)
from vidsme_jax.stats.resampling import bootstrap_weights, resampled_metrics

FOLDS = 5
_REPEATS, _ROWS = 4, 2000  # of the folds; fewer repeats beyond so many predicted rows
_RIDGE = 1.0  # kernels have ones on their diagonal
_DIGITS = 9  # of a prediction: equal clips get equal ones, whatever the order of sums

Kernels = tuple[Float[np.ndarray, "train train"], Float[np.ndarray, "test train"]]


class FeatureBlock(NamedTuple):
    """Some features of each row, and how they measure the similarity of two rows.

    Attributes:
        values: features of each row.
        kernel: kernel(values, train, test) -> kernels; `train` and `test` are indices of
            rows, and only the rows in `train` are used to fit scales.
    """

    values: Float[np.ndarray, "row feature"]
    kernel: Callable[[np.ndarray, np.ndarray, np.ndarray], Kernels]


def of_numbers(values, train, test) -> Kernels:
    """Return Gaussian kernels of standardised numbers, as wide as their median distance.

    An unknown number (NaN) takes the mean of the training rows.
    """
    training = values[train]
    count = np.maximum(np.sum(~np.isnan(training), axis=0), 1)
    mean = np.nansum(training, axis=0) / count
    spread = np.sqrt(np.nansum((training - mean) ** 2, axis=0) / count)
    scale = np.where(spread > 1e-9 * (1 + np.abs(mean)), spread, np.inf)
    x = np.nan_to_num((values - mean) / scale).astype(np.float32)
    inner, outer = _distances(x[train], x[train]), _distances(x[test], x[train])
    distances = inner[~np.eye(len(train), dtype=bool)]
    is_apart = distances > 0
    width = np.median(distances[is_apart]) if np.any(is_apart) else 1.0
    return np.exp(-inner / width), np.exp(-outer / width)


def _distances(a, b) -> Float[np.ndarray, "a b"]:
    """Return the squared distance of each row of `a` to each row of `b`."""
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)
    return np.maximum(squares - 2 * (a @ b.T), 0).astype(np.float64)


def of_words(counts, train, test) -> Kernels:
    """Return cosine kernels of 1 + log word count, in which rare words weigh more."""
    common = np.sum(counts[train] > 0, axis=0)
    rarity = np.log((1 + len(train)) / (1 + common)) + 1
    x = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * rarity
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return x[train] @ x[train].T, x[test] @ x[train].T


class GroupedLabels(NamedTuple):
    """Labels of rows, and the clusters and groups of rows that are not independent.

    Attributes:
        member: whether a row is a member, the same for all rows of a cluster.
        cluster: index of the row's cluster; clusters are permuted and resampled whole.
        group: index of the row's group; all rows of a group are in the same fold.
    """

    member: Bool[np.ndarray, "row"]
    cluster: Int[np.ndarray, "row"]
    group: Int[np.ndarray, "row"]


class BlindScores(NamedTuple):
    """How well baselines rank members above non-members.

    Attributes:
        auc: share of pairs within a fold that are ranked right, over folds and repeats.
        draws: the same share for resampled clusters, with fixed predictions.
        p_values: p-values of each baseline, plain and corrected for their number.
    """

    auc: Float[np.ndarray, "baseline"]
    draws: Float[np.ndarray, "baseline resample"]
    p_values: PValues


def cross_validate(
    baselines: list[tuple[FeatureBlock, ...]],
    rows: GroupedLabels,
    permutations: int,
    resamples: int,
    seed: int,
) -> BlindScores:
    """Return how well each baseline ranks members above non-members.

    Args:
        baselines: feature blocks of each baseline; several share their mean kernel.
        rows: labels, clusters and groups of the rows.
        permutations: number of permutations of the labels.
        resamples: number of resamples of the clusters.
        seed: of folds, permutations and resamples.
    """
    member, cluster, group = rows
    labels = permuted_labels(member, cluster, permutations, seed)
    rng = np.random.default_rng(seed)
    wins, pairs = (np.zeros((len(baselines), labels.shape[1])) for _ in range(2))
    predicted = []
    repeats = max(1, min(_REPEATS, _ROWS // len(member)))
    for fold in (f for _ in range(repeats) for f in _folds(group, rng)):
        test, train = np.flatnonzero(fold), np.flatnonzero(~fold)
        y = labels[test]
        predictions = np.full((len(baselines), len(member)), np.nan)
        for n, hat in enumerate(_hats(baselines, train, test)):
            values = np.round(hat @ labels[train], _DIGITS)
            won, compared = _wins(values, y)
            wins[n] += won
            pairs[n] += compared
            predictions[n, test] = values[:, 0]
        predicted.append(predictions)
    areas = np.divide(wins, pairs, out=np.full(wins.shape, 0.5), where=pairs > 0)
    p_values = permutation_p_values(areas[:, 1:], areas[:, 0])
    draws = _resample(np.stack(predicted), member, cluster, resamples, seed)
    return BlindScores(areas[:, 0], draws, p_values)


def _folds(group, rng) -> Iterator[Bool[np.ndarray, "row"]]:
    """Yield the test rows of each fold: whole groups, shuffled, in folds of even size."""
    groups, index = np.unique(group, return_inverse=True)
    fold = rng.permutation(len(groups)) % min(FOLDS, len(groups))
    for n in range(fold.max() + 1):
        yield fold[index] == n


def _hats(baselines, train, test) -> Iterator[Float[np.ndarray, "test train"]]:
    """Yield the hat matrix of each baseline: training labels to test predictions."""
    blocks = {id(block): block for blocks in baselines for block in blocks}
    kernels = {key: b.kernel(b.values, train, test) for key, b in blocks.items()}
    for blocks_used in baselines:
        used = [kernels[id(block)] for block in blocks_used]
        inner, outer = (np.mean([pair[n] for pair in used], axis=0) for n in (0, 1))
        factor = cho_factor(inner + _RIDGE * np.eye(len(train)))
        hat = cho_solve(factor, outer.T).T
        # The mean label, a constant for the whole fold, is taken off.
        yield hat - hat.mean(axis=1, keepdims=True)


def _wins(values, labels):
    """Return the number of rightly ranked pairs (ties half) and of all, by column."""
    ranks = rankdata(values, axis=0)
    positives = labels.sum(axis=0)
    wins = np.sum(ranks * labels, axis=0) - positives * (positives + 1) / 2
    return wins, positives * (len(labels) - positives)


def _resample(predicted, member, cluster, resamples, seed):
    """Return the area of each baseline over the folds, in each resample."""
    weights = bootstrap_weights(member, cluster, resamples, seed)
    folds, baselines, rows = predicted.shape
    draws = resampled_metrics(predicted.reshape(-1, rows), member, weights)
    areas = np.concatenate([metrics.auc for _, metrics in draws])
    areas = areas.reshape(folds, baselines, resamples).astype(np.float64)
    in_fold = ~np.isnan(predicted[:, 0])
    members, others = (
        (in_fold & side) @ weights.astype(float) for side in (member, ~member)
    )
    pairs = (members * others)[:, None]
    total = np.sum(np.nan_to_num(areas) * pairs, axis=0)
    return total / np.maximum(np.sum(pairs, axis=0), 1)
