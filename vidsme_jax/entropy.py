"""Rényi and Sharma-Mittal entropies of next-token distributions, from raw logits.

For p = softmax(z) the Sharma-Mittal entropy of orders q and r is

    S_{q,r}(p) = (exp((1 - r) H_q) - 1) / (1 - r),   H_q = log(sum_i p_i^q) / (1 - q),

with H_q the Rényi entropy. Its limits come out of the same two functions: r = 1 is Rényi,
q = r Tsallis, q = 1 with r = 1 Shannon, and q = inf the min-entropy.

A memorised token has a distribution that is almost one-hot, and there the textbook form
subtracts two nearly equal numbers. So the largest entry is split off: with i the argmax,
d_j = z_j - z_i and l = log1p(sum_{j != i} exp(d_j)), log p_i = -l and log p_j = d_j - l,
and only sums over j != i are formed. All arithmetic is float32.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Where |q - 1| is smaller, the form without the factor 1 / (1 - q) outside is used.
_NEAR_ONE = 0.1
_AT_ONE = 1e-6  # nearer still, the first two terms of the series in q - 1 are exact
# Long sums are folded over blocks of this many terms: summed one after the other,
# 152,064 float32 terms lose more than the 1e-5 that is promised.
_BLOCK = 1024


class Peaked(NamedTuple):
    """A row of logits with its largest entry split off.

    Attributes:
        top: index of the largest logit.
        gaps: d_j = z_j - z_top; -inf at the top itself and at masked entries.
        log_norm: l, so that log p_top = -l and log p_j = d_j - l. Nats.
    """

    top: Int[Array, "..."]
    gaps: Float[Array, "... vocab"]
    log_norm: Float[Array, "..."]


def split_top(logits: Float[Array, "... vocab"]) -> Peaked:
    """Split the largest entry off each row; -inf marks masked entries."""
    z = logits.astype(jnp.float32)
    top = jnp.argmax(z, axis=-1)
    peak = jnp.take_along_axis(z, top[..., None], axis=-1)
    gaps = jnp.where(positions(z) == top[..., None], -jnp.inf, z - peak)
    log_norm = jnp.log1p(_power_sum(gaps, jnp.ones_like(top, z.dtype)))
    # A NaN or +inf among the logits, or nothing but -inf, is no distribution: say so.
    return Peaked(top, gaps, jnp.where(jnp.isfinite(peak[..., 0]), log_norm, jnp.nan))


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
    is_small = jnp.abs(x) < 1e-3
    safe = jnp.where(is_small, 1, x)
    return entropy * jnp.where(is_small, 1 + x / 2 + x**2 / 6, jnp.expm1(safe) / safe)


def renyi_of(row: Peaked, q: Float[Array, "..."] | float) -> Float[Array, "..."]:
    """Return the Rényi entropy of order q of a split row; see `renyi`."""
    q = jnp.broadcast_to(jnp.asarray(q, row.gaps.dtype), row.log_norm.shape)
    is_inf, is_near = jnp.isinf(q), jnp.abs(q - 1) < _NEAR_ONE
    # Each branch gets orders it can digest, so that no branch makes a NaN for another.
    far = _renyi_far(row, jnp.where(is_inf | is_near, 2, q))
    near = _renyi_near(row, jnp.where(is_near, q, 1))
    return jnp.where(is_inf, row.log_norm, jnp.where(is_near, near, far))


def _renyi_far(row: Peaked, q: Float[Array, "..."]) -> Float[Array, "..."]:
    """Rényi for |q - 1| >= 0.1: (log1p(s_q) - q l) / (1 - q)."""
    return (jnp.log1p(_power_sum(row.gaps, q)) - q * row.log_norm) / (1 - q)


def _renyi_near(row: Peaked, q: Float[Array, "..."]) -> Float[Array, "..."]:
    """Rényi for q near 1: -log1p(sum_i p_i expm1((q - 1) log p_i)) / (q - 1)."""
    is_one = jnp.abs(q - 1) < _AT_ONE
    slope = jnp.where(is_one, 1, q - 1)
    log_p, p = log_probabilities(row)
    p_top = jnp.exp(-row.log_norm)
    shannon = total(-p * log_p) + p_top * row.log_norm
    # At 1 the entropy falls with q at half the variance of log p: the value is Shannon's,
    # and the slope is right for gradients in q.
    deviation = jnp.where(p > 0, log_p + shannon[..., None], 0)
    variance = total(p * deviation**2) + p_top * (shannon - row.log_norm) ** 2
    excess = total(p * jnp.expm1(slope[..., None] * log_p))
    excess += p_top * jnp.expm1(-slope * row.log_norm)
    # At q = 1 the excess belongs to slope 1, and could be -1: keep its logarithm finite.
    excess = jnp.where(is_one, 0, excess)
    at_one = shannon - (q - 1) * variance / 2
    return jnp.where(is_one, at_one, -jnp.log1p(excess) / slope)


def log_probabilities(
    row: Peaked,
) -> tuple[Float[Array, "... vocab"], Float[Array, "... vocab"]]:
    """Return log p and p of all entries but the top; both 0 where p is 0 or top."""
    kept = jnp.isfinite(row.gaps)
    log_p = jnp.where(kept, row.gaps, 0) - row.log_norm[..., None]
    return jnp.where(kept, log_p, 0), jnp.where(kept, jnp.exp(log_p), 0)


def total(values: Float[Array, "... vocab"]) -> Float[Array, "..."]:
    """Sum the last axis in blocks, which keeps float32 rounding near 1e-7."""
    size = values.shape[-1]
    blocks = -(-size // _BLOCK)
    pad = [(0, 0)] * (values.ndim - 1) + [(0, blocks * _BLOCK - size)]
    folded = jnp.pad(values, pad).reshape(*values.shape[:-1], blocks, _BLOCK)
    return jnp.sum(jnp.sum(folded, axis=-1), axis=-1)


def _power_sum(
    gaps: Float[Array, "... vocab"], a: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return s_a, the sum of exp(a d_j) over the finite gaps."""
    kept = jnp.isfinite(gaps)
    powers = jnp.exp(a[..., None] * jnp.where(kept, gaps, 0))
    return total(jnp.where(kept, powers, 0))


def positions(values: Float[Array, "... vocab"]) -> Int[Array, "... vocab"]:
    """Return the index of each entry along the last axis, int32."""
    return jax.lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)
