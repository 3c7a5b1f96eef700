"""Rényi and Sharma-Mittal entropies of next-token distributions, from raw logits.

For p = softmax(z) the Sharma-Mittal entropy of orders q and r is

    S_{q,r}(p) = (exp((1 - r) H_q) - 1) / (1 - r),   H_q = log(sum_i p_i^q) / (1 - q),

with H_q the Rényi entropy. Its limits come out of the same two functions: r = 1 is Rényi,
q = r Tsallis, q = 1 with r = 1 Shannon, and q = inf the min-entropy.

A memorised token has a distribution that is almost one-hot, and there the textbook form
subtracts two nearly equal numbers; for a flat one, logarithms of about 12 leave float32
few digits. So the largest entry is split off: with i the argmax, d_j = z_j - z_i,
s = sum_{j != i} exp(d_j) and l = log1p(s), log p_i = -l and log p_j = d_j - l, and

    H_q = l + log1p(u) / (1 - q),   u = sum_{j != i} p_j expm1((q - 1) d_j)

whose two terms are both positive. At q = 1 the second is -sum_j p_j d_j. Where u is near
-1, 1 + u comes as (1 + sum_{j != i} exp(q d_j)) / (1 + s). All arithmetic is float32.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_AT_ONE = 1e-6  # nearer than that to q = 1, the series in q - 1 is exact
# On a CPU long sums are folded over blocks of this many terms: summed one after the other,
# 152,064 float32 terms lose more than the 1e-5 that is promised.
_BLOCK = 1024


class Peaked(NamedTuple):
    """A row of logits with its largest entry split off.

    Attributes:
        top: index of the largest logit.
        gaps: d_j = z_j - z_top; -inf at the top itself and at masked entries.
        others: s, so that p_top = 1 / (1 + s) and p_j = exp(d_j) / (1 + s).
        log_norm: l, so that log p_top = -l and log p_j = d_j - l. Nats.
    """

    top: Int[Array, "..."]
    gaps: Float[Array, "... vocab"]
    others: Float[Array, "..."]
    log_norm: Float[Array, "..."]


def split_top(logits: Float[Array, "... vocab"]) -> Peaked:
    """Split the largest entry off each row; -inf marks masked entries."""
    z = logits.astype(jnp.float32)
    top = jnp.argmax(z, axis=-1)
    peak = jnp.take_along_axis(z, top[..., None], axis=-1)
    gaps = jnp.where(positions(z) == top[..., None], -jnp.inf, z - peak)
    others = _power_sum(gaps, jnp.ones_like(top, z.dtype))
    # A NaN or +inf among the logits, or nothing but -inf, is no distribution: say so.
    others = jnp.where(jnp.isfinite(peak[..., 0]), others, jnp.nan)
    return Peaked(top, gaps, others, jnp.log1p(others))


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
    is_inf, is_one = jnp.isinf(q), jnp.abs(q - 1) < _AT_ONE
    # Each branch gets orders it can digest, so that no branch makes a NaN for another.
    order = jnp.where(is_inf | is_one, 2, q)
    far = log_ratio(row, order) / (1 - order)
    above = jnp.where(is_one, _near_shannon(row, jnp.where(is_one, q, 1)), far)
    return row.log_norm + jnp.where(is_inf, 0, above)


def log_ratio(row: Peaked, q: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log(sum_j exp(q d_j) / sum_j exp(d_j)) over all entries, d_top = 0.

    So log(sum_j p_j^q) is this plus (1 - q) l.
    """
    kept = jnp.isfinite(row.gaps)
    gaps = jnp.where(kept, row.gaps, 0)
    bend = (q[..., None] - 1) * gaps
    is_far = jnp.abs(bend) > 1  # expm1 could overflow, and nothing cancels
    powers = jnp.where(kept, jnp.exp(q[..., None] * gaps), 0)
    near = jnp.exp(gaps) * jnp.expm1(jnp.where(is_far, 0, bend))
    terms = jnp.where(is_far, powers - jnp.exp(gaps), near)
    u = total(jnp.where(kept, terms, 0)) / (1 + row.others)
    is_small = u < -0.5
    ratio = (1 + total(powers)) / (1 + row.others)
    return jnp.where(
        is_small,
        jnp.log(jnp.where(is_small, ratio, 1)),
        jnp.log1p(jnp.where(is_small, 0, u)),
    )


def _near_shannon(row: Peaked, q: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return what Rényi of order q = 1, or so near, has above l: two terms in q - 1."""
    mean, variance = gap_moments(row)
    # The slope at 1 is minus half the variance of log p: right for gradients in q.
    return -mean - (q - 1) * variance / 2


def gap_moments(row: Peaked) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return mean and variance of d, under p; the variance of log p is the same."""
    _, p = log_probabilities(row)
    gaps = jnp.where(p > 0, row.gaps, 0)
    mean = total(p * gaps)
    deviation = jnp.where(p > 0, gaps - mean[..., None], 0)
    return mean, total(p * deviation**2) + mean**2 / (1 + row.others)


def log_probabilities(
    row: Peaked,
) -> tuple[Float[Array, "... vocab"], Float[Array, "... vocab"]]:
    """Return log p and p of all entries but the top; both 0 where p is 0 or top."""
    kept = jnp.isfinite(row.gaps)
    gaps = jnp.where(kept, row.gaps, 0)
    p = jnp.exp(gaps) / (1 + row.others[..., None])
    return jnp.where(kept, gaps - row.log_norm[..., None], 0), jnp.where(kept, p, 0)


def log_rest_of_top(row: Peaked) -> Float[Array, "..."]:
    """Return log(1 - p_top) from the other entries, exact where p_top rounds to 1."""
    peak = jnp.max(row.gaps, axis=-1, keepdims=True)
    safe = jnp.where(jnp.isfinite(peak), peak, 0)
    rest = total(jnp.where(jnp.isfinite(row.gaps), jnp.exp(row.gaps - safe), 0))
    return jnp.log(rest) + safe[..., 0] - row.log_norm


@jax.jit  # outside of jit, a choice by platform would be compiled on every call
def total(values: Float[Array, "... vocab"]) -> Float[Array, "..."]:
    """Sum the last axis with float32 rounding near 1e-7.

    Accelerators sum in as many places at once as their registers have, and there whatever
    makes the terms is fused into the plain sum; blocks would be written out to memory.
    """
    plain = partial(jnp.sum, axis=-1)
    return jax.lax.platform_dependent(values, cpu=_blocked_sum, default=plain)


def _blocked_sum(values: Float[Array, "... vocab"]) -> Float[Array, "..."]:
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
