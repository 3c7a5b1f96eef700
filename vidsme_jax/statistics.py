"""Per-token statistics of a chunk of logits, all in one pass over the vocabulary.

Each family of the score table is one function of a split row (`entropy.Peaked`) and the
target; adding a family costs one function and one entry in `FAMILIES`. No probability is
clamped: where p_i is within rounding of 1, log(1 - p_i) comes from the other entries.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vidsme_jax.entropy import (
    Peaked,
    gap_moments,
    log_probabilities,
    log_rest_of_top,
    positions,
    renyi_of,
    split_top,
    squash,
    total,
)


def row_statistics(
    logits: Float[Array, "*rows vocab"],
    target: Int[Array, "*rows"],
    q: Float[Array, "*rows"],
    r: Float[Array, "*rows"],
) -> dict[str, Float[Array, "*rows"]]:
    """Return every per-token statistic of the given rows, keyed by family.

    Args:
        logits: float rows, -inf where an entry is masked.
        target: token id y of each row; -1 stands for the row's own argmax, as the
            published code scores visual positions.
        q: Sharma-Mittal order of each row.
        r: Sharma-Mittal degree of each row.

    Returns:
        float32 arrays: `sme` and the families of `FAMILIES`; entropies in nats.
    """
    row = split_top(logits)
    return {"sme": squash(renyi_of(row, q), r)} | family_statistics(row, target)


def family_statistics(
    row: Peaked, target: Int[Array, "*rows"]
) -> dict[str, Float[Array, "*rows"]]:
    """Return the statistics of `FAMILIES`; see `row_statistics`."""
    target = jnp.where(target < 0, row.top.astype(target.dtype), target)
    return {name: family(row, target) for name, family in FAMILIES.items()}


def log_target(row: Peaked, target: Int[Array, "*rows"]) -> Float[Array, "*rows"]:
    """Return log p_y; Min-K% Prob (arXiv 2310.16789) and perplexity come from it."""
    return _gap(row, target) - row.log_norm


def _gap(row: Peaked, target: Int[Array, "*rows"]) -> Float[Array, "*rows"]:
    """Return log p_y minus log p_top."""
    gap = jnp.take_along_axis(row.gaps, target[..., None], axis=-1)[..., 0]
    return jnp.where(target == row.top, 0, gap)


def top_gap(row: Peaked, target: Int[Array, "*rows"]) -> Float[Array, "*rows"]:
    """Return log of the largest p minus log of the second largest, ties kept."""
    return -jnp.max(row.gaps, axis=-1)


def modified_entropy(row: Peaked, target: Int[Array, "*rows"]) -> Float[Array, "*rows"]:
    """Return -(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i).

    Source: Song and Mittal, USENIX Security 2021, eq. 8.
    """
    log_y = log_target(row, target)
    own = _one_minus(row, target, log_y) * log_y
    return -own - _others(row, target, lambda log_rest: log_rest)


def modified_renyi(beta: float):
    """Return the modified Rényi entropy with |1 - alpha| = beta, as a family.

    -1/beta [(1 - p_y) (p_y^beta - 1) + sum_{i != y} p_i ((1 - p_i)^beta - 1)].

    Source: arXiv 2411.02902 (VL-MIA), with no clamp.
    """

    def family(row: Peaked, target: Int[Array, "*rows"]) -> Float[Array, "*rows"]:
        log_y = log_target(row, target)
        own = _one_minus(row, target, log_y) * jnp.expm1(beta * log_y)
        return -(own + _others(row, target, lambda x: jnp.expm1(beta * x))) / beta

    return family


def min_k_plus_plus(row: Peaked, target: Int[Array, "*rows"]) -> Float[Array, "*rows"]:
    """Return (log p_y - mu) / sigma, mu and sigma over log p under p; 0 if sigma < 1e-6.

    Source: arXiv 2404.02936 (Min-K%++).
    """
    mean, variance = gap_moments(row)
    flat = variance < 1e-12
    sigma = jnp.sqrt(jnp.where(flat, 1, variance))
    return jnp.where(flat, 0, (_gap(row, target) - mean) / sigma)


def _renyi(q: float):
    return lambda row, target: renyi_of(row, q)


FAMILIES = {
    "logp": log_target,
    "gap": top_gap,
    "renyi_half": _renyi(0.5),
    "renyi_one": _renyi(1.0),
    "renyi_two": _renyi(2.0),
    "renyi_inf": _renyi(float("inf")),
    "mod_entropy": modified_entropy,
    "mod_renyi_half": modified_renyi(0.5),
    "mod_renyi_two": modified_renyi(1.0),
    "minkpp": min_k_plus_plus,
}


def _one_minus(row: Peaked, target, log_y) -> Float[Array, "*rows"]:
    """Return 1 - p_y without cancellation."""
    return jnp.where(target == row.top, jnp.exp(log_rest_of_top(row)), -jnp.expm1(log_y))


def _others(row: Peaked, target, function) -> Float[Array, "*rows"]:
    """Return sum over i != y of p_i function(log(1 - p_i)); 0 where p_i is 0."""
    _, p = log_probabilities(row)
    counted = (positions(p) != target[..., None]) & (p > 0)
    rest = jnp.log1p(-jnp.where(counted, p, 0))
    below = total(jnp.where(counted, p * function(rest), 0))
    top = function(log_rest_of_top(row)) / (1 + row.others)
    return below + jnp.where(target == row.top, 0, top)
