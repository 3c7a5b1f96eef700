import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from vidsme_jax import renyi, sharma_mittal
from vidsme_jax.scores.entropy import gap_to_second, split_top

pytestmark = pytest.mark.slow(30)

QS = (0.5, 0.9, 0.91, 0.999, 1 - 1e-4, 1.0, 1 + 1e-4, 1.01, 1.0999, 1.1, 1.5, 2.0)
RS = (0.7, 1.0, 1 + 1e-4, 1.05, 1.1, 2.0)

# Compiled once for all orders; the other tests call the functions as they are.
compiled_sme, compiled_renyi = jax.jit(sharma_mittal), jax.jit(renyi)
by_logits = jax.jit(jax.grad(sharma_mittal))
by_orders = jax.jit(jax.grad(sharma_mittal, argnums=(1, 2)))


@pytest.fixture(scope="module")
def table():
    """Named rows of a real vocabulary's size, and all entropies from one trace."""
    named = reference.rows(152064, np.random.default_rng(0))
    traces = []

    @jax.jit
    def run(z, q, r):
        traces.append(1)
        return sharma_mittal(z, q, r)

    z = jnp.stack([jnp.asarray(row) for row in named.values()])
    full = lambda v: jnp.full(len(named), v, jnp.float32)  # noqa: E731
    got = {(q, r): np.asarray(run(z, full(q), full(r))) for q in QS for r in RS}
    assert len(traces) == 1
    return named, got


@pytest.mark.parametrize("q", QS)
def test_matches_float64_to_1e5(table, q):
    named, got = table
    for n, (name, z) in enumerate(named.items()):
        entropy = reference.renyi(z, float(np.float32(q)))
        for r in RS:
            want = reference.squash(entropy, float(np.float32(r)))
            beyond = name.endswith(" 60")  # past 40 nats only absolute accuracy is asked
            tolerance = 1e-6 if beyond else 1e-5 * abs(want)
            assert abs(got[q, r][n] - want) <= tolerance, (name, q, r)


def test_limits_of_the_family(rng):
    z = jnp.asarray(rng.normal(0, 2, (4, 300)), jnp.float32)
    p = np.exp(np.asarray(jax.nn.log_softmax(z), np.float64))
    shannon = -(p * np.log(p)).sum(-1)
    tsallis = ((p**1.5).sum(-1) - 1) / (1 - 1.5)
    np.testing.assert_allclose(sharma_mittal(z, 1.0, 1.0), shannon, rtol=1e-5)
    np.testing.assert_allclose(sharma_mittal(z, 1.5, 1.5), tsallis, rtol=1e-5)
    np.testing.assert_allclose(renyi(z, jnp.inf), -np.log(p.max(-1)), rtol=1e-5)
    np.testing.assert_allclose(renyi(z, 0.0), np.log(300), rtol=1e-5)
    np.testing.assert_allclose(renyi(z, 1e6), renyi(z, jnp.inf), rtol=1e-5)
    np.testing.assert_allclose(sharma_mittal(z, 2.0, 1.0), renyi(z, 2.0), rtol=0)


def test_orders_broadcast_over_rows(rng):
    z = jnp.asarray(rng.normal(0, 2, (3, 40)), jnp.float32)
    q = jnp.array([1.0, 1.5, 2.0])
    by_row = [renyi(z[n], float(q[n])) for n in range(3)]
    np.testing.assert_allclose(renyi(z, q), np.array(by_row), rtol=1e-6)


def test_masked_entries_are_absent_entries(rng):
    z = rng.normal(0, 2, (5, 60)).astype(np.float32)
    kept = rng.permutation(60)[:20]
    masked = np.full_like(z, -np.inf)
    masked[:, kept] = z[:, kept]
    for q in (0.0, 0.5, 1.0, 1.05, 2.0, np.inf):
        got, want = (compiled_renyi(x, q) for x in (masked, z[:, kept]))
        np.testing.assert_allclose(got, want, rtol=2e-6)
    alone = jnp.asarray([[-np.inf, 3.0, -np.inf]], jnp.float32)
    assert float(sharma_mittal(alone, 1.5, 1.05)[0]) == 0


def test_permutation_of_the_vocabulary_changes_nothing(rng):
    for name, z in reference.rows(5000, rng).items():
        shuffled = z[rng.permutation(len(z))]
        a, b = (compiled_sme(v, 1.3, 1.05) for v in (z, shuffled))
        np.testing.assert_allclose(a, b, rtol=2e-6, err_msg=name)


