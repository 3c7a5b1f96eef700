"""What a definition of the scores is: rows of logits in, named columns out.

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
    """The orders of each clip, less one so that float32 tells those near 1 apart.

    Attributes:
        q_less_one: q - 1.
        r_less_one: r - 1.
    """

    q_less_one: Float[Array, "clip q"]
    r_less_one: Float[Array, "clip r"]

    def of_rows(self, rows: int) -> Float[Array, "q row"]:
        """Return q - 1 of each order for each of a chunk's rows."""
        return per_row(self.q_less_one.T, rows)


class Chunk(NamedTuple):
    """Some rows of all clips and ways, one under the other.

    Attributes:
        logits: of the entries that take part in the softmax; the others are -inf.
        targets: token each row should predict, or `OWN_ARGMAX`.
        extra: what the reducer's `rows` gave of these rows.
    """

    logits: Float[Array, "row vocab"]
    targets: Array
    extra: Any


@dataclass(frozen=True)
class Reducer:
    """How chunks of logits become per-row numbers, while they are in memory.

    Attributes:
        rows: batch -> a tree of arrays [clip row], of which `step` gets each chunk's part.
        start: (hidden states, head) -> what is summed up over the chunks, or None.
        step: (sum, chunk, orders) -> the new sum, and a dict of arrays [… row].
    """

    rows: Callable[[Any], Any]
    start: Callable[..., Any]
    step: Callable[..., tuple[Any, dict[str, Array]]]


class DefinitionScores(NamedTuple):
    """What a definition makes of a batch.

    Attributes:
        table: every score for the first pair of orders [clip column].
        swept: those that depend on q and r, for every pair [clip pair column]; None where
            there is one pair only.
        curves: per-token values [clip row], keyed by family; empty where a definition has
            none.
    """

    table: Array
    swept: Array | None
    curves: dict[str, Array]


@dataclass(frozen=True)
class Definition:
    """One way to turn next-token distributions into named scores.

    Attributes:
        name: of the definition and of its table.
        reducer: of logits to per-row numbers.
        finish: (numbers [clip way row], sum, batch, orders, request) -> DefinitionScores.
        columns: slices -> names of the table's columns.
        swept: slices -> names of those that depend on q and r.
        column: (slice, family, aggregate) -> name of that column; None where it has none.
        higher_is_member: family -> the side that members are expected on.
        needs: slices without which it has no scores.
        whole_head: whether its softmax runs over the padding of the head, too.
        text_after: text tokens after the video whose rows it needs whatever the slices.
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
    """What a pass over a batch should give.

    Attributes:
        definitions: each gives a table; the first one gives the curves.
        slices: of the batch's masks, in their order.
        kept: families whose curves are wanted, for the first pair of orders.
        pairs: columns of `Orders` that go together as q and r; the first is the run's own.
        vocab_keep: entries that take part in the softmax, except of a definition over the
            whole head; None where `forward` masks the others itself.
    """

    definitions: tuple[Definition, ...]
    slices: tuple[str, ...] = SLICES
    kept: tuple[str, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ((0, 0),)
    vocab_keep: int | None = None

    def for_each_pair(
        self, function: Callable[..., Array]
    ) -> Float[Array, "clip pair column"] | None:
        """Return the function's columns for every pair; None where there is one only."""
        if len(self.pairs) == 1:
            return None
        columns = jax.lax.map(function, jnp.array(self.pairs, jnp.int32))
        return jnp.moveaxis(columns, 0, 1)
