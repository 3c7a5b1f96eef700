"""What one pass over a batch computes: every definition, every pair of orders q and r.

    exact       the catalogue of `scores.py`
    published   the published code's numbers, `published.py`
    top_K       the catalogue again, from the K largest log-probabilities of each row alone

The model runs once, whatever is asked. Each chunk of logits is reduced to the families of
each definition and to one entropy per order q; what r does to it, the differences, the
slices and every K are arithmetic on the curves that remain.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vidsme_jax.batch import Batch, Forward
from vidsme_jax.scores import published
from vidsme_jax.scores.catalogue import SLICES, SWEPT_FAMILIES, columns
from vidsme_jax.scores.curves import entropy_curves, family_curves, score_table
from vidsme_jax.scores.entropy import Peaked, positions, renyi_of, split_top, squash
from vidsme_jax.scores.reduction import per_row, scan_rows
from vidsme_jax.scores.token_statistics import family_statistics
from vidsme_jax.scores.top_k import complete_top_k


class Orders(NamedTuple):
    """The orders of each clip, less one so that float32 tells those near 1 apart.

    Attributes:
        q_less_one: q - 1.
        r_less_one: r - 1.
    """

    q_less_one: Float[Array, "clip q"]
    r_less_one: Float[Array, "clip r"]


@dataclass(frozen=True)
class Asked:
    """What a pass should give.

    Attributes:
        slices: of the batch's masks, in their order.
        kept: families whose curves are wanted, exact and for the first pair.
        definitions: of `scores.DEFINITIONS`.
        pairs: columns of `Orders` that go together as q and r; the first is the run's own.
        vocab_keep: entries that take part in the softmax, except in `published`; None
            where `forward` masks the others itself.
    """

    slices: tuple[str, ...] = SLICES
    kept: tuple[str, ...] = ()
    definitions: tuple[str, ...] = ("exact",)
    pairs: tuple[tuple[int, int], ...] = ((0, 0),)
    vocab_keep: int | None = None


class Results(NamedTuple):
    """What a pass gives.

    Arrays of the device, or of the host once they are fetched.

    Attributes:
        tables: by definition, the scores of the first pair [clip column]: exact and
            top_K as `scores.columns`, published as `published.COLUMNS`.
        swept: by definition, the scores that depend on q and r, for every pair
            [clip pair column]; empty where there is one pair only.
        curves: the kept ones [clip row].
        embedding: the mean of the frames' [clip width]; None where `forward` gives none.
    """

    tables: dict[str, Any]
    swept: dict[str, Any]
    curves: dict[str, Any]
    embedding: Any


@lru_cache  # equal arguments give the same function, and so one compiled program
def score_program(forward: Forward, asked: Asked) -> Callable[..., Results]:
    """Return run(params, batch, orders) -> Results, ready to be jitted."""

    def run(params: Any, batch: Batch, orders: Orders) -> Results:
        hidden, head, *embedding = forward(params, batch)
        start, averaged = None, jnp.zeros(batch.rows.shape, bool)
        if "published" in asked.definitions:
            start, averaged = _empty_average(hidden, head), batch.averaged
        average, found = scan_rows(
            hidden,
            head,
            batch.rows,
            batch.targets,
            averaged,
            _reducer(asked, orders),
            start,
        )
        parts = {
            name: _published(found[name], average, batch, orders, asked)
            if name == "published"
            else _catalogue(found[name], batch, orders, asked)
            for name in asked.definitions
        }
        return Results(
            {name: table for name, (table, _, _) in parts.items()},
            {name: swept for name, (_, swept, _) in parts.items() if swept is not None},
            {name: parts["exact"][2][name] for name in asked.kept},
            embedding[0] if embedding else None,
        )

    return run


def _reducer(asked: Asked, orders: Orders):
    """Return what reduces a chunk: one dict of statistics per definition."""

    def reduce(average, z, target, averaged):
        kept = z if asked.vocab_keep is None else _mask(z, asked.vocab_keep)
        out = {}
        for name in asked.definitions:
            if name == "published":
                row = split_top(z)
                average = average + _summed(row, averaged, average)
                out[name] = published.row_values(row, _orders(orders, len(target)))
            else:
                seen = kept if name == "exact" else complete_top_k(kept, int(name[4:]))
                out[name] = _statistics(split_top(seen), target, orders)
        return average, out

    return reduce


def _statistics(row: Peaked, target, orders: Orders) -> dict[str, Array]:
    """Return the families, and the Rényi entropy of each order as `renyi_q`."""
    each = _orders(orders, len(target))
    # One after the other: side by side they would hold as many copies of the chunk.
    entropies = jax.lax.map(lambda q: renyi_of(row, 1 + q), each)
    return family_statistics(row, target) | {"renyi_q": entropies}


def _orders(orders: Orders, rows: int) -> Float[Array, "q row"]:
    """Return q - 1 of each order for each of a chunk's rows."""
    return per_row(orders.q_less_one.T, rows)


