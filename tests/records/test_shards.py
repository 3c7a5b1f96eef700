"""A run in parts: whose row is whose, and parts that become the whole."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tools import make_project

from vidsme_jax import cli
from vidsme_jax.errors import InputError
from vidsme_jax.records import files
from vidsme_jax.records.shards import Shard, read_shard, shard_directories
from vidsme_jax.runs.merge import merge
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.runs.status import status
from vidsme_jax.runs.verify import verify

pytestmark = [pytest.mark.slow(105), pytest.mark.least_compiled]


def test_every_row_has_one_shard_whatever_its_place():
    names = [f"clip-{n}" for n in range(1000)]
    parts = [{n for n in names if Shard(k, 7).has(n)} for k in range(7)]
    assert sum(map(len, parts)) == 1000 == len(set.union(*parts))
    assert min(map(len, parts)) > 100
    # Fixed for all time: shards of different versions must fit together.
    assert [Shard(k, 4).has("clip-0") for k in range(4)] == [True, False, False, False]


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("3/16", {}, (3, 16)),
        ("auto/8", {"JOB_COMPLETION_INDEX": "5"}, (5, 8)),
        ("auto", {"SKYPILOT_NODE_RANK": "1", "SKYPILOT_NUM_NODES": "4"}, (1, 4)),
        ("auto", {"TPU_WORKER_ID": "2", "TPU_WORKER_HOSTNAMES": "a,b,c,d"}, (2, 4)),
        (
            "auto",
            {"SLURM_JOB_ID": "9", "SLURM_PROCID": "1", "SLURM_NTASKS": "4"},
            (1, 4),
        ),
        (
            "auto",
            {
                "SLURM_JOB_ID": "9",
                "SLURM_ARRAY_TASK_ID": "7",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_STEP": "2",
                "SLURM_ARRAY_TASK_COUNT": "5",
            },
            (3, 5),
        ),
        (
            "auto",
            {
                "SLURM_JOB_ID": "9",
                "SLURM_ARRAY_TASK_ID": "1",
                "SLURM_ARRAY_TASK_COUNT": "2",
                "SLURM_PROCID": "1",
                "SLURM_NTASKS": "3",
            },
            (4, 6),
        ),
    ],
)
def test_reading_a_shard(text, environment, expected):
    assert read_shard(text, environment) == Shard(*expected)


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("16/16", {}, "shards=16/16, expected K/N with K from 0 to N-1"),
        ("1", {}, "expected K/N"),
        ("", {}, "expected K/N"),
        ("-1/4", {}, "expected K/N"),
        ("a/b", {}, "expected K/N"),
        ("auto", {}, "the environment has nothing of a launcher"),
        ("auto", {"JOB_COMPLETION_INDEX": "5"}, "number 5, not of how many"),
        ("auto", {"TPU_WORKER_ID": "0"}, "number 0, not of how many"),
        ("auto/x", {"JOB_COMPLETION_INDEX": "5"}, "expected K/N"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "5"}, "number 5 of 4"),
    ],
)
def test_what_is_no_shard(text, environment, message):
    with pytest.raises(InputError, match=message):
        read_shard(text, environment)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    rows, manifest, model = make_project(folder, count=10)
    (folder / "text.mp4").write_text("no video\n" * 50)
    rows.insert(2, {"video": "text.mp4", "label": 0})
    for n, row in enumerate(rows):
        row["note"] = [n] if n == 5 else n  # of no one type in any one shard
    manifest.write_text(json.dumps(rows))
    return ScoreSettings(
        model, (manifest,), folder / "whole", (2, 4), batch=2, definitions=("published",)
    )


@pytest.fixture(scope="module")
def whole(project):
    score(project)
    return project.out


@pytest.fixture(scope="module")
def parts(project, whole, tmp_path_factory):
    """The same run in 8 parts, one of which has no row."""
    out = tmp_path_factory.mktemp("parts") / "run"
    settings = replace(project, out=out, calibration=whole / "calibration.json")
    for k in range(8):
        score(replace(settings, shard=Shard(k, 8)))
    return out


def test_the_parts_make_the_whole(project, whole, parts):
    sizes = [
        len(pq.read_table(p / "scores.parquet")) for p in shard_directories(parts).values()
    ]
    assert sum(sizes) == 22 and 0 in sizes
    assert "the run of 11 rows, from 8 shards" in merge([parts], parts)
    for name in ("scores", "published", "curves", "thumbnails"):
        whole_table, merged = (pq.read_table(d / f"{name}.parquet") for d in (whole, parts))
        assert whole_table.schema == merged.schema
        for column in whole_table.column_names:
            if str(whole_table.schema.field(column).type) == "float":
                a, b = (t[column].to_numpy() for t in (whole_table, merged))
                np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5, err_msg=column)
            elif name != "curves" or column in ("id", "frames"):
                assert whole_table[column].equals(merged[column]), column
    assert "22 rows (2 decode_error, 20 ok), each once, no score missing" in verify(parts)
    assert "22 rows" in verify(whole)
    score(replace(project, out=parts, calibration=whole / "calibration.json"))  # finished


def test_status_says_how_far_each_is(project, whole, parts, tmp_path, capsys):
    assert "shard 7/8: finished" in status(parts)
    out = tmp_path / "run"
    settings = replace(project, out=out, calibration=whole / "calibration.json")
    score(replace(settings, shard=Shard(1, 2)))
    said = status(out).splitlines()
    assert said[0] == "shard 0/2: not started" and said[1].startswith("shard 1/2: finished")
    path = Shard(0, 2).directory(out)
    with files.locked(path):
        files.write_json(path / "run.json", {"settings": {"frames": [2, 4]}, "own_rows": 5})
        assert "shard 0/2: running, 0 of 10 rows" in status(out)
    assert "shard 0/2: stopped, 0 of 10 rows" in status(out)
    assert "finished, 22 rows (2 decode_error, 20 ok)" in status(whole)
    for command in ("status", "verify", "merge"):
        assert cli.main([command, str(tmp_path / "none")]) == 2
        assert "does not exist" in capsys.readouterr().err


def test_what_cannot_be_merged(project, whole, parts, tmp_path):
    settings = replace(project, calibration=whole / "calibration.json", frames=(2,))
    half = replace(settings, out=tmp_path / "half")
    score(replace(half, shard=Shard(0, 2)))
    with pytest.raises(InputError, match="shards 1/2 are missing or not finished"):
        merge([half.out], half.out)
    with pytest.raises(InputError, match="is in 1 shards: vidsme merge joins them"):
        verify(half.out)
    other = replace(settings, out=tmp_path / "other", slices=("video",))
    score(replace(other, shard=Shard(1, 2)))
    with pytest.raises(InputError, match="other settings than .*: slices"):
        merge([half.out, other.out], tmp_path / "both")
    score(replace(half, out=tmp_path / "there", shard=Shard(1, 2)))
    line = merge([half.out, tmp_path / "there"], tmp_path / "both")
    assert "11 rows, from 2 shards" in line and "11 rows" in verify(tmp_path / "both")
    with pytest.raises(InputError, match="has no shards/"):
        merge([whole], whole)
    with pytest.raises(InputError, match=r"has shards of \[2, 8\], expected one"):
        merge([half.out, parts], tmp_path / "x")


def test_a_shard_needs_the_ranges_of_all(project, tmp_path):
    with pytest.raises(InputError, match="expected --calibration FILE, or --data STORE"):
        score(replace(project, out=tmp_path / "run", shard=Shard(0, 2)))


def changed(run, column, change):
    path = run / "scores.parquet"
    table = pq.read_table(path)
    kind = table.schema.field(column)
    values = pa.array(change(table[column].to_pylist()), kind.type)
    pq.write_table(table.set_column(table.column_names.index(column), kind, values), path)


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("row", lambda v: [0, *v[1:-1], 0], "row 0 stands more than once"),
        ("id", lambda v: [v[1], *v[1:]], "stands more than once"),
        (
            "video.sme.mean",
            lambda v: [float("nan"), *v[1:]],
            "is ok, but has no video.sme.mean",
        ),
    ],
)
def test_verify_finds_what_is_wrong(whole, tmp_path, column, change, message):
    copy = shutil.copytree(whole, tmp_path / "copy")
    changed(copy, column, change)
    with pytest.raises(InputError, match=message):
        verify(copy)


def test_verify_finds_a_column_that_is_gone_and_infinite_values(whole, tmp_path):
    copy = shutil.copytree(whole, tmp_path / "copy")
    changed(copy, "video.sme.min_0", lambda v: [float("inf"), *v[1:]])
    with pytest.raises(InputError, match="video.sme.min_0 holds an infinite value"):
        verify(copy)
    table = pq.read_table(copy / "scores.parquet").drop_columns(["video.sme.mean"])
    pq.write_table(table, copy / "scores.parquet")
    with pytest.raises(
        InputError, match="1 columns are missing, the first: video.sme.mean"
    ):
        verify(copy)


@pytest.mark.parametrize("content", [None, b'{"4": {"moti'])
def test_verify_reads_the_calibration(whole, tmp_path, content):
    copy = shutil.copytree(whole, tmp_path / "copy")
    (copy / "calibration.json").unlink()
    if content:
        (copy / "calibration.json").write_bytes(content)
    with pytest.raises(InputError, match="1 faults: .*calibration.json"):
        verify(copy)


def test_damaged_shards_are_one_line(parts, tmp_path):
    """Each damage by itself, met by `merge` and `status`."""
    path = Shard(2, 8).directory(tmp_path / "copy")
    for name, content, commands in (
        ("run.json", b"{}", (status, lambda run: merge([run], run))),
        ("scores.parquet", b"PAR1", (status, lambda run: merge([run], run))),
        ("curves.parquet", b"PAR1", (lambda run: merge([run], run),)),
    ):
        shutil.copytree(parts, tmp_path / "copy")
        (tmp_path / "copy" / "scores.parquet").unlink(missing_ok=True)
        (path / name).write_bytes(content)
        for command in commands:
            with pytest.raises(InputError, match=name):
                command(tmp_path / "copy")
        shutil.rmtree(tmp_path / "copy")


def test_verify_finds_missing_rows_and_changed_settings(whole, tmp_path):
    copy = shutil.copytree(whole, tmp_path / "copy")
    pq.write_table(pq.read_table(copy / "scores.parquet")[:-1], copy / "scores.parquet")
    info = files.read_json(copy / "run.json")
    info["settings"]["beta1"] = 0.5
    (copy / "run.json").write_text(json.dumps(info))
    with pytest.raises(InputError) as caught:
        verify(copy)
    for words in (
        "settings_hash is not that of the settings",
        "4 frames: 10 rows, expected 11",
        "4 frames: row 10 of the manifest is missing",
        "curves.parquet has other rows",
    ):
        assert words in str(caught.value)


def test_two_processes_without_locks_write_the_same_run(project, whole, tmp_path):
    """Some network file systems have no locks: both write whole files of equal content."""
    code = (
        "import errno, fcntl, sys\n"
        "def none(*_): raise OSError(errno.ENOLCK, 'no locks')\n"
        "fcntl.flock = none\n"
        "from vidsme_jax.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["score", "--model", project.model, "--data", *project.data, "--frames", "2,4"]
    words += ["--batch", "2", "--definition", "published", "--out", tmp_path / "run"]
    line = [sys.executable, "-c", code, *map(str, words)]
    both = [
        subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    noise = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], noise
    alone, contended = (
        pq.read_table(d / "scores.parquet") for d in (whole, tmp_path / "run")
    )
    assert alone["id"].equals(contended["id"]) and "22 rows" in verify(tmp_path / "run")
