"""Score a batch in one pass: every definition, every pair of orders q and r.

    exact       the scores of `catalogue.py`
    published   the published code's scores, `published.py`
    top_K       the scores of `catalogue.py` from the K largest log p of each row alone

The model runs once, whatever is requested. Each chunk of logits is reduced to the families
of each definition and to one entropy per order q. The degree r, the differences, the
slices and every K are arithmetic on the curves that remain.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vidsme_jax.batch import Batch, Forward
from vidsme_jax.scores.catalogue import (
    DEFINITIONS,
    SWEPT_FAMILIES,
    TOP_K,
    column_of,
    columns,
    higher_is_member,
)
from vidsme_jax.scores.curves import entropy_curves, family_curves, score_table
from vidsme_jax.scores.definition import (
    Chunk,
    Definition,
    DefinitionScores,
    Orders,
    Reducer,
    ScoreRequest,
)
from vidsme_jax.scores.entropy import positions, renyi_of, split_top, squash
from vidsme_jax.scores.published import PUBLISHED
from vidsme_jax.scores.reduction import scan_rows
from vidsme_jax.scores.token_statistics import family_statistics
from vidsme_jax.scores.top_k import complete_top_k


class BatchScores(NamedTuple):
    """The scores of a batch by all definitions of a request.

    Arrays of the device, or of the host once they are fetched.

    Attributes:
        tables: scores of the first pair by definition [clip column], named by
            `Definition.columns`.
        swept: scores that depend on q and r by definition, for every pair
            [clip pair column]; empty for a single pair.
        curves: per-token values of the kept families [clip row].
        embedding: mean embedding of the frames [clip width]; None where `forward` gives
            none.
    """

    tables: dict[str, Any]
    swept: dict[str, Any]
    curves: dict[str, Any]
    embedding: Any


@lru_cache  # equal arguments give the same function, and so one compiled program
def score_program(forward: Forward, request: ScoreRequest) -> Callable[..., BatchScores]:
    """Return the pure function run(params, batch, orders) -> BatchScores."""

    def run(params: Any, batch: Batch, orders: Orders) -> BatchScores:
        hidden, head, *embedding = forward(params, batch)
        sums, numbers = _reduce(hidden, head, batch, orders, request)
        scores = {
            d.name: d.finish(numbers[d.name], sums[d.name], batch, orders, request)
            for d in request.definitions
        }
        curves = scores[request.definitions[0].name].curves
        return BatchScores(
            {name: score.table for name, score in scores.items()},
            {name: s.swept for name, s in scores.items() if s.swept is not None},
            {name: curves[name] for name in request.kept},
            embedding[0] if embedding else None,
        )

    return run


def score_batch(
    params: Any,
    forward: Forward,
    batch: Any,
    q: Float[Array, "clip"],
    r: Float[Array, "clip"],
) -> dict[str, Float[Array, "clip way row"]]:
    """Return the per-token statistics of both ways, by family.

    They are what `score_program` computes for one pair of orders before it compares the
    ways.

    Args:
        params: parameters of the model.
        forward: pure function of (params, batch). It returns hidden states of the natural
            (way 0) and reversed (way 1) clip, and the head that maps them to logits. A
            model that gives logits at once returns them with the identity.
        batch: has `rows` and `targets` as in `Batch`.
        q: Sharma-Mittal order of each clip, the same for both ways.
        r: Sharma-Mittal degree of each clip, the same for both ways.
    """
    hidden, head, *_ = forward(params, batch)
    orders = Orders(q[:, None] - 1, r[:, None] - 1)
    _, numbers = _reduce(hidden, head, batch, orders, ScoreRequest((EXACT,)))
    families = dict(numbers[EXACT.name])
    entropy = families.pop("renyi_q")[0]
    return {"sme": squash(entropy, r[:, None, None])} | families


def _reduce(hidden, head, batch, orders: Orders, request: ScoreRequest):
    """Return the sum of each definition, and its numbers for every row.

    Both are dicts by definition; the numbers are arrays [… clip way row] by family.
    """
    definitions = request.definitions

    def step(sums, logits, rows):
        kept = logits if request.vocab_keep is None else _mask(logits, request.vocab_keep)
        targets, extra = rows
        new_sums, out = {}, {}
        for d in definitions:
            chunk = Chunk(logits if d.whole_head else kept, targets, extra[d.name])
            new_sums[d.name], out[d.name] = d.reducer.step(sums[d.name], chunk, orders)
        return new_sums, out

    starts = {d.name: d.reducer.start(hidden, head) for d in definitions}
    extra = {d.name: d.reducer.rows(batch) for d in definitions}
    return scan_rows(hidden, head, batch.rows, (batch.targets, extra), step, starts)


def _mask(logits: Array, vocab_keep: int) -> Array:
    """Set the entries from `vocab_keep` on to -inf."""
    return jnp.where(positions(logits) < vocab_keep, logits, -jnp.inf)


def _catalogue_definition(name: str, show: Callable[[Array], Array]) -> Definition:
    """Return a definition that has the columns of the catalogue.

    Args:
        name: name of the definition.
        show: logits -> the logits that an auditor sees.
    """

    def step(no_sum, chunk: Chunk, orders: Orders):
        row, target = split_top(show(chunk.logits)), chunk.targets
        # One order after the other: side by side each would need a copy of the chunk.
        q_less_one = orders.of_rows(len(target))
        entropies = jax.lax.map(lambda q: renyi_of(row, 1 + q), q_less_one)
        return no_sum, family_statistics(row, target) | {"renyi_q": entropies}

    return Definition(
        name,
        Reducer(rows=lambda batch: (), start=lambda hidden, head: None, step=step),
        _finish_catalogue,
        columns,
        lambda slices: columns(slices, SWEPT_FAMILIES),
        column_of,
        higher_is_member,
    )


def _finish_catalogue(
    numbers, no_sum, batch: Batch, orders: Orders, request: ScoreRequest
) -> DefinitionScores:
    """Return the scores and curves of a definition that has the catalogue's columns."""

    def entropies(pair):
        degree = 1 + orders.r_less_one[:, pair[1]]
        sme = squash(numbers["renyi_q"][pair[0]], degree[:, None, None])
        return entropy_curves(sme, batch.mirror)

    def swept(pair):
        return score_table(entropies(pair), batch.masks, request.slices, SWEPT_FAMILIES)

    curves = family_curves(numbers) | entropies(request.pairs[0])
    table = score_table(curves, batch.masks, request.slices)
    return DefinitionScores(table, request.for_each_pair(swept), curves)


EXACT = _catalogue_definition("exact", lambda logits: logits)


@lru_cache  # an equal k gives the same value, and so the same compiled programs
def top_k(k: int) -> Definition:
    """Return the definition for a black box that shows the k largest log p of a row."""
    return _catalogue_definition(f"top_{k}", lambda logits: complete_top_k(logits, k))


NAMED = {d.name: d for d in (EXACT, PUBLISHED, *map(top_k, TOP_K))}
assert tuple(NAMED) == DEFINITIONS
