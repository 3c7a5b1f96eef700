"""Rényi and Sharma-Mittal entropies of next-token distributions, from raw logits.

For p = softmax(z) the Sharma-Mittal entropy of orders q and r is

    S_{q,r}(p) = (exp((1 - r) H_q) - 1) / (1 - r),   H_q = log(sum_i p_i^q) / (1 - q),

with H_q the Rényi entropy. Its limits come out of the same two functions: r = 1 is Rényi,
q = r Tsallis, q = 1 with r = 1 Shannon, and q = inf the min-entropy.

A memorised token has a distribution that is almost one-hot, and there the textbook form
subtracts two nearly equal numbers; for a flat one, logarithms of about 12 leave float32
few digits. So the largest entry is split off: with i the argmax, d_j = z_j - z_i,
s = sum_{j != i} exp(d_j) and l = log1p(s), log p_i = -l and log p_j = d_j - l, and

    H_q = l - log1p(u) / (q - 1),   u = sum_{j != i} p_j expm1((q - 1) d_j)

whose two terms are both positive; at q = 1 the second is -sum_j p_j d_j. Where u is near
-1, 1 + u comes as (1 + sum_{j != i} exp(q d_j)) / (1 + s). All arithmetic is float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# A CPU takes this many entries at a time and keeps as many partial sums: so it works on
# vectors, and 152,064 float32 terms keep the 1e-5 that is promised.
_BLOCK = 2048
_LEAST = -1e18  # for gaps of -inf: its exponential is 0, its square is finite
_SMALL = 1e-3  # x below which expm1(x) / x and log1p(x) / x come from their series
_NEAR = 0.25  # x below which exp(x) - 1 loses digits


class Peaked(NamedTuple):
    """A row of logits with its largest entry split off.

    Attributes:
        logits: the row, float32.
        top: index of the largest logit, the first of equal ones.
        peak: the largest logit.
        second: gap d of the second largest; -inf where there is none.
        others: s, so that p_top = 1 / (1 + s) and p_j = exp(d_j) / (1 + s).
        log_others: log s, exact where s rounds to 0.
        log_norm: l, so that log p_top = -l and log p_j = d_j - l. Nats.
        mean: of d under p, so that Shannon's entropy is l less this. Nats.
    """

    logits: Float[Array, "... vocab"]
    top: Int[Array, "..."]
    peak: Float[Array, "..."]
    second: Float[Array, "..."]
    others: Float[Array, "..."]
    log_others: Float[Array, "..."]
    log_norm: Float[Array, "..."]
    mean: Float[Array, "..."]


@jax.jit  # outside of jit, a sum over the vocabulary would be compiled on every call
def split_top(logits: Float[Array, "... vocab"]) -> Peaked:
    """Split the largest entry off each row; -inf marks masked entries."""
    z = logits.astype(jnp.float32)
    top = jnp.argmax(z, axis=-1)
    peak = jnp.take_along_axis(z, top[..., None], axis=-1)[..., 0]
    # A NaN or +inf among the logits, or nothing but -inf, is no distribution: whatever
    # is computed of such a row is NaN.
    peak = jnp.where(jnp.isfinite(peak), peak, jnp.nan)
    (second,) = _over_vocabulary(lambda gaps, places: (gaps,), z, top, peak, _MAX)
    is_alone = second <= _LEAST
    shift = jnp.where(is_alone, 0, second)

    def terms(gaps, places):
        power = jnp.exp(gaps - shift[..., None])
        return power, power * gaps

    power, weighted = _over_vocabulary(terms, z, top, peak)
    scale = jnp.exp(shift)
    others = power * scale
    return Peaked(
        z,
        top,
        peak,
        jnp.where(is_alone, -jnp.inf, second),
        others,
        log_others=jnp.log(power) + shift,
        log_norm=jnp.log1p(others),
        mean=weighted * scale / (1 + others),
    )


@jax.jit
def renyi(
    logits: Float[Array, "... vocab"], q: Float[Array, "..."] | float
) -> Float[Array, "..."]:
    """Return the Rényi entropy of order q of softmax(logits), in nats.

    Args:
        logits: any float type, computed in float32; -inf is probability zero.
        q: order, at least 0, broadcast against the rows; 1 is Shannon, inf min-entropy.

    Source: A. Rényi, 1961; arXiv 2506.03179 uses q in [1, 2].
    """
    return renyi_of(split_top(logits), q)


@jax.jit
def sharma_mittal(
    logits: Float[Array, "... vocab"],
    q: Float[Array, "..."] | float,
    r: Float[Array, "..."] | float,
) -> Float[Array, "..."]:
    """Return the Sharma-Mittal entropy of orders q and r of softmax(logits).

    Args:
        logits: any float type, computed in float32; -inf is probability zero.
        q: order, at least 0, broadcast against the rows.
        r: degree, broadcast against the rows; 1 is Rényi in nats, q = r Tsallis.

    Source: arXiv 2506.03179, the entropy of Vid-SME, with its limits.
    """
    return squash(renyi(logits, q), r)


def squash(
    entropy: Float[Array, "..."], r: Float[Array, "..."] | float
) -> Float[Array, "..."]:
    """Map a Rényi entropy H to Sharma-Mittal of degree r: expm1((1 - r) H) / (1 - r)."""
    x = (1 - jnp.asarray(r, entropy.dtype)) * entropy
    # expm1(x) / x, by its series near 0, so that r = 1 has the right value and slope.
    is_small = jnp.abs(x) < _SMALL
    safe = jnp.where(is_small, 1, x)
    return entropy * jnp.where(is_small, 1 + x / 2 + x**2 / 6, jnp.expm1(safe) / safe)


def renyi_of(row: Peaked, q: Float[Array, "..."] | float) -> Float[Array, "..."]:
    """Return the Rényi entropy of order q of a split row; see `renyi`."""
    q = jnp.broadcast_to(jnp.asarray(q, row.log_norm.dtype), row.log_norm.shape)
    is_inf = jnp.isinf(q)
    below = _mean_power(row, jnp.where(is_inf, 2, q) - 1)
    return row.log_norm - jnp.where(is_inf, 0, below)


def log_ratio(row: Peaked, q_less_one: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log(sum_j exp(q d_j) / sum_j exp(d_j)) over all entries, d_top = 0.

    So log(sum_j p_j^q) is this plus (1 - q) l.
    """
    return q_less_one * _mean_power(row, q_less_one)


