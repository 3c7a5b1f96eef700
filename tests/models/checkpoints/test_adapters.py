"""Adapters that PEFT itself makes: merged while loading, they give PEFT's merged logits.

Every twin, that is every layout and spelling of keys, with every kind of adapter.
"""

import shutil
from functools import lru_cache

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tools import here
from twins import TWIN, TWINS, WITH_TORCH, inputs_of, spelled, write

from vidsme_jax.batch import TEXT, Batch
from vidsme_jax.models import open_port
from vidsme_jax.models.checkpoints.trees import flatten
from vidsme_jax.models.processor import pixel_levels
from vidsme_jax.models.video_llm import make_forward

pytestmark = [pytest.mark.slow(50), pytest.mark.least_compiled, WITH_TORCH]
LOGITS = 2e-5  # largest difference, float32 on CPU


@lru_cache
def program(config):
    """Return the compiled logits of the natural order at every position."""

    def run(params, batch):
        hidden, head, _ = make_forward(config, natural_only=True)(params, batch)
        return head(hidden)

    return jax.jit(run)


def first_clip(port, twin):
    """Return the batch of the first clip, and what PyTorch takes of it."""
    frames = min(twin.frames)
    inputs, count = inputs_of(twin, frames), port.video(frames).length
    before, after, pixels = inputs.before[0], inputs.after[0], inputs.pixels[:1]
    tokens = np.array([[*before, *[0] * count, *after]], np.int32)
    source = np.full_like(tokens, TEXT)
    source[0, len(before) : len(before) + count] = np.arange(count)
    positions = np.arange(tokens.size, dtype=np.int32).reshape(1, 1, -1)
    order, nothing = np.arange(frames, dtype=np.int32)[None], np.zeros((1, 1))
    batch = Batch(pixels, tokens, source, positions, *[nothing] * 3, order, nothing)
    table = pixel_levels(port.config.mean, port.config.std)
    images = np.stack([table[c][pixels[0, ..., c]] for c in range(3)], axis=1)
    return batch, (images, before, after, count)


def logits_of(port, batch):
    out = program(port.config)(port.load(np.float32, here), batch)
    return np.asarray(out)[0, 0, :, : port.config.vocab_keep]


@pytest.mark.parametrize("name", ["onevision-siglip", "video-llava-4"])
def test_an_adapter_fits_whichever_release_it_was_trained_with(name, tmp_path):
    """Releases of transformers spell the keys of an adapter as they spell a model's."""
    from oracles import file_key
    from peft_adapters import KERNELS, make_adapter

    base = write(name, tmp_path)
    make_adapter(TWIN[name], base, tmp_path / "5", {"target_modules": [*KERNELS, "fc1"]})
    path = "adapter_model.safetensors"
    tensors, start = load_file(tmp_path / "5" / path), "base_model.model."
    want = flatten(open_port(base, tmp_path / "5").load(np.float32, here))
    for layout in ("4", "4.52"):
        older = shutil.copytree(tmp_path / "5", tmp_path / layout)
        renamed = {
            start + spelled(file_key(key.removeprefix(start)), layout): value
            for key, value in tensors.items()
        }
        assert set(renamed) != set(tensors)
        save_file(renamed, older / path)
        got = flatten(open_port(base, older).load(np.float32, here))
        for leaf, value in want.items():
            np.testing.assert_array_equal(got[leaf], value, err_msg=leaf)


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_merged_logits_are_those_of_peft(twin, tmp_path):
    from peft_adapters import kinds_of, make_adapter

    base = write(twin.name, tmp_path)
    plain, worst = None, {}
    for kind, fields in kinds_of(twin).items():
        resized = kind == "resized"
        peft_logits = make_adapter(twin, base, tmp_path / kind, fields, resized)
        port = open_port(base, tmp_path / kind)
        port.check_weights()
        batch, inputs = first_clip(port, twin)
        plain = logits_of(open_port(base), batch) if plain is None else plain
        got, want = logits_of(port, batch), peft_logits(*inputs)
        change = got[:, :256] - plain[:, :256]
        assert np.abs(change).max() > 0.05, kind  # else nothing is shown
        worst[kind] = np.abs(got - want[:, : got.shape[-1]]).max()
    assert len(worst) >= 8 and max(worst.values()) <= LOGITS, worst
