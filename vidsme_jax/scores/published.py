"""Compute the published code's scores under its own names, its quirks kept.

The code's per-token quantities differ from `token_statistics.py`. Its p is the softmax
over the whole head, clipped to [1e-10, 1 - 1e-10] and not normalised again. The target is
the row's own argmax. The branches of its Sharma-Mittal entropy stand in an order in which
Shannon's is never reached. docs/internals/published.md says what each quirk does to a
score. Every number here is float32, without the cancellations that float64 hides in that
code. Sums of clipped probabilities minus one come from the excess of the clipping,
log(1 - p_max) from the other entries.

Source: LiQiiiii/Vid-SME, Vid_SME_main_CinePile.py, get_meta_metrics and get_img_metric.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from vidsme_jax.batch import NATURAL, OTHER, Batch
from vidsme_jax.scores.aggregate import aggregates
from vidsme_jax.scores.catalogue import AGGREGATES, PERCENTS
from vidsme_jax.scores.definition import (
    Chunk,
    Definition,
    DefinitionScores,
    Orders,
    Reducer,
    ScoreRequest,
)
from vidsme_jax.scores.entropy import (
    SplitRow,
    gaps_of_others,
    is_top,
    log_ratio,
    log_rest_of_top,
    split_top,
)

EPSILON = 1e-10
_EXPONENT = 100.0  # the code clamps (1 - r) / (1 - q) to this size


def _names() -> dict[str, tuple[str, str, int]]:
    """Return family, aggregate and sign of each name, in the code's order."""
    percents = {k: "0" if k == 0 else f"{k:.1f}" for k in PERCENTS}
    out = {"ppl": ("logp", "mean", -1)}
    out |= {f"Min_{v}% Prob": ("logp", f"min_{k}", -1) for k, v in percents.items()}
    out["Modified_entropy"] = ("mod_entropy", "mean", 1)
    out["Modified_renyi_05"] = ("mod_renyi_half", "mean", 1)
    out["Modified_renyi_2"] = ("mod_renyi_two", "mean", 1)
    out["Max_Prob_Gap"] = ("gap", "mean", -1)
    orders = {"05": "renyi_half", "1": "renyi_one", "2": "renyi_two", "inf": "renyi_inf"}
    for side in ("Max", "Min"):
        aggregates_of = {v: f"{side.lower()}_{k}" for k, v in percents.items()}
        for v, aggregate in (aggregates_of | {"100": "mean"}).items():
            for order, family in orders.items():
                out[f"{side}_{v}% renyi_{order}"] = (family, aggregate, 1)
    return out


def _swept_names() -> dict[str, str]:
    """Return the aggregate of each name that depends on q and r."""
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
    """Return the name under which the code prints a score; None if it does not."""
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
        others: s of the row; l = log1p(s) of two rows then differs without rounding.
        above: log A - (1 - q) l.
    """

    others: Float[Array, "..."]
    above: Float[Array, "..."]

    def log(self, q_less_one: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return log A."""
        return self.above - q_less_one * jnp.log1p(self.others)


