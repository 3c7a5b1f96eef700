"""Turn the per-token statistics of both ways into curves, and curves into scores.

    curves    natural, reversed, differences                       -> [clip row]
    table     every aggregate of every curve over every slice      -> [clip column]

The two ways of a clip lie next to each other on one device, so that their difference needs
no communication.
"""

import einops
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vidsme_jax.batch import NATURAL, OTHER
from vidsme_jax.scores.aggregate import aggregates
from vidsme_jax.scores.catalogue import SLICES, TOKEN_FAMILIES, families


def token_curves(
    statistics: dict[str, Float[Array, "clip way row"]], mirror: Int[Array, "clip row"]
) -> dict[str, Float[Array, "clip row"]]:
    """Return one curve per family of the catalogue from the statistics of both ways."""
    return entropy_curves(statistics["sme"], mirror) | family_curves(statistics)


def entropy_curves(
    sme: Float[Array, "clip way row"], mirror: Int[Array, "clip row"]
) -> dict[str, Float[Array, "clip row"]]:
    """Return the entropy curves, which depend on q and r."""
    natural, reverse = sme[:, NATURAL], sme[:, OTHER]
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
    """Return the curves that do not depend on q and r: each family and its difference."""
    natural = {name: statistics[name][:, NATURAL] for name in TOKEN_FAMILIES}
    differences = {
        f"{name}_diff": natural[name] - statistics[name][:, OTHER]
        for name in TOKEN_FAMILIES
    }
    return natural | differences


def score_table(
    curves: dict[str, Float[Array, "clip row"]],
    masks: Bool[Array, "clip slice row"],
    slices: tuple[str, ...] = SLICES,
    only: tuple[str, ...] | None = None,
) -> Float[Array, "clip column"]:
    """Return every score; `catalogue.columns(slices, only)` names the columns.

    Args:
        curves: from `token_curves`, by family.
        masks: rows of each slice, in the order of `slices`; an empty slice gives NaN.
        slices: names of the slices.
        only: families to include; None for all.
    """
    pairs = [(n, f) for n, name in enumerate(slices) for f in families(name, only)]
    names = list(dict.fromkeys(family for _, family in pairs))
    # All slices at once: one sort, and a third of the code to compile.
    values = jnp.stack([curves[family] for family in names], axis=1)[:, None]
    mask = masks[:, : len(slices), None]
    table = aggregates(*jnp.broadcast_arrays(values, mask))
    kept = np.array([n * len(names) + names.index(family) for n, family in pairs])
    flat = einops.rearrange(table, "clip slice family column -> clip (slice family) column")
    return einops.rearrange(flat[:, kept], "clip row column -> clip (row column)")
