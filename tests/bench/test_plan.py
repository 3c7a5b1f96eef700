"""`vidsme plan`: its arithmetic, and the compiler of this machine; TPUs need the extra."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from tools import make_project
from twins import CONFIGS as CONFIGS_FOLDER

from vidsme_jax.bench import compile_ahead, tpu
from vidsme_jax.bench.plan import (
    PlanSettings,
    clip_rate,
    make_placement,
    make_plan,
    make_task,
)
from vidsme_jax.cli.main import main
from vidsme_jax.errors import InputError
from vidsme_jax.models import read_graph
from vidsme_jax.models.layers.attention import AttentionMask, splash_blocks, splash_pairs
from vidsme_jax.models.placement import place_model

pytestmark = [pytest.mark.slow(25), pytest.mark.least_compiled]

CONFIGS = CONFIGS_FOLDER
LONGVA = CONFIGS / "LongVA-7B.json"
GIB = 2.0**30


@pytest.mark.parametrize("time", [64, 128, 577, 2368, 6000])
@pytest.mark.parametrize("window", [None, 100, 512, 513, 4096])
@pytest.mark.parametrize("causal", [True, False])
def test_blocks_that_the_kernel_runs_are_those_with_a_pair_in_sight(time, window, causal):
    if not causal and window:
        return
    mask = AttentionMask(causal, window)
    size, padded = splash_blocks(time)
    row, key = np.arange(padded)[:, None], np.arange(padded)[None]
    seen = np.ones((padded, padded), bool)
    if causal:
        seen = (key <= row) & (row - key < (window or padded))
    count = padded // size
    blocks = seen.reshape(count, size, count, size).any(axis=(1, 3))
    assert splash_pairs(mask, time) == blocks.sum() * size**2


def test_a_model_is_split_where_it_does_not_fit():
    graph, devices = read_graph(LONGVA), tuple(jax.devices())

    def placed(parallel, dtype, count, memory):
        placement = place_model(graph, parallel, dtype, devices[:count], memory * GIB)
        return placement.parallel, placement.devices_per_model, placement.replicas

    assert placed("auto", "bfloat16", 8, 32) == ("replicas", 1, 8)
    assert placed("auto", "bfloat16", 8, 16) == ("partitioned", 4, 2)
    assert placed("auto", "float32", 8, 32) == ("partitioned", 4, 2)
    assert placed("partitioned", "bfloat16", 6, 95) == ("partitioned", 2, 3)


def test_projection_of_a_sweep():
    settings = PlanSettings("m", "v6e:2x4", utilisation=0.5)
    # 8 chips of 918 TFLOP/s, half of it, 40 TFLOP a clip
    assert clip_rate(settings, 40e12, 8) == pytest.approx(8 * 918 / 80)


@pytest.mark.parametrize(
    "name", ["v5e", "v5e:", "v5e:8", "v5e:0x4", "v5e:100x100", "v4:2x2", "v6e:2x4x1"]
)
def test_a_grid_that_no_chip_is_built_in_is_said(name):
    """The compiler would abort the process."""
    with pytest.raises(InputError, match=f"topology={name}, expected v.*numbers of chips"):
        tpu.chip_of(name)


@pytest.mark.parametrize("name", ["v9:2x4", "2x4", ""])
def test_an_unknown_topology_is_said(name):
    with pytest.raises(InputError, match="expected one like v4:2x2x1, v5e:2x4"):
        tpu.chip_of(name)


@pytest.mark.parametrize("fits", [1, 2, 3, 17, 18])
def test_the_largest_batch_is_found_in_few_compilations(monkeypatch, fits):
    """Each clip takes a GiB and a little more than the one before it."""
    calls, limit = [], 14.5 + 1.01 * fits + 0.001 * fits**2 + 0.5

    def compile_for(task, clips):
        calls.append(clips)
        used = 14.5 + 1.01 * clips + 0.001 * clips**2
        if used > limit:
            raise compile_ahead.TooLarge(
                f"XLA: Used {used:.2f}G of {limit:.2f}G hbm. Exceeded"
            )
        return compile_ahead.Compiled(int(used * GIB), 0, 0, 0.0, {}, 0.0)

    monkeypatch.setattr(compile_ahead, "compile_for", compile_for)
    graph, devices = read_graph(LONGVA), tuple(jax.devices())
    memory = (limit + 0.75) * GIB  # a chip keeps some for itself
    placement = place_model(graph, "replicas", "bfloat16", devices, memory)
    task = compile_ahead.Task(
        graph, placement, compile_ahead.plan_layout(graph, 16, 64), 64
    )
    batch, compiled = compile_ahead.compile_largest(task, memory)
    assert batch == fits and len(calls) <= 4 and calls.count(fits) == 1
    assert compiled.peak <= limit * GIB


def test_the_compiler_says_how_much_is_missing():
    error = compile_ahead.TooLarge("RESOURCE_EXHAUSTED: Used 17.25G of 15.75G hbm. More")
    assert str(error) == "Used 17.25G of 15.75G hbm" and error.excess == 1.5 * GIB
    assert compile_ahead.TooLarge("RESOURCE_EXHAUSTED: none left").excess == 0


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A config alone, of a model wide enough for matrix products to be most of the work."""
    folder = tmp_path_factory.mktemp("wide")
    *_, model = make_project(folder, count=1)
    config = json.loads((model / "config.json").read_text())
    config |= {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 6}
    (model / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (model / name).unlink()
    return model


def test_flops_of_the_compiled_program_are_the_necessary_ones(wide):
    """On a CPU, with sequences too short for any kernel or loop but that over layers."""
    settings = PlanSettings(str(wide), frames=(2,), batch=2, text=62)  # no padding
    graph = read_graph(wide / "config.json")
    placement, memory = make_placement(settings, graph)
    placement = replace(placement, devices=placement.devices[:2])
    assert memory == float("inf") and placement.parallel == "replicas"
    task = make_task(settings, graph, placement, 2)
    plan = make_plan(settings, task, memory)
    assert plan.flops is None  # loops of attention here are not counted
    flops = compile_ahead.compiled_flops(task, 2, plan.compiled)
    ratio = flops / (2 * 2 * plan.necessary.total)
    assert 1 < ratio < 1.1, ratio
    assert plan.compiled.collectives == {}
    weights = 4 * sum(leaf.size for leaf in jax.tree.leaves(graph.abstract))
    batch = plan.compiled.arguments - weights
    assert 0 < batch < 200_000 and plan.compiled.temporaries > 0


def test_partitioned_programs_name_their_collectives(wide):
    settings = PlanSettings(str(wide), frames=(2,), batch=1, parallel="partitioned")
    graph = read_graph(wide / "config.json")
    placed, memory = make_placement(settings, graph)
    assert placed.parallel == "partitioned"
    assert (placed.devices_per_model, placed.replicas) == (4, 2)
    plan = make_plan(settings, make_task(settings, graph, placed, 2), memory)
    assert plan.compiled.collectives["all-reduce"] >= 2
    whole = 4 * sum(leaf.size for leaf in jax.tree.leaves(graph.abstract))
    assert plan.compiled.arguments < whole / 2


def test_the_command_on_this_machine(wide, capsys):
    words = ["plan", "--frames", "2", "--text", "16", "--batch", "1", "--model"]
    assert main([*words, str(wide / "config.json")]) == 0
    printed = capsys.readouterr().out
    for text in ("longva, 2 frames on cpu: 8 devices, replicas, float32", "MiB a device"):
        assert text in printed
    assert "collectives none" in printed and "GFLOP a clip: vision" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "nowhere"], "model=nowhere does not exist, expected"),
        (["--model", "{manifest}"], "holds no JSON object"),
        (["--model", str(LONGVA), "--topology", "v9:1"], "expected one like v4:2x2x1"),
        (["--model", str(LONGVA), "--topology", ""], "expected one like v4:2x2x1"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.setattr("vidsme_jax.cli.plan.compile_for_absent_chips", lambda: None)
    manifest = tmp_path / "manifest.json"
    manifest.write_text("[]")
    words = [word.format(manifest=manifest) for word in words]
    assert main(["plan", *words]) == 2
    phase, error = capsys.readouterr().err.splitlines()
    assert phase.startswith("plan, 1 of ") and message in error
