"""`vidsme bench`: contestants compute the same, and all is recorded; times go unchecked."""

import builtins
import copy
import json
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from vidsme_jax.bench.agreement import differences
from vidsme_jax.bench.bench import _make_room
from vidsme_jax.bench.inputs import SIZES
from vidsme_jax.bench.table import describe
from vidsme_jax.bench.torch_statistics import row_loop, statistics
from vidsme_jax.cli.main import main
from vidsme_jax.models import read_graph, toy
from vidsme_jax.models.checkpoints.files import weight_files
from vidsme_jax.models.checkpoints.trees import flatten
from vidsme_jax.scores.catalogue import TOKEN_FAMILIES
from vidsme_jax.scores.token_statistics import row_statistics

pytestmark = [pytest.mark.slow(45), pytest.mark.least_compiled]

CONTESTANTS = ("ours", "as_called", "at_best", "published", "ours_one", "at_best_one")
COMMAND = ["bench", "--size", "toy", "--frames", "2", "--rounds", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the facts of a run of the command, and its directory."""
    out = tmp_path_factory.mktemp("bench") / "out"
    assert main([*COMMAND, "--out", str(out)]) == 0
    return json.loads((out / "bench.json").read_text()), out


def test_everybody_computes_the_same(run):
    apart = run[0]["differences"]
    assert set(apart) == set(CONTESTANTS) - {"ours"}
    for name, families in apart.items():
        both = name in ("as_called", "at_best", "published")
        sme = {"sme", "sme_nat", "sme_rev"} if both else {"sme_nat"}
        lacking = {"minkpp"} if name == "published" else set()  # it has no Min-K%++
        assert set(families) == sme | set(TOKEN_FAMILIES) - lacking
        assert max(families.values()) < run[0]["tolerance"] == 1e-3, (name, families)


def test_the_record_has_every_time_and_what_it_depends_on(run):
    facts, out = run
    seconds = facts["seconds_a_clip"]
    assert tuple(seconds) == CONTESTANTS
    assert all(len(times) == 1 and times[0] > 0 for times in seconds.values())
    assert list(facts["parts_seconds_a_clip"]) == [
        "decode",
        "flow",
        "transfer",
        "vision",
        "decoder",
        "head and statistics",
        "write",
    ]
    assert {"jax", "torch", "transformers", "flax", "python"} == set(facts["versions"])
    assert facts["settings"]["dtype"] == "float32" and facts["torch_threads"] > 0
    assert facts["video_tokens"] == 2 * 9 and facts["peak_bytes"]["compiled"] > 0
    assert facts["necessary_flops"]["both"] > facts["necessary_flops"]["one"] > 0
    for name in ("product", "statistics", "compile_seconds", "generate_seconds", "at_best"):
        assert facts[name], name
    stored = load_file(out / "model" / "model.safetensors")
    ignored = read_graph(out / "model" / "config.json").names.ignores
    assert facts["parameters"] == sum(v.size for k, v in stored.items() if not ignored(k))


def test_the_table_says_what_was_measured(run):
    facts = copy.deepcopy(run[0])
    facts["seconds_a_clip"]["ours"] = [1.0, 2.0, 4.0]
    facts["seconds_a_clip"]["as_called"] = [3.0, 4.0, 10.0]
    facts["product"]["flops_a_second"] = {"ours": [8e9, 8e9], "torch": [4e9, 4e9]}
    facts["necessary_flops"]["both"] = 8e9
    lines = describe(facts).splitlines()
    ours = next(line for line in lines if line.startswith("  ours"))
    assert ours.split() == ["ours", "2.000", "0.500", "9", "50%"]
    called = next(line for line in lines if "as called" in line)
    assert called.endswith("2.50 (2.00..3.00)           1.25")
    assert any("8 GFLOP/s here, 4 in PyTorch, 2.00 times" in line for line in lines)


@pytest.mark.parametrize("value", [2e-3, float("nan")])
def test_no_ratios_where_the_numbers_differ(run, value):
    facts = copy.deepcopy(run[0])
    facts["differences"]["at_best"]["gap"] = value
    table = describe(facts)
    assert "not the same computation, so no ratios" in table
    assert "times ours" not in table and ".." not in table
    facts["tolerance"] = None  # bfloat16
    assert "times ours" in describe(facts)


def test_a_difference_is_found_wherever_it_is():
    rows = np.ones((2, 5), np.float32)
    names = ("sme", "sme_nat", "sme_rev", "gap")
    batch = type("", (), {"curves": {name: rows for name in names}})
    way = {"sme": rows[0], "gap": rows[0] + np.float32(0.5) * (np.arange(5) == 3)}
    short = {"sme": np.array([1, np.nan], np.float32)}
    results = {
        "ours": [batch],
        "as_called": [[[way, way], [way, way]]],
        "published": [[[short, short]]],
        "ours_one": [{"sme": rows[:, None]}],
    }
    apart = differences([np.ones((2, 1, 5), bool)], results)
    assert apart["as_called"] == {"gap": 0.5, "sme_nat": 0, "sme_rev": 0, "sme": 1}
    assert np.isnan(apart["published"]["sme_nat"])
    assert apart["ours_one"] == {"sme_nat": 0}


def test_statistics_of_peaked_rows(rng):
    z = 4 * rng.standard_normal((6, 400), np.float32)
    target = np.array([-1, -1, -1, 3, 5, 7], np.int32)
    q, r = 1.6, 1.04
    orders = (np.full(6, order, np.float32) for order in (q, r))
    ours = row_statistics(z, target, *orders)
    plain = statistics(torch.tensor(z), torch.tensor(target).long(), q, r)
    assert set(plain) == set(ours)
    for name, values in plain.items():
        np.testing.assert_allclose(values.numpy(), ours[name], rtol=1e-4, atol=1e-4)
    ids = z[:3].argmax(-1).tolist()
    loop = row_loop(torch.tensor(z[:3]), ids, q, r, baselines=True)
    assert set(loop) == set(ours) - {"minkpp"}
    for name, values in loop.items():
        np.testing.assert_allclose(values, ours[name][:3], rtol=1e-4, atol=1e-4)


def test_sizes_are_what_they_are_called(tmp_path):
    counts = {}
    for name, (decoder, tower, dtype) in SIZES.items():
        folder = tmp_path / name
        (folder / "vision_tower").mkdir(parents=True)
        config = toy._DECODER | {"vocab_size": 427, "torch_dtype": dtype} | decoder
        (folder / "config.json").write_text(json.dumps(config))
        vision = toy._TOWER | tower
        (folder / "vision_tower" / "config.json").write_text(json.dumps(vision))
        shapes = flatten(read_graph(folder / "config.json").abstract).values()
        counts[name] = sum(leaf.size for leaf in shapes)
    assert 0.9e6 < counts["toy"] < 1.1e6 and 100e6 < counts["medium"] < 150e6
    assert counts["7b"] == pytest.approx(7.9e9, rel=0.01)


def test_a_checkpoint_of_several_files_in_bfloat16(tmp_path, monkeypatch):
    whole = toy.write_toy(tmp_path / "whole", ["words"] * 4, 0)
    monkeypatch.setattr(toy, "_SHARD_BYTES", 2**18)
    parts = toy.write_toy(tmp_path / "parts", ["words"] * 4, 0, dtype="bfloat16")
    files = weight_files(parts)
    assert len(files) > 2 and weight_files(whole) == [whole / "model.safetensors"]
    expected = load_file(whole / "model.safetensors")
    tensors = {k: v for path in files for k, v in load_file(path).items()}
    assert set(tensors) == set(expected)
    for key, tensor in tensors.items():
        assert tensor.dtype.name == "bfloat16"
        np.testing.assert_array_equal(tensor, expected[key].astype(tensor.dtype))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--clips", "3", "--batch", "2"], "clips=3 with batch=2, expected a multiple"),
        (["--out", "{full}"], "holds other files; remove it, or give another --out"),
        (["--out", "{full}/note.txt"], "is a file, expected a directory"),
        (["--out", "{full}/note.txt/a"], "note.txt, which is a file, expected a directory"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, words, message):
    (tmp_path / "note.txt").write_text("mine")
    assert main([*COMMAND, *(word.format(full=tmp_path) for word in words)]) == 2
    phase, error = capsys.readouterr().err.splitlines()
    assert phase.startswith("bench, 1 of ") and message in error


def test_an_interrupted_bench_makes_room(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "clip-000.mp4").touch()
    _make_room(tmp_path)
    assert not tmp_path.exists()


def test_rounds_that_differ_are_said(run):
    facts = copy.deepcopy(run[0])
    facts["seconds_a_clip"] = {name: [1.0, 1.1] for name in facts["seconds_a_clip"]}
    assert "busy" not in describe(facts)
    facts["seconds_a_clip"]["as_called"] = [1.0, 3.0]
    assert "the rounds of PyTorch as called differ by 3.0 times" in describe(facts)


def test_without_pytorch_it_says_what_to_install(monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *more):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *more)

    monkeypatch.delitem(sys.modules, "vidsme_jax.bench.torch_peer", raising=False)
    monkeypatch.delattr(sys.modules["vidsme_jax.bench"], "torch_peer", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    assert main(COMMAND) == 2
    phase, error = capsys.readouterr().err.splitlines()
    assert phase.startswith("bench, 1 of ") and "pip install '.[bench]'" in error
