"""Score a batch of clips, each shown forwards and backwards, in one pass.

    forward   video tower once, both directions side by side       -> hidden states
    rows      only the scored positions are kept                   -> [clip way row width]
    head      in chunks of rows, each reduced to statistics        -> [clip way row]
    curves    natural, reversed, differences                       -> [clip row]
    table     every aggregate of every curve over every slice      -> [clip column]

Nothing of size [row, vocab] outlives a chunk. The two directions of a clip lie next to
each other on one device, so their difference needs no communication. The functions here
are pure: `forward` is an argument, and where the arrays live is the caller's business.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import einops
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from vidsme_jax.aggregate import aggregates
from vidsme_jax.scores import SLICES, families
from vidsme_jax.statistics import FAMILIES, row_statistics

Head = Callable[[Float[Array, "... width"]], Float[Array, "... vocab"]]
Hidden = Float[Array, "clip way time width"]
# A third result, the mean embedding of each clip's frames, feeds the blind baselines.
Forward = Callable[[Any, Any], tuple[Hidden, Head] | tuple[Hidden, Head, Array]]

OWN_ARGMAX = -1  # as a target: the row's own most likely token
_CHUNK_BYTES = 256 * 2**20  # of float32 logits alive at a time
_CACHED_BYTES = 2 * 2**20  # of them that a CPU reduces at a time
# Of which a larger chunk is a multiple, so that it divides into blocks on a CPU, and that
# its rows lie one under the other on a TPU, whose tiles have so many.
_ROWS = 8


class Prompt(NamedTuple):
    """Token ids around the video.

    Attributes:
        before: ids ahead of the video.
        after: ids behind it, the answer's not included.
        answer: ids of the answer, end of turn not included.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    answer: tuple[int, ...]


class Batch(NamedTuple):
    """Clips of fixed shape. A user's own forward may read any further fields.

    Attributes:
        pixels: uint8 frames in natural order.
        tokens: the text's ids with a gap of zeros where the video goes.
        start: position of the first video embedding.
        rows: positions whose next-token distribution is scored; video rows first.
        targets: token each row should predict, or `OWN_ARGMAX`.
        masks: which rows belong to each slice; padding belongs to none.
        order: which frame way 1 shows at each place; natural order counts from 0.
        mirror: for a video row, the row at which way 1 shows the same part of the same
            frame; any other row, and one whose frame way 1 lacks, points at itself.
        averaged: rows whose distributions the published sequence score averages: the
            video's and the one behind it; used with `--definition published` only.
    """

    pixels: UInt8[Array, "clip frame height width 3"]
    tokens: Int[Array, "clip time"]
    start: Int[Array, "clip"]
    rows: Int[Array, "clip row"]
    targets: Int[Array, "clip row"]
    masks: Bool[Array, "clip slice row"]
    order: Int[Array, "clip frame"]
    mirror: Int[Array, "clip row"]
    averaged: Bool[Array, "clip row"]


def score_batch(
    params: Any,
    forward: Forward,
    batch: Any,
    q: Float[Array, "clip"],
    r: Float[Array, "clip"],
) -> dict[str, Float[Array, "clip way row"]]:
    """Return the per-token statistics of both directions, keyed by family.

    Args:
        params: what `forward` takes first.
        forward: pure; `forward(params, batch)` gives hidden states of the natural (way 0)
            and reversed (way 1) clip, and the head that maps them to logits. A model that
            gives logits at once returns them with the identity.
        batch: has `rows` and `targets` as in `Batch`.
        q: Sharma-Mittal order of each clip, the same for both directions.
        r: Sharma-Mittal degree of each clip.
    """

    def reduce(carry, z, target, averaged):
        orders = (per_row(order, len(target)) for order in (q, r))
        return carry, row_statistics(z, target, *orders)

    hidden, head, *_ = forward(params, batch)
    nothing = jnp.zeros(batch.rows.shape, bool)
    return scan_rows(hidden, head, batch.rows, batch.targets, nothing, reduce, None)[1]


