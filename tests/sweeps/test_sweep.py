"""`vidsme sweep` on real clips and a real checkpoint: what it shares, skips and says."""

import csv
import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from tools import make_project

from vidsme_jax import cli
from vidsme_jax.data.clips import Decoding
from vidsme_jax.data.manifest import ManifestSettings
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.runs.prepare import PrepareSettings, prepare
from vidsme_jax.scores import catalogue, published
from vidsme_jax.scores.orders import EntropyOrders
from vidsme_jax.stats import metrics
from vidsme_jax.sweeps import sweep as command
from vidsme_jax.sweeps.cells import AXES, Cell, Pass
from vidsme_jax.sweeps.figures import write_figures
from vidsme_jax.sweeps.grid import SHARED, Grid, read_grid
from vidsme_jax.sweeps.sweep import sweep

pytestmark = [pytest.mark.slow(90), pytest.mark.least_compiled]

FEW = EvaluationSettings(bootstrap=20, permutations=20)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    _, manifest, model = make_project(folder, count=12)
    return Grid(
        {"toy": model},
        (manifest,),
        folder / "out",
        frames=(2, 4),
        definitions=("exact", "published", "top_5"),
        beta1=(0.5, 1.0),
        beta2=(0.0, 0.1),
        orders=(EntropyOrders(q=2.0, r=1.0),),
        families=("sme", "logp", "sme_aligned"),
        aggregates=("mean", "min_10"),
        clips=("all", "fast"),
        shared={"batch": 1},
        evaluation=FEW,
    )


@pytest.fixture(scope="module")
def counted():
    """Collect every call of `score` that a sweep makes."""
    return []


@pytest.fixture(scope="module")
def swept(grid, counted):
    with pytest.MonkeyPatch.context() as patch:
        real = command.score
        patch.setattr(command, "score", lambda s: counted.append(s) or real(s))
        return sweep(grid)


def rows_of(table, **axes):
    return [r for r in table.to_pylist() if all(r[k] == v for k, v in axes.items())]


def test_all_cells_come_from_one_pass(grid, swept, counted):
    assert len(counted) == 1 and len(counted[0].variants) == 4
    # exact, top_5: 2 sme families x 5 variants + logp; published: sme x 5 variants + logp
    per_frames = 2 * (2 * 5 + 1) + (5 + 1)
    assert len(swept) == 2 * 2 * 2 * per_frames == len(grid.cells())
    keys = [tuple(row[name] for name in AXES) for row in swept.to_pylist()]
    assert len(set(keys)) == len(keys)


def test_a_cell_is_what_the_run_s_tables_say(grid, swept, counted):
    run = grid.out / "runs"
    (folder,) = run.iterdir()
    table = pq.read_table(folder / "published-orders.parquet").to_pylist()
    labels = pq.read_table(folder / "scores.parquet").to_pylist()
    member = {(r["id"], r["frames"]): r["label"] for r in labels}
    rows = [
        r
        for r in table
        if (r["frames"], r["q_rule"], r["r_rule"]) == (4, "adaptive 0.5", "adaptive 0")
    ]
    values = np.array([-r["Min_10.0% vetp"] for r in rows])
    marks = np.array([member[r["id"], 4] for r in rows])
    want = metrics.auc(values, marks)
    (cell,) = rows_of(
        swept,
        frames=4,
        clips="all",
        definition="published",
        q_rule="adaptive 0.5",
        r_rule="adaptive 0",
        family="sme",
        aggregate="min_10",
    )
    assert cell["auc"] == want and cell["score"] == "Min_10.0% vetp"
    assert cell["members"] == cell["non_members"] == 6
    assert (cell["beta1"], cell["beta2"]) == (0.5, 0.0)
    (fixed, *_) = rows_of(swept, q_rule="fixed 2", r_rule="fixed 1", frames=2)
    assert fixed["beta1"] is None and fixed["beta2"] is None


def test_fast_clips_are_those_above_the_median(grid, swept):
    (folder,) = (grid.out / "runs").iterdir()
    rows = [r for r in pq.read_table(folder / "scores.parquet").to_pylist()]
    rows = [r for r in rows if r["frames"] == 4]
    middle = np.median([r["motion"] for r in rows])
    fast = [r for r in rows if r["motion"] > middle]
    marks = np.array([r["label"] for r in fast])
    want = metrics.auc(np.array([r["video.logp.mean"] for r in fast]), marks)
    (cell,) = rows_of(
        swept, frames=4, clips="fast", definition="exact", family="logp", aggregate="mean"
    )
    if np.isnan(want):
        assert cell["auc"] is None and cell["reason"]
    else:
        assert cell["auc"] == want
    assert cell["members"] + cell["non_members"] == len(fast) == 6


