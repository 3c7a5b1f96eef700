"""The count of operations against the matrix products that the program really has."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from tools import make_project, operations
from twins import CONFIGS as CONFIGS_FOLDER

from vidsme_jax.batch import Prompt
from vidsme_jax.data.batches import make_batch, make_layout
from vidsme_jax.models import open_port, read_graph
from vidsme_jax.models.layers import attention
from vidsme_jax.models.video_llm import graph_of, make_forward
from vidsme_jax.scores.catalogue import SLICES

FRAMES = 3


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    return open_port(make_project(tmp_path_factory.mktemp("flops"), count=3)[2])


def traced(config, prompts, layout, rows):
    """Return the program that scores the first rows of one clip."""
    side = config.vision.image
    pixels = np.zeros((1, layout.video.frames, side, side, 3), np.uint8)
    batch = make_batch(prompts, pixels, layout)

    def run(params, batch):
        hidden, head, _ = make_forward(config)(params, batch)
        return head(hidden[:, :, :rows])

    return jax.make_jaxpr(run)(graph_of(config)[1], batch).jaxpr


CHANGES = {
    "as it is": lambda c: c,
    "pooled first": lambda c: replace(c, connector=replace(c.connector, pool_first=True)),
    "SigLIP": lambda c: replace(c, vision=replace(c.vision, clip=False)),
    "one key head": lambda c: replace(c, decoder=replace(c.decoder, kv_heads=1)),
    "seen both ways": lambda c: replace(c, bidirectional=True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_program_has_these_products(port, name):
    config = CHANGES[name](port.config)
    prompts = [port.prompt("What moves?", "a red square")]
    layout = make_layout(prompts, config.video(FRAMES), SLICES)
    counted_flops = operations(traced(config, prompts, layout, 7))
    needed = config.clip_flops(FRAMES, layout.time, rows=7)
    # So short a sequence is one block, of which causal attention uses the lower half.
    decoder = config.decoder
    square = 4 * 2 * decoder.layers * decoder.heads * decoder.head_dim * layout.time**2
    assert counted_flops == needed.total - needed.decoder_attention + square


def test_pairs_are_those_that_see_each_other(port):
    config = replace(port.config, bidirectional=False)
    time, video = 90, config.video(FRAMES).length
    per_pair = (
        4 * 2 * config.decoder.layers * config.decoder.heads * config.decoder.head_dim
    )
    row, key = np.indices((time, time))

    def counted(config):
        return config.clip_flops(FRAMES, time, 1).decoder_attention / per_pair

    assert counted(config) == np.sum(key <= row)
    windowed = replace(config, decoder=replace(config.decoder, window=13))
    assert counted(windowed) == np.sum((key <= row) & (row - key < 13))
    together = (key <= row) | ((row < video) & (key < video))
    assert counted(replace(config, bidirectional=True)) == np.sum(together)


@pytest.mark.parametrize("frames", [16, 32, 128])
def test_without_a_kernel_little_is_done_in_vain(monkeypatch, frames):
    """LongVA-7B with attention in blocks: at most a tenth more than is necessary."""
    monkeypatch.setattr(
        attention, "_kernel", lambda q, mask: partial(attention._blockwise, mask)
    )
    config = read_graph(CONFIGS_FOLDER / "LongVA-7B.json").config
    prompts = [Prompt((1,) * 16, (1,) * 32, (1,) * 16)]
    layout = make_layout(prompts, config.video(frames), SLICES)
    rows = layout.video_rows + layout.text_rows
    counted_flops = operations(traced(config, prompts, layout, rows))
    needed = config.clip_flops(frames, layout.video.length + 64, rows).total
    assert 1 <= counted_flops / needed <= 1.1
