"""Real configs: every key and every parameter of the PyTorch class is accounted for.

The configs in tests/configs hold the sizes that the released checkpoints state, and the
fields that their files have. Nothing of these sizes is allocated.
"""

import json
import math

import jax
import pytest
from twins import CONFIGS as CONFIGS_FOLDER
from twins import WITH_TORCH, write_tokenizer

from vidsme_jax.models import open_port
from vidsme_jax.models.checkpoints.rules import find_faults
from vidsme_jax.models.checkpoints.trees import flatten
from vidsme_jax.models.video_llm import graph_of

CONFIGS = sorted(CONFIGS_FOLDER.glob("*.json"))
REAL = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
LONGVA_USED, LONGVA_DEAD = 7_923_047_936, 12_598_272  # the tower's last layer and norm
PROCESSORS = {
    336: {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}},
    224: {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}},
    384: {"size": {"height": 384, "width": 384}},
}


def open_real(path, folder, monkeypatch):
    """Open a directory with a real config; its small tokenizer is that of the twins."""
    config = json.loads(path.read_text())
    (folder / "config.json").write_text(json.dumps(config))
    side = config.get("vision_config", {}).get("image_size", 336)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[side]))
    write_tokenizer(folder)
    # The real tokenizers know the ids that the configs name.
    monkeypatch.setattr(
        "vidsme_jax.models.ports.llava_hf._placeholder", lambda *_: "<video>"
    )
    return open_port(folder)


def meta_tensors(config):
    """Return name and shape of every parameter of the PyTorch model, none allocated."""
    import torch
    import transformers

    with torch.device("meta"):
        if "text_config" in config:
            cls = getattr(transformers, config["architectures"][0])
            model = cls(cls.config_class(**config))
            skip = "lm_head.weight" if model.config.tie_word_embeddings else None
            return {k: tuple(v.shape) for k, v in model.state_dict().items() if k != skip}
        return original_tensors(config)


def original_tensors(config):
    """The same for the original layout: its tower, projector and language model."""
    from oracles import LANGUAGE_MODELS, original_shapes
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModel,
        SiglipVisionConfig,
        SiglipVisionModel,
    )

    heads = {"patch_size": 14, "num_attention_heads": 16}
    if "clip" in config["mm_vision_tower"]:
        sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
        tower = CLIPVisionModel(CLIPVisionConfig(**heads, **sizes, image_size=336))
    else:
        sizes = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 26}
        fields = heads | sizes | {"image_size": 384, "vision_use_head": False}
        tower = SiglipVisionModel(SiglipVisionConfig(**fields))
    names = (
        "hidden_size intermediate_size num_hidden_layers num_attention_heads"
        " num_key_value_heads vocab_size tie_word_embeddings"
    )
    kind = "llama" if "Llama" in config["architectures"][0] else "qwen2"
    lm_class, lm_config = LANGUAGE_MODELS[kind]
    lm = lm_class(lm_config(**{name: config[name] for name in names.split()}))
    newline = "spatial" in config["mm_patch_merge_type"]
    shapes = original_shapes(tower, lm, newline)
    assert shapes["model.mm_projector.0.weight"][1] == config["mm_hidden_size"]
    return {key: tuple(shape) for key, shape in shapes.items()}


@WITH_TORCH
@REAL
def test_every_parameter_is_used_or_listed(path, tmp_path, monkeypatch, record):
    port = open_real(path, tmp_path, monkeypatch)
    tensors = meta_tensors(json.loads(path.read_text()))
    shapes = {k: leaf.shape for k, leaf in flatten(port.abstract).items()}
    facts = [(key, (shape, "F32")) for key, shape in tensors.items()]
    assert find_faults(facts, port.rules, port.names, shapes) == []
    used = count(port)
    ignored = sum(
        math.prod(shape) for k, shape in tensors.items()
        if port.names.ignores(port.names.rule_key(k))
    )  # fmt: skip
    assert used + ignored == sum(map(math.prod, tensors.values()))
    record.size(path.stem, port.name, used, ignored)


def count(port) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(graph_of(port.config)[1]))


def test_longva_has_the_known_number_of_parameters(tmp_path, monkeypatch):
    path = CONFIGS_FOLDER / "LongVA-7B.json"
    assert count(open_real(path, tmp_path, monkeypatch)) == LONGVA_USED


@REAL
def test_counts_are_those_of_the_record(path, tmp_path, monkeypatch, recorded):
    """Needs no PyTorch: its counts are stored."""
    assert set(recorded["sizes"]) == {config.stem for config in CONFIGS}
    port, stored = open_real(path, tmp_path, monkeypatch), recorded["sizes"][path.stem]
    assert port.name == stored["port"] and count(port) == stored["used"]
    if path.stem == "LongVA-7B":
        assert stored["ignored"] == LONGVA_DEAD


@pytest.mark.parametrize(
    ("name", "frame", "video"),
    [
        ("LongVA-7B", 144, 16 * 144),
        ("LLaVA-NeXT-Video-7B", 144, 16 * 144),
        ("LLaVA-NeXT-Video-7B-original", 144, 16 * 144),
        ("llava-onevision-qwen2-7b", 196, 16 * 196 + 1),
        ("LLaVA-Video-7B-Qwen2", 210, 16 * 210),
        ("Video-LLaVA-7B", 257, 16 * 257),
    ],
)
def test_embeddings_of_a_clip(name, frame, video, tmp_path, monkeypatch):
    path = CONFIGS_FOLDER / f"{name}.json"
    config = open_real(path, tmp_path, monkeypatch).config
    assert config.video(1).tokens_per_unit == frame
    assert 16 * frame + config.connector.tail == video
