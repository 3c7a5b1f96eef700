"""Attention whose memory does not grow with the square of the sequence, on any platform.

    tpu    splash attention, a Pallas kernel that skips blocks in which nothing is visible
    cuda   flash attention of cuDNN, for the 16-bit types that it takes
    else   blocks of query rows one after the other, against the keys that they can see

All of them take the same arguments and give the same numbers up to rounding. This module
alone decides which of them runs, when the program is lowered for its devices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import einops
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

# Bytes of float32 scores alive at a time where there is no kernel: those of a single
# sequence, or those of all sequences where they fit a cache.
_BLOCK_BYTES, _CACHED_BYTES = 8 * 2**20, 4 * 2**20
# A causal sequence is cut into so many spans of queries, which ignore all keys after their
# end. That is a quarter more work than needed.
_SPANS = 4
_LANES = 128  # of a TPU's vector registers; shorter sequences gain nothing from a kernel
_SPLASH_BLOCK = 512

Heads = Float[Array, "batch time _ head_dim"]


@dataclass(frozen=True)
class AttentionMask:
    """Which keys a query may attend to.

    Attributes:
        causal: whether a query sees only its own position and those before it.
        window: positions that a causal query sees at most, itself included; None for all.
    """

    causal: bool = True
    window: int | None = None


_EVERYTHING = AttentionMask(causal=False)


def attend(
    q: Float[Array, "batch time heads head_dim"],
    k: Float[Array, "batch time kv_heads head_dim"],
    v: Float[Array, "batch time kv_heads head_dim"],
    mask: AttentionMask,
    groups: Int[Array, "batch time"] | None = None,
) -> Float[Array, "batch time heads head_dim"]:
    """Return the output of attention, softmax(q k^T / sqrt(head_dim)) v.

    Under a mesh with automatic axes, each device attends with its own sequences ("data")
    and heads ("model"); nothing is communicated.

    Args:
        q: queries.
        k: keys; a key head serves several query heads, which lie side by side.
        v: values, in heads like the keys.
        mask: which keys a query may attend to.
        groups: group number of each position, from 1 on; 0 is in no group. Positions of
            the same group see each other in both directions. None without groups.
    """
    local = _kernel(q, mask) if groups is None else partial(_blockwise, mask)
    return _per_device(local, q, k, v, groups)


def _kernel(q: Array, mask: AttentionMask) -> Callable[..., Array]:
    """Return the function that attends on a device, chosen by its platform."""
    plain = partial(_blockwise, mask)
    if q.shape[1] < _LANES:
        return plain
    kernels: dict[str, Any] = {"tpu": partial(_splash, mask)}
    if q.dtype.itemsize == 2 and _has_cudnn():
        kernels["cuda"] = partial(_cudnn, mask)
    return lambda *qkv: jax.lax.platform_dependent(*qkv, default=plain, **kernels)


def _per_device(local: Callable[..., Array], q, k, v, groups) -> Array:
    """Run a function on the sequences and heads of each device."""
    arrays = (q, k, v) if groups is None else (q, k, v, groups)
    mesh = jax.sharding.get_abstract_mesh()
    names = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if names.get("model") != AxisType.Auto:
        return local(*arrays)
    size = mesh.shape["model"]
    if q.shape[2] % size:
        size, heads = 1, P("data")
    else:
        heads = P("data", None, "model")
    if k.shape[2] % size:  # too few key heads for the devices: copy one per query head
        arrays = (
            q,
            *(jnp.repeat(x, q.shape[2] // x.shape[2], 2) for x in (k, v)),
            *arrays[3:],
        )
    specs = (heads, heads, heads, P("data"))[: len(arrays)]
    return jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=heads, check_vma=False
    )(*arrays)


def _has_cudnn() -> bool:
    return "cuda" in jax.devices()[0].client.platform_version


def _cudnn(mask: AttentionMask, q: Heads, k: Heads, v: Heads) -> Heads:
    window = None if mask.window is None else (mask.window - 1, 0)
    return jax.nn.dot_product_attention(
        q,
        k,
        v,
        is_causal=mask.causal,
        local_window_size=window,
        implementation="cudnn",
    )


def _splash(
    mask: AttentionMask, q: Heads, k: Heads, v: Heads, *, interpret: bool = False
) -> Heads:
    """Attend with JAX's splash kernel, in sequences padded to whole blocks."""
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as kernel,
    )

    time, heads = q.shape[1:3]
    size, padded = splash_blocks(time)
    sides = (size,) * 8  # of blocks of queries and keys, forwards and in gradients
    blocks = kernel.BlockSizes(*sides)  # type: ignore[arg-type]  # further fields
    run = kernel.make_splash_mha(
        _splash_mask(mask, padded, heads),
        block_sizes=blocks,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    scaled = (q.astype(jnp.float32) * q.shape[3] ** -0.5).astype(q.dtype)
    padding = ((0, 0), (0, padded - time), (0, 0), (0, 0))
    arrays = (jnp.pad(x, padding).swapaxes(1, 2) for x in (scaled, k, v))
    # Causal queries see no padding, which comes last; other queries must not see it.
    segment = (jnp.arange(padded) >= time).astype(jnp.int32)
    ids = None if mask.causal else kernel.SegmentIds(segment, segment)
    out = jax.vmap(lambda q, k, v: run(q, k, v, segment_ids=ids))(*arrays)
    return out.swapaxes(1, 2)[:, :time]


def _splash_mask(mask: AttentionMask, time: int, heads: int) -> Any:
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_mask as masks,
    )

    shape = (time, time)
    head_mask: Any = masks.FullMask(shape)
    if mask.causal:
        head_mask = masks.CausalMask(shape)
    if mask.window is not None:
        head_mask = masks.LocalMask(shape, (mask.window - 1, 0), 0)
    return masks.MultiHeadMask([head_mask] * heads)


