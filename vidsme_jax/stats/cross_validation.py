"""Blind baselines: how well do properties of the clips alone tell members from others?

Each is a classifier that never sees what the model predicts: kernel ridge regression on one
block of features, cross-validated. If it tells the two sets apart, they differ by more than
the training, and a score may only follow that difference (Das et al., arXiv 2406.16201).

Folds hold whole groups and do not look at the labels, and nothing is fitted outside the
training part of a fold, so that permuted labels are exchangeable. Areas compare clips of
the same fold only: fits of different folds have different levels, which under no signal
would pull an area over all folds below one half.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import rankdata

from vidsme_jax.stats.permutation import PValues, permuted_labels, reached
from vidsme_jax.stats.resampling import bootstrap_weights, resampled

FOLDS = 5
_REPEATS, _ROWS = 4, 2000  # of the folds, as long as so many rows are predicted in all
_RIDGE = 1.0  # kernels have ones on their diagonal
_DIGITS = 9  # equal clips get equal predictions, whatever the order of sums

Kernels = tuple[Float[np.ndarray, "train train"], Float[np.ndarray, "test train"]]


class FeatureBlock(NamedTuple):
    """Some features of each row, and how alike they make two rows.

    Attributes:
        values: [row feature].
        kernel: kernel(values, train, test) with index arrays, fitted on the first alone.
    """

    values: Float[np.ndarray, "row feature"]
    kernel: Callable[[np.ndarray, np.ndarray, np.ndarray], Kernels]


def of_numbers(values, train, test) -> Kernels:
    """Compare standardised numbers by a Gaussian as wide as their median distance.

    A number that is unknown (NaN) takes the training rows' mean.
    """
    training = values[train]
    count = np.maximum(np.sum(~np.isnan(training), axis=0), 1)
    mean = np.nansum(training, axis=0) / count
    spread = np.sqrt(np.nansum((training - mean) ** 2, axis=0) / count)
    scale = np.where(spread > 1e-9 * (1 + np.abs(mean)), spread, np.inf)
    x = np.nan_to_num((values - mean) / scale).astype(np.float32)
    inner, outer = _distances(x[train], x[train]), _distances(x[test], x[train])
    apart = inner[~np.eye(len(train), dtype=bool)]
    width = np.median(apart[apart > 0]) if np.any(apart > 0) else 1.0
    return np.exp(-inner / width), np.exp(-outer / width)


def _distances(a, b) -> Float[np.ndarray, "a b"]:
    """Return the squared distance of each row of `a` to each row of `b`."""
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)
    return np.maximum(squares - 2 * (a @ b.T), 0).astype(np.float64)


def of_words(counts, train, test) -> Kernels:
    """Compare counts of words by the cosine of 1 + log count, rare words weighing more."""
    common = np.sum(counts[train] > 0, axis=0)
    rarity = np.log((1 + len(train)) / (1 + common)) + 1
    x = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * rarity
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return x[train] @ x[train].T, x[test] @ x[train].T


class GroupedLabels(NamedTuple):
    """Labels of rows, and which rows belong together.

    Attributes:
        member: labels, the same for all rows of a cluster.
        cluster: index of each row's cluster, which is permuted and resampled whole.
        group: index of each row's group; rows of one group are never in two folds.
    """

    member: Bool[np.ndarray, "row"]
    cluster: Int[np.ndarray, "row"]
    group: Int[np.ndarray, "row"]


class BlindScores(NamedTuple):
    """How well each baseline ranks members above non-members, arrays over baselines.

    Attributes:
        auc: of pairs within a fold, over all folds and repeats.
        draws: the same for resampled clusters, the predictions held fixed.
        p_values: alone and corrected for the number of baselines.
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
        baselines: the blocks of each; several are used together, as their mean kernel.
        rows: labels, clusters and groups.
        permutations: of the labels.
        resamples: for the draws.
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
            won, there = _wins(values, y)
            wins[n] += won
            pairs[n] += there
            predictions[n, test] = values[:, 0]
        predicted.append(predictions)
    areas = np.divide(wins, pairs, out=np.full(wins.shape, 0.5), where=pairs > 0)
    p_values = reached(areas[:, 1:], areas[:, 0])
    draws = _resample(np.stack(predicted), member, cluster, resamples, seed)
    return BlindScores(areas[:, 0], draws, p_values)


def _folds(group, rng) -> Iterator[Bool[np.ndarray, "row"]]:
    """Yield which rows each fold tests: whole groups, shuffled, as even as can be."""
    groups, place = np.unique(group, return_inverse=True)
    number = rng.permutation(len(groups)) % min(FOLDS, len(groups))
    for n in range(number.max() + 1):
        yield number[place] == n


def _hats(baselines, train, test) -> Iterator[Float[np.ndarray, "test train"]]:
    """Yield, for each baseline, what makes predictions of the training rows' labels."""
    blocks = {id(block): block for blocks in baselines for block in blocks}
    kernels = {key: b.kernel(b.values, train, test) for key, b in blocks.items()}
    for used in baselines:
        inner, outer = (
            np.mean([kernels[id(block)][n] for block in used], axis=0) for n in (0, 1)
        )
        factor = cho_factor(inner + _RIDGE * np.eye(len(train)))
        hat = cho_solve(factor, outer.T).T
        # Of labels less their mean; the mean itself is one number for the whole fold.
        yield hat - hat.mean(axis=1, keepdims=True)


def _wins(values, labels):
    """Return, for each column, the pairs that are ranked right (ties half), and all."""
    ranks = rankdata(values, axis=0)
    positives = labels.sum(axis=0)
    wins = np.sum(ranks * labels, axis=0) - positives * (positives + 1) / 2
    return wins, positives * (len(labels) - positives)


def _resample(predicted, member, cluster, resamples, seed):
    """Return the area of each baseline over the folds, in each resample."""
    weights = bootstrap_weights(member, cluster, resamples, seed)
    folds, baselines, rows = predicted.shape
    parts = resampled(predicted.reshape(-1, rows), member, weights)
    areas = np.concatenate([metrics.auc for _, metrics in parts])
    areas = areas.reshape(folds, baselines, resamples).astype(np.float64)
    inside = ~np.isnan(predicted[:, 0])
    mine, theirs = ((inside & side) @ weights.astype(float) for side in (member, ~member))
    pairs = (mine * theirs)[:, None]
    total = np.sum(np.nan_to_num(areas) * pairs, axis=0)
    return total / np.maximum(np.sum(pairs, axis=0), 1)
