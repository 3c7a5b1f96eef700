"""Adapters that are refused, each in a line that names what is wrong; and what decides."""

import json
import shutil

import jax
import numpy as np
import pytest
from adapters import PREFIX, RANK, WIDTH, draw, update, write_adapter
from safetensors.numpy import load_file
from tools import here
from twins import VOCAB, write, write_tokenizer

from vidsme_jax.errors import InputError
from vidsme_jax.models import find_port, open_port, read_graph
from vidsme_jax.models.checkpoints import files, loading
from vidsme_jax.models.checkpoints.adapter_config import read_adapter_config
from vidsme_jax.models.checkpoints.trees import flatten
from vidsme_jax.sharding import partitioned, replicated

pytestmark = [pytest.mark.slow(10), pytest.mark.least_compiled]

LAYER = "model.layers.1.self_attn."
Q, OUT = (PREFIX + LAYER + name for name in ("q_proj", "o_proj"))
HEAD, TABLE = PREFIX + "lm_head.weight", PREFIX + "model.embed_tokens.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write("longva", tmp_path_factory.mktemp("base"))


def refusal(base, adapter):
    with pytest.raises(InputError) as caught:
        open_port(base, adapter)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type='IA3', expected 'LORA'"),
        ({"r": 0}, "r=0, expected a whole number"),
        ({"r": True}, "r=True, expected a whole number"),
        ({"lora_alpha": float("nan")}, "lora_alpha=nan, expected a number above 0"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out=true"),
        ({"use_dora": "yes"}, "use_dora='yes', expected true or false"),
        ({"lora_bias": True}, "not implemented: lora_bias"),
        (
            {"use_qalora": True, "layer_replication": [[0, 1]]},
            "layer_replication, use_qalora",
        ),
        (
            {"trainable_token_indices": [1], "kasa_config": {"a": 1}},
            "kasa_config, trainable",
        ),
        ({"target_parameters": ["x"], "some_new_field": 1}, "some_new_field, target_param"),
        ({"alpha_pattern": {"(a+)+$": 2}}, r"alpha_pattern has the key '(a+)+$'"),
        ({"rank_pattern": {r"layers\.\d": 2}}, "rank_pattern has the key"),
        ({"rank_pattern": {"q_proj": 0}}, "rank_pattern of 'q_proj' is not a number above"),
        ({"rank_pattern": [1]}, "rank_pattern is no mapping"),
        (
            {"init_lora_weights": "pissa_niter_4"},
            "'pissa_niter_4' changes the base's weights",
        ),
        ({"init_lora_weights": "olora"}, "path_initial_model_for_weight_conversion"),
    ],
)
def test_fields_that_are_refused(base, tmp_path, fields, message):
    assert message in refusal(base, write_adapter(tmp_path / "a", update(Q), **fields))


def test_all_faults_of_a_config_come_in_one_line(base, tmp_path):
    text = refusal(
        base, write_adapter(tmp_path / "a", update(Q), r=-1, lora_bias=True, alora_x=[1])
    )
    assert "r=-1" in text and "alora_x, lora_bias" in text


def test_fields_that_decide_nothing(tmp_path):
    """What PEFT writes today, and patterns that are never run."""
    fields = {
        **dict.fromkeys(("lora_dropout", "qalora_group_size"), 16),
        **dict.fromkeys(("revision", "task_type", "peft_version", "bias"), "all"),
        **dict.fromkeys(("arrow_config", "use_bdlora", "velora_config", "newer"), None),
        **dict.fromkeys(("lora_bias", "use_qalora"), False),
        **dict.fromkeys(("loftq_config", "rank_pattern", "auto_mapping"), {}),
        **{"target_modules": "(a+)+$", "layers_to_transform": [0], "exclude_modules": "x"},
        "init_lora_weights": "Gaussian",
    }
    folder = write_adapter(tmp_path / "a", update(Q), **fields)
    config = read_adapter_config(folder / "adapter_config.json")
    assert config.base == "x/y" and config.scale_of("q_proj", RANK) == 1.5


