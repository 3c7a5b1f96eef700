"""Attention whose memory does not grow with the square of the sequence, on any platform.

    tpu    splash attention, a Pallas kernel that skips the blocks nobody may see
    cuda   flash attention of cuDNN, for the 16-bit types that it takes
    else   blocks of query rows one after the other, against the keys that they can see

All of them take the same arguments and give the same numbers up to rounding. Which one runs
is decided here alone, when the program is lowered for its devices.
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

# Of float32 scores alive at a time on a CPU or on an accelerator without a kernel: of one
# sequence, or of all where they fit a cache.
_BLOCK_BYTES, _CACHED_BYTES = 8 * 2**20, 4 * 2**20
# Parts of a causal sequence with keys cut behind their end: 1/4 more work than needed.
_PARTS = 4
_LANES = 128  # of a TPU's vector registers; shorter sequences gain nothing from a kernel
_SPLASH_BLOCK = 512

Heads = Float[Array, "batch time _ head_dim"]


@dataclass(frozen=True)
class Sight:
    """Which positions one sees.

    Attributes:
        causal: only itself and those before it, not all.
        window: of these the last ones only, itself included; None for all.
    """

    causal: bool = True
    window: int | None = None


_EVERYTHING = Sight(causal=False)


def attend(
    q: Float[Array, "batch time heads head_dim"],
    k: Float[Array, "batch time kv_heads head_dim"],
    v: Float[Array, "batch time kv_heads head_dim"],
    sight: Sight,
    blocks: Int[Array, "batch time"] | None = None,
) -> Float[Array, "batch time heads head_dim"]:
    """Return what each position reads: softmax(q k^T / sqrt(head_dim)) v.

    Under a mesh with automatic axes, each device attends with its own sequences ("data")
    and heads ("model"); nothing is communicated.

    Args:
        q: queries.
        k: keys; each head of them serves a group of query heads that lie side by side.
        v: values.
        sight: who sees whom.
        blocks: numbers from 1 on; positions of one block see each other, later ones too,
            and 0 is in no block. None where there are no blocks.
    """
    local = _kernel(q, sight) if blocks is None else partial(_blockwise, sight)
    return _per_device(local, q, k, v, blocks)


def _kernel(q: Array, sight: Sight) -> Callable[..., Array]:
    """Return what attends on a device, by its platform."""
    plain = partial(_blockwise, sight)
    if q.shape[1] < _LANES:
        return plain
    kernels: dict[str, Any] = {"tpu": partial(_splash, sight)}
    if q.dtype.itemsize == 2 and _has_cudnn():
        kernels["cuda"] = partial(_cudnn, sight)
    return lambda *qkv: jax.lax.platform_dependent(*qkv, default=plain, **kernels)


def _per_device(local: Callable[..., Array], q, k, v, blocks) -> Array:
    """Run `local` on each device's own sequences and heads."""
    given = (q, k, v) if blocks is None else (q, k, v, blocks)
    mesh = jax.sharding.get_abstract_mesh()
    names = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if names.get("model") != AxisType.Auto:
        return local(*given)
    size = mesh.shape["model"]
    if q.shape[2] % size:
        size, heads = 1, P("data")
    else:
        heads = P("data", None, "model")
    if k.shape[2] % size:  # too few key heads for the devices: each query head gets its own
        given = (
            q,
            *(jnp.repeat(x, q.shape[2] // x.shape[2], 2) for x in (k, v)),
            *given[3:],
        )
    specs = (heads, heads, heads, P("data"))[: len(given)]
    return jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=heads, check_vma=False
    )(*given)


def _has_cudnn() -> bool:
    return "cuda" in jax.devices()[0].client.platform_version


def _cudnn(sight: Sight, q: Heads, k: Heads, v: Heads) -> Heads:
    behind = None if sight.window is None else (sight.window - 1, 0)
    return jax.nn.dot_product_attention(
        q,
        k,
        v,
        is_causal=sight.causal,
        local_window_size=behind,
        implementation="cudnn",
    )


def _splash(
    sight: Sight, q: Heads, k: Heads, v: Heads, *, interpret: bool = False
) -> Heads:
    """Attend with JAX's splash kernel, padded to whole blocks; see `splash_blocks`."""
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as kernel,
    )

    time, heads = q.shape[1:3]
    size, padded = splash_blocks(time)
    sides = (size,) * 8  # of queries and keys, forwards and in gradients
    blocks = kernel.BlockSizes(*sides)  # type: ignore[arg-type]  # further fields
    mask = _splash_mask(sight, padded, heads)
    run = kernel.make_splash_mha(
        mask, block_sizes=blocks, head_shards=1, q_seq_shards=1, interpret=interpret
    )
    scaled = (q.astype(jnp.float32) * q.shape[3] ** -0.5).astype(q.dtype)
    behind = ((0, 0), (0, padded - time), (0, 0), (0, 0))
    arrays = (jnp.pad(x, behind).swapaxes(1, 2) for x in (scaled, k, v))
    # A causal position sees no padding, which comes last; any other must not.
    kind = (jnp.arange(padded) >= time).astype(jnp.int32)
    ids = None if sight.causal else kernel.SegmentIds(kind, kind)
    out = jax.vmap(lambda q, k, v: run(q, k, v, segment_ids=ids))(*arrays)
    return out.swapaxes(1, 2)[:, :time]


