"""A clip that changes between a kill and the resume: said, noted, and nothing mixed up."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tools import make_project

from vidsme_jax.cli.main import main
from vidsme_jax.data.clips import Decoding
from vidsme_jax.data.readers.source import VideoFile
from vidsme_jax.data.stamps import stamp_of
from vidsme_jax.data.store import writer
from vidsme_jax.evaluation.evaluate import read
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.records.shards import read_shard
from vidsme_jax.runs import score as scoring
from vidsme_jax.runs.merge import merge
from vidsme_jax.runs.prepare import PrepareSettings, prepare
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.sweeps.grid import Grid
from vidsme_jax.sweeps.sweep import sweep

pytestmark = [pytest.mark.slow(30), pytest.mark.least_compiled]


class Killed(BaseException):
    """Raised where a test ends a command in the middle."""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Six clips: four files, a segment of the second, and a folder of images."""
    folder = tmp_path_factory.mktemp("project")
    records, manifest, _ = make_project(folder, count=4)
    for n, record in enumerate(records):
        record["id"] = f"c{n}"
    images, rng = folder / "clips" / "images", np.random.default_rng(0)
    images.mkdir()
    for n in range(4):
        pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{n}.png")
    second = records[1]
    part = second | {"id": "part", "start": 0, "end": 0.5}
    records += [part, second | {"id": "folder", "video": "clips/images"}]
    manifest.write_text(json.dumps(records))
    return folder


@pytest.fixture
def clips(project, tmp_path):
    """A copy of the clips, which a test may change."""
    shutil.copytree(project, tmp_path / "project")
    return tmp_path / "project"


def settings(kind, folder, out, **more):
    data = (folder / "manifest.json",)
    return kind(folder / "model", data, out, (2, 4), decoding=Decoding(workers=1), **more)


@pytest.fixture(scope="module")
def calibration(project, tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "store"
    prepare(settings(PrepareSettings, project, store))
    return store / "calibration.json"


def killed_at(monkeypatch, module, name, call, run):
    """Run something that ends at a call of a function."""
    whole, calls = getattr(module, name), []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise Killed
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, dying)
        with pytest.raises(Killed):
            run()


def video(folder, n):
    return sorted((folder / "clips").glob("*.mp4"))[n]


def change(path):
    """Append a byte to a file."""
    with path.open("ab") as file:
        file.write(b"x")


def noted(path):
    """Return the rows of each clip that was noted, by the clip's name."""
    info = json.loads(path.read_text())
    return {Path(note["video"]).name: note["rows"] for note in info.get("changed", [])}


def said(capsys):
    """Return the lines about changed clips."""
    return [line for line in capsys.readouterr().err.splitlines() if "changed on" in line]


def test_prepare_says_which_clips_changed(clips, tmp_path, monkeypatch, capsys):
    out = tmp_path / "store"
    request = settings(PrepareSettings, clips, out)
    killed_at(monkeypatch, writer, "_write_journal", 4, lambda: prepare(request))
    before = stamp_of(video(clips, 1))
    change(video(clips, 1))  # it is finished, and its segment is not
    change(video(clips, 3))  # not finished
    store = prepare(request)
    (line,) = said(capsys)
    assert f"{out}: clips changed on disk (size or time) after they were read: " in line
    assert f"{video(clips, 1).name}; rows 1 hold what was read then" in line
    assert noted(out / "store.json") == {video(clips, 1).name: [1]}
    assert store.facts[1].stamp == before
    now = [stamp_of(video(clips, n)) for n in (0, 2, 3, 1)]
    assert [store.facts[n].stamp for n in (0, 2, 3, 4)] == now
    change(clips / "clips" / "images" / "0.png")  # now the store is complete
    prepare(request)
    assert "rows 1, 5 hold" in said(capsys)[0]
    assert main(["verify", str(out)]) == 0
    assert "rows 1, 5 hold" in said(capsys)[0]


