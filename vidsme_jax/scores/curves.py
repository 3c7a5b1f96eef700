"""Score a batch of clips, each shown forwards and backwards, in one pass.

    forward   video tower once, both directions side by side       -> hidden states
    rows      only the scored positions are kept                   -> [clip way row width]
    head      in chunks of rows, each reduced to statistics        -> [clip way row]
    curves    natural, reversed, differences                       -> [clip row]
    table     every aggregate of every curve over every slice      -> [clip column]

Nothing of size [row, vocab] outlives a chunk. The two directions of a clip lie next to
each other on one device, so their difference needs no communication. The functions here
are pure: `forward` is an argument, and where the arrays live is the caller's business.
"""

from typing import Any

import einops
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vidsme_jax.batch import Forward
from vidsme_jax.scores.aggregate import aggregates
from vidsme_jax.scores.catalogue import SLICES, TOKEN_FAMILIES, families
from vidsme_jax.scores.reduction import per_row, scan_rows
from vidsme_jax.scores.token_statistics import row_statistics


def score_batch(
    params: Any,
    forward: Forward,
    batch: Any,
    q: Float[Array, "clip"],
    r: Float[Array, "clip"],
) -> dict[str, Float[Array, "clip way row"]]:
    """Return the per-token statistics of both directions, keyed by family.

    Args:
        params: what `forward` takes first.
        forward: pure; `forward(params, batch)` gives hidden states of the natural (way 0)
            and reversed (way 1) clip, and the head that maps them to logits. A model that
            gives logits at once returns them with the identity.
        batch: has `rows` and `targets` as in `Batch`.
        q: Sharma-Mittal order of each clip, the same for both directions.
        r: Sharma-Mittal degree of each clip.
    """

    def reduce(carry, z, target, averaged):
        orders = (per_row(order, len(target)) for order in (q, r))
        return carry, row_statistics(z, target, *orders)

    hidden, head, *_ = forward(params, batch)
    nothing = jnp.zeros(batch.rows.shape, bool)
    return scan_rows(hidden, head, batch.rows, batch.targets, nothing, reduce, None)[1]


def token_curves(
    statistics: dict[str, Float[Array, "clip way row"]], mirror: Int[Array, "clip row"]
) -> dict[str, Float[Array, "clip row"]]:
    """Return one curve per family of the catalogue from the statistics of both ways."""
    return entropy_curves(statistics["sme"], mirror) | family_curves(statistics)


def entropy_curves(
    sme: Float[Array, "clip way row"], mirror: Int[Array, "clip row"]
) -> dict[str, Float[Array, "clip row"]]:
    """Return the curves that depend on q and r."""
    natural, reverse = sme[:, 0], sme[:, 1]
    aligned = jnp.take_along_axis(reverse, mirror, axis=1)
    return {
        "sme": natural - reverse,
        "sme_aligned": natural - aligned,
        "sme_nat": natural,
        "sme_rev": reverse,
    }


def family_curves(
    statistics: dict[str, Float[Array, "clip way row"]],
) -> dict[str, Float[Array, "clip row"]]:
    """Return the curves that do not: each family in natural order, and its difference."""
    natural = {name: statistics[name][:, 0] for name in TOKEN_FAMILIES}
    differences = {
        f"{name}_diff": natural[name] - statistics[name][:, 1] for name in TOKEN_FAMILIES
    }
    return natural | differences


def score_table(
    curves: dict[str, Float[Array, "clip row"]],
    masks: Bool[Array, "clip slice row"],
    slices: tuple[str, ...] = SLICES,
    only: tuple[str, ...] | None = None,
) -> Float[Array, "clip column"]:
    """Return every score, its columns named by `scores.columns(slices, only)`.

    Args:
        curves: from `token_curves`.
        masks: one per slice, in the order of `slices`; an empty one gives NaN.
        slices: names of the slices.
        only: families that are wanted; None for all.
    """
    wanted = [(n, f) for n, name in enumerate(slices) for f in families(name, only)]
    names = list(dict.fromkeys(family for _, family in wanted))
    # All slices at once: one sort, and a third of the code to compile.
    values = jnp.stack([curves[family] for family in names], axis=1)[:, None]
    mask = masks[:, : len(slices), None]
    table = aggregates(*jnp.broadcast_arrays(values, mask))
    kept = np.array([n * len(names) + names.index(family) for n, family in wanted])
    flat = einops.rearrange(table, "clip slice family column -> clip (slice family) column")
    return einops.rearrange(flat[:, kept], "clip row column -> clip (row column)")
