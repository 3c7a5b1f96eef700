"""Configs of every layout: what is understood, and what is refused by name."""

import json

import numpy as np
import pytest
from tools import here
from twins import write

from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.checkpoints.loading import read_unused
from vidsme_jax.models.checkpoints.trees import flatten
from vidsme_jax.models.ports.sizes import DECODERS, TOWERS, stop_early

LINEAR = {"rope_type": "linear", "factor": 4.0}


@pytest.mark.parametrize(
    ("change", "theta", "factor"),
    [
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, 1e6, 1.0),
        ({"rope_parameters": LINEAR | {"rope_theta": 5e6}}, 5e6, 4.0),
        ({"rope_parameters": ...}, 1e4, 1.0),
        ({"rope_parameters": ..., "rope_theta": 1000000}, 1e6, 1.0),
        ({"rope_parameters": None, "rope_theta": 5e6, "rope_scaling": LINEAR}, 5e6, 4.0),
        ({"rope_parameters": ..., "rope_scaling": {"type": "linear", "factor": 2}}, 1e4, 2),
    ],
)
def test_rotary_positions_of_either_release(tmp_path, change, theta, factor):
    port = open_port(write("next-llama-mha-linear", tmp_path, text=change))
    assert port.config.decoder.rope.theta == theta
    assert port.config.decoder.rope.factor == factor


