"""From token curves to numbers: means of the k smallest or largest values, with masks.

k = max(1, n K // 100) for the n tokens that count, with no sign flip, so that `min_0` is
the minimum and `max_0` the maximum. An empty slice gives NaN, and a NaN among the counted
tokens gives NaN: nothing is dropped unseen.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

PERCENTS = (0, 5, 10, 30, 60, 90)
AGGREGATES = (
    "mean",
    *(f"min_{k}" for k in PERCENTS),
    *(f"max_{k}" for k in PERCENTS),
)


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
    return _mean_of_lowest(_sorted(values, mask), mask, percent)


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
    """Return every aggregate of `AGGREGATES`, in that order, from one sort."""
    ascending = _sorted(values, mask)
    low = [_mean_of_lowest(ascending, mask, k) for k in PERCENTS]
    high = [_mean_of_highest(ascending, mask, k) for k in PERCENTS]
    return jnp.stack([masked_mean(values, mask), *low, *high], axis=-1)


def _sorted(values, mask):
    """Sort the counted tokens upwards, the rest behind them as +inf.

    A NaN among the counted makes its whole row NaN, since sorting would hide it.
    """
    spoilt = jnp.any(mask & jnp.isnan(values), axis=-1, keepdims=True)
    kept = jnp.where(mask, values, jnp.inf)
    return jnp.where(spoilt, jnp.nan, jnp.sort(kept, axis=-1))


def _window_mean(ascending, mask, percent, first):
    """Mean of the k values from position `first(n, k)` on; NaN where n is 0."""
    n = jnp.sum(mask, axis=-1, keepdims=True, dtype=jnp.int32)
    k = jnp.maximum(1, n * percent // 100)
    start = first(n, k)
    position = jnp.arange(ascending.shape[-1], dtype=jnp.int32)
    position = position.reshape((1,) * (ascending.ndim - 1) + (-1,))
    inside = (position >= start) & (position < start + k)
    mean = jnp.sum(jnp.where(inside, ascending, 0), axis=-1)
    mean = mean / k[..., 0].astype(ascending.dtype)
    return jnp.where(n[..., 0] > 0, mean, jnp.nan)


def _mean_of_lowest(ascending, mask, percent):
    return _window_mean(ascending, mask, percent, lambda n, k: jnp.zeros_like(n))


def _mean_of_highest(ascending, mask, percent):
    return _window_mean(ascending, mask, percent, lambda n, k: n - k)
