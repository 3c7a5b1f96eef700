"""Attention: every form against a plain transcription, its memory, its placement."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from tools import operations

from vidsme_jax.models.layers import attention
from vidsme_jax.models.layers.attention import AttentionMask, attend

pytestmark = [pytest.mark.slow(50), pytest.mark.least_compiled]

MASKS = (
    AttentionMask(),
    AttentionMask(window=1),
    AttentionMask(window=37),
    AttentionMask(causal=False),
)
SPLASH = partial(attention._splash, interpret=True)
# Bytes of scores: all sequences at once, one at a time, 11 rows at a time.
BOUNDS = (2**30, 4 * 6 * 150 * 150, 4 * 6 * 150 * 11)


def limit(monkeypatch, bound):
    """Let so many bytes of scores be alive at a time."""
    for name in ("_BLOCK_BYTES", "_CACHED_BYTES"):
        monkeypatch.setattr(attention, name, bound)


def draw(rng, time=150, heads=6, kv_heads=2, head_dim=24, batch=2):
    shapes = [(batch, time, n, head_dim) for n in (heads, kv_heads, kv_heads)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def plain(q, k, v, mask, together=None):
    """Float64, by the definition."""
    q, k, v = (np.float64(x) for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    scores = np.einsum("bqnd,bknd->bnqk", q, k) / np.sqrt(q.shape[3])
    row, key = np.indices(scores.shape[2:])
    seen = np.ones_like(row, bool)
    if mask.causal:
        seen = (key <= row) & (row - key < (mask.window or len(row)))
    seen = np.broadcast_to(seen, (len(q), *seen.shape))
    if together is not None:
        seen = seen | (together[:, :, None] & together[:, None])
    weights = np.exp(scores - scores.max(-1, keepdims=True)) * seen[:, None]
    return np.einsum("bnqk,bknd->bqnd", weights / weights.sum(-1, keepdims=True), v)


@pytest.mark.parametrize(
    ("mask", "bound"),
    [
        *((mask, BOUNDS[2]) for mask in MASKS),
        *((MASKS[0], b) for b in (*BOUNDS[:2], 1)),
    ],
    ids=str,
)
def test_blocks_agree_with_the_definition(rng, monkeypatch, mask, bound):
    limit(monkeypatch, bound)
    q, k, v = draw(rng)
    got = jax.jit(partial(attend, mask=mask))(q, k, v)
    np.testing.assert_allclose(got, plain(q, k, v, mask), atol=2e-6)


@pytest.mark.parametrize("bound", BOUNDS)
def test_positions_that_see_each_other(rng, monkeypatch, bound):
    limit(monkeypatch, bound)
    q, k, v = draw(rng)
    together = np.zeros((2, 150), bool)
    together[0, 3:90], together[1, 140:] = True, True
    groups = together.astype(np.int32)
    got = jax.jit(partial(attend, mask=AttentionMask()))(q, k, v, groups=groups)
    np.testing.assert_allclose(got, plain(q, k, v, AttentionMask(), together), atol=2e-6)


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_splash_agrees_with_the_definition(rng, mask):
    """Interpreted: a sequence that does not fill two blocks, a head half a register."""
    q, k, v = draw(rng, 600, heads=2, kv_heads=1, batch=1)
    got = SPLASH(mask, *map(jnp.asarray, (q, k, v)))
    np.testing.assert_allclose(got, plain(q, k, v, mask), atol=2e-6)


@pytest.mark.parametrize(
    ("platform", "time", "kernel"),
    [("tpu", 150, True), ("tpu", 100, False), ("cuda", 150, False), ("cpu", 150, False)],
)
def test_the_kernel_is_that_of_the_platform(platform, time, kernel):
    qkv = [jax.ShapeDtypeStruct((1, time, 2, 64), jnp.bfloat16)] * 3
    traced = jax.jit(partial(attend, mask=AttentionMask())).trace(*qkv)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("tpu_custom_call" in text) == kernel


def test_gradients_are_those_of_one_block(rng, monkeypatch):
    drawn = draw(rng, time=40)

    def gradient():
        def total(qkv):
            return jnp.sum(jnp.sin(attend(*qkv, AttentionMask(window=17))))

        return jax.jit(jax.grad(total))(drawn)

    want = gradient()
    limit(monkeypatch, 4 * 6 * 40 * 11)
    for ours, other in zip(gradient(), want, strict=True):
        np.testing.assert_allclose(ours, other, atol=1e-5)


@pytest.mark.parametrize("mask", [AttentionMask(), AttentionMask(causal=False)], ids=str)
def test_memory_grows_with_tokens_not_with_their_square(mask):
    def temporary(time):
        shapes = [(1, time, n, 64) for n in (8, 4, 4)]
        qkv = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
        compiled = jax.jit(partial(attend, mask=mask)).lower(*qkv).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    small, large = temporary(2048), temporary(8192)
    assert large < 4.4 * small
    assert large < 3 * attention._BLOCK_BYTES + 8192 * 64 * 16 * 8  # blocks, copies of q


@pytest.mark.parametrize("heads", [(8, 4), (8, 2), (6, 2)])
def test_a_partitioned_attention_communicates_nothing_it_need_not(rng, heads):
    """(8, 2): too few key heads for four devices; (6, 2): heads that do not divide."""
    mesh = jax.make_mesh((2, 4), ("data", "model"), (jax.sharding.AxisType.Auto,) * 2)
    drawn = draw(rng, heads=heads[0], kv_heads=heads[1], batch=4)
    place = P("data", None, "model") if heads == (8, 4) else P("data")
    put = [jax.device_put(x, NamedSharding(mesh, place)) for x in drawn]

    @jax.jit
    def run(*qkv):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return attend(*qkv, AttentionMask())

    text = run.lower(*put).compile().as_text()
    np.testing.assert_allclose(run(*put), plain(*drawn, AttentionMask()), atol=2e-6)
    collectives = ("all-reduce", "all-gather", "all-to-all", "permute")
    assert not [name for name in collectives if name in text]


@pytest.mark.parametrize("bound", [*BOUNDS, 2**20])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_what_a_compiler_does_not_count(rng, monkeypatch, mask, bidirectional, bound):
    limit(monkeypatch, bound)
    q, k, v = draw(rng)
    sequences, time, heads, size = q.shape
    groups = jnp.ones((sequences, time), jnp.int32) if bidirectional else None
    run = partial(attention._blockwise, mask)
    jaxpr = jax.make_jaxpr(run)(q, k, v, groups).jaxpr
    pairs = attention.uncounted_pairs(
        mask, sequences, time, heads, bidirectional=bidirectional, kernel=False
    )
    beyond = operations(jaxpr) - operations(jaxpr, loops=False)
    assert pairs * 4 * heads * size == beyond
