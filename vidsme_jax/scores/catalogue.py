"""The catalogue of scores: slice, formula, orientation and source of each.

A score is named `slice.family.aggregate`. `X_diff` is any family X, natural minus
reversed. `PRIMARY` was fixed before anything was measured: among hundreds of columns
something always wins. This file names everything and computes nothing: it imports no array
library, and `aggregate` and `token_statistics` check themselves against it.
"""

from dataclasses import dataclass

PRIMARY = "video.sme.mean"
# The score to name in advance where a model was trained on answers alone: there the video
# slice, and with it `PRIMARY`, holds no trace.
PRIMARY_OF_ANSWERS = "response.logp.mean"
ANSWERS_UNSEEN = (
    f"these rows have answers. Training on answers alone leaves no trace on the video,"
    f" where {PRIMARY} looks. For such a model name another score before you look:"
    f" vidsme evaluate --score {PRIMARY_OF_ANSWERS}"
)
# Before the published code's names of its scores: "published: ppl".
PUBLISHED = "published: "
EXTERNAL = "score"  # the score column of a table from elsewhere, higher = member

SLICE_INFO = {
    "video": "rows at the embeddings of the video; y is the row's own argmax",
    "instruction": "rows that predict the text between video and answer; y is that token",
    "response": "rows that predict the answer, its end excluded; y is that token",
}
SLICES = tuple(SLICE_INFO)

SYMBOLS = {
    "p": "softmax of one row of logits; p_(1), p_(2) its largest and second largest entry",
    "y": "the row's target; which one, each slice says",
    "H_a(p)": "log(sum_i p_i^a) / (1 - a), Rényi entropy of order a, in nats",
    "S_{q,r}(p)": "(exp((1 - r) H_q(p)) - 1) / (1 - r), Sharma-Mittal entropy; at r = 1"
    " H_q(p)",
    "q, r": "set per clip by its motion (q) and its change of brightness (r)",
    "reversed": "the same frames in opposite order, or in that of --perturbation",
}
PERCENTS = (0, 5, 10, 30, 60, 90)  # K of min_K and max_K
AGGREGATES = ("mean", *(f"min_{k}" for k in PERCENTS), *(f"max_{k}" for k in PERCENTS))
AGGREGATE_INFO = {
    "mean": "over all n positions of the slice",
    "min_K": "mean of the k smallest values",
    "max_K": "mean of the k largest values",
}
TOP_K = (1, 5, 20)  # log-probabilities that a black box shows, one definition each
# What `--definition` takes: how much of p is known, and what is computed from p. Each
# definition writes one table of the run.
DEFINITION_INFO = {
    "exact": "p is the softmax over the tokenizer's tokens; scores.parquet",
    "published": "what the published code computes, its quirks kept, under its own names;"
    " published.parquet",
    **{
        f"top_{k}": f"the same scores where only the {k} largest log p of a row are known,"
        f" as from an API; the rest of p is spread evenly; top_{k}.parquet"
        for k in TOP_K
    },
}
DEFINITIONS = tuple(DEFINITION_INFO)

SWEPT_FAMILIES = ("sme", "sme_aligned", "sme_nat", "sme_rev")  # depend on q and r


@dataclass(frozen=True)
class Family:
    """A per-token value and what is known about it.

    Attributes:
        formula: of the value, in the symbols of `SYMBOLS`.
        higher_is_member: whether members are expected to have higher values.
        source: where the value comes from.
    """

    formula: str
    higher_is_member: bool
    source: str


_VID_SME = "arXiv 2506.03179"
_RENYI = "arXiv 2411.02902 (VL-MIA)"