def splash_pairs(mask: AttentionMask, time: int) -> int:
    """Return how many pairs of positions the splash kernel computes in a sequence."""
    size, padded = splash_blocks(time)
    count = padded // size
    if not mask.causal:
        return padded**2
    before = count if mask.window is None else -(-(mask.window - 1) // size)
    blocks = sum(min(n, before) + 1 for n in range(count))
    return blocks * size**2


def splash_blocks(time: int) -> tuple[int, int]:
    """Return the side of the splash kernel's blocks and the length of a padded sequence."""
    size = min(_SPLASH_BLOCK, -(-time // _LANES) * _LANES)
    return size, -(-time // size) * size


def _blockwise(
    mask: AttentionMask, q: Heads, k: Heads, v: Heads, groups: Array | None = None
) -> Heads:
    """Attend block by block, so that the scores of a block stay within `_BLOCK_BYTES`."""
    batch, time, heads, _ = q.shape
    rows = _rows_of_a_block(time, heads)
    attend = _attend_rows if rows >= time else partial(_in_spans, rows=rows)
    attend_sequence = partial(_heads_first, partial(attend, mask))
    sequences = (q, k, v, groups)
    if _fit_the_cache(batch, time, heads):
        return jax.vmap(lambda arrays: attend_sequence(*arrays))(sequences)
    return jax.lax.map(jax.checkpoint(lambda arrays: attend_sequence(*arrays)), sequences)


def _rows_of_a_block(time: int, heads: int) -> int:
    return min(time, max(1, _BLOCK_BYTES // (4 * heads * time)))


def _fit_the_cache(batch: int, time: int, heads: int) -> bool:
    return 4 * batch * heads * time**2 <= _CACHED_BYTES


def uncounted_pairs(
    mask: AttentionMask,
    sequences: int,
    time: int,
    heads: int,
    *,
    bidirectional: bool,
    kernel: bool,
) -> int:
    """Return how many pairs of positions a compiler does not count, over all sequences.

    The compiler sees nothing of the splash kernel, and counts the step of a loop once.

    Args:
        mask: which keys a query may attend to.
        sequences: number of sequences on a device.
        time: positions of a sequence.
        heads: query heads on a device.
        bidirectional: whether some positions see later ones too.
        kernel: whether the splash kernel runs where it can.
    """
    if time >= _LANES and kernel and not bidirectional:
        return sequences * splash_pairs(mask, time)
    if _fit_the_cache(sequences, time, heads):
        return 0
    reach = _EVERYTHING if bidirectional else mask
    size, rows = _span_of(time, _rows_of_a_block(time, heads))
    computed = counted = 0
    for first in range(0, time, size):
        end = min(first + size, time)
        start, stop = _keys_of(reach, first, end, time)
        step = rows * (stop - start)
        blocks = -(-(end - first) // rows)
        computed, counted = computed + blocks * step, counted + step
    return sequences * computed - counted


def _heads_first(attend: Callable[..., Array], q, k, v, groups) -> Array:
    """Attend within a sequence, its arrays laid out head by head for matrix products.

    The same layout of all sequences at once made a CPU take 1.6 times as long.
    """
    q = einops.rearrange(q, "t (n g) d -> n g t d", n=k.shape[1])
    out = attend(q, k.swapaxes(0, 1), v.swapaxes(0, 1), groups)
    return einops.rearrange(out, "n g t d -> t (n g) d")


def _in_spans(mask: AttentionMask, q, k, v, groups, rows: int) -> Array:
    """Attend within a sequence span by span, each against no more keys than it can see."""
    time = q.shape[2]
    size, rows = _span_of(time, rows)
    out: list[Array] = []
    for first in range(0, time, size):
        span = q[:, :, first : first + size]
        if out:  # else all spans could be at work, and in memory, at once
            span, out[-1] = jax.lax.optimization_barrier((span, out[-1]))
        out.append(_in_blocks(mask, rows, first, span, k, v, groups))
    return jnp.concatenate(out, axis=2)


def _span_of(time: int, rows: int) -> tuple[int, int]:
    """Return the rows of a span and of each of its blocks.

    Args:
        time: positions of the sequence.
        rows: rows that a block has at most; all blocks get about equally many.
    """
    blocks = -(-time // rows)
    blocks_per_span = -(-blocks // _SPANS)
    spans = -(-blocks // blocks_per_span)
    rows = -(-time // (blocks_per_span * spans))
    return blocks_per_span * rows, rows


def _keys_of(mask: AttentionMask, first: int, end: int, time: int) -> tuple[int, int]:
    """Return the start and end of the keys that the queries from `first` to `end` see."""
    if not mask.causal:
        return 0, time
    return max(0, first - mask.window + 1) if mask.window else 0, end


def _in_blocks(mask: AttentionMask, rows: int, first: int, span, k, v, groups) -> Array:
    """Attend with a span of queries that starts at position `first`, `rows` at a time."""
    time = span.shape[2]
    count = -(-time // rows)
    reach = mask if groups is None else _EVERYTHING
    start, end = _keys_of(reach, first, first + time, k.shape[1])
    keys = slice(start, end)
    padded = jnp.pad(span, ((0, 0), (0, 0), (0, count * rows - time), (0, 0)))
    blocks = einops.rearrange(padded, "n g (block row) d -> block n g row d", row=rows)
    places = first + rows * jnp.arange(count, dtype=jnp.int32)

    @jax.checkpoint  # gradients compute the scores again, and keep none
    def attend_block(block_and_place):
        block, place = block_and_place
        return _attend_rows(mask, block, k[:, keys], v[:, keys], groups, place, start)

    out = jax.lax.map(attend_block, (blocks, places))
    return einops.rearrange(out, "block n g row d -> n g (block row) d")[:, :, :time]


def _attend_rows(
    mask: AttentionMask,
    q: Float[Array, "kv_heads group row head_dim"],
    k: Float[Array, "kv_heads key head_dim"],
    v: Float[Array, "kv_heads key head_dim"],
    groups: Int[Array, "time"] | None = None,
    row: int | Int[Array, ""] = 0,
    key: int = 0,
) -> Float[Array, "kv_heads group row head_dim"]:
    """Attend from the queries that start at `row` to the keys that start at `key`."""
    scores = jnp.einsum("ngqd,nkd->ngqk", q, k, preferred_element_type=jnp.float32)
    scores = scores * q.shape[3] ** -0.5
    rows = row + jnp.arange(q.shape[2], dtype=jnp.int32)[:, None]
    keys = key + jnp.arange(k.shape[1], dtype=jnp.int32)[None]
    if (seen := _seen(mask, rows, keys, groups)) is not None:
        # Not -inf, since rows of padding may see nothing.
        scores = jnp.where(seen, scores, jnp.finfo(jnp.float32).min)
    peak = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.exp(scores - peak)
    out = jnp.einsum(
        "ngqk,nkd->ngqd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
    )
    # Dividing the output, not the weights, takes fewer divisions.
    return (out / weights.sum(axis=-1, keepdims=True)).astype(v.dtype)


def _seen(mask: AttentionMask, rows, keys, groups) -> Bool[Array, "row key"] | None:
    """Return which keys each row sees; None where every row sees every key."""
    if not mask.causal:
        return None
    seen = keys <= rows
    if groups is not None:
        group = groups.at[rows].get(mode="fill", fill_value=0)
        seen |= (group == groups[keys]) & (group > 0)
    if mask.window is not None:
        seen &= rows - keys < mask.window
    return seen
