"""The published code's numbers under its own names, its quirks kept, for comparison.

The code's per-token quantities differ from `statistics.py` by what it does to p, the
softmax over all rows of the head: p is clipped to [1e-10, 1 - 1e-10] and not normalised
again, the target is the row's own argmax, and the branches of its Sharma-Mittal entropy
stand in an order in which Shannon's is never reached. docs/published.md says what each
quirk does to a score. Every number here is float32 without the cancellations that
float64 hides there: sums of clipped probabilities minus one come from the excess of the
clipping, log(1 - p_max) from the other entries.

Source: LiQiiiii/Vid-SME, Vid_SME_main_CinePile.py, get_meta_metrics and get_img_metric.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from vidsme_jax.scores.aggregate import aggregates
from vidsme_jax.scores.catalogue import AGGREGATES, PERCENTS
from vidsme_jax.scores.entropy import (
    Peaked,
    gaps_of_others,
    is_top,
    log_ratio,
    log_rest_of_top,
    split_top,
)

EPSILON = 1e-10
_EXPONENT = 100.0  # what the code clamps (1 - r) / (1 - q) to


def _names() -> dict[str, tuple[str, str, int]]:
    """Return family, aggregate and sign behind each name, in the code's order."""
    percents = {k: "0" if k == 0 else f"{k:.1f}" for k in PERCENTS}
    out = {"ppl": ("logp", "mean", -1)}
    out |= {f"Min_{v}% Prob": ("logp", f"min_{k}", -1) for k, v in percents.items()}
    out["Modified_entropy"] = ("mod_entropy", "mean", 1)
    out["Modified_renyi_05"] = ("mod_renyi_half", "mean", 1)
    out["Modified_renyi_2"] = ("mod_renyi_two", "mean", 1)
    out["Max_Prob_Gap"] = ("gap", "mean", -1)
    orders = {"05": "renyi_half", "1": "renyi_one", "2": "renyi_two", "inf": "renyi_inf"}
    both = [{v: f"{side}_{k}" for k, v in percents.items()} for side in ("max", "min")]
    for side, kinds in zip(("Max", "Min"), both, strict=True):
        for v, aggregate in (kinds | {"100": "mean"}).items():
            for order, family in orders.items():
                out[f"{side}_{v}% renyi_{order}"] = (family, aggregate, 1)
    return out


def _swept_names() -> dict[str, str]:
    """Return the aggregate behind each name that depends on q and r."""
    out = {"Max_vetp": "max_0", "Min_vetp": "min_0", "Mean_vetp": "mean"}
    for k in (*PERCENTS, 100):
        v = f"{k}" if k in (0, 100) else f"{k:.1f}"
        for side in ("Max", "Min"):
            out[f"{side}_{v}% vetp"] = "mean" if k == 100 else f"{side.lower()}_{k}"
    return out


_PLAIN, _SWEPT = _names(), _swept_names()
SEQUENCE = "sequence_vetp"
SWEPT = (*_SWEPT, SEQUENCE)  # the names that depend on q and r
COLUMNS = (*_PLAIN, *SWEPT)  # all 85, in the code's order; low = member throughout


def name_of(family: str, aggregate: str) -> str | None:
    """Return the name under which the code prints a score; None where it has none."""
    percents = {f"_{k}": f"{k:.1f}" if k else "0" for k in PERCENTS}
    if family == "sme":
        if aggregate == "mean":
            return "Mean_vetp"
        return f"{aggregate[:3].capitalize()}_{percents[aggregate[3:]]}% vetp"
    names = [n for n, (f, a, _) in _PLAIN.items() if (f, a) == (family, aggregate)]
    return names[0] if names else None