def test_the_first_pattern_that_a_module_ends_with(tmp_path):
    """As re.match("(.*\\.)?(key)$", module) has it."""
    alphas = {"layers.1.self_attn.q_proj": 8, "q_proj": 4, "proj": 2}
    folder = write_adapter(
        tmp_path / "a", update(Q), alpha_pattern=alphas, use_rslora=True, r=4
    )
    scale_of = read_adapter_config(folder / "adapter_config.json").scale_of
    assert scale_of("model.layers.1.self_attn.q_proj", 4) == 4.0
    assert scale_of("model.layers.11.self_attn.q_proj", 4) == 2.0
    assert scale_of("model.layers.0.self_attn.v_proj", 4) == 1.5


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({f"{Q}.lora_A.weight": draw(RANK, WIDTH)}, "updates without B: model.layers.1"),
        ({f"{Q}.lora_B.weight": draw(WIDTH, RANK)}, "updates without A: model.layers.1"),
        (update(Q, inner=48), "has (2, 48), expected (2, 32)"),
        (update(Q, rank=5), "ranks that the config does not say: model.layers.1"),
        (update(Q) | {f"{Q}.lora_magnitude_vector": draw(WIDTH)}, "use_dora is false"),
        (update(Q) | {f"{Q}.lora_B.bias": draw(WIDTH)}, "no place in it: "),
        (update(PREFIX + "model.norm"), "updates of what is not a linear layer"),
        (
            {
                f"{PREFIX}model.norm.lora_embedding_A": draw(RANK, 1),
                f"{PREFIX}model.norm.lora_embedding_B": draw(WIDTH, RANK),
            },
            "updates of what is not an embedding: model.norm",
        ),
        ({f"{Q}.weight": np.ones((WIDTH, WIDTH), np.int8)}, "tensors of type I8"),
        ({f"{Q}.weight": draw(WIDTH, WIDTH), f"{Q}.base_layer.weight": draw(WIDTH, WIDTH)},
         "stand twice"),
        ({f"{Q}.weight": draw(WIDTH, 3)}, "has (32, 3), expected (32, 32)"),
        ({}, "it holds no tensor of the model"),
        ({HEAD: draw(VOCAB + 8, WIDTH)}, "rows, but not in: model.embed_tokens.weight"),
    ],
)  # fmt: skip
def test_tensors_that_are_refused(base, tmp_path, tensors, message):
    text = refusal(base, write_adapter(tmp_path / "a", tensors))
    assert message in text and "trained on x/y, does not fit the model" in text


def test_an_adapter_of_another_base_is_a_count_and_three_examples(base, tmp_path):
    foreign = {}
    for n in range(9):
        foreign |= update(f"{PREFIX}transformer.h.{n}.attn")
    text = refusal(base, write_adapter(tmp_path / "a", foreign | update(Q, out=64)))
    assert text.count("transformer.h.") == 3 and "and 15 more" in text
    assert "has (64, 2), expected (32, 2)" in text and len(text) < 700


def test_dora_without_its_magnitudes(base, tmp_path):
    text = refusal(base, write_adapter(tmp_path / "a", update(Q), use_dora=True))
    assert "updates without magnitude: model.layers.1" in text


def test_a_tied_head_stays_the_embedding(tmp_path):
    base = write("longva-tied", tmp_path)
    table = draw(VOCAB, WIDTH)
    for tensors, message in (
        (update(PREFIX + "lm_head", VOCAB), "updates of a head that is tied"),
        ({TABLE: table}, "replaced without the head that is tied to it: base_model"),
        ({HEAD: table}, "a head unlike the embedding that it is tied to"),
        ({HEAD: table, TABLE: table + 1}, "a head unlike the embedding"),
        (
            {
                f"{PREFIX}model.embed_tokens.lora_embedding_A": draw(RANK, VOCAB),
                f"{PREFIX}model.embed_tokens.lora_embedding_B": draw(WIDTH, RANK),
            },
            "updates of an embedding that the head is tied to: model.embed_tokens",
        ),
    ):
        assert message in refusal(base, write_adapter(tmp_path / "a", tensors))
    port = open_port(base, write_adapter(tmp_path / "a", {HEAD: table, TABLE: table}))
    leaf = flatten(port.load(np.float32, here))["decoder.embed.embedding"]
    np.testing.assert_array_equal(leaf, table)


def test_folders_that_are_no_adapters(base, tmp_path):
    assert "is no folder, expected the folder of a PEFT" in refusal(base, tmp_path / "a")
    assert "is without adapter_config.json" in refusal(base, base)
    named = write_adapter(tmp_path / "named" / "second", update(Q)).parent
    assert "(a whole checkpoint is --model's); there is second in it" in refusal(
        base, named
    )
    folder = write_adapter(tmp_path / "b", update(Q))
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    assert "is not a whole safetensors file" in refusal(base, folder)
    path.unlink()
    assert "adapter_model.safetensors is missing" in refusal(base, folder)


