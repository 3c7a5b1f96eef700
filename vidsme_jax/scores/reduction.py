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

_CHUNK_BYTES = 256 * 2**20  # of float32 logits alive at a time


_CACHED_BYTES = 2 * 2**20  # of them that a CPU reduces at a time


# Of which a larger chunk is a multiple, so that it divides into blocks on a CPU, and that
# its rows lie one under the other on a TPU, whose tiles have so many.
_ROWS = 8


def scan_rows(hidden, head: Head, rows, values, reduce, carry):
    """Reduce the logits of the scored rows chunk by chunk.

    Args:
        hidden: [clip way time width], from `forward`.
        head: hidden states to logits.
        rows: [clip row], positions to score.
        values: a tree of arrays [clip row], handed on; zeros where a chunk is padded.
        reduce: reduce(carry, logits [row vocab], values [row]) -> (carry, a tree of arrays
            [… row]); the rows of all clips and ways one under the other, as `per_row` has
            them.
        carry: its start, or None.

    Returns:
        The last carry, and the tree with all rows: arrays [… clip way row].
    """
    chosen = jnp.take_along_axis(hidden, rows[:, None, :, None], axis=2)
    clips, ways, count, _ = chosen.shape
    vocab = jax.eval_shape(head, chosen[:, :, 0]).shape[-1]
    size = chunk_rows(count, clips * ways, vocab)

    def step(carry, chunk):
        states, inside = chunk
        inside = jax.tree.map(lambda x: jnp.repeat(x[:, None], ways, axis=1), inside)
        with jax.named_scope("head"):
            logits = head(states)
        with jax.named_scope("statistics"):
            return reduce_chunk(reduce, carry, logits, inside)

    chunks = jax.tree.map(lambda x: _chunked(x, size), (chosen, values))
    carry, out = jax.lax.scan(step, carry, chunks)
    return carry, jax.tree.map(lambda value: _joined(value)[..., :count], out)


def chunk_rows(rows: int, sequences: int, vocab: int) -> int:
    """Return how many rows of each sequence have their logits in memory at a time.

    Chunks of one size as even as can be: the last one is filled up with rows in vain.
    """
    most = max(1, _CHUNK_BYTES // (4 * sequences * vocab))
    if min(rows, most) < 8 * _ROWS:
        return -(-rows // -(-rows // most))
    most -= most % _ROWS
    even = -(-rows // -(-rows // most))
    return -(-even // _ROWS) * _ROWS


def per_row(values: Float[Array, "*n clip"], rows: int) -> Float[Array, "*n row"]:
    """Return for each of a chunk's rows the value of its clip."""
    return jnp.repeat(values, rows // values.shape[-1], axis=-1)


def reduce_chunk(reduce, carry, logits, values):
    """Reduce one chunk, on a CPU in blocks of rows that stay in its cache.

    Args:
        reduce: as for `scan_rows`.
        carry: its start, or None.
        logits: [clip way n vocab].
        values: a tree of arrays [clip way n].

    Returns:
        The carry, and the tree: arrays [… clip way n].
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
        def step(carry, first):
            cut = partial(jax.lax.dynamic_slice_in_dim, slice_size=size, axis=2)
            return whole(carry, *jax.tree.map(lambda x: cut(x, first), chunk))

        starts = size * jnp.arange(count // size, dtype=jnp.int32)
        carry, out = jax.lax.scan(step, carry, starts)
        return carry, jax.tree.map(_joined, out)

    chunk = (carry, logits, values)
    return jax.lax.platform_dependent(*chunk, cpu=in_blocks, default=whole)


def _joined(value: Array) -> Array:
    """Bring [chunk … n] together as [… row]."""
    moved = jnp.moveaxis(value, 0, -2)
    return einops.rearrange(moved, "... chunk n -> ... (chunk n)")


def _chunked(values: Array, size: int) -> Array:
    """Bring [clip …row… ] into chunks of `size` rows along a new leading axis."""
    axis = 2 if values.ndim == 4 else 1
    pad = [(0, 0)] * values.ndim
    pad[axis] = (0, -values.shape[axis] % size)
    padded = jnp.pad(values, pad)
    pattern = "c w (k n) d -> k c w n d" if axis == 2 else "c (k n) -> k c n"
    return einops.rearrange(padded, pattern, n=size)