def _mean_power(row: Peaked, q_less_one: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log1p(u) / (q - 1), the mean of d where q is 1; right in slope there too."""
    # Multiplied with, not divided by: how the compiler divides depends on what is around.
    inverse = 1 / jnp.where(q_less_one == 0, 1, q_less_one)

    def terms(gaps, places):
        bent, power = q_less_one[..., None] * gaps, jnp.exp(gaps)
        bent_power = jnp.where(gaps > _LEAST, jnp.exp(gaps + bent), 0)  # 0 at q = 0 too
        is_near = jnp.abs(bent) < _NEAR
        near = power * gaps * _growth(jnp.where(is_near, bent, 0))
        # Far off nothing cancels.
        far = (bent_power - power) * inverse[..., None]
        return jnp.where(is_near, near, far), bent_power

    v, powers = (total / (1 + row.others) for total in over_vocabulary(terms, row))
    u = q_less_one * v  # v itself is finite at q = 1
    is_low, is_small = u < -0.5, jnp.abs(u) < _SMALL
    ratio = jnp.where(is_low, powers + 1 / (1 + row.others), 1)
    safe = jnp.where(is_low | is_small, 1, u)
    series = v * (1 - u / 2 + u**2 / 3)
    middle = jnp.where(is_small, series, jnp.log1p(safe) * inverse)
    return jnp.where(is_low, jnp.log(ratio) * inverse, middle)


def _growth(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return expm1(x) / x for |x| < `_NEAR`, to 5e-8, in fewer steps than expm1."""
    return 1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6))))


