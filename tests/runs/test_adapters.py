"""Every command that takes a model takes an adapter, and uses the merged weights."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from adapters import PREFIX, draw, update, write_adapter
from safetensors.numpy import load_file
from tools import here, make_project

import vidsme_jax as vj
from vidsme_jax.bench.plan import PlanSettings, plan
from vidsme_jax.cli.main import read_options
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port, read_graph
from vidsme_jax.models.checkpoints.trees import flatten
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.sweeps.grid import grid_from
from vidsme_jax.sweeps.sweep import sweep

pytestmark = [pytest.mark.slow(45), pytest.mark.least_compiled]

KERNELS = ("layers.1.self_attn.q_proj", "layers.2.self_attn.o_proj")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Clips, a toy checkpoint, and an adapter of two kernels and the final norm."""
    folder = tmp_path_factory.mktemp("adapters")
    _, manifest, model = make_project(folder, count=4)
    tensors = {f"{PREFIX}model.norm.weight": 1 + draw(128) ** 2}
    for kernel in KERNELS:
        tensors |= update(f"{PREFIX}model.{kernel}", 128, 128)
    return manifest, model, write_adapter(folder / "lora", tensors)


@pytest.fixture(scope="module")
def merged(project, tmp_path_factory):
    """The merged model as a checkpoint of its own."""
    _, model, adapter = project
    folder = tmp_path_factory.mktemp("merged") / "model"
    shutil.copytree(model, folder)
    port = open_port(model, adapter)
    port.save(folder / "model.safetensors", port.load(np.float32, here))
    old, new = (load_file(f / "model.safetensors") for f in (model, folder))
    changed = {key for key in old if not np.array_equal(old[key], new[key])}
    assert changed == {f"model.{k}.weight" for k in (*KERNELS, "norm")}
    return folder


@pytest.fixture(scope="module")
def run(project, tmp_path_factory):
    manifest, model, adapter = map(str, project)
    out = tmp_path_factory.mktemp("run") / "adapted"
    return vj.score(model, manifest, out=out, adapter=adapter, frames=2, batch=4)


def test_scores_are_those_of_the_merged_checkpoint(project, merged, run, tmp_path):
    manifest, model, adapter = project
    want = score(ScoreSettings(merged, (manifest,), tmp_path / "merged", (2,), batch=4))
    assert run.table.equals(want)
    plain = score(ScoreSettings(model, (manifest,), tmp_path / "base", (2,), batch=4))
    assert not np.allclose(plain["video.logp.mean"], want["video.logp.mean"], atol=1e-2)


def test_a_run_names_its_adapter(project, run, tmp_path):
    """Where it lies may change between two tries, what it is may not."""
    manifest, model, adapter = project
    assert run.info["asked"]["adapter"] == str(adapter)
    assert run.info["settings"]["model"] == open_port(model, adapter).fingerprint()
    assert "adapter" not in run.info["settings"]
    moved = shutil.copytree(adapter, tmp_path / "moved")
    request = {"out": run.path, "frames": 2, "batch": 4}
    assert vj.score(model, manifest, adapter=moved, **request).table.equals(run.table)
    with pytest.raises(InputError, match="model"):
        vj.score(model, manifest, **request)
    write_adapter(moved, load_file(moved / "adapter_model.safetensors"), lora_alpha=9)
    with pytest.raises(InputError, match="model"):
        vj.score(model, manifest, adapter=moved, **request)


def test_other_commands_take_it_too(project, tmp_path):
    manifest, model, adapter = project
    store = vj.prepare(model, manifest, out=tmp_path / "s", adapter=adapter, frames=2)
    assert len(store.facts) == 4
    assert vj.open_model(str(model), adapter=str(adapter)).adapter.directory == adapter
    path = model / "config.json"
    assert read_graph(path, (), adapter).config == read_graph(path).config  # and its cost
    foreign = write_adapter(tmp_path / "foreign", update(PREFIX + "transformer.h.0.attn"))
    for call in (
        lambda: vj.prepare(model, manifest, out=tmp_path / "t", adapter=foreign),
        lambda: vj.train(model, manifest, out=tmp_path / "t", adapter=foreign, frames=2),
        lambda: vj.score(model, manifest, out=tmp_path / "t", adapter=foreign, frames=2),
        lambda: vj.open_model(model, adapter=foreign),
        lambda: plan(PlanSettings(str(model), adapter=foreign)),
    ):
        with pytest.raises(InputError, match="does not fit the model: tensors that have"):
            call()


