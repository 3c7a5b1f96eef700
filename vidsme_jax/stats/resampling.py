"""Metrics under resamples of whole groups.

Rows of one unit (one video) are never counted as independent: units are drawn with
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


def bootstrap_weights(
    member: Bool[np.ndarray, "row"],
    unit: Int[np.ndarray, "row"],
    resamples: int,
    seed: int,
) -> UInt16[np.ndarray, "row resample"]:
    """Return how often each row occurs in each resample.

    Units are drawn with replacement within each class, as many as the class has.
    """
    return _weights(member.tobytes(), unit.astype(np.int64).tobytes(), resamples, seed)


@lru_cache(maxsize=1)  # one evaluation asks for the same ones again and again
def _weights(
    members: bytes, units: bytes, resamples: int, seed: int
) -> UInt16[np.ndarray, "row resample"]:
    member: np.ndarray = np.frombuffer(members, bool)
    unit: np.ndarray = np.frombuffer(units, np.int64)
    rng = np.random.default_rng(seed)
    weights = np.zeros((len(member), resamples), np.uint16)
    for side in (member, ~member):
        if side.any():
            kinds, place = np.unique(unit[side], return_inverse=True)
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
        rule: one of `metrics.RULES`.

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
        held = steps(scores[part], member)
        rows, many = [_wider(x) for x in held], len(held.order)
        totals = _totals(held, filled[: len(weights)])
        limits = _limits(totals, fprs, rule)
        parts = []
        for n, block in zip(starts, placed, strict=True):
            each = (x[:, n : n + _RESAMPLES] for x in (*totals, *limits))
            parts.append(_walk_all(block, *_padded((*rows, *each), _SCORES)))
        whole = [
            np.concatenate(x, axis=1) for x in zip(*jax.device_get(parts), strict=True)
        ]
        tpr = whole.pop()[..., : len(fprs)]
        return part, Metrics(*(value[:many, :count] for value in (*whole, tpr)))

    on_cpu = jax.default_backend() == "cpu"
    with ThreadPoolExecutor(_cores() if on_cpu else 1) as pool:
        yield from pool.map(run, work)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _totals(held: Steps, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return how much the members and the non-members of each score weigh."""
    rows = np.argsort(held.order, axis=-1)
    sides = (np.take_along_axis(x, rows, axis=-1) for x in (held.member, held.other))
    return tuple(_weigh(side, weights) for side in sides)  # type: ignore[return-value]


def _weigh(side, weights):
    """Return side @ weights; most scores have values of the same rows."""
    kinds, which = np.unique(side, axis=0, return_inverse=True)
    sums = np.stack([np.sum(weights[kind], axis=0, dtype=np.float32) for kind in kinds])
    return sums[which.reshape(-1)]


def _limits(totals, fprs, rule):
    """Return the members that `RECALL` needs, and the false positives of each rate."""
    positives, negatives = (x.astype(np.float64) for x in totals)
    needed = np.ceil(RECALL * positives - 1e-6)
    rates = (*fprs, *[0.0] * _filling(len(fprs), _RATES))
    allowed = allowed_false(rates, negatives[..., None], rule)
    return needed.astype(np.float32), allowed.astype(np.float32)


def _wider(x):
    """Fill up the rows with such as have no value: index 0, and false."""
    return np.pad(x, ((0, 0), (0, _filling(x.shape[1], _ROWS))))


def _filling(count: int, whole: int) -> int:
    """Return what lacks to a multiple, but for 0."""
    return -count % whole if count else whole


def _padded(arrays, count):
    """Repeat the last score, so that every call has one shape."""

    def pad(x):
        return np.concatenate([x, np.repeat(x[-1:], count - len(x), axis=0)])

    return tuple(pad(x) for x in arrays)


@jax.jit
def _walk_all(weights, *each) -> tuple[jax.Array, ...]:
    return jax.lax.map(lambda one: _walk(weights, *one), each)


class _Sums(NamedTuple):
    """Of each resample, at a row: counts, those before its score value, and sums."""

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
    """Of each resample: one over its members and non-members, what its rates need."""

    per_member: jax.Array
    per_other: jax.Array
    needed: jax.Array
    allowed: jax.Array


def _walk(
    weights,
    order,
    member,
    other,
    begins,
    ends,
    positives,
    negatives,
    needed,
    allowed,
) -> tuple[jax.Array, ...]:
    """Return the fields of `Metrics` of one score in every resample."""
    limits = _Limits(1 / positives, 1 / negatives, needed, allowed.T)
    # Thresholds at which no member comes in change nothing but what stood before.
    value = jnp.cumsum(begins, dtype=jnp.int32) - begins[0].astype(jnp.int32)
    tells = jnp.zeros(len(order), bool).at[value].max(member)[value]

    def step(s: _Sums, row) -> tuple[_Sums, None]:
        place, is_member, is_other, is_begin, is_end = row
        s = _if(is_begin, _begin, s)
        weight = jax.lax.dynamic_index_in_dim(weights, place, keepdims=False)
        weight = weight.astype(jnp.float32)
        s = _if(is_member, lambda s: s._replace(tp=s.tp + weight), s)
        s = _if(is_other, lambda s: s._replace(fp=s.fp + weight), s)
        return _if(is_end, partial(_end, limits), s), None

    none = jnp.zeros_like(positives)
    first = dict.fromkeys(_Sums._fields, none)
    first |= {"reached": none + jnp.inf, "caught": jnp.zeros_like(limits.allowed)}
    rows = (order, member, other, begins & tells, ends & tells)
    sums, _ = jax.lax.scan(step, _Sums(**first), rows)
    return _results(sums, limits, (positives > 0) & (negatives > 0))


def _begin(s: _Sums) -> _Sums:
    """Take note of what stands before the rows of a score value."""
    return s._replace(tp_before=s.tp, fp_before=s.fp)


def _end(limits: _Limits, s: _Sums) -> _Sums:
    """Take the threshold at a score value into account."""
    own = s.tp - s.tp_before
    gain = s.tp * limits.per_member - s.fp * limits.per_other
    is_enough, fits = s.tp >= limits.needed, s.fp[None] <= limits.allowed
    return s._replace(
        lost=s.lost + own * (s.fp + s.fp_before),
        precise=s.precise + own * s.tp / jnp.maximum(s.tp + s.fp, 1),
        gain=jnp.maximum(s.gain, gain),
        reached=jnp.where(is_enough, jnp.minimum(s.reached, s.fp), s.reached),
        caught=jnp.where(fits, s.tp[None], s.caught),
    )


def _results(sums: _Sums, limits: _Limits, is_whole) -> tuple[jax.Array, ...]:
    found = (
        1 - sums.lost * limits.per_member * limits.per_other / 2,
        sums.precise * limits.per_member,
        (1 + sums.gain) / 2,
        sums.reached * limits.per_other,
    )
    tpr = jnp.where(is_whole[None], sums.caught * limits.per_member[None], jnp.nan).T
    return (*(jnp.where(is_whole, value, jnp.nan) for value in found), tpr)


def _if(condition, change, sums: _Sums) -> _Sums:
    return jax.lax.cond(condition, change, lambda s: s, sums)