def test_finished_cells_are_skipped_and_a_grown_grid_computes_the_new(
    grid, swept, monkeypatch
):
    calls = []
    real = command.score
    monkeypatch.setattr(command, "score", lambda s: calls.append(s) or real(s))
    assert sweep(grid).equals(swept) and not calls
    grown = replace(grid, beta1=(0.5, 1.0, 0.75), frames=(2,), definitions=("exact",))
    table = sweep(grown)
    assert len(calls) == 1 and calls[0].frames == (2,)
    assert {r.q_key for r in calls[0].variants} <= {"adaptive 0.75"}
    assert rows_of(table, q_rule="adaptive 0.75") and rows_of(table, q_rule="adaptive 0.5")
    finished = pq.read_table(grid.out / "sweep.parquet")
    assert len(finished) == len(swept) + 2 * 2 * 2 * 2
    with (grid.out / "sweep.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(finished)


def test_one_figure_per_pair_of_swept_axes(grid, swept, tmp_path):
    paths = write_figures(tmp_path, swept)
    swept_axes = [
        axis for axis in AXES if len({r[axis] for r in swept.to_pylist()} - {None}) > 1
    ]
    assert len(swept_axes) == 7
    assert len(paths) == len({p.name for p in paths}) == 7 * 6 // 2
    for path in paths:
        root = ET.parse(path).getroot()
        assert "AUC by" in "".join(root.itertext())
    heat = (tmp_path / "q_rule-r_rule.svg").read_text()
    assert ">0.75<" not in heat and "adaptive 0.5" in heat and "fixed 2" in heat
    lines = (tmp_path / "frames-definition.svg").read_text()
    assert "<polyline" in lines and "published" in lines


def test_another_data_set_or_model_is_refused(grid, swept, tmp_path):
    _, manifest, _ = make_project(tmp_path, count=4, seed=3)
    model = shutil.copytree(grid.models["toy"], tmp_path / "other")
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, model / "model.safetensors")
    with pytest.raises(InputError, match="holds cells of other data"):
        sweep(replace(grid, data=(manifest,)))
    with pytest.raises(InputError, match="another checkpoint as toy: fingerprint"):
        sweep(replace(grid, models={"toy": model}))
    with pytest.raises(InputError, match="holds cells of other evaluation"):
        sweep(replace(grid, evaluation=EvaluationSettings()))


def test_a_directory_with_other_files_is_refused(grid, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"other files \(notes.txt\) and no sweep.json"):
        sweep(replace(grid, out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_members_alone_are_refused(grid, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"labels \['1'\], expected members"):
        _, manifest, _ = make_project(tmp_path, count=2)
        rows = [r | {"label": 1} for r in json.loads(manifest.read_text())]
        manifest.write_text(json.dumps(rows))
        sweep(replace(grid, data=(manifest,), out=out))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"parallel": "maybe"}, "parallel=maybe, there are auto, replicas, partitioned"),
        ({"published_prompt": "foo"}, "published_prompt=foo, there are cinepile"),
        ({"calibration": Path("none.json")}, "none.json does not exist"),
    ],
)
def test_a_failed_sweep_can_be_corrected(grid, tmp_path, wrong, message):
    small = replace(grid, out=tmp_path / "out", frames=(2,), definitions=("exact",))
    with pytest.raises(InputError, match=message):
        sweep(replace(small, shared=grid.shared | wrong))
    assert not (small.out / "sweep.parquet").exists()
    for path in small.out.glob("runs/*"):
        assert not (path / "scores.parquet").exists()
    command._claim(small, finished=False)  # of other settings: nothing is in the way


def test_a_calibration_is_known_by_its_content(grid, swept, tmp_path):
    file = next(grid.out.glob("runs/*/calibration.json"))
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(file.read_text())
    second.write_text(file.read_text())
    small = replace(grid, out=tmp_path / "out", frames=(2,), definitions=("exact",))
    small = replace(small, families=("logp",))
    table = sweep(replace(small, shared=grid.shared | {"calibration": first}))
    assert sweep(replace(small, shared=grid.shared | {"calibration": second})).equals(table)
    ranges = json.loads(file.read_text())
    ranges["2"]["motion_max"] += 1
    first.write_text(json.dumps(ranges))
    with pytest.raises(InputError, match="holds cells of other shared"):
        sweep(replace(small, shared=grid.shared | {"calibration": first}))


