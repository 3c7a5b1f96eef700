from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import published_reference as reference
import pytest

from vidsme_jax.batch import OWN_ARGMAX, Batch
from vidsme_jax.scores import published, reduction
from vidsme_jax.scores.definition import Orders, ScoreRequest
from vidsme_jax.scores.entropy import split_top
from vidsme_jax.scores.program import score_program
from vidsme_jax.scores.top_k import complete_top_k, logits_of_top_k

pytestmark = pytest.mark.slow(85)

PAIRS = (
    (1.7, 1.05),
    (1.05, 1.08),
    (1.0005, 1.08),  # q - 1 < (r - 1) / 100: the exponent is clamped
    (1.00001, 1.05),
    (1.0, 1.05),
    (1.6, 1.0),
    (2.0, 1.1),
    (1.05, 1.05),
    (1.5, 1.00000001),  # beyond the epsilon of r = 1, and moved by it
    (3.5, 1.2),  # the sum of powers of a flat row falls below its floor
    (1.0, 1.0),
)
# Orders at which the published formula gives the rounding of a sum of probabilities,
# times 1e10. It does so for rows without floors, such as the mean of peaked rows.
ROUNDING = (1.0, 1.0)
KINDS = ("peaked", "flat", "zipf")


def logits(kind, rows, vocab, rng):
    """Random rows [way row vocab] of one kind, those after the video included."""
    shape = (2, rows, vocab)
    if kind == "flat":
        return rng.normal(0, 0.01, shape).astype(np.float32)
    if kind == "zipf":
        steep = rng.uniform(0.9, 1.1, (2, rows, 1))
        return (-steep * np.log(1 + rng.permutation(vocab))).astype(np.float32)
    z = rng.normal(0, 1, shape).astype(np.float32)
    tops = rng.integers(vocab, size=(2, rows, 1))
    height = z.max(axis=-1, keepdims=True) + rng.uniform(1, 40, (2, rows, 1))
    np.put_along_axis(z, tops, height.astype(np.float32), axis=-1)
    return z


def logits_of_batch(params, batch):
    return batch.tokens, lambda rows: rows


@lru_cache  # one compiled program for each shape and number of pairs
def program(request):
    return jax.jit(score_program(logits_of_batch, request))


def ours(z, pairs):
    """Return the 85 numbers for each pair of orders, from one pass."""
    rows = z.shape[1]
    place = jnp.arange(rows, dtype=jnp.int32)[None]
    mask = place[:, None] < rows - 1
    target = jnp.full((1, rows), OWN_ARGMAX, jnp.int32)
    # A clip of so many embeddings, so that the sequence score averages every row.
    batch = Batch(None, z[None], place, None, place, target, mask, None, place)
    numbers = tuple((n, n) for n in range(len(pairs)))
    request = ScoreRequest((published.PUBLISHED,), ("video",), pairs=numbers)
    q, r = (np.array(column)[None] - 1 for column in zip(*pairs, strict=True))
    orders = Orders(jnp.float32(q), jnp.float32(r))
    out = program(request)(None, batch, orders)
    table = dict(zip(published.COLUMNS, out.tables["published"][0], strict=True))
    scores_of_pairs = []
    for swept in out.swept["published"][0]:
        named = dict(zip(published.SWEPT, swept, strict=True))
        scores_of_pairs.append({k: float(v) for k, v in (table | named).items()})
    return scores_of_pairs


def disagreements(got, want):
    """Return the names that differ by more than 1e-4 relative and 1e-6 absolute."""
    assert list(got) == list(want)
    close = {k: abs(got[k] - v) <= max(1e-4 * abs(v), 1e-6) for k, v in want.items()}
    return {k: (got[k], want[k]) for k, good in close.items() if not good}


def moves(value, other):
    return abs(value - other) > 1e-5 * abs(value) + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_all_names_agree_with_the_transcription(kind, rng):
    z = logits(kind, 25, 3000, rng)
    wanted = reference.scores(z[0], z[1], PAIRS)
    # Rounding comes in few steps, so that one order of the vocabulary may hit the same.
    shuffled = [z[..., rng.permutation(z.shape[-1])] for _ in range(8)]
    moved = zip(*(reference.scores(*ways, PAIRS) for ways in shuffled), strict=True)
    assert list(wanted[0]) == list(published.COLUMNS) and len(wanted[0]) == 85
    for pair, got, want, others in zip(PAIRS, ours(z, PAIRS), wanted, moved, strict=True):
        noise = [k for k in want if any(moves(want[k], other[k]) for other in others)]
        if kind == "peaked":
            assert set(noise) <= {"sequence_vetp"}
        assert not noise or pair == ROUNDING, (pair, noise)
        assert np.all(np.isfinite(list(got.values()))), pair
        bad = disagreements(got, want)
        assert set(bad) <= set(noise), (pair, bad)


