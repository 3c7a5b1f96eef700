"""Folders as training and conversion leave them: each is called by its name."""

import json
import pickle
import shlex
import shutil
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tools import here
from twins import write

from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port, read_graph
from vidsme_jax.models.checkpoints.folders import find_quantised, find_wrapper
from vidsme_jax.models.checkpoints.trees import flatten

pytestmark = pytest.mark.least_compiled
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write("next-llama-gqa", tmp_path_factory.mktemp("base"))


@pytest.fixture
def folder(base, tmp_path):
    """A copy of the base's small files."""
    shutil.copytree(base, tmp_path / "model", ignore=shutil.ignore_patterns(WEIGHTS))
    return tmp_path / "model"


def refusal(folder):
    with pytest.raises(InputError) as caught:
        open_port(folder).check_weights()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 1200
    return text


@pytest.mark.parametrize(
    ("prefix", "remedy"),
    [
        ("_orig_mod.", "torch.compile leaves them: save model._orig_mod"),
        ("module.", "DataParallel and DeepSpeed leave them: save model.module"),
        ("module._orig_mod.", "DataParallel and DeepSpeed leave them"),
        ("base_model.model.", "PEFT leaves them, not merged: save model.merge_and_unload"),
        ("_fsdp_wrapped_module.", "FSDP leaves them"),
        ("_forward_module.", "Lightning leaves them"),
    ],
)
def test_a_prefix_of_all_keys_is_one_fault(base, folder, prefix, remedy):
    tensors = load_file(base / WEIGHTS)
    save_file({prefix + key: value for key, value in tensors.items()}, folder / WEIGHTS)
    text = refusal(folder)
    count = f"{len(tensors)} of {len(tensors)} tensors have names that start with {prefix},"
    assert count in text and remedy in text and text.count(prefix) == 4
    assert "missing" not in text and "unknown" not in text


def test_no_layout_has_such_a_prefix(base):
    assert find_wrapper([*load_file(base / WEIGHTS), "modules.x", "model.module.y"]) is None


def test_many_faults_of_a_kind_are_a_count_and_three_examples(base, folder):
    tensors = {
        f"strange.{n}.{key}": v
        for n, (key, v) in enumerate(load_file(base / WEIGHTS).items())
    }
    save_file(tensors, folder / WEIGHTS)
    text = refusal(folder)
    assert f"unknown {len(tensors)} tensors, such as strange." in text
    assert text.count("strange.") == 3 and "missing 62 tensors, such as" in text


@pytest.mark.parametrize(
    ("settings", "method"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"bits": 4}, "an unnamed method"),
        ("fp8", "an unnamed method"),
    ],
)
@pytest.mark.parametrize("part", [None, "text_config"])
def test_a_config_that_names_a_quantisation(folder, settings, method, part):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    (config[part] if part else config)["quantization_config"] = settings
    path.write_text(json.dumps(config))
    assert f"weights quantised by {method}, which no port reads" in refusal(folder)
    with pytest.raises(InputError, match="give the 16-bit checkpoint"):
        read_graph(path)


@pytest.mark.parametrize(
    ("end", "method"),
    [
        ("qweight", "GPTQ or AWQ"),
        ("qzeros", "GPTQ or AWQ"),
        ("weight.absmax", "bitsandbytes"),
        ("SCB", "bitsandbytes"),
        ("weight_packed", "compressed-tensors"),
        ("weight_scale_inv", "fp8"),
        ("_weight_qdata", "torchao"),
        ("weight._data", "quanto"),
    ],
)
def test_quantised_tensors_are_told_by_their_keys(base, folder, end, method):
    tensors = load_file(base / WEIGHTS)
    key = next(k for k in tensors if k.endswith("q_proj.weight"))
    tensors[key.removesuffix("weight") + end] = np.zeros(3, np.uint8)
    save_file(tensors, folder / WEIGHTS)
    assert f"1 tensors of weights quantised by {method}, such as" in refusal(folder)