def test_a_grid_that_nobody_wants(grid):
    many = tuple(n / 1000 for n in range(5000))
    with pytest.raises(InputError, match=r"has 240,024 cells, expected up to 100,000"):
        replace(grid, beta1=many, families=("sme",)).cells()


def test_a_copied_checkpoint_is_the_same_one(grid, swept, tmp_path):
    copy = shutil.copytree(grid.models["toy"], tmp_path / "copy")
    assert sweep(replace(grid, models={"toy": copy})).equals(swept)


def test_cells_that_no_table_has_are_no_cells():
    fixed = EntropyOrders(q=2.0, r=1.0)
    grid = Grid({"m": "m"}, (), Path(), frames=(4,), orders=(fixed,))

    def count(**axes):
        return len(replace(grid, **axes).cells())

    assert count() == 2 and count(families=("logp",)) == 1
    assert count(slices=("instruction",), families=("sme_aligned",)) == 0
    assert count(definitions=("published",), slices=("response",)) == 0
    assert count(definitions=("published",), families=("gap",), aggregates=("min_5",)) == 0
    assert count(definitions=("published",), families=("gap",)) == 1
    assert count(definitions=("published",), families=("logp_diff",)) == 0


def test_published_names_of_families():
    every = {
        published.name_of(family, aggregate)
        for family in catalogue.FAMILY_INFO
        for aggregate in catalogue.AGGREGATES
    } - {None}
    assert every <= set(published.COLUMNS)
    # Not reached by a family and an aggregate: aliases, and the sequence score.
    aliases = {"Max_vetp", "Min_vetp", "Max_100% vetp", "Min_100% vetp", "sequence_vetp"}
    aliases |= {f"Min_100% renyi_{order}" for order in ("05", "1", "2", "inf")}
    assert set(published.COLUMNS) - every == aliases


def test_sides():
    cell = Cell(Pass("m"), 4, "all", "video", "exact", None, "logp", "mean")
    assert cell.sign == 1 and replace(cell, family="renyi_one").sign == -1
    assert replace(cell, definition="published").sign == -1


def write_grid(folder, **content):
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_grid_file(tmp_path):
    content = {
        "models": ["a/one", "two"],
        "data": "clips.json",
        "frames": [2, 4],
        "definitions": "all",
        "beta1": [0, 1],
        "orders": [{"q": 2, "r": 1}, {"q": 1.5, "tied": True}],
        "batch": 4,
        "root": "videos",
        "labels": [1],
    }
    grid = read_grid(write_grid(tmp_path, **content))
    assert grid.models == {"one": "a/one", "two": "two"}
    assert grid.data == (tmp_path / "clips.json",) and grid.out == tmp_path / "grid"
    assert grid.definitions == catalogue.DEFINITIONS and grid.frames == (2, 4)
    assert [r.r_key for r in grid.variants[2:]] == ["fixed 1", "q, fixed 1.5"]
    manifests = ManifestSettings(tmp_path / "videos", (1,))
    assert grid.shared == {"manifests": manifests, "batch": 4}


