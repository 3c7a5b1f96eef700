"""Rotary frequencies of every kind of scaling, in both layouts, against transformers."""

import jax.numpy as jnp
import numpy as np
import pytest
from twins import WITH_TORCH

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import Fields
from vidsme_jax.models.layers.rope import frequencies, rope
from vidsme_jax.models.ports.rope_fields import read_rope

HEAD_DIM = 64
YARN = {"factor": 4.0, "original_max_position_embeddings": 512}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SCALINGS = {
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 2.5},
    "dynamic": {"rope_type": "dynamic", "factor": 3.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0},
    "yarn-original": {"rope_type": "yarn"} | YARN,
    "yarn-attention": {"rope_type": "yarn", "attention_factor": 1.3} | YARN,
    "yarn-mscale": {"rope_type": "yarn", "mscale": 0.7, "mscale_all_dim": 1.2} | YARN,
    "yarn-betas": {"rope_type": "yarn", "beta_fast": 16, "beta_slow": 2} | YARN,
    "yarn-whole": {"rope_type": "yarn", "truncate": False} | YARN,
    "yarn-ratio": {"rope_type": "yarn"} | YARN | {"factor": None},
    "llama3": {"rope_type": "llama3", "original_max_position_embeddings": 512} | LLAMA3,
    "llama3-plain": {"rope_type": "llama3"} | LLAMA3,
}
FIELDS = {"max_position_embeddings": 2048}


def read(scaling, layout, theta=1e4):
    """Return what is read of a scaling as transformers 4 or 5 writes it."""
    if layout == "5":
        values = {"rope_parameters": scaling | {"rope_theta": theta}}
    else:
        values = {"rope_theta": theta, "rope_scaling": dict(scaling)}
        if layout == "4 type":
            values["rope_scaling"]["type"] = values["rope_scaling"].pop("rope_type")
    fields = Fields(FIELDS | values, "config")
    config = read_rope(fields, HEAD_DIM)
    fields.finish()
    return config


@WITH_TORCH
@pytest.mark.parametrize("theta", [1e4, 1e6])
@pytest.mark.parametrize("name", SCALINGS)
def test_frequencies_are_those_of_transformers(name, theta):
    import torch
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    scaling = SCALINGS[name]
    config = LlamaConfig(
        **FIELDS,
        hidden_size=HEAD_DIM,
        num_attention_heads=1,
        rope_parameters=scaling | {"rope_theta": theta},
    )
    ours = read(scaling, "5", theta)
    for length in (1, 2048, 5000):
        module = LlamaRotaryEmbedding(config)
        places = torch.arange(length)[None]
        cos, sin = module(torch.zeros(1), places)
        lengths = jnp.full((1, 1), length, jnp.int32)
        got = np.asarray(frequencies(ours, HEAD_DIM, lengths))[0]
        np.testing.assert_allclose(got, module.inv_freq.numpy(), rtol=5e-6)
        positions = jnp.arange(length, dtype=jnp.int32)[None, None]
        rotation = rope(positions, ours, HEAD_DIM, jnp.float32)
        for values, want in zip(rotation, (cos, sin), strict=True):
            want = want[0, :, : HEAD_DIM // 2].numpy()
            np.testing.assert_allclose(values[0], want, atol=1e-6 * max(length, 10))


@pytest.mark.parametrize("name", SCALINGS)
def test_every_layout_says_the_same(name):
    layouts = [read(SCALINGS[name], layout) for layout in ("4", "4 type", "5")]
    assert layouts[0] == layouts[1] == layouts[2]


@pytest.mark.parametrize("name", SCALINGS)
def test_every_scaling_changes_the_frequencies(name):
    """A scaling that is read and not used would pass for the default."""
    lengths = jnp.full((1, 1), 5000, jnp.int32)
    plain = frequencies(read(SCALINGS["default"], "5"), HEAD_DIM, lengths)
    scaled = frequencies(read(SCALINGS[name], "5"), HEAD_DIM, lengths)
    assert np.allclose(plain, scaled) == (name == "default")


def test_dynamic_scaling_depends_on_the_length_of_each_sequence():
    config = read(SCALINGS["dynamic"], "5")
    lengths = jnp.array([[2048], [9000]], jnp.int32)
    short, long = np.asarray(frequencies(config, HEAD_DIM, lengths))
    plain = frequencies(read(SCALINGS["default"], "5"), HEAD_DIM, lengths)
    np.testing.assert_array_equal(short, plain[0])
    assert np.all(long[1:] < short[1:])


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"rope_type": "longrope"}, "rope_type='longrope', this port has 'default', 'li"),
        ({"rope_type": ["linear"]}, r"rope_type=\['linear'\]"),
        ({"rope_type": "linear", "type": "yarn"}, "expected the same value twice"),
        ({"rope_type": "linear"}, "rope_scaling: factor=None, expected a value of type f"),
        ({"rope_type": "linear", "factor": True}, "factor=True, expected a value of type"),
        ({"rope_type": "linear", "factor": 0}, "factor=0.0, expected a number above 0"),
        ({"rope_type": "linear", "factor": 2, "magic": 1}, "rope_scaling has .*: magic"),
        ({"rope_type": "llama3"} | LLAMA3 | {"low_freq_factor": 4}, "high_freq_factor=4"),
        ({"rope_type": "linear", "factor": 2, "partial_rotary_factor": 0.5}, "partial_rot"),
        ({"rope_type": "yarn", "factor": 2, "beta_fast": "x"}, "beta_fast='x'"),
    ],
)
def test_other_scalings_are_refused(scaling, message):
    with pytest.raises(InputError, match=message) as caught:
        read(scaling, "4")
    assert "\n" not in str(caught.value)


def test_two_layouts_at_once_are_refused():
    linear = SCALINGS["linear"]
    fields = Fields({"rope_scaling": linear, "rope_parameters": linear}, "config")
    with pytest.raises(InputError, match="config has rope_scaling and rope_parameters"):
        read_rope(fields, HEAD_DIM)
