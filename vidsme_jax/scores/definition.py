"""The type of a score definition: rows of logits in, named columns out.

A definition is a value. `program.EXACT`, `program.top_k(5)` and `published.PUBLISHED` are
those of this package; a user's own goes into a `ScoreRequest` like any of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vidsme_jax.scores.catalogue import SLICES
from vidsme_jax.scores.reduction import per_row


class Orders(NamedTuple):
    """The entropy orders of each clip, less one: float32 tells orders near 1 apart.

    Attributes:
        q_less_one: q - 1 for each value of q.
        r_less_one: r - 1 for each value of r.
    """

    q_less_one: Float[Array, "clip q"]
    r_less_one: Float[Array, "clip r"]

    def of_rows(self, rows: int) -> Float[Array, "q row"]:
        """Return q - 1 for each value of q and each row of a chunk."""
        return per_row(self.q_less_one.T, rows)


class Chunk(NamedTuple):
    """Some rows of all clips and ways, one below the other.

    Attributes:
        logits: -inf for entries that take no part in the softmax.
        targets: token id that each row should predict, or `OWN_ARGMAX` [row].
        extra: what the reducer's `rows` returned for these rows [row].
    """

    logits: Float[Array, "row vocab"]
    targets: Array
    extra: Any


@dataclass(frozen=True)
class Reducer:
    """How a chunk of logits in memory becomes numbers for each row.

    Attributes:
        rows: batch -> a tree of arrays [clip row]; `step` gets the rows of its chunk.
        start: (hidden states, head) -> a sum over chunks before the first, or None.
        step: (sum, chunk, orders) -> the new sum, and a dict of arrays [… row].
    """

    rows: Callable[[Any], Any]
    start: Callable[..., Any]
    step: Callable[..., tuple[Any, dict[str, Array]]]


class DefinitionScores(NamedTuple):
    """The scores of a batch by one definition.

    Attributes:
        table: every score for the first pair of orders [clip column].
        swept: scores that depend on q and r, for every pair [clip pair column]; None for
            a single pair.
        curves: per-token values by family [clip row]; empty if the definition has none.
    """

    table: Array
    swept: Array | None
    curves: dict[str, Array]


@dataclass(frozen=True)
class Definition:
    """One way to turn next-token distributions into named scores.

    Attributes:
        name: name of the definition and of its table.
        reducer: how logits become per-row numbers.
        finish: (numbers [clip way row], sum, batch, orders, request) -> DefinitionScores.
        columns: slices -> names of the table's columns.
        swept: slices -> names of the columns that depend on q and r.
        column: (slice, family, aggregate) -> name of that column; None if there is none.
        higher_is_member: family -> whether members are expected to have higher values.
        needs: slices without which the definition has no scores.
        whole_head: whether its softmax includes the padding of the head.
        text_after: number of text tokens after the video whose rows are always scored.
    """

    name: str
    reducer: Reducer
    finish: Callable[..., DefinitionScores]
    columns: Callable[[tuple[str, ...]], tuple[str, ...]]
    swept: Callable[[tuple[str, ...]], tuple[str, ...]]
    column: Callable[[str, str, str], str | None]
    higher_is_member: Callable[[str], bool]
    needs: tuple[str, ...] = ()
    whole_head: bool = False
    text_after: int = 0


@dataclass(frozen=True)
class ScoreRequest:
    """What a pass over a batch should compute.

    Attributes:
        definitions: each gives a table; the first gives the curves.
        slices: names of the batch's masks, in their order.
        kept: families whose curves are returned, for the first pair of orders.
        pairs: columns of `Orders` that go together as q and r; the first pair is the run's.
        vocab_keep: number of entries that take part in the softmax, except for a
            definition over the whole head; None where `forward` masks the others.
    """

    definitions: tuple[Definition, ...]
    slices: tuple[str, ...] = SLICES
    kept: tuple[str, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ((0, 0),)
    vocab_keep: int | None = None

    def for_each_pair(
        self, function: Callable[..., Array]
    ) -> Float[Array, "clip pair column"] | None:
        """Return the function's columns for each pair of orders; None for a single pair."""
        if len(self.pairs) == 1:
            return None
        columns = jax.lax.map(function, jnp.array(self.pairs, jnp.int32))
        return jnp.moveaxis(columns, 0, 1)