def test_quantised_tensors_are_told_by_their_types(base):
    assert find_quantised([(key, "BF16") for key in load_file(base / WEIGHTS)]) is None
    assert find_quantised([("a", "F64"), ("b", "I64"), ("c", "F32")]) is None
    for dtype in ("F8_E4M3", "F8_E5M2", "F6_E2M3", "F4"):
        assert f"quantised as {dtype}" in find_quantised([("a", "F32"), ("b", dtype)])


@pytest.mark.parametrize(
    "names",
    [
        ["pytorch_model.bin"],
        ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"],
        ["consolidated.00.pth", "consolidated.01.pth"],
        ["it's; strange.pt"],
    ],
)
def test_pickles_are_converted_by_the_command_in_the_error(base, folder, names):
    torch = pytest.importorskip("torch")
    tensors = {k: torch.tensor(v) for k, v in load_file(base / WEIGHTS).items()}
    keys = sorted(tensors)
    for n, name in enumerate(names):
        torch.save({k: tensors[k] for k in keys[n :: len(names)]}, folder / name)
    torch.save({"state": 1}, folder / "optimizer.pt")
    torch.save({"lr": 1}, folder / "training_args.bin")
    text = refusal(folder)
    assert f"{names[0]} is a pickle, which can run code" in text
    command = shlex.split(text[text.index("python -c") :])
    if names[0].startswith("it"):
        (folder / "optimizer.pt").unlink()
    subprocess.run([sys.executable, *command[1:]], cwd=folder, check=True)
    got, want = (flatten(open_port(f).load(np.float32, here)) for f in (folder, base))
    for path, leaf in want.items():
        np.testing.assert_array_equal(got[path], leaf, err_msg=path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model-Q4_K_M.gguf", "model-Q4_K_M.gguf is GGUF, quantised: give the 16-bit"),
        (
            "global_step500/x",
            "global_step500 is a DeepSpeed state: run python zero",
        ),
        ("pytorch_model.bin.index.json", "stands for pickles, which can run code"),
        (
            "model-00001-of-00002.safetensors",
            "there is model-00001-of-00002.safetensors,",
        ),
        ("checkpoint-500/x", "checkpoint-500 in it may be meant"),
        ("optimizer.pt", "no model.safetensors and no index of shards"),
    ],
)
def test_folders_with_other_weights(folder, name, message):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps({}))
    assert message in refusal(folder)
    (folder / "config.json").unlink()
    is_told = "safetensors" not in message or "there is" in message
    assert (message if is_told else "config.json does not exist") in refusal(folder)


def test_a_leftover_adapter_beside_weights_is_said(base, folder, capsys):
    shutil.copy(base / WEIGHTS, folder)
    (folder / "adapter_config.json").write_text("{}")
    open_port(folder).check_weights()
    said = capsys.readouterr().err
    assert f"is not merged: --adapter {folder} merges it" in said


@pytest.mark.parametrize("kinds", [("bfloat16", "float32"), ("float16", "float64")])
def test_a_tied_head_of_another_type_is_equal_by_value(tmp_path, kinds):
    folder = write("onevision-tied", tmp_path)
    tensors = load_file(folder / WEIGHTS)
    key = "language_model.model.embed_tokens.weight"
    narrow, wide = (getattr(ml_dtypes, k, None) or np.dtype(k) for k in kinds)
    values = tensors[key].astype(narrow)
    head = "language_model.lm_head.weight"
    for pair in ((values, values.astype(wide)), (values.astype(wide), values)):
        save_file(tensors | dict(zip((head, key), pair, strict=True)), folder / WEIGHTS)
        open_port(folder).check_weights()
    changed = values.astype(wide)
    changed[3, 3] += 1e-3
    save_file(tensors | {head: changed, key: values}, folder / WEIGHTS)
    assert f"{head} differs from {key}, which it is tied to" in refusal(folder)


def test_a_missing_head_says_its_usual_cause(base, folder):
    tensors = load_file(base / WEIGHTS)
    del tensors["language_model.lm_head.weight"]
    save_file(tensors, folder / WEIGHTS)
    text = refusal(folder)
    assert "missing lm_head.weight (mostly the head is the embedding" in text
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    path.write_text(json.dumps(config))
    open_port(folder).check_weights()  # the remedy
