import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidsme_jax
from vidsme_jax.scores.catalogue import AGGREGATES, PERCENTS

pytestmark = pytest.mark.slow(40)

# Compiled as a whole: their operations one by one take ten times as long.
aggregates, masked_mean = jax.jit(vidsme_jax.aggregates), jax.jit(vidsme_jax.masked_mean)
min_k, max_k = (
    jax.jit(f, static_argnames="percent") for f in (vidsme_jax.min_k, vidsme_jax.max_k)
)


def plain(values, percent, largest=False):
    """The definition, on the counted values alone."""
    k = max(1, len(values) * percent // 100)
    return np.sort(values)[::-1][:k].mean() if largest else np.sort(values)[:k].mean()


@pytest.mark.parametrize("percent", [0, 1, 30, 99, 100])
def test_masked_equals_filtered(rng, percent):
    for n in (1, 7, 100):
        values = rng.normal(size=(3, n)).astype(np.float32)
        mask = rng.random((3, n)) < 0.6
        mask[:, 0] = True
        arguments = (jnp.asarray(values), jnp.asarray(mask), percent)
        low, high = min_k(*arguments), max_k(*arguments)
        for row in range(3):
            kept = values[row][mask[row]].astype(np.float64)
            np.testing.assert_allclose(low[row], plain(kept, percent), 1e-5, 1e-6)
            want = plain(kept, percent, largest=True)
            np.testing.assert_allclose(high[row], want, 1e-5, 1e-6)


def test_all_aggregates_from_one_sort(rng):
    values = jnp.asarray(rng.normal(size=(2, 3, 50)), jnp.float32)
    mask = jnp.asarray(rng.random((2, 3, 50)) < 0.5)
    out = aggregates(values, mask)
    assert out.shape == (2, 3, len(AGGREGATES))

    @jax.jit
    def separately(values, mask):
        low, high = ([f(values, mask, k) for k in PERCENTS] for f in (min_k, max_k))
        return [masked_mean(values, mask), *low, *high]

    want = separately(values, mask)
    np.testing.assert_allclose(out, np.stack(want, axis=-1), rtol=1e-5)


def test_empty_slice_is_nan_in_every_aggregates():
    out = aggregates(jnp.ones((2, 4)), jnp.array([[False] * 4, [True] * 4]))
    assert np.all(np.isnan(out[0])) and np.all(out[1] == 1)


def test_no_sign_flip():
    values, mask = jnp.array([[-3.0, 1.0, 2.0]]), jnp.ones((1, 3), bool)
    assert float(min_k(values, mask, 0)[0]) == -3
    assert float(max_k(values, mask, 0)[0]) == 2


def test_infinities_count_and_nan_is_not_hidden():
    mask = jnp.array([[True, True, True, False]])
    low = jnp.array([[-jnp.inf, 1.0, 2.0, jnp.nan]])
    assert float(min_k(low, mask, 0)[0]) == -np.inf
    assert float(max_k(low, mask, 0)[0]) == 2
    spoilt = jnp.array([[jnp.nan, 1.0, 2.0, 3.0]])
    assert np.all(np.isnan(aggregates(spoilt, mask)))


def test_permutation_of_the_tokens_changes_nothing(rng):
    values, mask = (
        rng.normal(size=(1, 40)).astype(np.float32),
        rng.random((1, 40)) < 0.7,
    )
    order = rng.permutation(40)
    a = aggregates(jnp.asarray(values), jnp.asarray(mask))
    b = aggregates(jnp.asarray(values[:, order]), jnp.asarray(mask[:, order]))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_gradient_reaches_the_selected_tokens_only():
    mask = jnp.ones((1, 4), bool)
    grad = jax.grad(lambda v: min_k(v, mask, 50).sum())(jnp.array([[4.0, 1.0, 3.0, 2.0]]))
    np.testing.assert_allclose(grad, [[0, 0.5, 0, 0.5]])