_TOKEN_FAMILIES = {
    "logp": Family("log p_y", True, "arXiv 2310.16789 (Min-K% Prob)"),
    "gap": Family("log p_(1) - log p_(2)", True, _RENYI),
    "renyi_half": Family("H_1/2(p) = 2 log(sum_i p_i^(1/2))", False, _RENYI),
    "renyi_one": Family("H_1(p) = -sum_i p_i log p_i (Shannon)", False, _RENYI),
    "renyi_two": Family("H_2(p) = -log(sum_i p_i^2)", False, _RENYI),
    "renyi_inf": Family("H_inf(p) = -log p_(1)", False, _RENYI),
    "mod_entropy": Family(
        "-(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i)",
        False,
        "Song and Mittal, USENIX Security 2021",
    ),
    "mod_renyi_half": Family(
        "-2 [(1 - p_y) (p_y^(1/2) - 1) + sum_{i != y} p_i ((1 - p_i)^(1/2) - 1)]"
        " (modified Rényi, |1 - a| = 1/2)",
        False,
        _RENYI,
    ),
    "mod_renyi_two": Family(
        "(1 - p_y)^2 + sum_{i != y} p_i^2 (modified Rényi, |1 - a| = 1)", False, _RENYI
    ),
    "minkpp": Family(
        "(log p_y - mu) / sigma, mu = sum_i p_i log p_i, sigma^2 = sum_i p_i"
        " (log p_i - mu)^2; 0 where sigma < 1e-6",
        True,
        "arXiv 2404.02936 (Min-K%++)",
    ),
}
TOKEN_FAMILIES = tuple(_TOKEN_FAMILIES)  # of each direction alone

FAMILY_INFO = {
    "sme": Family(
        "S_{q,r}(p) natural - S_{q,r}(p) reversed, at the same position", False, _VID_SME
    ),
    "sme_aligned": Family(
        "S_{q,r}(p) natural - S_{q,r}(p) reversed, at the same frame",
        False,
        "this project",
    ),
    "sme_nat": Family("S_{q,r}(p), natural order", False, _VID_SME),
    "sme_rev": Family("S_{q,r}(p), reversed order", False, _VID_SME),
    **_TOKEN_FAMILIES,
    **{
        f"{name}_diff": Family(
            f"{info.formula}, natural - reversed", info.higher_is_member, "this project"
        )
        for name, info in _TOKEN_FAMILIES.items()
    },
}


def families(slice_name: str, only: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Return the families of a slice in table order; with `only`, just those of them."""
    has_frames = slice_name == "video"  # no other row is at a frame
    return tuple(
        name
        for name in FAMILY_INFO
        if (name != "sme_aligned" or has_frames) and (only is None or name in only)
    )


def columns(
    slices: tuple[str, ...] = SLICES, only: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Return the names of the score columns of some slices, in table order.

    Args:
        slices: names of `SLICES`.
        only: families to include; None for all.
    """
    return tuple(
        f"{s}.{family}.{aggregate}"
        for s in slices
        for family in families(s, only)
        for aggregate in AGGREGATES
    )


def column_of(slice_name: str, family: str, aggregate: str) -> str | None:
    """Return the name of a score's column; None where the slice lacks the family."""
    if family not in families(slice_name):
        return None
    return f"{slice_name}.{family}.{aggregate}"


def compares_orders(score: str) -> bool:
    """Tell whether a score or its family compares two orders of the frames.

    The scores of the published code do not count.
    """
    family = _family_of(score)
    return family in ("sme", "sme_aligned", "sme_rev") or family.endswith("_diff")


def is_score(column: str) -> bool:
    """Tell whether a column of a score table holds a score: exactly two dots."""
    return column.count(".") == 2 and not is_published(column)


def is_published(name: str) -> bool:
    """Tell whether a score is called `published: NAME`, so is of the published code."""
    return name.startswith(PUBLISHED)


def higher_is_member(score: str) -> bool:
    """Tell whether members are expected to have a higher score.

    The published code writes every score so that members are low.

    Raises:
        ValueError: the name is not in the catalogue.
    """
    if score == EXTERNAL:
        return True
    if is_published(score):
        return False
    family = _family_of(score)
    if family not in FAMILY_INFO:
        raise ValueError(f"{score=} has no known family; there are {list(FAMILY_INFO)}")
    return FAMILY_INFO[family].higher_is_member


def _family_of(score: str) -> str:
    """Return the family of a score of the catalogue; any other name as it is."""
    return score.split(".")[1] if is_score(score) else score