def power_sums(row: SplitRow, q_less_one: Float[Array, "..."]) -> Powers:
    """Return the sum of the clipped powers of a row's probabilities.

    Args:
        row: a split row of the whole head.
        q_less_one: q - 1; float32 tells orders near 1 apart.
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
    """Return the code's Sharma-Mittal entropy of a natural row minus a reversed one.

    The difference comes from the difference of both log A, since the entropies of two
    flat rows agree in more digits than float32 has.

    Args:
        natural: power sum of the natural row.
        reverse: power sum of the reversed row.
        q_less_one: q - 1.
        r_less_one: r - 1.
    """
    over_q, over_r = EPSILON - q_less_one, EPSILON - r_less_one
    ratio = (natural.others - reverse.others) / (1 + reverse.others)
    change = natural.above - reverse.above - q_less_one * jnp.log1p(ratio)
    base, floor = reverse.log(q_less_one), jnp.log(jnp.float32(EPSILON))
    # A has a floor in all branches but Tsallis's; with q up to 2 it never is so small.
    floored = jnp.maximum(base, floor)
    floored_change = jnp.where(
        jnp.minimum(base, base + change) < floor,
        jnp.maximum(base + change, floor) - floored,
        change,
    )
    exponent = jnp.clip(-r_less_one / over_q, -_EXPONENT, _EXPONENT)
    tsallis = jnp.exp(base) * jnp.expm1(change) / over_q
    general = jnp.exp(exponent * floored) * jnp.expm1(exponent * floored_change) / over_r
    # In the code's order: at q = r = 1 the first branch applies, and the code's branch for
    # Shannon is never reached.
    return jnp.where(
        jnp.abs(q_less_one - r_less_one) < EPSILON,
        tsallis,
        jnp.where(jnp.abs(r_less_one) < EPSILON, floored_change / over_q, general),
    )


def row_values(
    row: SplitRow, q_less_one: Float[Array, "order ..."]
) -> dict[str, Float[Array, "*rows"]]:
    """Return the per-token quantities of rows; the target is the row's own argmax.

    Args:
        row: split rows of the whole head.
        q_less_one: q - 1 of each order and row.

    Returns:
        The families that `COLUMNS` aggregates, and the fields of `Powers`: `others`, and
        `above` with the axis of the orders in front.
    """
    rest, ones = _rest(row), jnp.ones_like(row.log_norm)
    clipped = jnp.maximum(rest, EPSILON)  # 1 - p_y after clipping
    log_y = jnp.log1p(-jnp.minimum(clipped, 0.5))
    log_y = jnp.where(clipped < 0.5, log_y, -row.log_norm)
    # Orders 1/2 and 2 go with the others: one loop compiles faster than three copies.
    all_orders = jnp.concatenate([jnp.stack([-0.5 * ones, ones]), q_less_one])
    above = jax.lax.map(lambda q: power_sums(row, q).above, all_orders)
    entropy, half, two = _row_sums(row)
    # The code's two terms at the target cancel, but for what clipping moved p_y by.
    at_target = -jnp.maximum(EPSILON - rest, 0) * jnp.log(clipped)
    out = {
        "logp": -row.log_norm,
        "gap": _distinct_gap(row),
        "renyi_half": 2 * Powers(row.others, above[0]).log(-0.5 * ones),
        "renyi_one": row.log_norm - row.mean,
        "renyi_two": -Powers(row.others, above[1]).log(ones),
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
    scores = _PLAIN.values()
    rows = np.array([families.index(family) for family, _, _ in scores])
    columns = np.array([AGGREGATES.index(aggregate) for _, aggregate, _ in scores])
    signs = np.array([sign for _, _, sign in scores], np.float32)
    out = values[:, rows, columns] * signs[None]
    return jnp.concatenate([jnp.exp(out[:, :1]), out[:, 1:]], axis=1)  # the first is ppl


def swept_columns(
    difference: Float[Array, "clip row"],
    mask: Bool[Array, "clip row"],
    sequence: Float[Array, "clip"],
) -> Float[Array, "clip column"]:
    """Return the scores of `SWEPT` from the per-token entropy difference.

    Args:
        difference: entropy of natural minus reversed order, at the same position.
        mask: which rows are of the video.
        sequence: the same difference for the averaged distributions.
    """
    columns = np.array([AGGREGATES.index(aggregate) for aggregate in _SWEPT.values()])
    values = aggregates(difference, mask)[:, columns]
    return jnp.concatenate([values, sequence[:, None]], axis=1)


def split_average(summed: Float[Array, "... vocab"]) -> SplitRow:
    """Return a sum of distributions as a split row, normalised to sum one."""
    return split_top(jnp.log(summed))


def _row_sums(row: SplitRow) -> tuple[Float[Array, "..."], ...]:
    """Return the sums over all entries but the top in each modified entropy."""
    p = _probabilities(row)
    # Entries of probability 0 take part, too: clipping lifts them.
    floored = jnp.where(is_top(row), 0, jnp.maximum(p, EPSILON))
    log_rest = jnp.log1p(-floored)
    terms = p * log_rest, floored * jnp.expm1(log_rest / 2), -floored * floored
    return tuple(jnp.sum(term, axis=-1) for term in terms)


def _probabilities(row: SplitRow) -> Float[Array, "... vocab"]:
    """Return p of each entry; 0 at the top."""
    return row.powers * (jnp.exp(row.shift) / (1 + row.others))[..., None]


def _rest(row: SplitRow) -> Float[Array, "..."]:
    """Return 1 - p_top from the other entries."""
    return jnp.exp(log_rest_of_top(row))


def _distinct_gap(row: SplitRow) -> Float[Array, "..."]:
    """Return log p_top minus the log of the next distinct value; 0 where all are equal."""
    gaps = row.logits - row.peak[..., None]
    second = jnp.max(jnp.where(gaps < 0, gaps, -jnp.inf), axis=-1)
    gap = jnp.where(jnp.isfinite(second), -second, 0)
    return jnp.where(jnp.isnan(row.log_norm), jnp.nan, gap)


def averaged_rows(batch: Batch) -> Bool[Array, "clip row"]:
    """Return the rows whose distributions the sequence score averages.

    They are the video rows and the first row after the video. Between them the last video
    row stands again, since it predicts the first token of the text.
    """
    video_rows = jnp.max(batch.source, axis=1, keepdims=True) + 1
    row = jnp.arange(batch.rows.shape[1], dtype=jnp.int32)[None]
    return (row < video_rows) | (row == video_rows + 1)


def _empty_average(hidden, head) -> Float[Array, "clip way vocab"]:
    """Return the sum of no distributions."""
    return jnp.zeros(jax.eval_shape(head, hidden[:, :, 0]).shape, jnp.float32)


def _reduce(average, chunk: Chunk, orders: Orders):
    """Add a chunk's distributions to their sum, and return its per-token quantities."""
    row = split_top(chunk.logits)
    p = jnp.exp(row.logits - row.peak[..., None]) / (1 + row.others[..., None])
    kept = jnp.where(chunk.extra[:, None], p, 0)
    clips, ways, vocab = average.shape
    average = average + jnp.sum(kept.reshape(clips, ways, -1, vocab), axis=2)
    return average, row_values(row, orders.of_rows(len(chunk.targets)))