def _splash_mask(sight: Sight, time: int, heads: int) -> Any:
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_mask as masks,
    )

    shape = (time, time)
    one: Any = masks.FullMask(shape)
    if sight.causal:
        one = masks.CausalMask(shape)
    if sight.window is not None:
        one = masks.LocalMask(shape, (sight.window - 1, 0), 0)
    return masks.MultiHeadMask([one] * heads)


def splash_pairs(sight: Sight, time: int) -> int:
    """Return how many pairs of positions the splash kernel computes in a sequence."""
    size, padded = splash_blocks(time)
    count = padded // size
    if not sight.causal:
        return padded**2
    behind = count if sight.window is None else -(-(sight.window - 1) // size)
    blocks = sum(min(n, behind) + 1 for n in range(count))
    return blocks * size**2


def splash_blocks(time: int) -> tuple[int, int]:
    """Return the side of the splash kernel's blocks, and the padded sequence."""
    size = min(_SPLASH_BLOCK, -(-time // _LANES) * _LANES)
    return size, -(-time // size) * size


def _blockwise(
    sight: Sight, q: Heads, k: Heads, v: Heads, blocks: Array | None = None
) -> Heads:
    """Attend in blocks, one after the other, whose scores stay within `_BLOCK_BYTES`."""
    batch, time, heads, _ = q.shape
    rows = _rows_of_a_block(time, heads)
    attend = _attend_rows if rows >= time else partial(_in_parts, rows=rows)
    one = partial(_heads_first, partial(attend, sight))
    given = (q, k, v, blocks)
    if _fit_the_cache(batch, time, heads):
        return jax.vmap(lambda sequence: one(*sequence))(given)
    return jax.lax.map(jax.checkpoint(lambda sequence: one(*sequence)), given)


def _rows_of_a_block(time: int, heads: int) -> int:
    return min(time, max(1, _BLOCK_BYTES // (4 * heads * time)))


def _fit_the_cache(batch: int, time: int, heads: int) -> bool:
    return 4 * batch * heads * time**2 <= _CACHED_BYTES


def uncounted_pairs(
    sight: Sight, sequences: int, time: int, heads: int, *, together: bool, kernel: bool
) -> int:
    """Return the pairs of positions, of all sequences, that a compiler does not count.

    It sees nothing of the splash kernel, and counts a step of a loop once.

    Args:
        sight: who sees whom.
        sequences: of a device.
        time: positions of each.
        heads: of a device.
        together: whether some positions see later ones too.
        kernel: whether the splash kernel runs where it can.
    """
    if time >= _LANES and kernel and not together:
        return sequences * splash_pairs(sight, time)
    if _fit_the_cache(sequences, time, heads):
        return 0
    open_to = _EVERYTHING if together else sight
    size, rows = _part_of(time, _rows_of_a_block(time, heads))
    whole = once = 0
    for first in range(0, time, size):
        end = min(first + size, time)
        start, stop = _keys_of(open_to, first, end, time)
        step = rows * (stop - start)
        whole, once = whole + -(-(end - first) // rows) * step, once + step
    return sequences * whole - once


def _heads_first(attend: Callable[..., Array], q, k, v, blocks) -> Array:
    """Attend with one sequence whose every head lies in one piece, as products want it.

    Arrays of all sequences, laid out like that, made a CPU take 1.6 times as long.
    """
    q = einops.rearrange(q, "t (n g) d -> n g t d", n=k.shape[1])
    out = attend(q, k.swapaxes(0, 1), v.swapaxes(0, 1), blocks)
    return einops.rearrange(out, "n g t d -> t (n g) d")


def _in_parts(sight: Sight, q, k, v, blocks, rows: int) -> Array:
    """Attend with one sequence: parts of it, each in blocks of rows, see no key in vain."""
    time = q.shape[2]
    size, rows = _part_of(time, rows)
    out: list[Array] = []
    for first in range(0, time, size):
        part = q[:, :, first : first + size]
        if out:  # else all parts could be at work, and in memory, at once
            part, out[-1] = jax.lax.optimization_barrier((part, out[-1]))
        out.append(_in_blocks(sight, rows, first, part, k, v, blocks))
    return jnp.concatenate(out, axis=2)


def _part_of(time: int, rows: int) -> tuple[int, int]:
    """Return the rows of a part and of its blocks, even ones of at most so many."""
    blocks = -(-time // rows)
    each = -(-blocks // _PARTS)
    rows = -(-time // (each * -(-blocks // each)))
    return each * rows, rows


def _keys_of(sight: Sight, first: int, end: int, time: int) -> tuple[int, int]:
    """Return where the keys begin and end that rows `first` to `end` may see."""
    if not sight.causal:
        return 0, time
    return max(0, first - sight.window + 1) if sight.window else 0, end


def _in_blocks(sight: Sight, rows: int, first: int, part, k, v, groups) -> Array:
    """Attend with the queries that stand at `first` and behind, `rows` at a time."""
    time = part.shape[2]
    count = -(-time // rows)
    open_to = sight if groups is None else _EVERYTHING
    start, end = _keys_of(open_to, first, first + time, k.shape[1])
    keys = slice(start, end)
    padded = jnp.pad(part, ((0, 0), (0, 0), (0, count * rows - time), (0, 0)))
    blocks = einops.rearrange(padded, "n g (block row) d -> block n g row d", row=rows)
    places = first + rows * jnp.arange(count, dtype=jnp.int32)

    @jax.checkpoint  # gradients compute the scores again, and keep none
    def attend_block(given):
        block, place = given
        return _attend_rows(sight, block, k[:, keys], v[:, keys], groups, place, start)

    out = jax.lax.map(attend_block, (blocks, places))
    return einops.rearrange(out, "block n g row d -> n g (block row) d")[:, :, :time]


def _attend_rows(
    sight: Sight,
    q: Float[Array, "kv_heads group row head_dim"],
    k: Float[Array, "kv_heads key head_dim"],
    v: Float[Array, "kv_heads key head_dim"],
    blocks: Int[Array, "time"] | None = None,
    row: int | Int[Array, ""] = 0,
    key: int = 0,
) -> Float[Array, "kv_heads group row head_dim"]:
    """Attend with some queries and keys of a sequence, that start at `row` and `key`."""
    scores = jnp.einsum("ngqd,nkd->ngqk", q, k, preferred_element_type=jnp.float32)
    scores = scores * q.shape[3] ** -0.5
    rows = row + jnp.arange(q.shape[2], dtype=jnp.int32)[:, None]
    keys = key + jnp.arange(k.shape[1], dtype=jnp.int32)[None]
    if (seen := _seen(sight, rows, keys, blocks)) is not None:
        # Not -inf: rows of padding may see nothing.
        scores = jnp.where(seen, scores, jnp.finfo(jnp.float32).min)
    peak = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.exp(scores - peak)
    out = jnp.einsum(
        "ngqk,nkd->ngqd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
    )
    # Divided here, where there are fewer numbers than weights.
    return (out / weights.sum(axis=-1, keepdims=True)).astype(v.dtype)


def _seen(sight: Sight, rows, keys, blocks) -> Bool[Array, "row key"] | None:
    """Tell which row sees which key; None where all see all."""
    if not sight.causal:
        return None
    seen = keys <= rows
    if blocks is not None:
        block = blocks.at[rows].get(mode="fill", fill_value=0)
        seen |= (block == blocks[keys]) & (block > 0)
    if sight.window is not None:
        seen &= rows - keys < sight.window
    return seen
