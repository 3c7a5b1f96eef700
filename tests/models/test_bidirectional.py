"""A video whose positions see each other, against the causal model of the same weights."""

import json
from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file
from tools import edit, here, make_project, starts
from twins import write as write_twin

from vidsme_jax.data.batches import make_batch, make_layout
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.layers import decoder
from vidsme_jax.models.layers.attention import AttentionMask
from vidsme_jax.models.layers.decoder import Attention, Decoder, DecoderConfig
from vidsme_jax.models.layers.rope import RopeConfig, rope
from vidsme_jax.models.video_llm import make_forward
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores import catalogue
from vidsme_jax.sharding import partitioned, replicated
from vidsme_jax.training.fit import Recipe
from vidsme_jax.training.train import TrainSettings, train

pytestmark = [pytest.mark.slow(75), pytest.mark.least_compiled]

BOTH = "bidirectional"
ROPE = RopeConfig(10000.0)
TINY = DecoderConfig(8, 2, 4, 2, 6, 12, 20, ROPE, 1e-6, qkv_bias=True, tied=False)
FRAMES = 3


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    return make_project(folder, count=6, decoder={"video_attention": BOTH})


@pytest.fixture(scope="module")
def case(project):
    """Port, parameters, and clips whose videos start at different positions."""
    port = open_port(project[2])
    words = ("", "You answer.", "You answer in a few words, or in none.", "Be brief.")
    prompts = [port.prompt("What?", "a red circle", system=w) for w in words]
    batch = batch_of(port, prompts)
    assert len(set(starts(batch))) == 4
    return port, port.load(np.float32, here), prompts, batch


def batch_of(port, prompts, **longer):
    pixels = np.random.default_rng(0).integers(0, 256, (4, FRAMES, 24, 24, 3), np.uint8)
    layout = make_layout(prompts, port.video(FRAMES), catalogue.SLICES)
    return make_batch(prompts, pixels, replace(layout, **longer))


@lru_cache  # one compiled program for each model and shape
def hidden_program(config):
    return jax.jit(lambda params, batch: make_forward(config)(params, batch)[0])


def hidden_of(config, params, batch):
    return np.asarray(hidden_program(config)(params, batch))


def drawn(module, seed):
    """A module of TINY's sizes; drawing by NumPy spares compiling its initializers."""
    graph, state = nnx.split(nnx.eval_shape(lambda: module(TINY, rngs=nnx.Rngs(0))))
    normal = np.random.default_rng(seed).normal
    values = jax.tree.map(lambda x: jnp.asarray(normal(0, 0.3, x.shape), x.dtype), state)
    return nnx.merge(graph, values)


def test_the_field_is_read_strictly(project, tmp_path):
    _, _, model = project
    assert open_port(model).config.bidirectional
    for n, value in enumerate((..., "causal")):  # ... leaves the field out
        port = open_port(edit(model, tmp_path / str(n), video_attention=value))
        assert not port.config.bidirectional
    for n, value in enumerate((None, True, "both", ["bidirectional"])):
        wrong = edit(model, tmp_path / f"wrong {n}", video_attention=value)
        with pytest.raises(InputError, match="video_attention=.*has 'causal', 'bidir"):
            open_port(wrong)


@pytest.mark.parametrize("name", ["video-bilinear-grid", "video-llava-4"])
def test_other_ports_do_not_know_the_field(tmp_path, name):
    with pytest.raises(InputError, match="does not know: video_attention"):
        open_port(write_twin(name, tmp_path, change={"video_attention": BOTH}))


def test_a_window_and_a_video_seen_both_ways_are_refused(case):
    config = case[0].config
    windowed = replace(config.decoder, window=16)
    with pytest.raises(InputError, match="window=16 with bidirectional") as caught:
        replace(config, decoder=windowed)
    assert "\n" not in str(caught.value)
    assert not replace(config, decoder=windowed, bidirectional=False).bidirectional


def test_each_position_depends_on_exactly_those_it_sees():
    """The Jacobian through all layers: two sequences, their videos in different places."""
    model = drawn(Decoder, 0)
    x = np.random.default_rng(1).normal(size=(2, 8, 8)).astype(np.float32)
    blocks = np.zeros((2, 8), np.int32)
    blocks[0, 2:5], blocks[1, 0:4] = 1, 1
    places = jnp.tile(jnp.arange(8, dtype=jnp.int32), (2, 1, 1))

    def depends(*marked):
        total = jax.jit(jax.jacfwd(lambda x: model(x, places, *marked).sum((0, 2))))
        return np.abs(total(x)).max(-1) > 0  # position, sequence, position

    causal = np.tri(8, dtype=bool)
    np.testing.assert_array_equal(depends()[:, 0], causal)
    together = blocks > 0
    want = causal | (together[:, :, None] & together[:, None, :])
    np.testing.assert_array_equal(depends(jnp.asarray(blocks)).swapaxes(0, 1), want)


