"""Metrics under resamples of whole groups.

Rows of one cluster (one video) are never counted as independent: clusters are drawn with
replacement within each class, and their rows come together. All scores see the same
resamples, so that differences between scores, models and runs are paired.

The resampled metrics are JAX programs: a walk down the sorted rows of a score, with all its
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

from vidsme_jax.stats.metrics import RECALL, Metrics, Steps, allowed_false, steps

# Scores and resamples of a call, and what rows and rates are filled up to: so that few
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


@lru_cache(maxsize=1)  # one evaluation needs the same weights again and again
def _weights(
    members: bytes, clusters: bytes, resamples: int, seed: int
) -> UInt16[np.ndarray, "row resample"]:
    member: np.ndarray = np.frombuffer(members, bool)
    cluster: np.ndarray = np.frombuffer(clusters, np.int64)
    rng = np.random.default_rng(seed)
    weights = np.zeros((len(member), resamples), np.uint16)
    for side in (member, ~member):
        if side.any():
            kinds, place = np.unique(cluster[side], return_inverse=True)
            even = np.full(len(kinds), 1 / len(kinds))
            counts = rng.multinomial(len(kinds), even, size=resamples)
            weights[side] = counts.T.astype(np.uint16)[place]
    weights.setflags(write=False)
    return weights


def resampled(
    scores: Float[np.ndarray, "score row"],
    member: Bool[np.ndarray, "row"],
    weights: UInt16[np.ndarray, "row resample"],
    fprs: tuple[float, ...] = (),
    rule: str = "<=",
) -> Iterator[tuple[slice, Metrics]]:
    """Yield the metrics of every resample, for some scores at a time.

    Args:
        scores: higher = member; NaN rows are left out.
        member: labels.
        weights: from `bootstrap_weights`.
        fprs: false positive rates.
        rule: one of `metrics.FPR_RULES`.

    Yields:
        Which scores, and their metrics: float32 arrays [score resample], `tpr`
        [score resample fpr]; NaN where a resample holds no row of a class.
    """
    count = weights.shape[1]
    wide = ((0, _filling(len(weights), _ROWS)), (0, -count % _RESAMPLES))
    filled = np.pad(weights, wide)
    starts = range(0, filled.shape[1], _RESAMPLES)
    placed = [jnp.asarray(filled[:, n : n + _RESAMPLES]) for n in starts]
    work = [slice(n, n + _SCORES) for n in range(0, len(scores), _SCORES)]

    def run(part: slice) -> tuple[slice, Metrics]:
        ranked = steps(scores[part], member)
        rows = Steps(*(_filled_up(_wider(x)) for x in ranked))
        totals = _totals(ranked, filled[: len(weights)], fprs, rule)
        parts = []
        for n, block in zip(starts, placed, strict=True):
            here = _Totals(*(_filled_up(x[:, n : n + _RESAMPLES]) for x in totals))
            parts.append(_walk_all(block, rows, here))
        whole = [
            np.concatenate(x, axis=1) for x in zip(*jax.device_get(parts), strict=True)
        ]
        tpr = whole.pop()[..., : len(fprs)]
        many = len(ranked.order)
        return part, Metrics(*(value[:many, :count] for value in (*whole, tpr)))

    on_cpu = jax.default_backend() == "cpu"
    with ThreadPoolExecutor(_cores() if on_cpu else 1) as pool:
        yield from pool.map(run, work)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class _Totals(NamedTuple):
    """Counts of a score in each resample, [resample] or [resample rate].

    Attributes:
        positives: rows of members.
        negatives: rows of non-members.
        needed: members that `RECALL` needs.
        allowed: non-members that each false positive rate allows.
    """

    positives: Array
    negatives: Array
    needed: Array
    allowed: Array


def _totals(ranked: Steps, weights, fprs, rule) -> _Totals:
    """Return the counts of each score in each resample."""
    rows = np.argsort(ranked.order, axis=-1)
    positives, negatives = (
        _weigh(np.take_along_axis(side, rows, axis=-1), weights)
        for side in (ranked.member, ranked.other)
    )
    needed = np.ceil(RECALL * positives.astype(np.float64) - 1e-6)
    rates = (*fprs, *[0.0] * _filling(len(fprs), _RATES))
    allowed = allowed_false(rates, negatives.astype(np.float64)[..., None], rule)
    return _Totals(
        positives, negatives, needed.astype(np.float32), allowed.astype(np.float32)
    )


def _weigh(side, weights):
    """Return side @ weights; most scores have values of the same rows."""
    kinds, which = np.unique(side, axis=0, return_inverse=True)
    sums = np.stack([np.sum(weights[kind], axis=0, dtype=np.float32) for kind in kinds])
    return sums[which.reshape(-1)]


def _wider(x):
    """Fill up the rows with such as have no value: index 0, and false."""
    return np.pad(x, ((0, 0), (0, _filling(x.shape[1], _ROWS))))


def _filling(count: int, whole: int) -> int:
    """Return how many rows must be added to reach a multiple; a whole one for none."""
    return -count % whole if count else whole


def _filled_up(x):
    """Repeat the last score, so that every call has one shape."""
    return np.concatenate([x, np.repeat(x[-1:], _SCORES - len(x), axis=0)])


@jax.jit
def _walk_all(weights, rows: Steps, totals: _Totals) -> tuple[jax.Array, ...]:
    return jax.lax.map(lambda score: _walk(weights, *score), (rows, totals))


class _Sums(NamedTuple):
    """What a walk counts of each resample: up to a row, before its score value, sums."""

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
    """Limits of each resample: one over its members and non-members, what rates need."""

    per_member: Array
    per_other: Array
    needed: Array
    allowed: Array


def _walk(weights, rows: Steps, totals: _Totals) -> tuple[jax.Array, ...]:
    """Return the fields of `Metrics` of one score in every resample."""
    positives, negatives, needed, allowed = totals
    limits = _Limits(1 / positives, 1 / negatives, needed, allowed.T)
    # Thresholds at which no member comes in change nothing but what stood before.
    begins, ends = rows.begins, rows.ends
    value = jnp.cumsum(begins, dtype=jnp.int32) - begins[0].astype(jnp.int32)
    tells = jnp.zeros(len(rows.order), bool).at[value].max(rows.member)[value]

    def step(s: _Sums, row: Steps) -> tuple[_Sums, None]:
        s = _if(row.begins, _begin, s)
        weight = jax.lax.dynamic_index_in_dim(weights, row.order, keepdims=False)
        weight = weight.astype(jnp.float32)
        s = _if(row.member, lambda s: s._replace(tp=s.tp + weight), s)
        s = _if(row.other, lambda s: s._replace(fp=s.fp + weight), s)
        return _if(row.ends, partial(_end, limits), s), None

    none = jnp.zeros_like(positives)
    first = dict.fromkeys(_Sums._fields, none)
    first |= {"reached": none + jnp.inf, "caught": jnp.zeros_like(limits.allowed)}
    telling = rows._replace(begins=begins & tells, ends=ends & tells)
    sums, _ = jax.lax.scan(step, _Sums(**first), telling)
    return _results(sums, limits, (positives > 0) & (negatives > 0))


def _begin(s: _Sums) -> _Sums:
    """Take note of what stands before the rows of a score value."""
    return s._replace(tp_before=s.tp, fp_before=s.fp)


def _end(limits: _Limits, s: _Sums) -> _Sums:
    """Take the threshold at a score value into account."""
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
    areas_and_rates = (
        1 - sums.lost * limits.per_member * limits.per_other / 2,
        sums.precise * limits.per_member,
        (1 + sums.gain) / 2,
        sums.reached * limits.per_other,
    )
    tpr = jnp.where(is_whole[None], sums.caught * limits.per_member[None], jnp.nan).T
    return (*(jnp.where(is_whole, value, jnp.nan) for value in areas_and_rates), tpr)


def _if(condition, change, sums: _Sums) -> _Sums:
    return jax.lax.cond(condition, change, lambda s: s, sums)
