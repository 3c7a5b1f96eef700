"""What a run is made on changes no number beyond rounding, so it may change on the way."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tools import make_project

from vidsme_jax.errors import InputError
from vidsme_jax.records import files
from vidsme_jax.records.shards import Shard
from vidsme_jax.runs.merge import merge
from vidsme_jax.runs.prepare import PrepareSettings, prepare
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores import catalogue

pytestmark = [pytest.mark.slow(30), pytest.mark.least_compiled]


class Killed(BaseException):
    """Nobody catches it, like a kill."""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines")
    _, manifest, model = make_project(folder, count=20)
    store = prepare(PrepareSettings(model, (manifest,), folder / "store", (4,)))
    return ScoreSettings(
        model, (store.path,), folder / "run", (4,), slices=("video",), batch=1
    )


@pytest.fixture(scope="module")
def whole(project):
    return score(project)


def machines_of(run):
    return files.read_json(run / "run.json")["machines"]


def assert_agree(table, whole):
    for name in catalogue.columns(("video",)):
        got, want = (np.array(t[name].to_pylist(), float) for t in (table, whole))
        np.testing.assert_allclose(got, want, rtol=0, atol=3e-5, err_msg=name)


@pytest.mark.parametrize(
    ("here", "elsewhere"),
    [
        ({}, {"batch": 3}),
        ({}, {"parallel": "partitioned"}),  # smaller steps than the parts
        ({"parallel": "partitioned"}, {}),  # larger ones
    ],
)
def test_a_run_goes_on_elsewhere(
    project, whole, tmp_path, monkeypatch, capsys, here, elsewhere
):
    """It keeps the parts that it began with, however many clips the devices take now."""
    settings, rename = replace(project, out=tmp_path / "run", **here), os.replace

    def dying(source, target):
        rename(source, target)
        if Path(target).suffix == ".arrow" and "batch-000001" in str(target):
            raise Killed

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(Killed):
        score(settings)
    monkeypatch.setattr(os, "replace", rename)
    parts = {p.name for p in (settings.out / "parts").iterdir()}
    moved = replace(project, out=settings.out, **elsewhere)
    table = score(moved)
    assert parts and table["id"].to_pylist() == whole["id"].to_pylist()
    assert_agree(table, whole)
    noted = machines_of(settings.out)
    assert len(noted) == 2 and noted[0] != noted[1]
    assert "is from unlike machines, so rounding may differ" in capsys.readouterr().err
    score(moved)
    assert machines_of(settings.out) == noted


def test_unlike_hosts_merge_with_a_note(project, whole, tmp_path, capsys):
    out = tmp_path / "run"
    score(replace(project, out=out, shard=Shard(0, 2)))
    score(replace(project, out=out, shard=Shard(1, 2), batch=2, parallel="partitioned"))
    capsys.readouterr()
    merge([out], out)
    said = capsys.readouterr().err
    assert "parallel replicas and partitioned" in said and "batch 1 and 2" in said
    assert [m["batch"] for m in machines_of(out)] == [1, 2]
    assert_agree(files.read_table(out / "scores.parquet"), whole)


def test_shards_that_would_not_merge_do_not_begin(project, tmp_path):
    out = tmp_path / "run"
    score(replace(project, out=out, shard=Shard(0, 2)))
    with pytest.raises(InputError, match="shard 0/2, .* beta1 1.0 there, 0.5 here"):
        score(replace(project, out=out, shard=Shard(1, 2), beta1=0.5))
    with pytest.raises(InputError, match="not merged with shard 1/3"):
        score(replace(project, out=out, shard=Shard(1, 3)))
    assert [p.name for p in (out / "shards").iterdir()] == ["0000-of-0002"]


def test_shards_of_stores_that_would_not_merge_do_not_begin(project, tmp_path):
    manifest = project.data[0].parent / "manifest.json"
    count = len(json.loads(manifest.read_text()))
    settings = PrepareSettings(
        project.model, (manifest,), tmp_path / "store", (2,), shard=Shard(0, 2)
    )
    assert 0 < len(prepare(settings).rows) < count
    with pytest.raises(InputError, match=r"shard 0/2, .* frames \[2\] there, \[4\] here"):
        prepare(replace(settings, frames=(4,), shard=Shard(1, 2)))


def test_a_whole_run_and_shards_do_not_share_a_directory(project, whole, tmp_path):
    out = tmp_path / "run"
    score(replace(project, out=out, shard=Shard(0, 2)))
    with pytest.raises(InputError, match="has 1 shards: vidsme merge joins them"):
        score(replace(project, out=out))
    with pytest.raises(InputError, match="holds a whole run or store"):
        score(replace(project, shard=Shard(0, 2)))
    assert len(whole) == 20 and not (project.out / "shards").exists()
