import pytest
from tools import edit, make_project

from vidsme_jax.cli.listing import models_table
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.ports import PORTS


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    _, _, model = make_project(tmp_path_factory.mktemp("toy"), count=3)
    return open_port(model)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"architectures": ["GPT2LMHeadModel"]},
            "GPT2.*expected one of LlavaQwenForCausalLM, LlavaNextVideo",
        ),
        ({"flux_capacity": 3}, "does not know: flux_capacity"),
        ({"hidden_act": "relu"}, "hidden_act='relu', this port has 'silu'"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling"),
        ({"mm_spatial_pool_mode": "max"}, "mm_spatial_pool_mode='max'"),
        ({"hidden_size": ...}, "hidden_size=None, expected a value of type int"),
        ({"hidden_size": "128"}, "hidden_size='128', expected"),
        ({"mm_vision_tower": "../elsewhere"}, "or a folder inside the checkpoint"),
        ({"mm_vision_select_layer": -9}, "mm_vision_select_layer=-9 of 3 layers"),
    ],
)
def test_configs_that_ask_for_something_else(port, tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        open_port(edit(port.directory, tmp_path / "m", **fields))


def test_directories_that_are_no_checkpoint(port, tmp_path):
    with pytest.raises(InputError, match="is no directory"):
        open_port(tmp_path / "none")
    with pytest.raises(InputError, match="config.json does not exist"):
        open_port(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="not readable JSON"):
        open_port(tmp_path)
    bare = edit(port.directory, tmp_path / "bare")
    for path in bare.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(InputError, match="no tokenizer") as caught:
        open_port(bare)
    assert "\n" not in str(caught.value)


def test_a_port_without_a_record_is_said(monkeypatch):
    """As while one is being written."""
    nothing = {"cases": {}, "sizes": {}}
    monkeypatch.setattr("vidsme_jax.cli.listing.read_record", lambda: nothing)
    text = models_table()
    assert text.count("parity       not measured") == len(PORTS)
