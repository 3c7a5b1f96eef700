"""Compute the per-token statistics of rows of logits.

Each family of the score table is a function of a split row (`entropy.SplitRow`), of the
sums over its vocabulary (`Sums`) and of the target. All sums are taken in one pass. A new
family needs a function, an entry in `FAMILY_FUNCTIONS`, its formula in the catalogue, and
perhaps a sum. No probability is clamped: where p_i is within rounding of 1, log(1 - p_i)
comes from the other entries.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vidsme_jax.scores.catalogue import TOKEN_FAMILIES
from vidsme_jax.scores.entropy import (
    SplitRow,
    gap_of,
    gap_to_second,
    gaps_of_others,
    log_rest_of_top,
    renyi_of,
    split_top,
    squash,
)


class Sums(NamedTuple):
    """Sums over all entries of a row but its top, with d as in `entropy.SplitRow`.

    Attributes:
        root: of exp(d / 2).
        square: of exp(2 d).
        scatter: of p (d - mean)^2.
        log_rest: of p log(1 - p).
        root_rest: of p (sqrt(1 - p) - 1).
    """

    root: Float[Array, "*rows"]
    square: Float[Array, "*rows"]
    scatter: Float[Array, "*rows"]
    log_rest: Float[Array, "*rows"]
    root_rest: Float[Array, "*rows"]


@jax.jit  # so that the choice by platform is not compiled on every call
def row_statistics(
    logits: Float[Array, "*rows vocab"],
    target: Int[Array, "*rows"],
    q: Float[Array, "*rows"],
    r: Float[Array, "*rows"],
) -> dict[str, Float[Array, "*rows"]]:
    """Return every per-token statistic of rows of logits, by family.

    Args:
        logits: rows of any float type, -inf where an entry is masked.
        target: token id y of each row; -1 is the row's own argmax, with which the
            published code scores visual positions.
        q: Sharma-Mittal order of each row.
        r: Sharma-Mittal degree of each row.

    Returns:
        float32 arrays: `sme` and the families of `TOKEN_FAMILIES`; entropies in nats.
    """
    row = split_top(logits)
    return {"sme": squash(renyi_of(row, q), r)} | family_statistics(row, target)


def family_statistics(
    row: SplitRow, target: Int[Array, "*rows"]
) -> dict[str, Float[Array, "*rows"]]:
    """Return the statistics of `TOKEN_FAMILIES`; see `row_statistics`."""
    target = jnp.where(target < 0, row.top.astype(target.dtype), target)
    sums = _sums(row)
    return {name: family(row, sums, target) for name, family in FAMILY_FUNCTIONS.items()}


def _sums(row: SplitRow) -> Sums:
    """Return the sums over the vocabulary of each row."""
    gaps, powers, scale = gaps_of_others(row), row.powers, jnp.exp(row.shift)
    p = scale / (1 + row.others)  # of the second largest entry, where powers are 1
    # Each sum has a product to itself: a shared array would be written to memory.
    minus, rest = -p[..., None] * powers, 1 - p[..., None] * powers

    def total(terms):
        return jnp.sum(terms, axis=-1)

    return Sums(
        total(jnp.sqrt(powers)) * jnp.exp(row.shift / 2),
        total(powers * powers) * scale * scale,
        total(powers * (gaps - row.mean[..., None]) ** 2) * p,
        total(powers * jnp.log1p(minus)) * p,
        total(-powers * powers / (1 + jnp.sqrt(rest))) * p * p,
    )


def log_target(row: SplitRow, sums: Sums, target) -> Float[Array, "*rows"]:
    """Return log p_y, of which Min-K% Prob (arXiv 2310.16789) and perplexity are made."""
    return gap_of(row, target) - row.log_norm


def top_gap(row: SplitRow, sums: Sums, target) -> Float[Array, "*rows"]:
    """Return log of the largest p minus log of the second largest, ties kept."""
    return gap_to_second(row)


def renyi_half(row: SplitRow, sums: Sums, target) -> Float[Array, "*rows"]:
    """Return the Rényi entropy of order 1/2, in nats."""
    return row.log_norm + 2 * jnp.log1p((sums.root - row.others) / (1 + row.others))


def shannon(row: SplitRow, sums: Sums, target) -> Float[Array, "*rows"]:
    """Return the Rényi entropy of order 1, in nats."""
    return row.log_norm - row.mean


def renyi_two(row: SplitRow, sums: Sums, target) -> Float[Array, "*rows"]:
    """Return the Rényi entropy of order 2, in nats."""
    u = (sums.square - row.others) / (1 + row.others)
    ratio = (1 + sums.square) / (1 + row.others)  # 1 + u, whole where u is near -1
    return row.log_norm - jnp.where(u < -0.5, jnp.log(ratio), jnp.log1p(u))


def renyi_inf(row: SplitRow, sums: Sums, target) -> Float[Array, "*rows"]:
    """Return the min-entropy, in nats."""
    return row.log_norm


def modified_entropy(row: SplitRow, sums: Sums, target) -> Float[Array, "*rows"]:
    """Return -(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i).

    Source: Song and Mittal, USENIX Security 2021, eq. 8.
    """
    log_y = log_target(row, sums, target)
    others = _but_target(row, target, log_y, sums.log_rest, lambda log_rest: log_rest)
    return -_one_minus(row, target, log_y) * log_y - others


def modified_renyi_half(row: SplitRow, sums: Sums, target) -> Float[Array, "*rows"]:
    """Return the modified Rényi entropy with |1 - alpha| = 1/2; see `_modified_renyi`."""
    return _modified_renyi(0.5, row, sums.root_rest, target)


def modified_renyi_two(row: SplitRow, sums: Sums, target) -> Float[Array, "*rows"]:
    """Return the modified Rényi entropy with |1 - alpha| = 1; see `_modified_renyi`."""
    squares = sums.square / (1 + row.others) ** 2
    return _modified_renyi(1.0, row, -squares, target)


def _modified_renyi(beta: float, row: SplitRow, total, target) -> Float[Array, "*rows"]:
    """Return -1/beta [(1 - p_y) (p_y^beta - 1) + sum_{i != y} p_i ((1 - p_i)^beta - 1)].

    Source: arXiv 2411.02902 (VL-MIA), with no clamp.
    """
    log_y = gap_of(row, target) - row.log_norm
    at_target = _one_minus(row, target, log_y) * jnp.expm1(beta * log_y)
    others = _but_target(row, target, log_y, total, lambda x: jnp.expm1(beta * x))
    return -(at_target + others) / beta


def min_k_plus_plus(row: SplitRow, sums: Sums, target) -> Float[Array, "*rows"]:
    """Return (log p_y - mu) / sigma, mu and sigma over log p under p; 0 if sigma < 1e-6.

    Source: arXiv 2404.02936 (Min-K%++).
    """
    variance = sums.scatter + row.mean**2 / (1 + row.others)
    is_flat = variance < 1e-12
    sigma = jnp.sqrt(jnp.where(is_flat, 1, variance))
    return jnp.where(is_flat, 0, (gap_of(row, target) - row.mean) / sigma)


FAMILY_FUNCTIONS = {
    "logp": log_target,
    "gap": top_gap,
    "renyi_half": renyi_half,
    "renyi_one": shannon,
    "renyi_two": renyi_two,
    "renyi_inf": renyi_inf,
    "mod_entropy": modified_entropy,
    "mod_renyi_half": modified_renyi_half,
    "mod_renyi_two": modified_renyi_two,
    "minkpp": min_k_plus_plus,
}
assert tuple(FAMILY_FUNCTIONS) == TOKEN_FAMILIES


def _one_minus(row: SplitRow, target, log_y) -> Float[Array, "*rows"]:
    """Return 1 - p_y without cancellation."""
    return jnp.where(target == row.top, jnp.exp(log_rest_of_top(row)), -jnp.expm1(log_y))


def _but_target(row: SplitRow, target, log_y, total, function) -> Float[Array, "*rows"]:
    """Return the sum over i != y of p_i function(log(1 - p_i)).

    Args:
        row: a split row.
        target: token id y of each row.
        log_y: log p_y.
        total: the sum over all entries but the top. Where y is among them, its term is
            subtracted. Then p_y is at most 1/2, and the families add more than the term,
            so that no digit is lost.
        function: of log(1 - p_i), with function(0) = 0.
    """
    is_top = target == row.top
    p_y = jnp.exp(jnp.where(is_top, -jnp.inf, log_y))
    top = function(log_rest_of_top(row)) / (1 + row.others)
    return total - p_y * function(jnp.log1p(-p_y)) + jnp.where(is_top, 0, top)