def test_they_agree_at_full_size(rng, monkeypatch):
    """72 video rows, a third of each kind, over the vocabulary of Qwen2."""
    monkeypatch.setattr(reduction, "_CHUNK_BYTES", 64 * 2**20)  # a CPU's cache likes that
    pairs = ((1.63, 1.043), (1.0, 1.02), (1.0004, 1.09))
    z = np.concatenate([logits(kind, 24, 151_646, rng) for kind in KINDS], axis=1)
    z = np.concatenate([z, z[:, 7:8]], axis=1)
    wanted = reference.scores(z[0], z[1], pairs)
    for pair, got, want in zip(pairs, ours(z, pairs), wanted, strict=True):
        assert not (bad := disagreements(got, want)), (pair, bad)


def test_vectors_of_the_literature():
    """p = (.7, .2, .1) with y = 0, from VL-MIA's code."""
    row = split_top(jnp.log(jnp.float32([0.7, 0.2, 0.1])))
    values = published.row_values(row, jnp.zeros((1,), jnp.float32))
    names = ("half", "one", "two", "inf")
    got = [float(values[f"renyi_{name}"]) for name in names]
    got += [float(values[f"mod_{name}"]) for name in ("entropy", "renyi_half", "renyi_two")]
    want = [0.940134, 0.801819, 0.616186, 0.356675, 0.162167, 0.150496, 0.14]
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert float(values["gap"]) == pytest.approx(1.252763, abs=1e-6)


def test_ties_at_the_top_are_skipped_by_the_gap():
    """Equal largest values count once; a row of equal values has no gap."""
    z = jnp.float32([[2, 2, 1, 0], [3, 3, 3, 3]])
    values = published.row_values(split_top(z), jnp.ones((1, 2), jnp.float32))
    np.testing.assert_allclose(values["gap"], [1, 0], atol=1e-6)


def test_known_faults_are_reproduced():
    """Rényi 1/2 of a one-hot row over a vocabulary of 152,064, and q = r = 1."""
    z = np.full((2, 2, 152_064), -60, np.float32)
    z[..., 7] = 0
    z[1, :, 8] = 0  # reversed: two tokens share it all
    at_one, _ = ours(z, ((1.0, 1.0), (2.0, 1.0)))
    assert at_one["Max_100% renyi_05"] == pytest.approx(2 * np.log(1 + 1.52064), rel=1e-3)
    # Shannon is 0 - log 2. What the code says is 1e10 times what clipping adds: the
    # floors, less the 1e-10 that the certain token is lowered by.
    assert at_one["Mean_vetp"] == pytest.approx(152_063 - 1 - 152_062, abs=0.1)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_top_k_keeps_what_is_shown_and_levels_the_rest(k, rng):
    z = rng.normal(0, 2, (6, 300)).astype(np.float32)
    z[:, 250:] = -np.inf
    z[2, :30] = 3.5  # ties across the border: the first ones are shown
    out = np.asarray(complete_top_k(jnp.asarray(z), k), np.float64)
    order = np.argsort(-z, axis=-1, kind="stable")
    for before, after, places in zip(z.astype(np.float64), out, order, strict=True):
        p, q = np.exp(before - before.max()), np.exp(after - before.max())
        np.testing.assert_array_equal(after[places[:k]], before[places[:k]])
        rest = after[places[k:250]]
        assert np.ptp(rest) == 0 and np.all(np.isneginf(after[250:]))
        assert q.sum() == pytest.approx(p.sum(), rel=1e-6)


def test_top_k_of_everything_is_the_row_itself(rng):
    z = jnp.asarray(rng.normal(0, 2, (3, 20)), jnp.float32)
    np.testing.assert_array_equal(complete_top_k(z, 20), z)
    np.testing.assert_allclose(complete_top_k(z, 19), z, rtol=1e-5, atol=1e-5)


def test_rows_from_an_api_s_log_probabilities(rng):
    z = rng.normal(0, 2, 50)
    log_p = np.sort(z - np.log(np.exp(z).sum()))[::-1]
    row = logits_of_top_k(jnp.asarray(log_p[:5], jnp.float32), 50)
    want = complete_top_k(jnp.asarray(log_p, jnp.float32), 5)
    np.testing.assert_allclose(row, want, rtol=1e-5, atol=1e-5)
    sure = logits_of_top_k(jnp.float32([0.0]), 3)  # rounded to certainty
    np.testing.assert_array_equal(sure, [0, -np.inf, -np.inf])
    with pytest.raises(ValueError, match="vocab=4 is less than the 5"):
        logits_of_top_k(row[:5], 4)