@pytest.mark.parametrize("name", ["adapter_model", "non_lora_trainables"])
def test_a_pickle_is_refused_with_the_command_that_converts_it(base, tmp_path, name):
    torch = pytest.importorskip("torch")
    import shlex
    import subprocess
    import sys

    folder = write_adapter(tmp_path / "a", update(Q))
    tensors = load_file(folder / "adapter_model.safetensors")
    if name == "adapter_model":
        (folder / "adapter_model.safetensors").unlink()
    else:
        tensors = {f"{PREFIX}model.mm_projector.0.bias": draw(WIDTH)}
    torch.save({k: torch.tensor(v) for k, v in tensors.items()}, folder / f"{name}.bin")
    text = refusal(base, folder)
    assert f"{name}.bin holds" in text and "in a pickle, which can run code" in text
    command = shlex.split(text[text.index("python -c") :])
    subprocess.run([sys.executable, *command[1:]], cwd=folder, check=True)
    adapter = open_port(base, folder).adapter
    assert len(adapter.updates) == 1
    assert [*adapter.replacements] == (
        [] if name == "adapter_model" else ["model.mm_projector.0.bias"]
    )


def test_a_folder_that_is_an_adapter_says_how_to_give_both(base, tmp_path):
    folder = write_adapter(tmp_path / "a", update(Q))
    for start in (open_port, lambda path: read_graph(path / "config.json")):
        with pytest.raises(InputError, match="is a PEFT adapter, trained on x/y, and no"):
            start(folder)
    with pytest.raises(InputError, match="index of shards; model=.* is a PEFT adapter"):
        files.weight_files(folder)
    (folder / "non_lora_trainables.bin").touch()
    shutil.copy(base / "config.json", folder)
    with pytest.raises(InputError) as caught:
        open_port(folder)
    text = str(caught.value)
    assert "as LLaVA's training writes it" in text and "\n" not in text
    assert f"--model BASE --adapter {folder}" in text and "the projector, without" in text


def test_what_is_said_of_an_adapter(base, tmp_path, capsys):
    name = "unsloth/llava-bnb-4bit\nmore"
    folder = write_adapter(tmp_path / "a", update(Q), base_model_name_or_path=name)
    config = json.loads((base / "config.json").read_text())
    config |= {"mm_vision_select_layer": -1, "torch_dtype": "float16"}
    (folder / "config.json").write_text(json.dumps(config))
    open_port(base, folder)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "trained on unsloth/llava-bnb-4bit more" in said
    assert "it was trained on quantised weights" in said
    assert "its config.json has another mm_vision_select_layer: the base's" in said


def resized(folder):
    rows = draw(VOCAB + 8, WIDTH)
    return write_adapter(folder, update(Q) | {HEAD: rows, TABLE: rows + 1})


def test_a_resized_vocabulary_needs_the_tokenizer(base, tmp_path, capsys):
    folder = resized(tmp_path / "a")
    text = refusal(base, folder)
    assert f"resizes the vocabulary to {VOCAB + 8} rows and has no tokenizer" in text
    write_tokenizer(folder)
    port = open_port(base, folder)
    assert "its own tokenizer is used" in capsys.readouterr().err
    assert port.sizes.vocab == VOCAB + 8 and port.tokenizer.directory == folder
    assert port.vocab_keep == len(port.tokenizer)
    assert port.load(np.float32, here)["decoder"]["head"]["kernel"].shape[1] == VOCAB + 8
    graph = read_graph(base / "config.json", adapter=folder)
    assert graph.sizes.vocab == VOCAB + 8


