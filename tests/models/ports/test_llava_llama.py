"""Original checkpoints of Llama and Mistral: which code showed them videos, and prompts."""

import json
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tools import here
from twins import NEXT_VIDEO, write, write_tokenizer

from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.checkpoints.trees import flatten
from vidsme_jax.models.layers.connector import Connector
from vidsme_jax.models.prompts.template import Slot

NAME = "llama-flat-dynamic"
UNPAD = {"mm_patch_merge_type": "spatial_unpad"}
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
RENAMES = (
    (r"model\.vision_tower\.vision_tower\.", "vision_tower."),
    (r"model\.mm_projector\.0", "multi_modal_projector.linear_1"),
    (r"model\.mm_projector\.2", "multi_modal_projector.linear_2"),
    (r"model\.image_newline", "image_newline"),
    (r"(model|lm_head)\.", r"language_model.\1."),
)
POOLED = {"mm_spatial_pool_mode": "average", "mm_spatial_pool_stride": 2}


@pytest.mark.parametrize(
    ("change", "connector"),
    [
        ({}, Connector()),
        ({"mm_resampler_type": None, "mm_patch_merge_type": "flat"}, Connector()),
        (NEXT_VIDEO, Connector("average", 2, pool_first=True)),
        (
            NEXT_VIDEO | {"mm_spatial_pool_stride": 4},
            Connector("average", 4, pool_first=True),
        ),
        # Today's code writes a newline position, and does not run the resampler.
        (
            NEXT_VIDEO | {"mm_newline_position": "grid"},
            Connector("average", 2, newline="grid"),
        ),
        (POOLED, Connector("average", 2)),
        (POOLED | UNPAD, Connector("average", 2, newline="end")),
        (POOLED | {"mm_patch_merge_type": "spatial"}, Connector("average", 2)),
        (
            POOLED | UNPAD | {"mm_newline_position": "frame"},
            Connector("average", 2, newline="frame"),
        ),
        (POOLED | {"mm_newline_position": "frame"}, Connector("average", 2)),
    ],
)
def test_the_code_that_showed_videos(tmp_path, change, connector):
    change = {"mm_patch_merge_type": "flat"} | change
    assert open_port(write(NAME, tmp_path, change)).config.connector == connector


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (UNPAD, "'spatial_unpad' without mm_spatial_pool_mode: this code merges tiles"),
        (UNPAD | {"mm_resampler_type": "perceiver"}, "without mm_spatial_pool_mode"),
        (NEXT_VIDEO | {"mm_spatial_pool_mode": "conv"}, "mode='conv', this port has 'aver"),
        (NEXT_VIDEO | {"mm_spatial_pool_mode": "max"}, "mode='max', this port has 'averag"),
        (POOLED | {"mm_spatial_pool_mode": "max"}, "mode='max', this port has 'average'"),
        (POOLED | {"mm_spatial_pool_stride": 4}, "stride=4, this port has 2"),
        ({"mm_spatial_pool_stride": 2}, "stride=2, this port has None"),
        ({"add_time_instruction": True}, "add_time_instruction=True"),
        ({"add_faster_video": True}, "add_faster_video=True"),
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end=True"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"magic": 1}, "does not know: magic"),
    ],
)
def test_what_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message) as caught:
        open_port(write(NAME, tmp_path, {"mm_patch_merge_type": "flat"} | change))
    assert "\n" not in str(caught.value)


def text_of(template):
    names = {Slot.SYSTEM: template.system, Slot.VIDEO: "<image>", Slot.QUESTION: "Q?"}
    return "".join(names.get(piece, piece) for piece in template.pieces)


def test_prompts_are_those_of_the_authors(tmp_path):
    """Vicuna's, Mistral's, and that of the 34B checkpoints, known by its tokens."""
    folder = write(NAME, tmp_path)
    chatml = open_port(folder).template
    assert text_of(chatml) == (
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n"
        "<image>\nQ?<|im_end|><|im_start|>assistant\n"
    )
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("<|im_start|>", "<s>"))
    port = open_port(folder)
    assert text_of(port.template) == (
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's "
        "questions. USER: <image>\nQ? ASSISTANT:"
    )
    assert (port.template.lead, port.template.end) == (" ", "</s>")
    mistral = open_port(write("mistral-one-token", tmp_path))
    assert text_of(mistral.template) == "[INST] <image>\nQ? [/INST]"


@pytest.mark.parametrize("name", ["longva", "mistral-one-token"])
def test_classes_that_take_scaling_away_say_so(tmp_path, name, capsys):
    plain = open_port(write(name, tmp_path / "plain"))
    scaling = {"rope_scaling": {"type": "linear", "factor": 2.0}}
    folder = write(name, tmp_path / "scaled", scaling)
    capsys.readouterr()
    for _ in range(2):
        assert open_port(folder).config == plain.config
    said = capsys.readouterr().err
    assert said.count("linear scaling of positions is not used") == 1


def test_scaling_of_the_llama_class_is_used(tmp_path):
    port = open_port(write("llama-pool-first", tmp_path))
    assert (port.config.decoder.rope.kind, port.config.decoder.rope.factor) == ("linear", 2)


def test_the_files_of_transformers_give_the_same_numbers(tmp_path):
    """The -hf files of LLaVA-NeXT-Video are its originals under other names."""
    original = open_port(write("llama-pool-first", tmp_path))
    hf = write("next-llama-mha-linear", tmp_path, text={"rope_parameters": LINEAR})
    tensors = load_file(original.directory / "model.safetensors")
    for old, new in RENAMES:
        tensors = {re.sub(f"^{old}", new, key): value for key, value in tensors.items()}
    save_file(tensors, hf / "model.safetensors")
    same = open_port(hf)
    assert same.name == "llava_next_video" and same.config == original.config
    loaded = [flatten(port.load(np.float32, here)) for port in (same, original)]
    jax.tree.map(np.testing.assert_array_equal, *loaded)


def test_an_architecture_without_port_names_these(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"architectures": ["LlavaGemmaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    with pytest.raises(InputError, match="LlavaLlamaForCausalLM, LlavaMistralForCausalLM"):
        open_port(folder)