def log_rest_of_top(row: Peaked) -> Float[Array, "..."]:
    """Return log(1 - p_top) from the other entries, exact where p_top rounds to 1."""
    return row.log_others - row.log_norm


def gap_of(row: Peaked, token: Int[Array, "..."]) -> Float[Array, "..."]:
    """Return d of one token of each row; 0 for the top, -inf for a masked entry."""
    z = jnp.take_along_axis(row.logits, token[..., None], axis=-1)[..., 0]
    return z - row.peak


Terms = Callable[..., tuple[Array, ...]]


def _nothing(gaps: Float[Array, "... n"]) -> tuple[Array, ...]:
    return ()


def over_vocabulary(
    terms: Terms, row: Peaked, shared: Callable[..., tuple[Array, ...]] = _nothing
) -> tuple[Float[Array, "..."], ...]:
    """Sum several functions of the entries of each row but its top, in one pass.

    Args:
        terms: terms(gaps, places, *shared) -> arrays [… n] to be summed; gaps d [… n],
            `_LEAST` at the top and at masked entries, and their indices, -1 where there
            is no entry.
        row: of the logits.
        shared: shared(gaps) -> arrays [… n] that several terms are made of, and that
            cost more than to store and load them.
    """
    return _over_vocabulary(terms, row.logits, row.top, row.peak, _SUM, shared)


class _Fold(NamedTuple):
    """How terms come together: two arrays of them, and those of an axis."""

    two: Callable[[Array, Array], Array]
    axis: Callable[..., Array]
    start: float


_SUM = _Fold(jnp.add, jnp.sum, 0)
_MAX = _Fold(jnp.maximum, jnp.max, _LEAST)


def _over_vocabulary(
    terms: Terms, z, top, peak, fold: _Fold = _SUM, shared=_nothing
) -> tuple[Float[Array, "..."], ...]:
    vocab = z.shape[-1]

    def evaluate(z, places, kept=lambda x: x):
        gaps = jnp.maximum(z - peak[..., None], _LEAST)
        is_other = (places >= 0) & (places != top[..., None])
        gaps = jnp.where(is_other, gaps, _LEAST)
        return terms(gaps, places, *kept(shared(gaps)))

    def whole(z):
        return tuple(fold.axis(term, axis=-1) for term in evaluate(z, positions(z)))

    def in_blocks(z):
        def add(n, sums):
            # The last block begins early, so that it is whole, and skips what was taken.
            start = jnp.minimum(n * _BLOCK, vocab - _BLOCK)
            block = jax.lax.dynamic_slice_in_dim(z, start, _BLOCK, axis=-1)
            places = start + positions(block)
            places = jnp.where(places < n * _BLOCK, -1, places)
            # Each sum is a loop of its own here, and would compute again what they share.
            found = evaluate(block, places, jax.lax.optimization_barrier)
            return tuple(fold.two(a, b) for a, b in zip(sums, found, strict=True))

        block = jax.ShapeDtypeStruct((*z.shape[:-1], _BLOCK), jnp.float32)
        count = len(jax.eval_shape(lambda block: evaluate(block, positions(block)), block))
        none = (jnp.full(block.shape, fold.start, block.dtype),) * count
        sums = jax.lax.fori_loop(0, -(-vocab // _BLOCK), add, none)
        return tuple(fold.axis(partial, axis=-1) for partial in sums)

    if vocab <= _BLOCK:
        return whole(z)
    # Accelerators sum in as many places at once as their registers have, and fuse whatever
    # makes the terms into the sum.
    return jax.lax.platform_dependent(z, cpu=in_blocks, default=whole)


def positions(values: Float[Array, "... vocab"]) -> Int[Array, "... vocab"]:
    """Return the index of each entry along the last axis, int32."""
    return jax.lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)
