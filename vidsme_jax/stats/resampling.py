"""Compute the metrics of resamples that draw whole clusters of rows.

Rows of a cluster (a video) are never counted as independent: clusters are drawn with
replacement within each class, with all their rows. All scores see the same resamples, so
that differences between scores, models and runs are paired.

The metrics come from a JAX program that walks down the sorted rows of a score, with all
resamples side by side.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt16

from vidsme_jax.errors import local_devices
from vidsme_jax.stats.metrics import Steps, steps

# Scores and resamples of a call, and the multiple to which rows are padded. So few shapes
# are compiled, and a row of resamples stays in a cache.
_SCORES, _RESAMPLES, _ROWS = 16, 1024, 64

Array = jax.Array | np.ndarray


class ResampledMetrics(NamedTuple):
    """Metrics of scores in every resample; NaN where it has no row of a class.

    Attributes:
        auc: area under the ROC, ties counted half.
        average_precision: area under the steps of precision over recall.
        balanced_accuracy: the best (TPR + 1 - FPR) / 2 over thresholds.
    """

    auc: Float[np.ndarray, "score resample"]
    average_precision: Float[np.ndarray, "score resample"]
    balanced_accuracy: Float[np.ndarray, "score resample"]


def bootstrap_weights(
    member: Bool[np.ndarray, "row"],
    cluster: Int[np.ndarray, "row"],
    resamples: int,
    seed: int,
) -> UInt16[np.ndarray, "row resample"]:
    """Return how often each row occurs in each resample.

    Clusters are drawn with replacement within each class, as many as the class has.
    """
    return _weights(member.tobytes(), cluster.astype(np.int64).tobytes(), resamples, seed)


@lru_cache(maxsize=1)  # an evaluation needs the same weights many times
def _weights(
    members: bytes, clusters: bytes, resamples: int, seed: int
) -> UInt16[np.ndarray, "row resample"]:
    """Return `bootstrap_weights` of labels and clusters that come as bytes."""
    member: np.ndarray = np.frombuffer(members, bool)
    cluster: np.ndarray = np.frombuffer(clusters, np.int64)
    rng = np.random.default_rng(seed)
    weights = np.zeros((len(member), resamples), np.uint16)
    for side in (member, ~member):
        if side.any():
            present, index = np.unique(cluster[side], return_inverse=True)
            even = np.full(len(present), 1 / len(present))
            counts = rng.multinomial(len(present), even, size=resamples)
            weights[side] = counts.T.astype(np.uint16)[index]
    weights.setflags(write=False)
    return weights


def resampled_metrics(
    scores: Float[np.ndarray, "score row"],
    member: Bool[np.ndarray, "row"],
    weights: UInt16[np.ndarray, "row resample"],
) -> Iterator[tuple[slice, ResampledMetrics]]:
    """Yield the metrics of every resample, for some scores at a time.

    Args:
        scores: higher = member; NaN rows are left out.
        member: whether a row is a member.
        weights: from `bootstrap_weights`.

    Yields:
        A slice of the scores, and their metrics in float32.
    """
    count = weights.shape[1]
    widths = ((0, _padding(len(weights), _ROWS)), (0, -count % _RESAMPLES))
    on_cpu = local_devices()[0].platform == "cpu"
    padded = np.pad(weights, widths)
    starts = range(0, padded.shape[1], _RESAMPLES)
    blocks = [jnp.asarray(padded[:, n : n + _RESAMPLES]) for n in starts]
    slices = [slice(n, n + _SCORES) for n in range(0, len(scores), _SCORES)]

    def run(chosen: slice) -> tuple[slice, ResampledMetrics]:
        ranked = steps(scores[chosen], member)
        rows = Steps(*(_pad_scores(_pad_rows(x)) for x in ranked))
        totals = _totals(ranked, padded[: len(weights)])
        walks = []
        for n, block in zip(starts, blocks, strict=True):
            block_totals = _Totals(*(_pad_scores(x[:, n : n + _RESAMPLES]) for x in totals))
            walks.append(_walk_all(block, rows, block_totals))
        values = (
            np.concatenate(x, axis=1) for x in zip(*jax.device_get(walks), strict=True)
        )
        number = len(ranked.order)
        return chosen, ResampledMetrics(*(value[:number, :count] for value in values))

    with ThreadPoolExecutor(_cores() if on_cpu else 1) as pool:
        yield from pool.map(run, slices)


def _cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


class _Totals(NamedTuple):
    """Counts of a score in each resample, [resample].

    Attributes:
        positives: number of member rows.
        negatives: number of non-member rows.
    """

    positives: Array
    negatives: Array


def _totals(ranked: Steps, weights) -> _Totals:
    """Return the counts of each score in each resample."""
    rows = np.argsort(ranked.order, axis=-1)
    sides = (ranked.member, ranked.other)
    return _Totals(
        *(_weigh(np.take_along_axis(side, rows, axis=-1), weights) for side in sides)
    )


def _weigh(side, weights):
    """Return side @ weights; scores with values in the same rows share a sum."""
    patterns, index = np.unique(side, axis=0, return_inverse=True)
    sums = [np.sum(weights[rows], axis=0, dtype=np.float32) for rows in patterns]
    return np.stack(sums)[index.reshape(-1)]


def _pad_rows(x):
    """Pad the rows of each score with rows that have no value: index 0, and false."""
    return np.pad(x, ((0, 0), (0, _padding(x.shape[1], _ROWS))))


def _padding(count: int, multiple: int) -> int:
    """Return how many rows must be added to reach a multiple; one multiple for none."""
    return -count % multiple if count else multiple


def _pad_scores(x):
    """Repeat the last score, so that every call has the same shape."""
    return np.concatenate([x, np.repeat(x[-1:], _SCORES - len(x), axis=0)])


@jax.jit
def _walk_all(weights, rows: Steps, totals: _Totals) -> tuple[jax.Array, ...]:
    """Return the fields of `ResampledMetrics` of some scores."""
    return jax.lax.map(lambda score: _walk(weights, *score), (rows, totals))


class _Sums(NamedTuple):
    """Running sums of each resample [resample], in a walk down the rows of a score.

    Attributes:
        tp: members so far.
        fp: non-members so far.
        tp_before: members before the current score value.
        fp_before: non-members before the current score value.
        lost: twice the pairs so far that are ranked wrong.
        precise: sum of precisions over the members so far.
        gain: the largest TPR - FPR so far.
    """

    tp: jax.Array
    fp: jax.Array
    tp_before: jax.Array
    fp_before: jax.Array
    lost: jax.Array
    precise: jax.Array
    gain: jax.Array


def _walk(weights, rows: Steps, totals: _Totals) -> tuple[jax.Array, ...]:
    """Return the fields of `ResampledMetrics` of one score."""
    positives, negatives = totals
    shares = (1 / positives, 1 / negatives)
    # Score values without a member are skipped: as thresholds they improve no metric.
    begins, ends = rows.begins, rows.ends
    value = jnp.cumsum(begins, dtype=jnp.int32) - begins[0].astype(jnp.int32)
    has_member = jnp.zeros(len(rows.order), bool).at[value].max(rows.member)[value]

    def step(s: _Sums, row: Steps) -> tuple[_Sums, None]:
        s = _if(row.begins, _begin, s)
        weight = jax.lax.dynamic_index_in_dim(weights, row.order, keepdims=False)
        weight = weight.astype(jnp.float32)
        s = _if(row.member, lambda s: s._replace(tp=s.tp + weight), s)
        s = _if(row.other, lambda s: s._replace(fp=s.fp + weight), s)
        return _if(row.ends, partial(_end, shares), s), None

    zero = jnp.zeros_like(positives)
    start = dict.fromkeys(_Sums._fields, zero)
    rows = rows._replace(begins=begins & has_member, ends=ends & has_member)
    sums, _ = jax.lax.scan(step, _Sums(**start), rows)
    per_member, per_other = shares
    values = (
        1 - sums.lost * per_member * per_other / 2,
        sums.precise * per_member,
        (1 + sums.gain) / 2,
    )
    is_whole = (positives > 0) & (negatives > 0)
    return tuple(jnp.where(is_whole, value, jnp.nan) for value in values)


def _begin(s: _Sums) -> _Sums:
    """Store the counts before the rows of a score value."""
    return s._replace(tp_before=s.tp, fp_before=s.fp)


def _end(shares: tuple[Array, Array], s: _Sums) -> _Sums:
    """Update the sums by the threshold at a score value.

    Args:
        shares: one over the number of member rows, and of non-member rows, [resample].
        s: the running sums.
    """
    added = s.tp - s.tp_before
    gain = s.tp * shares[0] - s.fp * shares[1]
    return s._replace(
        lost=s.lost + added * (s.fp + s.fp_before),
        precise=s.precise + added * s.tp / jnp.maximum(s.tp + s.fp, 1),
        gain=jnp.maximum(s.gain, gain),
    )


def _if(condition, change, sums: _Sums) -> _Sums:
    """Return the changed sums where the condition holds, otherwise the same sums."""
    return jax.lax.cond(condition, change, lambda s: s, sums)