class Powers(NamedTuple):
    """The sum A over the vocabulary of clip(p, eps, 1 - eps)^q, for one q.

    Attributes:
        others: s of the row, so that l = log1p(s) of two rows differ without rounding.
        above: log A - (1 - q) l.
    """

    others: Float[Array, "..."]
    above: Float[Array, "..."]

    def log(self, q_less_one: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return log A."""
        return self.above - q_less_one * jnp.log1p(self.others)


def power_sums(row: Peaked, q_less_one: Float[Array, "..."]) -> Powers:
    """Return the sum of the clipped powers of a row's probabilities.

    Args:
        row: of the whole head.
        q_less_one: q - 1, so that float32 tells orders near 1 apart.
    """
    q = (1 + q_less_one)[..., None]

    gaps, p = gaps_of_others(row), _probabilities(row)
    power = jnp.exp(q * (gaps - row.log_norm[..., None]))
    is_lifted = ~is_top(row) & (p < EPSILON)
    lifted = jnp.sum(jnp.where(is_lifted, EPSILON**q - power, 0), axis=-1)
    lowered = q[..., 0] * jnp.maximum(EPSILON - _rest(row), 0)  # at the top, near 1
    above = log_ratio(row, q_less_one)
    a = jnp.exp(above - q_less_one * row.log_norm)
    return Powers(row.others, above + jnp.log1p((lifted - lowered) / a))


def entropy_difference(
    natural: Powers,
    reverse: Powers,
    q_less_one: Float[Array, "..."],
    r_less_one: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Return the code's Sharma-Mittal entropy of one row minus that of another.

    Formed from log A of the one minus log A of the other, since the entropies of two
    flat rows agree in more digits than float32 has.

    Args:
        natural: of the first row.
        reverse: of the second.
        q_less_one: q - 1.
        r_less_one: r - 1.
    """
    over_q, over_r = EPSILON - q_less_one, EPSILON - r_less_one
    ratio = (natural.others - reverse.others) / (1 + reverse.others)
    change = natural.above - reverse.above - q_less_one * jnp.log1p(ratio)
    base, least = reverse.log(q_less_one), jnp.log(jnp.float32(EPSILON))
    # A is floored in all branches but Tsallis's; with q up to 2 it never is so small.
    floored = jnp.maximum(base, least)
    moved = jnp.where(
        jnp.minimum(base, base + change) < least,
        jnp.maximum(base + change, least) - floored,
        change,
    )
    exponent = jnp.clip(-r_less_one / over_q, -_EXPONENT, _EXPONENT)
    tsallis = jnp.exp(base) * jnp.expm1(change) / over_q
    general = jnp.exp(exponent * floored) * jnp.expm1(exponent * moved) / over_r
    # In the code's order: at q = r = 1 the first branch answers, and Shannon's, which
    # it has, is never reached.
    return jnp.where(
        jnp.abs(q_less_one - r_less_one) < EPSILON,
        tsallis,
        jnp.where(jnp.abs(r_less_one) < EPSILON, moved / over_q, general),
    )


def row_values(
    row: Peaked, q_less_one: Float[Array, "order ..."]
) -> dict[str, Float[Array, "*rows"]]:
    """Return the per-token quantities of rows; the target is the row's own argmax.

    Args:
        row: of the whole head.
        q_less_one: q - 1 of each order and row.

    Returns:
        The families behind `COLUMNS`, and what `Powers` holds: `others`, and `above`
        with the orders' axis in front.
    """
    rest, one = _rest(row), jnp.ones_like(row.log_norm)
    clipped = jnp.maximum(rest, EPSILON)  # 1 - p_y after clipping
    log_y = jnp.log1p(-jnp.minimum(clipped, 0.5))
    log_y = jnp.where(clipped < 0.5, log_y, -row.log_norm)
    # Orders 1/2 and 2 go with the others: one loop compiles faster than three copies.
    every = jnp.concatenate([jnp.stack([-0.5 * one, one]), q_less_one])
    above = jax.lax.map(lambda q: power_sums(row, q).above, every)
    entropy, half, two = _row_sums(row)
    # Of the code's two terms at the target only what clipping moved p_y by is left.
    at_target = -jnp.maximum(EPSILON - rest, 0) * jnp.log(clipped)
    out = {
        "logp": -row.log_norm,
        "gap": _distinct_gap(row),
        "renyi_half": 2 * Powers(row.others, above[0]).log(-0.5 * one),
        "renyi_one": row.log_norm - row.mean,
        "renyi_two": -Powers(row.others, above[1]).log(one),
        "renyi_inf": row.log_norm,
        "mod_entropy": at_target - clipped * log_y - entropy,
    }
    for name, beta, total in (("mod_renyi_half", 0.5, half), ("mod_renyi_two", 1.0, two)):
        out[name] = -(clipped * jnp.expm1(beta * log_y) + total) / beta
    return out | {"above": above[2:], "others": row.others}


def plain_columns(
    curves: dict[str, Float[Array, "clip row"]], mask: Bool[Array, "clip row"]
) -> Float[Array, "clip column"]:
    """Return the scores that do not depend on q and r, natural order only."""
    families = list(dict.fromkeys(family for family, _, _ in _PLAIN.values()))
    stacked = jnp.stack([curves[f] for f in families], axis=1)  # one sort for all
    values = aggregates(stacked, jnp.broadcast_to(mask[:, None], stacked.shape))
    which, place, sign = zip(*_PLAIN.values(), strict=True)
    rows = np.array([families.index(family) for family in which])
    columns = np.array([AGGREGATES.index(aggregate) for aggregate in place])
    out = values[:, rows, columns] * np.array(sign, np.float32)[None]
    return jnp.concatenate([jnp.exp(out[:, :1]), out[:, 1:]], axis=1)  # the first is ppl


def swept_columns(
    difference: Float[Array, "clip row"],
    mask: Bool[Array, "clip row"],
    sequence: Float[Array, "clip"],
) -> Float[Array, "clip column"]:
    """Return the scores of `SWEPT` from the per-token entropy difference.

    Args:
        difference: natural minus reversed, same position.
        mask: the video's rows.
        sequence: natural minus reversed of the averaged distributions.
    """
    columns = np.array([AGGREGATES.index(aggregate) for aggregate in _SWEPT.values()])
    values = aggregates(difference, mask)[:, columns]
    return jnp.concatenate([values, sequence[:, None]], axis=1)


def split_average(summed: Float[Array, "... vocab"]) -> Peaked:
    """Return the row of a sum of distributions, brought back to sum one."""
    return split_top(jnp.log(summed))


def _row_sums(row: Peaked) -> tuple[Float[Array, "..."], ...]:
    """Return what all entries but the top add to each of the modified entropies."""
    p = _probabilities(row)
    # Those of probability 0 are among the others: clipping lifts them.
    floored = jnp.where(is_top(row), 0, jnp.maximum(p, EPSILON))
    log_rest = jnp.log1p(-floored)
    terms = p * log_rest, floored * jnp.expm1(log_rest / 2), -floored * floored
    return tuple(jnp.sum(term, axis=-1) for term in terms)


def _probabilities(row: Peaked) -> Float[Array, "... vocab"]:
    """Return p of all entries but the top, 0 there."""
    return row.powers * (jnp.exp(row.shift) / (1 + row.others))[..., None]


def _rest(row: Peaked) -> Float[Array, "..."]:
    """Return 1 - p_top from the other entries."""
    return jnp.exp(log_rest_of_top(row))


def _distinct_gap(row: Peaked) -> Float[Array, "..."]:
    """Return log p_top minus the log of the next distinct value; 0 where all are equal."""
    gaps = row.logits - row.peak[..., None]
    second = jnp.max(jnp.where(gaps < 0, gaps, -jnp.inf), axis=-1)
    gap = jnp.where(jnp.isfinite(second), -second, 0)
    return jnp.where(jnp.isnan(row.log_norm), jnp.nan, gap)