def test_a_resume_of_unchanged_clips_says_nothing(clips, tmp_path, monkeypatch, capsys):
    request = settings(PrepareSettings, clips, tmp_path / "store")
    killed_at(monkeypatch, writer, "_write_journal", 4, lambda: prepare(request))
    video(clips, 0).unlink()  # gone, which is not changed
    prepare(request)
    assert not said(capsys) and not noted(tmp_path / "store" / "store.json")


def test_score_says_which_rows_are_of_files_as_they_were(
    clips, calibration, tmp_path, monkeypatch, capsys
):
    """Its first frame count was scored: the file of then, the second reads that of now."""
    out = tmp_path / "run"
    more = {"slices": ("video",), "calibration": calibration}
    request = settings(ScoreSettings, clips, out, **more)
    killed_at(monkeypatch, scoring, "write", 2, lambda: score(request))
    change(video(clips, 0))
    capsys.readouterr()
    score(request)
    (line,) = said(capsys)
    assert f"{video(clips, 0).name}; rows 0 hold what was read then" in line
    assert noted(out / "run.json") == {video(clips, 0).name: [0]}
    sizes = pq.read_table(out / "features.parquet")["read_bytes"].to_pylist()
    size = video(clips, 0).stat().st_size
    assert (sizes[0], sizes[6]) == (size - 1, size)
    read(out)
    assert main(["verify", str(out)]) == 0
    assert len(said(capsys)) == 2
    change(video(clips, 2))  # the run is finished
    score(request)
    assert noted(out / "run.json") == {video(clips, 0).name: [0], video(clips, 2).name: [2]}


def test_a_run_that_decodes_first_notes_it(clips, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    request = settings(ScoreSettings, clips, out, slices=("video",))
    killed_at(monkeypatch, scoring, "make_engine", 1, lambda: score(request))
    os.utime(video(clips, 2), ns=(1, 1))  # the time alone
    capsys.readouterr()
    score(request)
    (line,) = said(capsys)
    assert "rows 2 hold what was read then" in line and str(out / "prepared") not in line
    assert noted(out / "run.json") == {video(clips, 2).name: [2]}


def test_a_merged_store_keeps_the_notes_of_its_shards(clips, tmp_path, capsys):
    out = tmp_path / "store"
    for shard in ("0/2", "1/2"):
        request = settings(PrepareSettings, clips, out, shard=read_shard(shard))
        prepare(request)
        change(video(clips, 1))
        prepare(request)
    capsys.readouterr()
    merge([out], out)
    name = video(clips, 1).name
    assert noted(out / "store.json") == {name: [1], f"{name}#t=0,0.5": [4]}
    assert "rows 1, 4 hold what was read then" in said(capsys)[0]


def test_a_sweep_that_goes_on_says_what_changed_since_its_passes(clips, tmp_path, capsys):
    grid = Grid(
        {"toy": clips / "model"},
        (clips / "manifest.json",),
        tmp_path / "out",
        frames=(2,),
        slices=("video",),
        families=("sme",),
        aggregates=("mean",),
        evaluation=EvaluationSettings(bootstrap=20, permutations=20),
    )
    sweep(grid)
    assert not said(capsys)
    change(video(clips, 3))
    sweep(grid)
    assert "rows 3 hold what was read then" in said(capsys)[0]
    (run,) = (tmp_path / "out" / "runs").iterdir()
    assert noted(run / "run.json") == {video(clips, 3).name: [3]}


def test_stamps_of_files_segments_and_folders(clips):
    path, folder = video(clips, 0), clips / "clips" / "images"
    assert stamp_of(VideoFile(path, 0.0, 1.0)) == stamp_of(path)
    stat = path.stat()
    assert vars(stamp_of(path)) == {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
    before = stamp_of(folder)
    assert before.bytes == sum(p.stat().st_size for p in folder.iterdir())
    (folder / "3.png").rename(folder / "4.png")  # sizes and times of the files stay
    assert stamp_of(folder) != before
    assert stamp_of(clips / "none.mp4") is None
