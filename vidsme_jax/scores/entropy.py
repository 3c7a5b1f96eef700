"""Compute Rényi and Sharma-Mittal entropies of next-token distributions from logits.

For p = softmax(z) the Sharma-Mittal entropy of orders q and r is

    S_{q,r}(p) = (exp((1 - r) H_q) - 1) / (1 - r),   H_q = log(sum_i p_i^q) / (1 - q),

with H_q the Rényi entropy. The same two functions give its limits: r = 1 is Rényi,
q = r Tsallis, q = r = 1 Shannon, and q = inf the min-entropy.

A memorised token has a distribution that is almost one-hot. There the textbook form
subtracts two nearly equal numbers. For a flat distribution, logarithms of about 12 leave
float32 few digits. So the largest entry is split off. With i the argmax,
d_j = z_j - z_i, s = sum_{j != i} exp(d_j) and l = log1p(s), there is log p_i = -l,
log p_j = d_j - l, and

    H_q = l - log1p(u) / (q - 1),   u = sum_{j != i} p_j expm1((q - 1) d_j)

whose two terms are both positive; at q = 1 the second is -sum_j p_j d_j. Where u is near
-1, 1 + u comes as (1 + sum_{j != i} exp(q d_j)) / (1 + s). All arithmetic is float32.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_LEAST = -1e18  # for gaps of -inf: its exponential is 0, its square is finite
_LOWEST_ORDER = 1e-14  # of a power, so that a gap of _LEAST gives 0 at q = 0 too
_NEAREST = 1e-7  # b of expm1(b d) / b, which is d to 1e-6 for gaps of up to 20 nats
_SMALL = 1e-3  # x below which expm1(x) / x and log1p(x) / x come from their series


class SplitRow(NamedTuple):
    """A row of logits with its largest entry split off.

    Attributes:
        logits: the row, float32.
        top: index of the largest logit, the first of equal ones.
        peak: the largest logit.
        second: d of the second largest logit; -inf where there is none. In a row with a
            NaN it may be a number; of such a row only the fields below are sure to be NaN.
        others: s, so that p_top = 1 / (1 + s) and p_j = exp(d_j) / (1 + s).
        log_others: log s, exact where s rounds to 0.
        log_norm: l, so that log p_top = -l and log p_j = d_j - l. Nats.
        mean: mean of d under p; Shannon's entropy is l less this mean. Nats.
        powers: exp(d - shift) of each entry, 0 at the top.
        shift: d of the second largest, 0 where there is none.
    """

    logits: Float[Array, "... vocab"]
    top: Int[Array, "..."]
    peak: Float[Array, "..."]
    second: Float[Array, "..."]
    others: Float[Array, "..."]
    log_others: Float[Array, "..."]
    log_norm: Float[Array, "..."]
    mean: Float[Array, "..."]
    powers: Float[Array, "... vocab"]
    shift: Float[Array, "..."]


@jax.jit  # outside of jit, code that depends on the platform is compiled on every call
def split_top(logits: Float[Array, "... vocab"]) -> SplitRow:
    """Split the largest entry off each row; -inf marks masked entries."""
    z = logits.astype(jnp.float32)
    top = jax.lax.platform_dependent(z, cpu=_argmax_in_blocks, default=_argmax)
    peak = jnp.take_along_axis(z, top[..., None], axis=-1)[..., 0]
    # A NaN or +inf among the logits, or nothing but -inf, is no distribution: everything
    # computed from such a row is NaN.
    peak = jnp.where(jnp.isfinite(peak), peak, jnp.nan)
    gaps = _gaps(z, top, peak)
    second = jnp.max(gaps, axis=-1)
    second = jnp.where(second <= _LEAST, -jnp.inf, second)
    shift = jnp.where(jnp.isneginf(second), 0, second)
    powers = _kept(jnp.exp(gaps - shift[..., None]))
    power, weighted = jnp.sum(powers, axis=-1), jnp.sum(powers * gaps, axis=-1)
    others = power * jnp.exp(shift)
    return SplitRow(
        z,
        top,
        peak,
        second,
        others,
        log_others=jnp.log(power) + shift,
        log_norm=jnp.log1p(others),
        mean=weighted * jnp.exp(shift) / (1 + others),
        powers=powers,
        shift=shift,
    )


def _kept(values: Array) -> Array:
    """Keep a CPU's compiler from computing an exponential again for each of its uses."""
    return jax.lax.platform_dependent(
        values, cpu=jax.lax.optimization_barrier, default=lambda x: x
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
    """Return the Sharma-Mittal entropy expm1((1 - r) H) / (1 - r) of a Rényi entropy H."""
    x = (1 - jnp.asarray(r, entropy.dtype)) * entropy
    # expm1(x) / x, by its series near 0, so that r = 1 has the right value and slope.
    is_small = jnp.abs(x) < _SMALL
    safe = jnp.where(is_small, 1, x)
    return entropy * jnp.where(is_small, 1 + x / 2 + x**2 / 6, jnp.expm1(safe) / safe)


def renyi_of(row: SplitRow, q: Float[Array, "..."] | float) -> Float[Array, "..."]:
    """Return the Rényi entropy of order q of a split row; see `renyi`."""
    q = jnp.broadcast_to(jnp.asarray(q, row.log_norm.dtype), row.log_norm.shape)
    is_inf = jnp.isinf(q)
    below = _mean_power(row, jnp.where(is_inf, 2, q) - 1)
    return row.log_norm - jnp.where(is_inf, 0, below)


def log_ratio(row: SplitRow, q_less_one: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log(sum_j exp(q d_j) / sum_j exp(d_j)) over all entries, d_top = 0.

    Thus log(sum_j p_j^q) is this plus (1 - q) l.
    """
    return q_less_one * _mean_power(row, q_less_one)


def _mean_power(row: SplitRow, q_less_one: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log1p(u) / (q - 1); at q = 1 the mean of d, with the right derivative."""
    # A product, not a quotient: how the compiler divides depends on the code around it.
    inverse = 1 / jnp.where(q_less_one == 0, 1, q_less_one)
    gaps, scale = gaps_of_others(row), 1 / (1 + row.others)
    # (exp(q d) - exp(d)) / (q - 1), by the lesser of both orders: nothing overflows.
    is_below = q_less_one < 0
    lesser = jnp.maximum(1 + jnp.where(is_below, q_less_one, 0), _LOWEST_ORDER)
    bent = _bent(gaps, jnp.where(is_below, -q_less_one, q_less_one)[..., None])
    v = jnp.sum(jnp.exp(lesser[..., None] * gaps) * bent, axis=-1) * scale
    q = jnp.maximum(1 + q_less_one, _LOWEST_ORDER)
    powers = jnp.sum(jnp.exp(q[..., None] * gaps), axis=-1) * scale
    u = q_less_one * v  # v itself is finite at q = 1
    is_low, is_small = u < -0.5, jnp.abs(u) < _SMALL
    ratio = jnp.where(is_low, powers + scale, 1)
    safe = jnp.where(is_low | is_small, 1, u)
    series = v * (1 - u / 2 + u**2 / 3)
    middle = jnp.where(is_small, series, jnp.log1p(safe) * inverse)
    return jnp.where(is_low, jnp.log(ratio) * inverse, middle)


@jax.custom_jvp
def _bent(d: Float[Array, "... n"], b: Float[Array, "... one"]) -> Float[Array, "... n"]:
    """Return expm1(b d) / b for b d of at most 0, and d where b is 0, without a branch."""
    b = jnp.maximum(b, _NEAREST)
    return jnp.expm1(b * d) * (1 / b)


@_bent.defjvp
def _bent_slope(primals, tangents):
    """Return `_bent` and its derivative along the tangents."""
    (d, b), (by_d, by_b) = primals, tangents
    x, is_near = b * d, jnp.abs(b * d) < _SMALL
    far = (x * jnp.exp(x) - jnp.expm1(x)) / jnp.where(is_near, 1, b) ** 2
    near = d**2 * (0.5 + x / 3 + x**2 / 8)
    slope = jnp.where(is_near, near, far)
    return _bent(d, b), jnp.exp(x) * by_d + slope * by_b


def gap_to_second(row: SplitRow) -> Float[Array, "..."]:
    """Return log p_top minus the log of the second largest p, ties kept."""
    return jnp.where(jnp.isnan(row.log_norm), jnp.nan, -row.second)


def log_rest_of_top(row: SplitRow) -> Float[Array, "..."]:
    """Return log(1 - p_top) from the other entries, exact where p_top rounds to 1."""
    return row.log_others - row.log_norm


def gap_of(row: SplitRow, token: Int[Array, "..."]) -> Float[Array, "..."]:
    """Return d of one token of each row; 0 for the top, -inf for a masked entry."""
    z = jnp.take_along_axis(row.logits, token[..., None], axis=-1)[..., 0]
    return z - row.peak


def gaps_of_others(row: SplitRow) -> Float[Array, "... vocab"]:
    """Return d of each entry; about -1e18 at the top and at masked entries.

    So a sum over the other entries is a sum over all, whose terms vanish at these. A
    compiler fuses the array into a sum or keeps it for several sums, as fits the platform.
    """
    return _gaps(row.logits, row.top, row.peak)


def _gaps(z, top, peak) -> Float[Array, "... vocab"]:
    """Return z - peak of each entry; -1e18 at the top and at masked entries."""
    gaps = jnp.maximum(z - peak[..., None], _LEAST)
    return jnp.where(_is_at(z, top), _LEAST, gaps)


def is_top(row: SplitRow) -> Bool[Array, "... vocab"]:
    """Tell which entry of each row is the one split off."""
    return _is_at(row.logits, row.top)


def _is_at(z, index) -> Bool[Array, "... vocab"]:
    """Tell which entry of each row has an index."""
    return positions(z) == index[..., None]


def _argmax(z: Float[Array, "... vocab"]) -> Int[Array, "..."]:
    """Return the index of the largest entry of each row."""
    return jnp.argmax(z, axis=-1)


def _argmax_in_blocks(z: Float[Array, "... vocab"]) -> Int[Array, "..."]:
    """Return the index of the largest entry of each row, block by block.

    For a CPU, which computes a maximum 30 times as fast as an argmax.
    """
    vocab = z.shape[-1]
    count = max(n for n in range(1, math.isqrt(vocab) + 1) if vocab % n == 0)
    blocks = z.reshape(*z.shape[:-1], count, vocab // count)
    best = _argmax(jnp.max(blocks, axis=-1))[..., None]
    block = jnp.take_along_axis(blocks, best[..., None], axis=-2)
    return best[..., 0] * (vocab // count) + _argmax(block[..., 0, :])


def positions(values: Float[Array, "... vocab"]) -> Int[Array, "... vocab"]:
    """Return the index of each entry along the last axis, int32."""
    return jax.lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)
