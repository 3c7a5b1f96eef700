import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from vidsme_jax import row_statistics
from vidsme_jax.scores.catalogue import TOKEN_FAMILIES

pytestmark = pytest.mark.slow(15)


def run(z, y, q=1.5, r=1.05):
    z = jnp.atleast_2d(jnp.asarray(z, jnp.float32))
    y = jnp.broadcast_to(jnp.asarray(y, jnp.int32), z.shape[:1])
    full = lambda v: jnp.full(z.shape[:1], v, jnp.float32)  # noqa: E731
    out = jax.jit(row_statistics)(z, y, full(q), full(r))
    return {name: np.asarray(value)[0] for name, value in out.items()}


def test_published_vectors_of_three_probabilities():
    got = run(np.log([0.7, 0.2, 0.1]), 0)
    want = {
        "renyi_half": 0.940134,
        "renyi_one": 0.801819,
        "renyi_two": 0.616186,
        "renyi_inf": 0.356675,
        "mod_entropy": 0.162167,
        "mod_renyi_half": 0.150496,
        "mod_renyi_two": 0.14,
    }
    for name, value in want.items():
        assert got[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("target", ["top", "second", "last"])
def test_every_family_matches_its_formula(rng, target):
    for scale in (0.5, 2.0, 5.0):
        z = rng.normal(0, scale, 400)
        order = np.argsort(-z)
        y = order[{"top": 0, "second": 1, "last": -1}[target]]
        got, want = run(z, y), reference.families(np.float32(z), y)
        assert set(got) == {"sme", *TOKEN_FAMILIES}
        for name, value in want.items():
            assert got[name] == pytest.approx(value, rel=2e-5, abs=1e-6), (name, scale)
        sme = reference.sharma_mittal(np.float32(z), 1.5, float(np.float32(1.05)))
        assert got["sme"] == pytest.approx(sme, rel=1e-5)


def test_target_minus_one_is_the_row_s_own_argmax(rng):
    z = rng.normal(0, 2, 50)
    got, want = run(z, -1), run(z, int(np.argmax(z)))
    assert got == want


def test_almost_one_hot_rows_keep_their_digits(rng):
    """At a gap of 25 nats, 1 - p_y is 1e-11 and float32 knows p_y only as 1."""
    z = np.full(100, -60.0)
    z[[3, 8]] = 0, -25
    rest = np.exp(-25) / (1 + np.exp(-25))
    got = run(z, 3)
    assert got["mod_entropy"] == pytest.approx(2 * rest**2, rel=1e-4, abs=0)
    assert got["logp"] == pytest.approx(-rest, rel=1e-5)
    assert got["gap"] == pytest.approx(25, rel=1e-6)
    wrong = run(z, 8)  # the other entry as target: log(1 - p_top) comes from the rest
    assert wrong["mod_entropy"] == pytest.approx(50, rel=1e-5)
    assert wrong["mod_renyi_two"] == pytest.approx(2, rel=1e-5)


def test_ties_are_kept_in_the_gap():
    assert run([2.0, 2.0, 0.0], 0)["gap"] == 0


def test_minkpp_of_a_flat_row_is_zero():
    assert run(np.zeros(64), 5)["minkpp"] == 0


def test_masked_entries_count_for_nothing(rng):
    z = rng.normal(0, 2, 80)
    y = int(np.argsort(-z)[2])
    wide = np.full(100, -np.inf)
    wide[:80] = z
    got, want = run(wide, y), run(z, y)
    for name in want:
        assert got[name] == pytest.approx(want[name], rel=1e-5), name


@pytest.mark.parametrize("place", [0, 2, 4999])
def test_a_row_with_nan_is_nan_in_every_family(rng, place):
    for vocab in (3, 5000):
        z = rng.normal(0, 2, vocab)
        z[min(place, vocab - 1)] = np.nan
        for name, value in run(z, 1).items():
            assert np.isnan(value), (name, vocab)


def test_permutation_of_the_vocabulary_changes_nothing(rng):
    z = rng.normal(0, 3, 3000)
    order = rng.permutation(3000)
    got, want = run(z[order], int(np.argsort(order)[17])), run(z, 17)
    for name in want:
        assert got[name] == pytest.approx(want[name], rel=1e-5, abs=1e-6), name
