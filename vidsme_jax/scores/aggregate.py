"""Reduce masked token curves to numbers: means of the k smallest or largest values.

k = max(1, n K // 100) for the n tokens that count, with no sign flip, so that `min_0` is
the minimum and `max_0` the maximum. An empty slice gives NaN, and so does a NaN among
the counted tokens: nothing is dropped unseen.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vidsme_jax.scores.catalogue import PERCENTS


def masked_mean(
    values: Float[Array, "*batch token"], mask: Bool[Array, "*batch token"]
) -> Float[Array, "*batch"]:
    """Return the mean over the tokens where the mask is true; NaN where there are none."""
    count = jnp.sum(mask, axis=-1, dtype=values.dtype)
    kept = jnp.where(mask, values, 0)
    return jnp.where(count > 0, jnp.sum(kept, axis=-1) / jnp.maximum(count, 1), jnp.nan)


def min_k(
    values: Float[Array, "*batch token"],
    mask: Bool[Array, "*batch token"],
    percent: int,
) -> Float[Array, "*batch"]:
    """Return the mean of the smallest `percent` % of the counted tokens (Min-K%).

    Source: arXiv 2506.03179 (its K, with percent 0 the single minimum).
    """
    return _window_means(_sorted(values, mask), mask, (percent,))[..., 0]


def max_k(
    values: Float[Array, "*batch token"],
    mask: Bool[Array, "*batch token"],
    percent: int,
) -> Float[Array, "*batch"]:
    """Return the mean of the largest `percent` % of the counted tokens (Max-K%)."""
    return -min_k(-values, mask, percent)


def aggregates(
    values: Float[Array, "*batch token"], mask: Bool[Array, "*batch token"]
) -> Float[Array, "*batch aggregate"]:
    """Return every aggregate of `catalogue.AGGREGATES`, in that order, from one sort."""
    ascending = _sorted(values, mask)
    windows = _window_means(ascending, mask, PERCENTS)
    return jnp.concatenate([masked_mean(values, mask)[..., None], windows], axis=-1)


def _sorted(values, mask):
    """Sort the counted tokens upwards, followed by +inf for all others.

    A NaN among the counted makes its whole row NaN, since sorting would hide it.
    """
    has_nan = jnp.any(mask & jnp.isnan(values), axis=-1, keepdims=True)
    kept = jnp.where(mask, values, jnp.inf)
    return jnp.where(has_nan, jnp.nan, jnp.sort(kept, axis=-1))


def _window_means(ascending, mask, percents):
    """Return the means of the k lowest values for each percent, then of the k highest.

    NaN where no token counts. All windows are reduced at once, which compiles faster than
    a reduction for each.
    """
    n = jnp.sum(mask, axis=-1, keepdims=True, dtype=jnp.int32)
    k = jnp.maximum(1, n * jnp.array(percents, jnp.int32).reshape(_last(n)) // 100)
    start = jnp.concatenate([jnp.zeros_like(k), n - k], axis=-1)[..., None]
    k = jnp.concatenate([k, k], axis=-1)
    position = jnp.arange(ascending.shape[-1], dtype=jnp.int32).reshape(_last(start))
    inside = (position >= start) & (position < start + k[..., None])
    sums = jnp.sum(jnp.where(inside, ascending[..., None, :], 0), axis=-1)
    return jnp.where(n > 0, sums / k.astype(ascending.dtype), jnp.nan)


def _last(like):
    """Return the shape of a vector along the last axis of an array."""
    return (1,) * (like.ndim - 1) + (-1,)