def test_training_starts_from_the_merged_model(project, tmp_path, capsys):
    """Its output is a whole checkpoint, with the adapter's vocabulary and tokenizer."""
    manifest, model, adapter = project
    rows = open_port(model).sizes.vocab + 8
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name in ("lm_head", "model.embed_tokens"):
        tensors[f"{PREFIX}{name}.weight"] = draw(rows, 128) / 8
    larger = write_adapter(tmp_path / "larger", tensors)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, larger)
    tokenizer = json.loads((larger / "tokenizer.json").read_text())
    extra = tokenizer["added_tokens"][-1]
    tokenizer["added_tokens"].append(extra | {"id": extra["id"] + 1, "content": "<more>"})
    (larger / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {"frames": 2, "steps": 1, "learning_rate": 0.0, "adapter": larger}
    new = vj.train(model, manifest, out=tmp_path / "new", **settings)
    assert "is a whole checkpoint, in which the adapter" in capsys.readouterr().err
    port, start = open_port(new), open_port(model, larger)
    port.check_weights()
    assert port.adapter is None and port.sizes.vocab == rows
    assert port.tokenizer.token(extra["id"] + 1) == "<more>"
    assert port.vocab_keep == start.vocab_keep and port.template == start.template
    got, want = (flatten(p.load(np.float32, here)) for p in (port, start))
    for path, leaf in want.items():
        np.testing.assert_array_equal(got[path], leaf, err_msg=path)
    recipe = json.loads((new / "training.json").read_text())
    assert recipe["adapter"] == str(larger)


def test_a_sweep_has_an_adapter_for_each_model(project, run, tmp_path):
    manifest, model, adapter = project
    mine = shutil.copytree(adapter, tmp_path / "lora")
    content = {
        "models": {"base": str(model), "target": {"model": str(model), "adapter": "lora"}},
        "data": str(manifest),
        "frames": 2,
        "batch": 4,
        "families": "logp",
    }
    grid = grid_from(content, tmp_path / "grid.yaml")
    assert grid.models == {"base": model, "target": model}
    assert grid.adapters == {"target": mine}
    table = sweep(grid)
    assert table["model"].to_pylist() == ["base", "target"]
    (part,) = (tmp_path / "grid" / "runs").glob("target-*")
    got, want = pq.read_table(part / "scores.parquet"), run.table
    np.testing.assert_allclose(
        got["video.logp.mean"], want["video.logp.mean"], atol=1e-5
    )  # of texts of other lengths
    write_adapter(mine, load_file(mine / "adapter_model.safetensors"), lora_alpha=9)
    with pytest.raises(InputError, match="cells of another checkpoint as target"):
        sweep(grid)
    content["models"] = {"target": {"adapter": "lora"}}
    with pytest.raises(InputError, match="models.target has adapter, expected model and"):
        grid_from(content, tmp_path / "grid.yaml")


def test_every_command_hands_on_the_fields_to_ignore(project, tmp_path, monkeypatch):
    manifest, model, _ = project

    def stop(path, ignore_fields=(), adapter=None):
        raise InputError(f"ignoring {' and '.join(ignore_fields)}")

    monkeypatch.setattr("vidsme_jax.models.read_graph", stop)
    monkeypatch.setattr("vidsme_jax.bench.plan.read_graph", stop)
    names, out = ("magic", "spell"), tmp_path / "out"
    grid = {"models": str(model), "data": str(manifest), "ignore_fields": [*names]}
    for call in (
        lambda: vj.prepare(model, manifest, out=out, ignore_fields=names),
        lambda: vj.train(model, manifest, out=out, ignore_fields=names),
        lambda: vj.score(model, manifest, out=out, ignore_fields=names),
        lambda: vj.sweep(grid, out=out),
        lambda: vj.open_model(model, ignore_fields=names),
        lambda: plan(PlanSettings(str(model), ignore_fields=names)),
    ):
        with pytest.raises(InputError, match="ignoring magic and spell"):
            call()
    with pytest.raises(InputError, match="ignoring magic$"):
        vj.open_model(model, ignore_fields="magic")
    words = f"score --model {model} --data {manifest} --out {out} --ignore-fields"
    options = read_options([*words.split(), "magic, spell,magic"])
    assert options.ignore_fields == names
