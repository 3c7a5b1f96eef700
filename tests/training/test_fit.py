import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidsme_jax.batch import Batch
from vidsme_jax.training import fit as training
from vidsme_jax.training.fit import Recipe, TrainBatch, fit, token_loss, visual_codes

VOCAB, WIDTH = 11, 6


def forward(params, batch):
    x = params["embed"][batch.tokens]
    return x[:, None], lambda rows: rows @ params["head"]


@pytest.fixture
def params(rng):
    draw = {
        "embed": rng.normal(size=(VOCAB, WIDTH)),
        "head": rng.normal(size=(WIDTH, VOCAB)),
    }
    return {k: jnp.asarray(v, jnp.float32) for k, v in draw.items()}


def batch_of(tokens):
    """Every position learns the next token; the first has no weight."""
    tokens = np.asarray(tokens, np.int32)
    rows = np.tile(np.arange(tokens.shape[1] - 1, dtype=np.int32), (len(tokens), 1))
    weights = np.full(rows.shape, 1 / (rows.shape[1] - 1), np.float32)
    weights[:, 0] = 0
    nothing = [None] * 3
    return TrainBatch(
        Batch(None, tokens, None, None, rows, tokens[:, 1:], *nothing), weights
    )


def test_loss_is_the_mean_cross_entropy_of_weighted_rows(params, rng):
    tokens = rng.integers(0, VOCAB, (3, 6))
    batch = batch_of(tokens)
    logits = np.asarray(params["embed"], np.float64)[tokens] @ np.asarray(params["head"])
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    want = -np.mean([log_p[n, j, tokens[n, j + 1]] for n in range(3) for j in range(1, 5)])
    assert float(token_loss(params, forward, batch)) == pytest.approx(want, rel=1e-5)


def test_a_row_without_weight_may_have_any_target(params):
    batch = batch_of([[1, 2, 3, 4]])
    batch.batch.targets[0, 0] = -1
    assert np.isfinite(token_loss(params, forward, batch))


def test_fit_memorises_and_repeats_exactly(params, rng):
    tokens = np.stack([rng.permutation(VOCAB)[:6] for _ in range(4)])
    settings = Recipe(steps=120, batch=2, learning_rate=5e-2, seed=3)
    seen = []

    def gather(numbers):
        seen.extend(numbers.tolist())
        return batch_of(tokens[numbers])

    fresh = jax.tree.map(jnp.copy, params)
    _, losses = fit(params, forward, gather, len(tokens), settings)
    assert losses.shape == (120,) and losses[-10:].mean() < 0.5 * losses[:10].mean()
    assert sorted(seen[:4]) == [0, 1, 2, 3]  # an epoch takes every clip once
    _, again = fit(fresh, forward, gather, len(tokens), settings)
    np.testing.assert_array_equal(losses, again)


def test_equal_calls_are_compiled_once(params):
    """A loaded checkpoint's parameters are committed to their device."""
    params = jax.device_put(params, jax.local_devices()[0])
    settings = Recipe(steps=3 * training._STEPS_A_CALL, batch=1)
    before = training._run_steps._cache_size()
    fit(params, forward, lambda n: batch_of([[1, 2, 3, 4]] * len(n)), 1, settings)
    assert training._run_steps._cache_size() == before + 1


def test_steps_that_do_not_fill_the_last_call(params):
    gather = lambda numbers: batch_of([[1, 2, 3]] * len(numbers))  # noqa: E731
    _, losses = fit(params, forward, gather, 3, Recipe(13, 2, 1e-2))
    assert losses.shape == (13,)


def test_visual_codes_by_hand():
    pixels = np.zeros((1, 5, 5, 3), np.uint8)  # the odd last line and row do not count
    pixels[0, :2, :2] = (255, 0, 0)
    pixels[0, :2, 2:4] = (0, 255, 70)
    pixels[0, 2:4, :2] = np.array([[[63] * 3, [64] * 3], [[65] * 3, [64] * 3]])
    assert visual_codes(pixels, grid=2, area=2).tolist() == [[48, 13, 21, 0]]
