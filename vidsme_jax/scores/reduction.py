"""Reduce the logits of the scored rows chunk by chunk.

    rows      only the scored positions are kept                   -> [clip way row width]
    head      in chunks of rows, each reduced to a few numbers     -> [clip way row]

Nothing of size [row, vocab] outlives a chunk.
"""

from functools import partial

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vidsme_jax.batch import Head

_CHUNK_BYTES = 256 * 2**20  # float32 logits in memory at a time
_CACHED_BYTES = 2 * 2**20  # float32 logits that a CPU reduces at a time
# A larger chunk has a multiple of so many rows: it divides into blocks on a CPU, and it
# fills the tiles of a TPU, which have 8 rows.
_ROWS = 8


def scan_rows(hidden, head: Head, rows, values, reduce, carry):
    """Reduce the logits of the scored rows chunk by chunk.

    Args:
        hidden: [clip way time width], from `forward`.
        head: hidden states to logits.
        rows: [clip row], positions to score.
        values: a tree of arrays [clip row] for `reduce`; zeros where a chunk is padded.
        reduce: reduce(carry, logits [row vocab], values [row]) -> (carry, a tree of arrays
            [… row]). The rows of all clips and ways lie one below the other, in the order
            of `per_row`.
        carry: the first carry, or None.

    Returns:
        The last carry, and the tree of arrays [… clip way row].
    """
    chosen = jnp.take_along_axis(hidden, rows[:, None, :, None], axis=2)
    clips, ways, count, _ = chosen.shape
    vocab = jax.eval_shape(head, chosen[:, :, 0]).shape[-1]
    size = chunk_rows(count, clips * ways, vocab)

    def step(carry, chunk):
        states, values = chunk
        values = jax.tree.map(lambda x: jnp.repeat(x[:, None], ways, axis=1), values)
        with jax.named_scope("head"):
            logits = head(states)
        with jax.named_scope("statistics"):
            return reduce_chunk(reduce, carry, logits, values)

    chunks = jax.tree.map(lambda x: _chunked(x, size), (chosen, values))
    carry, out = jax.lax.scan(step, carry, chunks)
    return carry, jax.tree.map(lambda value: _joined(value)[..., :count], out)


def chunk_rows(rows: int, sequences: int, vocab: int) -> int:
    """Return how many rows of each sequence have their logits in memory at a time.

    All chunks have one size, chosen so that the last one needs little padding.

    Args:
        rows: number of scored rows of a sequence.
        sequences: number of clips times ways.
        vocab: number of entries of the head.
    """
    most = max(1, _CHUNK_BYTES // (4 * sequences * vocab))
    if min(rows, most) < 8 * _ROWS:
        return -(-rows // -(-rows // most))
    most -= most % _ROWS
    even = -(-rows // -(-rows // most))
    return -(-even // _ROWS) * _ROWS


def per_row(values: Float[Array, "*n clip"], rows: int) -> Float[Array, "*n row"]:
    """Return the value of its clip for each row of a chunk."""
    return jnp.repeat(values, rows // values.shape[-1], axis=-1)


def reduce_chunk(reduce, carry, logits, values):
    """Reduce a chunk of logits; on a CPU in blocks of rows that stay in its cache.

    Args:
        reduce: as for `scan_rows`.
        carry: the carry before this chunk, or None.
        logits: [clip way n vocab].
        values: a tree of arrays [clip way n].

    Returns:
        The new carry, and the tree of arrays [… clip way n].
    """
    clips, ways, count, vocab = logits.shape
    most = max(1, _CACHED_BYTES // (4 * clips * ways * vocab))
    size = max(n for n in range(1, min(most, count) + 1) if count % n == 0)

    def whole(carry, *chunk):
        # Axes of length 1 would make a CPU five times as slow.
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), chunk)
        shape = chunk[0].shape[:3]
        carry, out = reduce(carry, *flat)
        return carry, jax.tree.map(lambda x: x.reshape(*x.shape[:-1], *shape), out)

    def in_blocks(carry, *chunk):
        def step(carry, start):
            cut = partial(jax.lax.dynamic_slice_in_dim, slice_size=size, axis=2)
            return whole(carry, *jax.tree.map(lambda x: cut(x, start), chunk))

        starts = size * jnp.arange(count // size, dtype=jnp.int32)
        carry, out = jax.lax.scan(step, carry, starts)
        return carry, jax.tree.map(_joined, out)

    chunk = (carry, logits, values)
    return jax.lax.platform_dependent(*chunk, cpu=in_blocks, default=whole)


def _joined(value: Array) -> Array:
    """Join the chunks of an array [chunk … n] to [… row]."""
    moved = jnp.moveaxis(value, 0, -2)
    return einops.rearrange(moved, "... chunk n -> ... (chunk n)")


def _chunked(values: Array, size: int) -> Array:
    """Split an array [clip (way) row …] into chunks of `size` rows, as a new first axis."""
    axis = 2 if values.ndim == 4 else 1
    pad = [(0, 0)] * values.ndim
    pad[axis] = (0, -values.shape[axis] % size)
    padded = jnp.pad(values, pad)
    pattern = "c w (k n) d -> k c w n d" if axis == 2 else "c (k n) -> k c n"
    return einops.rearrange(padded, pattern, n=size)