def test_keys_of_all_passes_are_the_fields_of_a_score_that_no_axis_sets(tmp_path):
    """A new field of the settings is a key by itself, read by its type."""
    assert set(SHARED) == {
        *("root", "labels", "turns", "fps"),
        *("system", "published_prompt", "parallel", "batch"),
        *("calibration", "max_text", "keep_tokens", "reader", "workers", "clip_timeout"),
        "ignore_fields",
    }
    content = {"models": "a", "data": "b.json", "calibration": "c.json", "reader": "pyav"}
    content |= {"keep_tokens": True, "workers": 3, "clip_timeout": 20}
    grid = read_grid(write_grid(tmp_path, **content))
    assert grid.shared == {
        "calibration": tmp_path / "c.json",
        "reader": "pyav",
        "keep_tokens": True,
        "decoding": Decoding(3, 20.0),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep_tokens": 1}, "keep_tokens=1, expected true or false"),
        ({"shard": "0/2"}, "no such key: shard; there are"),
        ({"beta3": 1}, "no such key: beta3; there are .*beta1, beta2"),
        ({"models": None}, "has no models, expected at least one"),
        ({"slices": "vidoe"}, "slices has 'vidoe', there are video, instruction"),
        ({"beta1": [0, -1]}, "beta1 has -1, expected finite numbers from 0 on"),
        ({"beta1": [1, 1]}, "beta1 has 1.0 twice, expected each value once"),
        ({"beta1": 10**400}, "beta1 has 1000.*, expected finite numbers from 0 on"),
        ({"beta1": "x"}, "beta1 has 'x', expected finite numbers"),
        ({"beta1": True}, "beta1 has True, expected finite numbers"),
        ({"out": None}, "out=None, expected text"),
        ({"models": {"t": None}}, "models.t=None, expected text"),
        ({"slices": ["all"]}, "slices has 'all', there are .*; or all, without a list"),
        ({"orders": [{"q": 2, "tied": 1}]}, "tied=1, expected true or false"),
        ({"labels": [[1], 0]}, r"labels=\[\[1\], 0\], expected 0 and 1"),
        ({"labels": {"a": 1}}, "labels=.*expected 0 and 1, one a manifest"),
        ({"frames": 0}, "frames has 0, expected whole numbers above 0"),
        ({"frames": True}, "frames has True"),
        ({"orders": [{"p": 2}]}, "orders has {'p': 2}, expected some of beta1"),
        ({"orders": [{"q": 2, "r": 1, "tied": True}]}, "expected tied: true or r"),
        ({"models": {"../x": "a"}}, "models has the name '../x', expected a word"),
        ({"labels": [2]}, "labels=.2., expected 0 and 1, one a manifest"),
        ({"batch": "many"}, "batch has 'many', expected whole numbers above 0"),
        ({"parallel": "global"}, "parallel=global, but a sweep runs in one process"),
        ({"aggregates": []}, "aggregates is empty, expected at least one value"),
    ],
)
def test_a_wrong_grid_is_one_line(tmp_path, change, message):
    path = write_grid(tmp_path, **({"models": "a", "data": "b.json"} | change))
    with pytest.raises(InputError, match=message) as caught:
        read_grid(path)
    assert "\n" not in str(caught.value)


def test_a_grid_that_is_no_yaml(tmp_path, capsys):
    path = tmp_path / "grid.yaml"
    for text, words in (
        ("a: [", "not readable YAML"),
        ("- 1", "holds no keys"),
        ("data: a\ndata: b", "the key 'data' stands twice"),
    ):
        path.write_text(text)
        assert cli.main(["sweep", str(path)]) == 2
        assert words in capsys.readouterr().err
    assert cli.main(["sweep", str(tmp_path / "none.yaml")]) == 2
    assert "does not exist, expected a grid in YAML" in capsys.readouterr().err


def test_the_command(grid, tmp_path, capsys):
    content = {
        "models": {"toy": str(grid.models["toy"])},
        "data": str(grid.data[0]),
        "frames": 2,
        "families": ["logp"],
    }
    out = tmp_path / "here"
    path = write_grid(tmp_path, **content)
    assert cli.main(["sweep", str(path), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "1 cells of this grid" in printed and "figures" not in printed
    two = write_grid(tmp_path, **content | {"aggregates": ["mean", "max_0"]})
    assert cli.main(["sweep", str(two), "--out", str(out)]) == 0
    assert f"2 cells of this grid; figures in {out}/figures" in capsys.readouterr().out
    assert json.loads((out / "sweep.json").read_text())["models"].keys() == {"toy"}
    empty = write_grid(
        tmp_path, **content | {"slices": "response", "families": "sme_aligned"}
    )
    assert cli.main(["sweep", str(empty), "--out", str(out)]) == 2
    assert "the grid has no cell" in capsys.readouterr().err


def test_a_store_is_swept_without_decoding(grid, swept, tmp_path, monkeypatch):
    """The same cells as from the files; only what a store lacks is refused."""
    store = tmp_path / "store"
    prepare(PrepareSettings(grid.models["toy"], grid.data, store, (2, 4)))

    def never(*_):
        raise AssertionError("a clip was decoded")

    monkeypatch.setattr("vidsme_jax.data.clips.Workers", never)
    small = {"clips": ("all",), "definitions": ("exact",), "families": ("sme",)}
    small["frames"] = (2,)
    table = sweep(replace(grid, data=(store,), out=tmp_path / "out", **small))
    keys = [tuple(row[axis] for axis in AXES) for row in table.to_pylist()]
    aucs = {tuple(row[axis] for axis in AXES): row["auc"] for row in swept.to_pylist()}
    assert [aucs[key] for key in keys] == table["auc"].to_pylist()
    with pytest.raises(InputError, match=r"holds frame counts \[2, 4\], expected \[8\]"):
        sweep(replace(grid, data=(store,), out=tmp_path / "new", frames=(8,)))
