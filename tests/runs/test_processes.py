"""Two processes of four devices each, with one model over all eight."""

import os
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from tools import make_project

from vidsme_jax.errors import InputError
from vidsme_jax.records.shards import Shard
from vidsme_jax.runs import job
from vidsme_jax.runs.prepare import PrepareSettings, prepare
from vidsme_jax.runs.processes import ALONE
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores import catalogue

pytestmark = [pytest.mark.slow(70), pytest.mark.least_compiled]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Six clips in a store, of which one is missing."""
    folder = tmp_path_factory.mktemp("project")
    entries, manifest, model = make_project(folder, count=6)
    (folder / entries[3]["video"]).unlink()
    prepare(PrepareSettings(model, (manifest,), folder / "store", frames=(4,)))
    return folder


def environment(**more):
    flags = "--xla_force_host_platform_device_count=4"
    return os.environ | {"XLA_FLAGS": flags} | more


def start(project, out, **more):
    line = [sys.executable, "-m", "vidsme_jax", "score", "--model", project / "model"]
    line += ["--data", project / "store", "--frames", "4", "--batch", "1", "--out", out]
    line += ["--parallel", "global"]
    return subprocess.Popen(
        [str(word) for word in line],
        env=environment(**more),
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_two(project, out):
    """Start both; only the first may touch its directory."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    shared = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    outs = (out, out.with_name("unused"))
    return [
        start(project, path, JAX_PROCESS_ID=str(n), **shared) for n, path in enumerate(outs)
    ]


def test_two_processes_score_as_one_does(project, tmp_path):
    out = tmp_path / "run"
    both = start_two(project, out)
    outputs = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert (
        "8 x cpu: global, float32" in outputs[0]
        and "6 rows (1 missing_file, 5 ok)" in outputs[0]
    )
    assert not out.with_name("unused").exists()
    got = pq.read_table(out / "scores.parquet")
    settings = ScoreSettings(project / "model", (project / "store",), tmp_path / "alone")
    want = score(replace(settings, frames=(4,), batch=1, parallel="partitioned"))
    for name in want.column_names:
        if name not in catalogue.columns():
            assert got[name].to_pylist() == want[name].to_pylist(), name
            continue
        columns = (np.array(t[name].to_pylist(), float) for t in (got, want))
        np.testing.assert_allclose(*columns, rtol=1e-5, atol=1e-5, err_msg=name)


def test_what_stops_the_first_process_stops_all(project, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "letter.txt").write_text("of somebody")
    both = start_two(project, out)
    outputs = [process.communicate(timeout=240)[0] for process in both]
    assert both[0].returncode == 2 and "letter.txt" in outputs[0], outputs
    assert [*out.iterdir()] == [out / "letter.txt"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "expected a cluster that JAX recognises, or JAX_COORDINATOR_ADDRESS"),
        ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES=two, expected a number"),
    ],
)
def test_unknown_processes_are_one_line(project, tmp_path, variables, message):
    process = start(project, tmp_path / "run", **variables)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 2 and message in output, output
    assert "Traceback" not in output


def test_clips_must_be_the_same_for_all(project, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "join", lambda: ALONE)
    data = (project / "manifest.json",)
    settings = ScoreSettings(project / "model", data, tmp_path / "run", parallel="global")
    with pytest.raises(InputError, match="expected --data STORE"):
        score(settings)
    settings = replace(settings, data=(project / "store",), shard=Shard(0, 2))
    with pytest.raises(InputError, match="no --shards"):
        score(settings)