def _finish(
    numbers, average, batch: Batch, orders: Orders, request: ScoreRequest
) -> DefinitionScores:
    """Return the published scores from per-token quantities and averaged distributions."""
    mask = batch.masks[:, request.slices.index("video")]
    mean_row = split_average(average)
    q_less_one = orders.of_rows(mean_row.top.size).reshape(-1, *mean_row.top.shape)
    sums = jax.lax.map(lambda q: power_sums(mean_row, q), q_less_one)

    def swept(pair):
        q1, r1 = orders.q_less_one[:, pair[0]], orders.r_less_one[:, pair[1]]
        rows = Powers(numbers["others"], numbers["above"][pair[0]])
        means = Powers(mean_row.others, sums.above[pair[0]])
        curve = entropy_difference(*_ways(rows), q1[:, None], r1[:, None])
        sequence = entropy_difference(*_ways(means), q1, r1)
        return swept_columns(curve, mask, sequence)

    natural = {name: x[:, NATURAL] for name, x in numbers.items() if name != "above"}
    plain = plain_columns(natural, mask)
    table = jnp.concatenate([plain, swept(request.pairs[0])], axis=1)
    return DefinitionScores(table, request.for_each_pair(swept), {})


def _ways(powers: Powers) -> tuple[Powers, Powers]:
    """Split arrays [clip way …] into those of the natural and of the other way."""
    natural, other = (Powers(*(x[:, n] for x in powers)) for n in (NATURAL, OTHER))
    return natural, other


PUBLISHED = Definition(
    "published",
    Reducer(averaged_rows, _empty_average, _reduce),
    _finish,
    lambda slices: COLUMNS,
    lambda slices: SWEPT,
    column=lambda slice_name, *score: name_of(*score) if slice_name == "video" else None,
    higher_is_member=lambda family: False,  # the code gives members low scores
    needs=("video",),
    whole_head=True,
    text_after=1,
)
