"""Fields of a config that no port reads: which pass, which are said, which are refused."""

import json

import pytest
from twins import write

from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port, read_graph
from vidsme_jax.models.checkpoints import fields as lists

TOOLS = {
    "unsloth_version": "2025.1",
    "unsloth_fixed": True,
    "attn_implementation": "sdpa",
    "max_frames": 32,
    "auto_map": {},
}
TRAINER = {
    "tune_mm_mlp_adapter": False,
    "tune_mm_vision_resampler": False,
    "max_sequence_length": 65536,
    "delay_load": True,
    "mm_resampler_type": "spatial_pool",
    "mm_use_im_start_end": False,
    "use_pos_skipping": True,
    "pos_skipping_range": 4096,
}


@pytest.mark.parametrize("name", ["longva", "video-average-grid"])
def test_what_the_trainers_write_changes_nothing(tmp_path, name):
    plain = open_port(write(name, tmp_path / "plain"))
    trained = open_port(write(name, tmp_path / "trained", TRAINER))
    assert trained.config == plain.config and trained.template == plain.template


@pytest.mark.parametrize("name", ["longva", "next-llama-gqa"])
def test_fields_of_tools_pass_and_are_said_once(tmp_path, capsys, name):
    folder = write(name, tmp_path, TOOLS)
    plain = open_port(write(name, tmp_path / "plain"))
    assert capsys.readouterr().err == ""
    for _ in range(2):
        assert open_port(folder).config == plain.config
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"not used: {', '.join(sorted(TOOLS))}\n" in said


@pytest.mark.parametrize("where", ["change", "text", "vision"])
@pytest.mark.parametrize("value", [None, [], "x"])
def test_generation_and_training_change_nothing(tmp_path, where, value):
    names = lists.GENERATION | lists.TRAINING | lists.BOOKKEEPING
    names -= {"architectures", "model_type"}
    names -= {"max_position_embeddings"}  # scaled rotary positions depend on it
    name = "next-llama-gqa"
    plain = write(name, tmp_path / "plain")
    many = write(name, tmp_path, **{where: dict.fromkeys(names, value)})
    configs = [read_graph(folder / "config.json").config for folder in (plain, many)]
    assert configs[0] == configs[1]


@pytest.mark.parametrize("where", ["change", "text", "vision"])
@pytest.mark.parametrize(
    "change",
    [
        {"is_decoder": True},
        {"is_encoder_decoder": True},
        {"add_cross_attention": True},
        {"cross_attention_hidden_size": 8},
        {"chunk_size_feed_forward": 4},
        {"pruned_heads": {"0": [1]}},
        {"tie_encoder_decoder": True},
        {"partial_rotary_factor": 0.5},
    ],
)
def test_fields_of_another_model_are_refused(tmp_path, where, change):
    ((name, value),) = change.items()
    with pytest.raises(InputError, match=f"{name}={value!r}".replace("[", r"\[")):
        open_port(write("next-llama-gqa", tmp_path, **{where: change}))
    for default in lists.DEFAULTS[name]:
        write("next-llama-gqa", tmp_path / repr(default), **{where: {name: default}})
        open_port(tmp_path / repr(default) / "next-llama-gqa")


@pytest.mark.parametrize(
    "change",
    [
        {"mm_use_im_start_end": True},
        {"mm_resampler_type": "perceiver"},
        {"s2": True},
        {"add_time_instruction": True},
        {"mm_vision_select_feature": "cls_patch"},
    ],
)
def test_what_the_trainers_write_and_changes_the_numbers_is_read(tmp_path, change):
    ((name, value),) = change.items()
    with pytest.raises(InputError, match=f"{name}={value!r}, this port has"):
        open_port(write("longva", tmp_path, change))


def test_unknown_fields_of_all_parts_are_named_with_the_way_out(tmp_path, capsys):
    name = "next-llama-gqa"
    folder = write(name, tmp_path, {"magic": 1}, {"spell": 2, "magic": 3}, {"wand": 4})
    with pytest.raises(InputError) as caught:
        open_port(folder)
    message = str(caught.value)
    assert "\n" not in message and "text_config has fields this port does no" in message
    assert message.endswith("pass --ignore-fields magic,spell,wand")
    with pytest.raises(InputError, match="vision_config .* know: wand. If"):
        open_port(folder, ignore_fields=("magic", "spell"))
    plain = open_port(write(name, tmp_path / "plain"))
    capsys.readouterr()
    for _ in range(2):
        port = open_port(folder, ignore_fields=("magic", "spell", "wand"))
        assert port.config == plain.config
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "ignored as asked: magic, spell, wand\n" in said
    graph = read_graph(folder / "config.json", ("magic", "spell", "wand"))
    assert graph.config.decoder == plain.config.decoder


def test_a_copy_of_a_field_that_is_read_in_another_part(tmp_path):
    """Some trainers repeat the text's hidden_size outside; it is still read inside."""
    name, change = "next-llama-gqa", {"hidden_size": 77}
    folder = write(name, tmp_path, change)
    with pytest.raises(InputError, match="know: hidden_size. If .*fields hidden_size$"):
        open_port(folder)
    port = open_port(folder, ignore_fields=("hidden_size",))
    assert port.config == open_port(write(name, tmp_path / "plain")).config


def test_unknown_fields_of_a_towers_folder(tmp_path):
    folder = write("longva", tmp_path)
    path = folder / "tower" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"magic": 1}))
    with pytest.raises(InputError, match="tower/config.json has .*--ignore-fields magic"):
        open_port(folder)
    open_port(folder, ignore_fields=("magic",))


@pytest.mark.parametrize(
    ("name", "ignore", "message"),
    [
        ("longva", "hidden_size", "hidden_size=32, which decides the model's numbers"),
        ("longva", "mm_spatial_pool_stride", "stride=2, which decides the model's numb"),
        ("next-llama-gqa", "num_attention_heads", "heads=4, which decides"),
        ("next-llama-gqa", "is_decoder", "is_decoder=True, this port has False"),
        ("next-llama-gqa", "magic", "has no field of this name"),
        ("longva", "", "has no field of this name"),
    ],
)
def test_fields_that_cannot_be_ignored(tmp_path, name, ignore, message):
    change = {"is_decoder": True} if ignore == "is_decoder" else {}
    with pytest.raises(InputError, match=message):
        open_port(write(name, tmp_path, change), ignore_fields=(ignore,))