def scan_rows(hidden, head: Head, rows, targets, averaged, reduce, carry):
    """Reduce the logits of the scored rows chunk by chunk.

    Args:
        hidden: [clip way time width], from `forward`.
        head: hidden states to logits.
        rows: [clip row], positions to score.
        targets: [clip row], handed on.
        averaged: [clip row], handed on; false where a chunk is padded.
        reduce: reduce(carry, logits [row vocab], targets [row], averaged [row]) -> (carry,
            dict of arrays [… row]); the rows of all clips and ways one under the other,
            as `per_row` has them.
        carry: its start, or None.

    Returns:
        The last carry, and the dict with all rows: arrays [… clip way row].
    """
    chosen = jnp.take_along_axis(hidden, rows[:, None, :, None], axis=2)
    clips, ways, count, _ = chosen.shape
    vocab = jax.eval_shape(head, chosen[:, :, 0]).shape[-1]
    size = chunk_rows(count, clips * ways, vocab)

    def step(carry, chunk):
        target, inside = (jnp.repeat(x[:, None], ways, axis=1) for x in chunk[1:])
        with jax.named_scope("head"):
            z = head(chunk[0])
        with jax.named_scope("statistics"):
            return reduce_chunk(reduce, carry, z, target, inside)

    chunks = tuple(_chunked(values, size) for values in (chosen, targets, averaged))
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


def reduce_chunk(reduce, carry, z, target, averaged):
    """Reduce one chunk, on a CPU in blocks of rows that stay in its cache.

    Args:
        reduce: as for `scan_rows`.
        carry: likewise.
        z: logits [clip way n vocab].
        target: [clip way n].
        averaged: [clip way n].

    Returns:
        The carry, and the dict: arrays [… clip way n].
    """
    clips, ways, count, vocab = z.shape
    most = max(1, _CACHED_BYTES // (4 * clips * ways * vocab))
    size = max(n for n in range(1, min(most, count) + 1) if count % n == 0)

    def whole(carry, *given):
        # Axes of length 1 would make a CPU five times as slow.
        flat = (x.reshape(-1, *x.shape[3:]) for x in given)
        carry, out = reduce(carry, *flat)
        return carry, jax.tree.map(lambda x: x.reshape(*x.shape[:-1], *given[1].shape), out)

    def in_blocks(carry, *given):
        def step(carry, first):
            block = (jax.lax.dynamic_slice_in_dim(x, first, size, axis=2) for x in given)
            return whole(carry, *block)

        starts = size * jnp.arange(count // size, dtype=jnp.int32)
        carry, out = jax.lax.scan(step, carry, starts)
        return carry, jax.tree.map(_joined, out)

    given = (carry, z, target, averaged)
    return jax.lax.platform_dependent(*given, cpu=in_blocks, default=whole)


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


def token_curves(
    statistics: dict[str, Float[Array, "clip way row"]], mirror: Int[Array, "clip row"]
) -> dict[str, Float[Array, "clip row"]]:
    """Return one curve per family of the catalogue from the statistics of both ways."""
    return entropy_curves(statistics["sme"], mirror) | family_curves(statistics)


def entropy_curves(
    sme: Float[Array, "clip way row"], mirror: Int[Array, "clip row"]
) -> dict[str, Float[Array, "clip row"]]:
    """Return the curves that depend on q and r."""
    natural, reverse = sme[:, 0], sme[:, 1]
    aligned = jnp.take_along_axis(reverse, mirror, axis=1)
    return {
        "sme": natural - reverse,
        "sme_aligned": natural - aligned,
        "sme_nat": natural,
        "sme_rev": reverse,
    }


def family_curves(
    statistics: dict[str, Float[Array, "clip way row"]],
) -> dict[str, Float[Array, "clip row"]]:
    """Return the curves that do not: each family in natural order, and its difference."""
    natural = {name: statistics[name][:, 0] for name in FAMILIES}
    differences = {
        f"{name}_diff": natural[name] - statistics[name][:, 1] for name in FAMILIES
    }
    return natural | differences


def score_table(
    curves: dict[str, Float[Array, "clip row"]],
    masks: Bool[Array, "clip slice row"],
    slices: tuple[str, ...] = SLICES,
    only: tuple[str, ...] | None = None,
) -> Float[Array, "clip column"]:
    """Return every score, its columns named by `scores.columns(slices, only)`.

    Args:
        curves: from `token_curves`.
        masks: one per slice, in the order of `slices`; an empty one gives NaN.
        slices: names of the slices.
        only: families that are wanted; None for all.
    """
    wanted = [(n, f) for n, name in enumerate(slices) for f in families(name, only)]
    names = list(dict.fromkeys(family for _, family in wanted))
    # All slices at once: one sort, and a third of the code to compile.
    values = jnp.stack([curves[family] for family in names], axis=1)[:, None]
    mask = masks[:, : len(slices), None]
    table = aggregates(*jnp.broadcast_arrays(values, mask))
    kept = np.array([n * len(names) + names.index(family) for n, family in wanted])
    flat = einops.rearrange(table, "clip slice family column -> clip (slice family) column")
    return einops.rearrange(flat[:, kept], "clip row column -> clip (row column)")
