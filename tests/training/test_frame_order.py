"""Training on frames in random order: what `fit` is given, step by step."""

import json

import numpy as np
import pytest
from tools import make_project
from twins import write as write_twin

import vidsme_jax.training.train as command
from vidsme_jax.cli.main import main
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.prompts.visual_codes import CODES, code_token
from vidsme_jax.training.fit import Recipe, visual_codes
from vidsme_jax.training.train import FRAME_ORDERS, TrainSettings, train

FRAMES, CLIPS, EPOCHS = 6, 3, 4


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("order"), count=2 * CLIPS)


@pytest.fixture
def shown(project, tmp_path, monkeypatch):
    """Return the function that trains without steps: [epoch clip …] pixels and targets."""

    def draw(params, forward, gather, count, settings, watch):
        assert count == CLIPS == settings.batch
        batches = [gather(np.arange(count)) for _ in range(settings.steps)]
        samples.append(batches)
        return params, np.ones(settings.steps)

    samples: list = []
    monkeypatch.setattr(command, "fit", draw)

    def run(order, seed=0, objective="text+video"):
        _, manifest, model = project
        recipe = Recipe(EPOCHS, CLIPS, seed=seed)
        out = tmp_path / f"new-{len(samples)}"
        train(
            TrainSettings(
                model, (manifest,), out, recipe, FRAMES, objective, frame_order=order
            )
        )
        assert json.loads((out / "training.json").read_text())["frame_order"] == order
        batches = [step.batch for step in samples[-1]]
        return tuple(np.stack([getattr(b, n) for b in batches]) for n in
                     ("pixels", "targets"))  # fmt: skip

    return run


def orders_of(pixels, natural):
    """Return [epoch clip frame]: which natural frame stands at each place."""
    same = pixels[:, :, :, None] == natural[0][None, :, None]
    equal = same.all(axis=(-3, -2, -1))
    assert np.all(equal.sum(axis=(2, 3)) == FRAMES), "each frame once"
    return equal.argmax(axis=-1)


def test_a_clip_comes_in_a_new_order_each_time(shown):
    natural, _ = shown("natural")
    assert all(np.array_equal(natural[0], epoch) for epoch in natural)
    pixels, targets = shown("shuffled")
    orders = orders_of(pixels, natural)
    assert np.all(np.sort(orders, axis=-1) == np.arange(FRAMES))
    assert len({tuple(o) for o in orders.reshape(-1, FRAMES)}) > EPOCHS * CLIPS - 2
    again, same_targets = shown("shuffled")
    np.testing.assert_array_equal(again, pixels)
    np.testing.assert_array_equal(same_targets, targets)
    assert not np.array_equal(orders_of(shown("shuffled", seed=1)[0], natural), orders)


def test_visual_codes_are_those_of_the_frames_as_shown(shown, project):
    pixels, targets = shown("shuffled")
    port = open_port(project[2])
    ids = np.array([port.tokenizer.special(code_token(n)) for n in range(CODES)])
    codes = ids[visual_codes(pixels, 3, 8)].reshape(EPOCHS, CLIPS, -1)
    np.testing.assert_array_equal(targets[..., : codes.shape[-1] - 1], codes[..., 1:])


def test_the_answer_s_targets_do_not_depend_on_the_order(shown):
    texts = [shown(order, objective="text")[1] for order in FRAME_ORDERS]
    np.testing.assert_array_equal(*texts)


def test_orders_that_cannot_be(project, tmp_path):
    _, manifest, model = project
    recipe = Recipe(1, 1)

    def refused(model, order):
        with pytest.raises(InputError) as caught:
            train(TrainSettings(model, (manifest,), tmp_path / "new", recipe,
                               frame_order=order))  # fmt: skip
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "frame_order=backwards, expected one of natural, shuf" in refused(
        model, "backwards"
    )
    timed = write_twin("video-bilinear-grid", tmp_path, {"add_time_instruction": True})
    assert "says when its frames were taken" in refused(timed, "shuffled")


def test_the_command_line_passes_it_on(monkeypatch, capsys):
    settings = []
    monkeypatch.setattr(command, "train", settings.append)
    words = ["train", "--model", "m", "--data", "d.json", "--out", "o"]
    for order in FRAME_ORDERS:
        assert main([*words, "--frame-order", order]) == 0
    assert main(words) == 0
    assert [r.frame_order for r in settings] == [*FRAME_ORDERS, "natural"]
    with pytest.raises(SystemExit):
        main([*words, "--frame-order", "reversed"])
    assert "natural" in capsys.readouterr().err