@pytest.mark.parametrize("q", [0.5, 0.95, 1.0, 1.05, 1.5, 2.0, np.inf])
@pytest.mark.parametrize("r", [0.7, 1.0, 1.1])
def test_gradients_are_finite_and_right(rng, q, r):
    z = rng.normal(0, 2, 30).astype(np.float32)
    z[4] = -np.inf
    grad = by_logits(z, q, r)
    assert np.all(np.isfinite(grad)) and grad[4] == 0
    step = 1e-5
    for n in (0, 7, int(np.argmax(z))):
        up, down = z.astype(np.float64), z.astype(np.float64)
        up[n] += step
        down[n] -= step
        slope = reference.sharma_mittal(up, q, r) - reference.sharma_mittal(down, q, r)
        np.testing.assert_allclose(grad[n], slope / (2 * step), rtol=2e-3, atol=1e-5)


def test_gradients_in_the_orders_are_right(rng):
    z = rng.normal(0, 2, 30).astype(np.float32)
    step = 1e-4
    for q, r in ((1.0, 1.0), (1.0, 1.05), (1.5, 1.0), (1.04, 1.0), (2.0, 1.1)):
        value = lambda a, b: reference.sharma_mittal(z, a, b)  # noqa: E731
        by_q = (value(q + step, r) - value(q - step, r)) / (2 * step)
        by_r = (value(q, r + step) - value(q, r - step)) / (2 * step)
        np.testing.assert_allclose(by_orders(z, q, r), (by_q, by_r), rtol=1e-3)


def test_what_is_no_distribution_is_nan(rng):
    """A broken model must not look certain."""
    for bad in ([np.nan, 1, 2], [1, np.inf, 2], [-np.inf] * 3, [np.nan] * 3):
        z = jnp.asarray([bad, [0, 1, 2]], jnp.float32)
        for q, r in ((1.0, 1.0), (1.05, 1.05), (2.0, 1.0), (np.inf, 1.1)):
            out = np.asarray(compiled_sme(z, q, r))
            assert np.isnan(out[0]) and np.isfinite(out[1]), (bad, q)


def test_half_precision_logits_are_computed_in_float32(rng):
    z = jnp.asarray(rng.normal(0, 2, 500), jnp.bfloat16)
    got = renyi(z, 2.0)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, reference.renyi(np.asarray(z, np.float32), 2.0), 1e-5)


def test_works_under_vmap(rng):
    z = jnp.asarray(rng.normal(0, 2, (6, 30)), jnp.float32)
    q = jnp.linspace(1, 2, 6)
    got = jax.vmap(sharma_mittal, in_axes=(0, 0, None))(z, q, 1.05)
    np.testing.assert_allclose(got, sharma_mittal(z, q, 1.05), rtol=1e-6)


@pytest.mark.parametrize("vocab", [1, 5, 2048, 5000, 7919])
def test_the_top_is_the_first_of_the_largest(rng, vocab):
    """However a CPU divides the vocabulary; 7,919 is a prime."""
    z = rng.integers(-3, 4, (6, vocab)).astype(np.float32)
    z[0] = 2
    z[1, -1] = 9
    z[2:4, 0] = z[2:4, -1] = 9
    row = split_top(z)
    np.testing.assert_array_equal(row.top, np.argmax(z, axis=-1))
    np.testing.assert_array_equal(row.peak, np.max(z, axis=-1))
    if vocab > 1:
        np.testing.assert_array_equal(row.second, np.sort(z, axis=-1)[:, -2] - row.peak)


def test_one_bad_entry_among_many_is_nan(rng):
    """Nor may a maximum taken in parts overlook it."""
    for bad in (np.nan, np.inf):
        z = rng.normal(0, 2, (3, 5000)).astype(np.float32)
        z[0, 0] = z[1, 4321] = bad
        row = jax.jit(split_top)(z)
        for values in (gap_to_second(row), row.log_norm, compiled_sme(z, 1.5, 1.05)):
            np.testing.assert_array_equal(np.isnan(values), [True, True, False])


def test_an_accelerator_takes_the_top_in_one_piece():
    """Blocks would cost a TPU another layout of the whole array."""
    shape = jax.ShapeDtypeStruct((4, 5000), jnp.float32)
    for platform, blocks in (("cpu", True), ("tpu", False), ("cuda", False)):
        text = (
            jax.jit(split_top).trace(shape).lower(lowering_platforms=(platform,)).as_text()
        )
        assert ("50x100xf32" in text) == blocks
