"""The count of operations against the matrix products that the program really has."""

import math
from dataclasses import replace

import jax
import numpy as np
import pytest
from tools import make_project, matrix_products

from vidsme_jax.data.batches import make_batch, make_layout
from vidsme_jax.models import open_port
from vidsme_jax.models.flops import necessary_flops
from vidsme_jax.models.video_llm import graph_of, make_forward
from vidsme_jax.scores import SLICES

FRAMES = 3


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    return open_port(make_project(tmp_path_factory.mktemp("flops"), count=3)[2])


def operations(jaxpr):
    """Return two for each multiplication of the matrix products, loops unrolled."""
    found = 0
    for equation, times in matrix_products(jaxpr):
        ((left, _), _), a = equation.params["dimension_numbers"], equation.invars[0].aval
        inner = math.prod(a.shape[axis] for axis in left)
        found += 2 * times * inner * math.prod(equation.outvars[0].aval.shape)
    return found


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
    tail = config.connector.tail
    layout = make_layout(prompts, FRAMES, config.tokens_per_frame, SLICES, tail)
    side = config.vision.image
    batch = make_batch(prompts, np.zeros((1, FRAMES, side, side, 3), np.uint8), layout)

    def run(params, batch):
        hidden, head = make_forward(config)(params, batch)
        return head(hidden[:, :, :7])

    found = operations(jax.make_jaxpr(run)(graph_of(config)[1], batch).jaxpr)
    needed = necessary_flops(config, FRAMES, layout.time, rows=7)
    # So short a sequence is one block, of which causal attention uses the lower half.
    decoder = config.decoder
    square = 4 * 2 * decoder.layers * decoder.heads * decoder.head_dim * layout.time**2
    assert found == needed.total - needed.decoder_attention + square


def test_pairs_are_those_that_see_each_other(port):
    config = replace(port.config, bidirectional=False)
    time, video = 90, config.video_length(FRAMES)
    each = 4 * 2 * config.decoder.layers * config.decoder.heads * config.decoder.head_dim
    row, key = np.indices((time, time))

    def counted(config):
        return necessary_flops(config, FRAMES, time, 1).decoder_attention / each

    assert counted(config) == np.sum(key <= row)
    windowed = replace(config, decoder=replace(config.decoder, window=13))
    assert counted(windowed) == np.sum((key <= row) & (row - key < 13))
    together = (key <= row) | ((row < video) & (key < video))
    assert counted(replace(config, bidirectional=True)) == np.sum(together)