def test_attention_is_that_of_a_plain_transcription(rng):
    attention = drawn(Attention, 3)
    x = rng.normal(size=(2, 7, 8))
    together = np.zeros((2, 7), bool)
    together[0, 1:5], together[1, 3:7] = True, True
    places = jnp.tile(jnp.arange(7, dtype=jnp.int32), (2, 1, 1))
    rotation = rope(places, ROPE, TINY.head_dim, jnp.float32)
    groups = jnp.asarray(together, jnp.int32)
    got = jax.jit(attention)(jnp.asarray(x, jnp.float32), rotation, groups)
    cos, sin = (np.asarray(values, np.float64) for values in rotation)
    turn = (cos + 1j * sin)[0]

    def heads(linear):
        y = x @ np.asarray(linear.kernel[...], np.float64) + np.asarray(linear.bias[...])
        return y.reshape(2, 7, -1, 6)

    def rotated(y):  # halves of a head as real and imaginary part
        z = (y[..., :3] + 1j * y[..., 3:]) * turn[None, :, None]
        return np.concatenate([z.real, z.imag], -1)

    q, k, v = rotated(heads(attention.q)), rotated(heads(attention.k)), heads(attention.v)
    want = np.zeros((2, 7, 4, 6))
    for n, t, h in np.ndindex(2, 7, 4):
        seen = [s for s in range(7) if s <= t or (together[n, t] and together[n, s])]
        weights = np.exp([q[n, t, h] @ k[n, s, h // 2] / 6**0.5 for s in seen])
        values = v[n, seen, h // 2]
        want[n, t, h] = weights @ values / weights.sum()
    want = want.reshape(2, 7, 24) @ np.asarray(attention.o.kernel[...], np.float64)
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("both", [True, False])
def test_a_later_frame_reaches_the_frames_before_it(case, both):
    port, params, _, batch = case
    config = replace(port.config, bidirectional=both)
    shape = config.video(FRAMES)
    size, video = shape.tokens_per_unit, shape.length
    pixels = batch.pixels.copy()
    pixels[:, -1] = 255 - pixels[:, -1]
    before = hidden_of(config, params, batch)[:, 0]
    after = hidden_of(config, params, batch._replace(pixels=pixels))[:, 0]
    for n, start in enumerate(starts(batch)):
        moved = np.abs(before[n] - after[n]).max(-1)
        assert not moved[:start].any()
        assert moved[start : start + video - size].all() == both
        assert moved[start : start + video - size].any() == both
        assert moved[start + video - size : start + video + 4].all()


@pytest.mark.parametrize("both", [True, False])
def test_text_and_padding_after_the_video_do_not_reach_it(case, both):
    port, params, prompts, batch = case
    config = replace(port.config, bidirectional=both)
    other = [p._replace(after=p.after[::-1], answer=p.answer[::-1]) for p in prompts]
    time = batch.tokens.shape[1]
    plain = hidden_of(config, params, batch)
    changed = hidden_of(config, params, batch_of(port, other))
    padded = hidden_of(config, params, batch_of(port, prompts, time=time + 16))
    np.testing.assert_allclose(padded[:, :, :time], plain, atol=1e-5)
    for n, start in enumerate(starts(batch)):
        end = start + config.video(FRAMES).length
        np.testing.assert_array_equal(changed[n, :, :end], plain[n, :, :end])
        assert np.abs(changed[n, :, end + 1 :] - plain[n, :, end + 1 :]).max() > 1e-3


def test_a_video_of_one_position_is_the_causal_one(project, case, tmp_path):
    whole_frame = edit(project[2], tmp_path / "m", mm_spatial_pool_stride=6)
    config, (_, params, prompts, _) = open_port(whole_frame).config, case
    layout = make_layout(prompts[:1], config.video(1), catalogue.SLICES)
    assert layout.video.length == 1 and config.bidirectional
    batch = make_batch(prompts[:1], np.full((1, 1, 24, 24, 3), 90, np.uint8), layout)
    causal = replace(config, bidirectional=False)
    both, one_way = (hidden_of(c, params, batch) for c in (config, causal))
    np.testing.assert_allclose(both, one_way, atol=1e-6)


def test_a_causal_model_is_given_no_mask(case, monkeypatch):
    port, params, _, batch = case
    attend, seen = decoder.attend, []

    def watched(q, k, v, mask, groups):
        assert mask == AttentionMask()
        seen.append(groups is None)
        return attend(q, k, v, mask, groups)

    monkeypatch.setattr(decoder, "attend", watched)
    for both in (False, True):
        forward = make_forward(replace(port.config, bidirectional=both))
        jax.eval_shape(lambda p, b, f=forward: f(p, b)[0], params, batch)
    assert set(seen[: len(seen) // 2]) == {True}
    assert set(seen[len(seen) // 2 :]) == {False}


def test_every_placement_gives_the_same_hidden_states(case):
    port, params, _, batch = case
    run = lambda params, batch: port.forward(params, batch)[0]  # noqa: E731
    devices, want = tuple(jax.devices()), hidden_of(port.config, params, batch)
    for program in (replicated(run, devices[:2]), partitioned(run, devices[:4], 2)):
        placed = port.load(np.float32, program.place)
        with jax.transfer_guard("disallow"):
            out = program.run(placed, program.put_batch((batch,)))
        np.testing.assert_allclose(program.fetch(out), want, atol=1e-5)


def test_trained_and_scored_from_files(project, tmp_path):
    _, manifest, model = project
    new = tmp_path / "new"
    train(TrainSettings(model, (manifest,), new, Recipe(4, 3, 2e-3), FRAMES))
    assert json.loads((new / "config.json").read_text())["video_attention"] == BOTH
    assert open_port(new).config.bidirectional
    # Gradients are finite and reach the tower: AdamW without decay moves by them alone.
    old, trained = (load_file(path / "model.safetensors") for path in (model, new))
    assert all(np.isfinite(tensor).all() for tensor in trained.values())
    (positions,) = (key for key in old if key.endswith("position_embedding.weight"))
    assert np.all(trained[positions] != old[positions], axis=None)
    settings = ScoreSettings(new, (manifest,), tmp_path / "run", (FRAMES,), batch=1)
    table = score(replace(settings, slices=("video",)))
    assert set(table["status"].to_pylist()) == {"ok"}
    assert np.isfinite(table["video.sme.mean"].to_pylist()).all()
