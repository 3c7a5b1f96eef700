"""The catalogue: every score's slice, formula, orientation and source.

A score is named `slice.family.aggregate`. `X_diff` is any family X, natural minus
reversed. `PRIMARY` was fixed before anything was measured: among hundreds of columns
something always wins.
"""

from dataclasses import dataclass

from vidsme_jax.aggregate import AGGREGATES
from vidsme_jax.statistics import FAMILIES

SLICES = ("video", "instruction", "response")
PRIMARY = "video.sme.mean"


@dataclass(frozen=True)
class Family:
    """One per-token value: what it is, which side members are on, where it is from."""

    formula: str
    higher_is_member: bool
    source: str


_VID_SME = "arXiv 2506.03179"
_RENYI = "arXiv 2411.02902 (VL-MIA)"

_TOKEN_FAMILIES = {
    "logp": Family("log p_y", True, "arXiv 2310.16789 (Min-K% Prob)"),
    "gap": Family("log p_(1) - log p_(2)", True, _RENYI),
    "renyi_half": Family("H_1/2(p)", False, _RENYI),
    "renyi_one": Family("H_1(p), Shannon", False, _RENYI),
    "renyi_two": Family("H_2(p)", False, _RENYI),
    "renyi_inf": Family("H_inf(p) = -log p_(1)", False, _RENYI),
    "mod_entropy": Family(
        "-(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i)",
        False,
        "Song and Mittal, USENIX Security 2021",
    ),
    "mod_renyi_half": Family("modified Rényi, |1 - alpha| = 1/2", False, _RENYI),
    "mod_renyi_two": Family("modified Rényi, |1 - alpha| = 1", False, _RENYI),
    "minkpp": Family("(log p_y - mu) / sigma", True, "arXiv 2404.02936 (Min-K%++)"),
}
assert set(_TOKEN_FAMILIES) == set(FAMILIES)

FAMILY_INFO = {
    "sme": Family("S_{q,r} natural - reversed, same position", False, _VID_SME),
    "sme_aligned": Family("S_{q,r} natural - reversed, same frame", False, "this project"),
    "sme_nat": Family("S_{q,r}, natural order", False, _VID_SME),
    "sme_rev": Family("S_{q,r}, reversed order", False, _VID_SME),
    **_TOKEN_FAMILIES,
    **{
        f"{name}_diff": Family(
            f"{info.formula}, natural - reversed", info.higher_is_member, "this project"
        )
        for name, info in _TOKEN_FAMILIES.items()
    },
}


def families(slice_name: str, only: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Return the families of a slice, or those of `only`, in the table's order."""
    aligned = slice_name == "video"  # only video rows belong to a frame
    return tuple(
        name
        for name in FAMILY_INFO
        if (name != "sme_aligned" or aligned) and (only is None or name in only)
    )


def columns(
    slices: tuple[str, ...] = SLICES, only: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Return the names of the score columns of the given slices, in table order.

    Args:
        slices: of `SLICES`.
        only: families that are wanted; None for all.
    """
    return tuple(
        f"{s}.{family}.{aggregate}"
        for s in slices
        for family in families(s, only)
        for aggregate in AGGREGATES
    )


def is_score(column: str) -> bool:
    """Tell whether a column of a score table holds a score: exactly two dots."""
    return column.count(".") == 2


def higher_is_member(score: str) -> bool:
    """Return the orientation of a score; names outside the catalogue are refused."""
    family = score.split(".")[1] if is_score(score) else score
    if family not in FAMILY_INFO:
        raise ValueError(f"{score=} has no known family; there are {list(FAMILY_INFO)}")
    return FAMILY_INFO[family].higher_is_member