def add_tokens(folder, count):
    """Add tokens to a folder's tokenizer."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    last = content["added_tokens"][-1]
    first = last["id"] + 1
    for n in range(count):
        content["added_tokens"].append(last | {"id": first + n, "content": f"<more{n}>"})
    path.write_text(json.dumps(content))


def test_a_tokenizer_that_does_not_fit(base, tmp_path, capsys):
    folder = write_adapter(tmp_path / "a", update(Q))
    write_tokenizer(folder)
    assert len(open_port(base, folder).tokenizer) == 261
    add_tokens(folder, 30)
    capsys.readouterr()
    assert open_port(base, folder).tokenizer.directory == base
    said = capsys.readouterr().err
    assert "a tokenizer of 291 ids, the model 280 rows: the base's tokenizer is" in said
    other = resized(tmp_path / "b")
    shutil.copy(folder / "tokenizer.json", other)
    shutil.copy(folder / "tokenizer_config.json", other)
    assert "has a tokenizer of 291 ids, the model 288 rows: expected" in refusal(
        base, other
    )


def test_the_fingerprint_is_of_base_and_adapter(base, tmp_path):
    plain = open_port(base).fingerprint()
    folder = write_adapter(tmp_path / "a", update(Q))
    first = open_port(base, folder).fingerprint()
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert open_port(base, moved).fingerprint() == first != plain
    (folder / "README.md").write_text("notes")
    assert open_port(base, folder).fingerprint() == first
    prints = {plain, first}
    for change in (
        lambda: write_adapter(folder, update(Q), lora_alpha=4),
        lambda: write_adapter(folder, update(OUT)),
        lambda: write_tokenizer(folder),
        lambda: add_tokens(folder, 1),
    ):
        change()
        prints.add(open_port(base, folder).fingerprint())
    assert len(prints) == 6


@pytest.mark.parametrize("place", ["single", "replicas", "partitioned"])
def test_cut_and_partitioned_tensors_are_merged_alike(base, tmp_path, monkeypatch, place):
    """Kernels split by output and by input, embeddings by row; with DoRA's norms."""
    modules = {Q: (32, 32), OUT: (32, 32), PREFIX + "lm_head": (VOCAB, 32)}
    modules |= {PREFIX + "model.layers.0.mlp.down_proj": (32, 48)}
    tensors = {TABLE.replace(".weight", ".lora_embedding_A"): draw(RANK, VOCAB)}
    tensors |= {TABLE.replace(".weight", ".lora_embedding_B"): draw(WIDTH, RANK)}
    tensors |= {TABLE.replace(".weight", ".lora_magnitude_vector"): 1 + draw(WIDTH) ** 2}
    for module, (out, inner) in modules.items():
        tensors |= update(module, out, inner)
        tensors[f"{module}.lora_magnitude_vector"] = 1 + draw(out) ** 2
    port = open_port(base, write_adapter(tmp_path / "a", tensors, use_dora=True))
    devices = tuple(jax.devices())
    where = {
        "single": here,
        "replicas": replicated(lambda x: x, devices).place,
        "partitioned": partitioned(lambda x: x, devices, 2).place,
    }[place]
    whole = flatten(port.load(np.float32, here))
    monkeypatch.setattr(files, "_PIECE_BYTES", 500)
    monkeypatch.setattr(loading, "_SMALL_BYTES", 0)
    cut = flatten(port.load(np.float32, where))
    for rule in port.rules:
        assert cut[rule.path].sharding == where(rule.spec, whole[rule.path].shape)
        np.testing.assert_allclose(cut[rule.path], whole[rule.path], rtol=2e-6, atol=2e-6)
    # By the formula of the paper, in float64.
    a, b = (tensors[f"{Q}.lora_{n}.weight"].astype(np.float64) for n in "AB")
    kernel = load_file(base / "model.safetensors")[LAYER + "q_proj.weight"] + 1.5 * b @ a
    rows = tensors[f"{Q}.lora_magnitude_vector"] / np.linalg.norm(kernel, axis=1)
    got = cut["decoder.layers.attention.q.kernel"][1]
    np.testing.assert_allclose(got, (kernel * rows[:, None]).T, rtol=2e-5, atol=2e-6)


def test_a_shape_is_written_by_one_program(base, tmp_path, monkeypatch):
    """Updates of any number of layers compile nothing that the base did not."""
    monkeypatch.setattr(loading, "_SMALL_BYTES", 0)
    tensors = {}
    for layer in range(2):
        tensors |= update(f"{PREFIX}model.layers.{layer}.self_attn.q_proj")
    port = open_port(base, write_adapter(tmp_path / "a", tensors))
    open_port(base).load(np.float32, here)
    before = loading._write_piece._cache_size()
    port.load(np.float32, here)
    assert loading._write_piece._cache_size() == before


def test_bfloat16_is_rounded_once_after_merging(base, tmp_path):
    import ml_dtypes

    port = open_port(base, write_adapter(tmp_path / "a", update(Q)))
    wide, narrow = (
        flatten(port.load(dtype, here))["decoder.layers.attention.q.kernel"]
        for dtype in (np.float32, ml_dtypes.bfloat16)
    )
    np.testing.assert_array_equal(narrow, np.asarray(wide).astype(ml_dtypes.bfloat16))


def test_find_port_takes_all_three(base, tmp_path):
    port = find_port(str(base), write_adapter(tmp_path / "a", update(Q)), weights=False)
    assert port.adapter is not None and find_port(base).adapter is None
