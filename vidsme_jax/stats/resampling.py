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
from vidsme_jax.stats.metrics import RECALL, Metrics, Steps, allowed_false, steps

# Scores and resamples of a call, and multiples to which rows and rates are padded. So few
# shapes are compiled, and a row of resamples stays in a cache.
_SCORES, _RESAMPLES, _ROWS, _RATES = 16, 1024, 64, 5

Array = jax.Array | np.ndarray


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
    fprs: tuple[float, ...] = (),
    fpr_rule: str = "<=",
) -> Iterator[tuple[slice, Metrics]]:
    """Yield the metrics of every resample, for some scores at a time.

    Args:
        scores: higher = member; NaN rows are left out.
        member: whether a row is a member.
        weights: from `bootstrap_weights`.
        fprs: false positive rates.
        fpr_rule: one of `metrics.FPR_RULES`.

    Yields:
        A slice of the scores, and their metrics: float32 arrays [score resample], `tpr`
        [score resample fpr]; NaN where a resample has no row of a class.
    """
    count = weights.shape[1]
    widths = ((0, _padding(len(weights), _ROWS)), (0, -count % _RESAMPLES))
    on_cpu = local_devices()[0].platform == "cpu"
    padded = np.pad(weights, widths)
    starts = range(0, padded.shape[1], _RESAMPLES)
    blocks = [jnp.asarray(padded[:, n : n + _RESAMPLES]) for n in starts]
    slices = [slice(n, n + _SCORES) for n in range(0, len(scores), _SCORES)]

    def run(chosen: slice) -> tuple[slice, Metrics]:
        ranked = steps(scores[chosen], member)
        rows = Steps(*(_pad_scores(_pad_rows(x)) for x in ranked))
        totals = _totals(ranked, padded[: len(weights)], fprs, fpr_rule)
        walks = []
        for n, block in zip(starts, blocks, strict=True):
            block_totals = _Totals(*(_pad_scores(x[:, n : n + _RESAMPLES]) for x in totals))
            walks.append(_walk_all(block, rows, block_totals))
        values = [
            np.concatenate(x, axis=1) for x in zip(*jax.device_get(walks), strict=True)
        ]
        tpr = values.pop()[..., : len(fprs)]
        number = len(ranked.order)
        return chosen, Metrics(*(value[:number, :count] for value in (*values, tpr)))

    with ThreadPoolExecutor(_cores() if on_cpu else 1) as pool:
        yield from pool.map(run, slices)


def _cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


class _Totals(NamedTuple):
    """Counts of a score in each resample, [resample] or [resample rate].

    Attributes:
        positives: number of member rows.
        negatives: number of non-member rows.
        needed: number of member rows that `RECALL` needs.
        allowed: number of non-member rows that each false positive rate allows.
    """

    positives: Array
    negatives: Array
    needed: Array
    allowed: Array


def _totals(ranked: Steps, weights, fprs, fpr_rule) -> _Totals:
    """Return the counts of each score in each resample."""
    rows = np.argsort(ranked.order, axis=-1)
    positives, negatives = (
        _weigh(np.take_along_axis(side, rows, axis=-1), weights)
        for side in (ranked.member, ranked.other)
    )
    needed = np.ceil(RECALL * positives.astype(np.float64) - 1e-6)
    rates = (*fprs, *[0.0] * _padding(len(fprs), _RATES))
    allowed = allowed_false(rates, negatives.astype(np.float64)[..., None], fpr_rule)
    return _Totals(
        positives, negatives, needed.astype(np.float32), allowed.astype(np.float32)
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
    """Return the fields of `Metrics` of some scores in every resample."""
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
        reached: the fewest non-members at which `RECALL` was reached.
        caught: the most members at each false positive rate [rate resample].
    """

    tp: jax.Array
    fp: jax.Array
    tp_before: jax.Array
    fp_before: jax.Array
    lost: jax.Array
    precise: jax.Array
    gain: jax.Array
    reached: jax.Array
    caught: jax.Array


class _Limits(NamedTuple):
    """Constants of each resample [resample].

    Attributes:
        per_member: one over the number of member rows.
        per_other: one over the number of non-member rows.
        needed: number of member rows that `RECALL` needs.
        allowed: number of non-member rows that each rate allows [rate resample].
    """

    per_member: Array
    per_other: Array
    needed: Array
    allowed: Array


def _walk(weights, rows: Steps, totals: _Totals) -> tuple[jax.Array, ...]:
    """Return the fields of `Metrics` of one score in every resample."""
    positives, negatives, needed, allowed = totals
    limits = _Limits(1 / positives, 1 / negatives, needed, allowed.T)
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
        return _if(row.ends, partial(_end, limits), s), None

    zero = jnp.zeros_like(positives)
    start = dict.fromkeys(_Sums._fields, zero)
    start |= {"reached": zero + jnp.inf, "caught": jnp.zeros_like(limits.allowed)}
    rows = rows._replace(begins=begins & has_member, ends=ends & has_member)
    sums, _ = jax.lax.scan(step, _Sums(**start), rows)
    return _results(sums, limits, (positives > 0) & (negatives > 0))


def _begin(s: _Sums) -> _Sums:
    """Store the counts before the rows of a score value."""
    return s._replace(tp_before=s.tp, fp_before=s.fp)


def _end(limits: _Limits, s: _Sums) -> _Sums:
    """Update the sums by the threshold at a score value."""
    added = s.tp - s.tp_before
    gain = s.tp * limits.per_member - s.fp * limits.per_other
    is_enough, fits = s.tp >= limits.needed, s.fp[None] <= limits.allowed
    return s._replace(
        lost=s.lost + added * (s.fp + s.fp_before),
        precise=s.precise + added * s.tp / jnp.maximum(s.tp + s.fp, 1),
        gain=jnp.maximum(s.gain, gain),
        reached=jnp.where(is_enough, jnp.minimum(s.reached, s.fp), s.reached),
        caught=jnp.where(fits, s.tp[None], s.caught),
    )


def _results(sums: _Sums, limits: _Limits, is_whole) -> tuple[jax.Array, ...]:
    """Return the fields of `Metrics` from the sums; NaN where a class is empty."""
    areas_and_rates = (
        1 - sums.lost * limits.per_member * limits.per_other / 2,
        sums.precise * limits.per_member,
        (1 + sums.gain) / 2,
        sums.reached * limits.per_other,
    )
    tpr = jnp.where(is_whole[None], sums.caught * limits.per_member[None], jnp.nan).T
    return (*(jnp.where(is_whole, value, jnp.nan) for value in areas_and_rates), tpr)


def _if(condition, change, sums: _Sums) -> _Sums:
    """Return the changed sums where the condition holds, otherwise the same sums."""
    return jax.lax.cond(condition, change, lambda s: s, sums)
