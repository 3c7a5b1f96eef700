"""How sure a metric is: bootstrap over whole groups, and intervals.

Rows of one unit (one video) are never counted as independent: units are drawn with
replacement within each class, and their rows come together. All scores see the same
resamples, so that differences between scores, models and runs are paired.

The resampled metrics are JAX programs: a walk down the sorted rows of a score, with all its
resamples side by side.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt16

from vidsme_jax.metrics import RECALL, Metrics, Steps, allowed_false, steps

# Scores of a call, and what the rows are filled up to: so that few shapes are compiled.
_SCORES, _ROWS = 16, 64


def bootstrap_weights(
    member: Bool[np.ndarray, "row"],
    unit: Int[np.ndarray, "row"],
    resamples: int,
    seed: int,
) -> UInt16[np.ndarray, "row resample"]:
    """Return how often each row occurs in each resample.

    Units are drawn with replacement within each class, as many as the class has.
    """
    rng = np.random.default_rng(seed)
    weights = np.zeros((len(member), resamples), np.uint16)
    for side in (member, ~member):
        if side.any():
            units, place = np.unique(unit[side], return_inverse=True)
            even = np.full(len(units), 1 / len(units))
            counts = rng.multinomial(len(units), even, size=resamples)
            weights[side] = counts.T.astype(np.uint16)[place]
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
    placed = jnp.asarray(np.pad(weights, ((0, _filling(len(weights))), (0, 0))))
    work = [slice(n, n + _SCORES) for n in range(0, len(scores), _SCORES)]

    def run(part: slice) -> tuple[slice, Metrics]:
        held = steps(scores[part], member)
        totals = _totals(held, weights)
        rows = [_wider(x) for x in held]
        given = _padded((*rows, *totals, *_limits(totals, fprs, rule)), _SCORES)
        found = jax.device_get(_walk_all(placed, *given))
        count = len(held.order)
        return part, Metrics(*(value[:count] for value in found))

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
    most = [allowed_false(fpr, negatives, rule) for fpr in fprs]
    shape = (*negatives.shape, 0)
    allowed = np.stack(most, axis=-1) if most else np.zeros(shape)
    return needed.astype(np.float32), allowed.astype(np.float32)


def _wider(x):
    """Fill up the rows with such as have no value: index 0, and false."""
    return np.pad(x, ((0, 0), (0, _filling(x.shape[1]))))


def _filling(rows: int) -> int:
    return -rows % _ROWS if rows else _ROWS


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
    share_tp, share_fp = 1 / positives, 1 / negatives
    allowed = allowed.T
    # Thresholds at which no member comes in change nothing but what stood before.
    value = jnp.cumsum(begins, dtype=jnp.int32) - begins[0].astype(jnp.int32)
    tells = jnp.zeros(len(order), bool).at[value].max(member)[value]

    def start(s: _Sums) -> _Sums:
        return s._replace(tp_before=s.tp, fp_before=s.fp)

    def end(s: _Sums) -> _Sums:
        own = s.tp - s.tp_before
        return s._replace(
            lost=s.lost + own * (s.fp + s.fp_before),
            precise=s.precise + own * s.tp / jnp.maximum(s.tp + s.fp, 1),
            gain=jnp.maximum(s.gain, s.tp * share_tp - s.fp * share_fp),
            reached=jnp.where(s.tp >= needed, jnp.minimum(s.reached, s.fp), s.reached),
            caught=jnp.where(s.fp[None] <= allowed, s.tp[None], s.caught),
        )

    def step(s: _Sums, row) -> tuple[_Sums, None]:
        place, is_member, is_other, is_begin, is_end = row
        s = _if(is_begin, start, s)
        weight = jax.lax.dynamic_index_in_dim(weights, place, keepdims=False)
        weight = weight.astype(jnp.float32)
        s = _if(is_member, lambda s: s._replace(tp=s.tp + weight), s)
        s = _if(is_other, lambda s: s._replace(fp=s.fp + weight), s)
        return _if(is_end, end, s), None

    none = jnp.zeros_like(positives)
    start_from = _Sums(
        tp=none,
        fp=none,
        tp_before=none,
        fp_before=none,
        lost=none,
        precise=none,
        gain=none,
        reached=none + jnp.inf,
        caught=jnp.zeros_like(allowed),
    )
    rows = (order, member, other, begins & tells, ends & tells)
    sums, _ = jax.lax.scan(step, start_from, rows)
    is_whole = (positives > 0) & (negatives > 0)
    found = (
        1 - sums.lost * share_tp * share_fp / 2,
        sums.precise * share_tp,
        (1 + sums.gain) / 2,
        sums.reached * share_fp,
    )
    tpr = jnp.where(is_whole[None], sums.caught * share_tp[None], jnp.nan).T
    return (*(jnp.where(is_whole, value, jnp.nan) for value in found), tpr)


def _if(condition, change, sums: _Sums) -> _Sums:
    return jax.lax.cond(condition, change, lambda s: s, sums)