@pytest.mark.parametrize(
    ("name", "where", "change", "message"),
    [
        ("longva", "change", {"magic": 1}, "does not know: magic"),
        ("longva", "change", {"use_sliding_window": True}, "use_sliding_window=True"),
        ("longva", "change", {"add_faster_video": True}, "add_faster_video=True"),
        ("longva", "change", {"num_key_value_heads": 3}, "4 heads of 8 over 3 key-value"),
        ("longva", "change", {"hidden_size": 0}, "hidden_size=0, expected 1 to"),
        ("longva", "change", {"mm_patch_merge_type": "unpad"}, "merge_type='unpad'"),
        ("longva", "change", {"mm_patch_merge_type": "spatial_x"}, "type='spatial_x'"),
        ("longva", "change", {"mm_projector_type": "linear"}, "mm_projector_type='linear'"),
        ("video-average-grid", "change", {"mm_newline_position": "x"}, "mm_newline_pos"),
        ("video-average-grid", "change", {"mm_spatial_pool_stride": 4}, "stride=4"),
        ("onevision-siglip", "change", {"magic": 1}, "does not know: magic"),
        ("onevision-siglip", "text", {"magic": 1}, "text_config has fields .*: magic"),
        ("onevision-siglip", "vision", {"magic": 1}, "vision_config has fields .*: magic"),
        ("onevision-siglip", "text", {"model_type": "gemma"}, "'gemma', this port has ll"),
        ("onevision-siglip", "vision", {"model_type": "vit"}, "'vit', this port has sigl"),
        (
            "onevision-siglip",
            "change",
            {"video_token_index": 9999},
            "the id of an added token",
        ),
        ("onevision-siglip", "change", {"vision_feature_layer": [1, 2]}, "of type int"),
        ("onevision-siglip", "change", {"vision_feature_layer": 9}, "layer=9 of 3 layers"),
        (
            "onevision-siglip",
            "change",
            {"vision_feature_select_strategy": "default"},
            "SigLIP tower is no square",
        ),
        ("onevision-siglip", "change", {"projector_hidden_act": "relu"}, "act='relu'"),
        (
            "onevision-siglip",
            "vision",
            {"image_size": 28},
            "37 pixels, but the tower takes",
        ),
        ("next-llama-gqa", "text", {"rope_scaling": {"type": "linear"}}, "factor=None"),
        ("next-llama-gqa", "text", {"attention_bias": True}, "attention_bias=True"),
        ("next-llama-gqa", "text", {"layer_types": ["sliding_attention"]}, "layer_types"),
        ("next-llama-gqa", "change", {"spatial_pool_mode": "conv"}, "pool_mode='conv'"),
        ("video-llava", "vision", {"hidden_act": "silu"}, "hidden_act='silu'"),
        ("onevision-siglip", "change", {"video_token_index": 10}, "id of an added token"),
        ("onevision-siglip", "change", {"video_token_index": -1}, "id of an added token"),
        ("onevision-siglip", "change", {"video_token_index": 10**12}, "added token"),
        ("longva", "change", {"architectures": 5}, "architectures=5 is no list"),
        ("longva", "change", {"mm_vision_tower": "\0"}, "or a folder inside the checkp"),
        ("longva", "change", {"mm_spatial_pool_stride": 9}, "leaves nothing of a frame"),
        ("next-llama-gqa", "change", {"spatial_pool_stride": 9}, "leaves nothing of a fr"),
        ("next-llama-gqa", "text", {"head_dim": -2}, "head_dim=-2, expected 1 to"),
        ("next-llama-gqa", "text", {"num_key_value_heads": 0}, "heads=0, expected 1 to"),
        ("next-llama-gqa", "text", {"hidden_size": 10**19}, "expected 1 to 1000000"),
        ("next-llama-gqa", "text", {"num_hidden_layers": 10**9}, "expected 1 to 1000"),
        ("next-llama-gqa", "text", {"rms_norm_eps": -1.0}, "rms_norm_eps=-1.0, expected"),
        ("next-llama-gqa", "text", {"rope_theta": float("inf")}, "rope_theta=inf, exp"),
        ("next-llama-gqa", "text", {"rope_theta": 10**400}, "a number of 401 digits"),
        ("longva", "change", {"mm_vision_tower": "x" * 300}, "or a folder inside the"),
        ("next-llama-gqa", "text", {"layer_types": [{}]}, "layer_types has {}"),
        ("next-llama-gqa", "vision", {"image_size": 10**6}, "expected 1 to 10000"),
        ("next-mistral-window", "text", {"sliding_window": 0}, "window=0, expected 1 to"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(tmp_path, name, where, change, message):
    with pytest.raises(InputError, match=message) as caught:
        open_port(write(name, tmp_path, **{where: change}))
    assert "\n" not in str(caught.value)


def test_defaults_are_those_of_transformers():
    """Hub configs leave out what equals the default of a class."""
    import transformers

    classes = {
        "llama": "LlamaConfig",
        "mistral": "MistralConfig",
        "qwen2": "Qwen2Config",
        "clip_vision_model": "CLIPVisionConfig",
        "siglip_vision_model": "SiglipVisionConfig",
    }
    for kind, defaults in (DECODERS | TOWERS).items():
        theirs = getattr(transformers, classes[kind])()
        for name, value in defaults.items():
            assert getattr(theirs, name) == value, (kind, name)
        assert getattr(theirs, "rms_norm_eps", 1e-6) == 1e-6
        parameters = getattr(theirs, "rope_parameters", {"rope_theta": 10000.0})
        assert parameters["rope_theta"] == 10000.0


@pytest.mark.parametrize("layer, run", [(-1, 3), (-2, 2), (2, 2), (3, 3)])
def test_hidden_states_are_counted_as_transformers_does(tmp_path, layer, run):
    config = open_port(write("longva", tmp_path)).config
    assert stop_early(config.vision, layer, "layer").layers == run
    for wrong in (0, -4, 4):
        with pytest.raises(InputError, match=f"layer={wrong} of 3 layers"):
            stop_early(config.vision, wrong, "layer")


def test_a_config_without_class_is_known_by_its_type(tmp_path):
    port = open_port(write("video-llava", tmp_path, {"architectures": ...}))
    assert port.name == "video_llava"


def test_video_xl_weights_are_read_without_their_compression(tmp_path):
    """The attacks' code runs them as LongVA: beacon tensors and fields are left alone."""
    from safetensors.numpy import load_file, save_file

    fields = {"beacon_window": 1440, "beacon_ratio": [8]}
    folder = write("longva", tmp_path, fields)
    port = open_port(folder)
    want = flatten(port.load(np.float32, here))
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.beacon_q_proj.weight"
    more = {
        name: np.ones((2, 2), np.float32),
        "model.beacon_embed_tokens.weight": np.ones(3),
    }
    save_file(tensors | more, folder / "model.safetensors")
    got = flatten(port.load(np.float32, here))
    for path, leaf in want.items():
        np.testing.assert_array_equal(got[path], leaf)


def test_the_sentence_about_times_stands_where_the_config_asks_for_it(tmp_path):
    name = "video-bilinear-grid"
    plain = open_port(write(name, tmp_path / "a"))
    timed = open_port(write(name, tmp_path / "b", {"add_time_instruction": True}))
    assert plain.template != timed.template
    assert "answer the following questions" in str(timed.template.pieces)


def test_a_prompt_without_system_message_refuses_one(tmp_path):
    port = open_port(write("video-llava", tmp_path))
    with pytest.raises(
        InputError, match="system='Be brief.': the prompt of this model has"
    ):
        port.prompt("Q", "", system="Be brief.")


def test_more_positions_than_the_model_takes(tmp_path):
    port = open_port(write("longva", tmp_path, {"tokenizer_model_max_length": 300}))
    prompts = [port.prompt("Q", "A"), port.prompt("What?", "B")]
    port.check_length(prompts, 16)
    with pytest.raises(InputError, match="frames=80: up to [0-9]+ positions .* most 300"):
        port.check_length(prompts, 80)


def test_tokens_that_the_model_has_no_embedding_for(tmp_path):
    """PyTorch fails there; a gather on a device would take another row in silence."""
    text = {"vocab_size": 100}
    port = open_port(write("video-llava", tmp_path, text=text))
    with pytest.raises(
        InputError, match="of id [0-9]+, but the model has embeddings for 100"
    ):
        port.prompt("What?", "this")


def add_file(folder, name, change):
    """Change a JSON file of a checkpoint."""
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_ids_may_have_gaps(tmp_path):
    """The softmax reaches up to the largest id, not to the number of tokens."""
    folder = write("longva", tmp_path)

    def move(content):
        vocab = content["model"]["vocab"]
        vocab[max(vocab, key=vocab.get)] = 270

    add_file(folder, "tokenizer.json", move)
    port = open_port(folder)
    assert port.config.vocab_keep == 271 > port.tokenizer._fast.get_vocab_size()


def test_code_of_a_checkpoint_is_never_run(tmp_path):
    folder = write("longva", tmp_path)
    mark = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass EvilTok: pass\n")
    name = {
        "tokenizer_class": "EvilTok",
        "auto_map": {"AutoTokenizer": [None, "evil.EvilTok"]},
    }
    add_file(folder, "tokenizer_config.json", lambda content: content.update(name))
    try:
        open_port(folder)
    except InputError as error:
        assert "\n" not in str(error)
    assert not mark.exists()


def test_a_fingerprint_is_of_the_model_and_not_of_what_lies_beside_it(tmp_path):
    """A run inside the model's directory can go on."""
    port = open_port(write("longva", tmp_path))
    before = port.fingerprint()
    roundabout = port.directory / ".." / port.directory.name
    assert open_port(roundabout).fingerprint() == before
    run = port.directory / "runs" / "one"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (port.directory / "notes.json").write_text("{}")
    assert port.fingerprint() == before
    add_file(port.directory / "tower", "config.json", lambda c: c.update(dtype="float32"))
    assert port.fingerprint() != before


@pytest.mark.parametrize(
    "name",
    [
        "openai/clip-vit-large-patch14-336",
        "./checkpoints/clip-vit-large-patch14-336",
        "/data/someone/clip-vit-large-patch14-336/",
    ],
)
def test_a_tower_is_known_by_the_last_part_of_its_name(tmp_path, name):
    """Whoever trained the checkpoint had the tower somewhere; its weights are here."""
    vision = open_port(write("longva", tmp_path, {"mm_vision_tower": name})).config.vision
    assert (vision.image, vision.layers, vision.layers_total) == (336, 23, 24)


@pytest.mark.parametrize(
    ("name", "head", "embedding"),
    [
        ("longva-tied", "lm_head.weight", "model.embed_tokens.weight"),
        (
            "onevision-tied",
            "language_model.lm_head.weight",
            "language_model.model.embed_tokens.weight",
        ),
    ],
)
def test_a_tied_head_may_be_stored_if_it_is_the_embedding(tmp_path, name, head, embedding):
    from safetensors.numpy import load_file, save_file

    port = open_port(write(name, tmp_path))
    path = port.directory / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {head: tensors[embedding]}, path)
    assert "decoder.head.kernel" not in flatten(port.load(np.float32, here))
    unused, _ = read_unused(port.directory, port.rules, port.names, port.abstract)
    assert head not in unused  # after training it would be the old one
    save_file(tensors | {head: tensors[embedding] + 1}, path)
    with pytest.raises(InputError, match=f"{head} differs from {embedding}"):
        port.check_weights()