def _mask(z: Array, vocab_keep: int) -> Array:
    return jnp.where(positions(z) < vocab_keep, z, -jnp.inf)


def _empty_average(hidden, head) -> Float[Array, "clip way vocab"]:
    return jnp.zeros(jax.eval_shape(head, hidden[:, :, 0]).shape, jnp.float32)


def _summed(row: Peaked, averaged, like: Array) -> Float[Array, "clip way vocab"]:
    """Sum the distributions of the rows that the sequence score averages."""
    p = jnp.exp(row.logits - row.peak[..., None]) / (1 + row.others[..., None])
    kept = jnp.where(averaged[:, None], p, 0)
    return jnp.sum(kept.reshape(*like.shape[:2], -1, like.shape[2]), axis=2)


def _catalogue(found, batch: Batch, orders: Orders, asked: Asked):
    """Return table, swept table and curves of a definition that has the catalogue."""

    def entropies(pair):
        degree = 1 + orders.r_less_one[:, pair[1]]
        both = squash(found["renyi_q"][pair[0]], degree[:, None, None])
        return entropy_curves(both, batch.mirror)

    def swept(pair):
        return score_table(entropies(pair), batch.masks, asked.slices, SWEPT_FAMILIES)

    curves = family_curves(found) | entropies(asked.pairs[0])
    table = score_table(curves, batch.masks, asked.slices)
    return table, _for_each_pair(swept, asked), curves


def _for_each_pair(function, asked: Asked) -> Float[Array, "clip pair column"] | None:
    """Return the function's columns for every pair; None where there is one only."""
    if len(asked.pairs) == 1:
        return None
    each = jax.lax.map(function, jnp.array(asked.pairs, jnp.int32))
    return jnp.moveaxis(each, 0, 1)


def _published(found, average, batch: Batch, orders: Orders, asked: Asked):
    """Return table and swept table of the published definitions."""
    mask = batch.masks[:, asked.slices.index("video")]
    whole = published.split_average(average)
    each = _orders(orders, whole.top.size).reshape(-1, *whole.top.shape)
    sums = jax.lax.map(lambda q: published.power_sums(whole, q), each)

    def swept(pair):
        q1, r1 = orders.q_less_one[:, pair[0]], orders.r_less_one[:, pair[1]]
        rows = published.Powers(found["others"], found["above"][pair[0]])
        ends = published.Powers(whole.others, sums.above[pair[0]])
        curve = published.entropy_difference(*_ways(rows), q1[:, None], r1[:, None])
        sequence = published.entropy_difference(*_ways(ends), q1, r1)
        return published.swept_columns(curve, mask, sequence)

    natural = {name: value[:, 0] for name, value in found.items() if name != "above"}
    plain = published.plain_columns(natural, mask)
    table = jnp.concatenate([plain, swept(asked.pairs[0])], axis=1)
    return table, _for_each_pair(swept, asked), None


def _ways(powers: published.Powers) -> tuple[published.Powers, published.Powers]:
    """Return the natural and the reversed way, from arrays [clip way …]."""
    natural, reverse = (published.Powers(*(x[:, n] for x in powers)) for n in (0, 1))
    return natural, reverse


def swept_names(definition: str, slices: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a swept table's columns."""
    if definition == "published":
        return published.SWEPT
    return columns(slices, SWEPT_FAMILIES)


def table_names(definition: str, slices: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a definition's columns."""
    return published.COLUMNS if definition == "published" else columns(slices)
