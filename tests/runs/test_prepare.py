"""`vidsme prepare`: each clip decoded once, and never again, whatever stops it."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tools import make_project

from vidsme_jax import cli
from vidsme_jax.data import clips as clips_module
from vidsme_jax.data.clips import Decoding
from vidsme_jax.data.manifest import ManifestSettings
from vidsme_jax.data.motion import flow_variance
from vidsme_jax.data.prepared import ClipSpec
from vidsme_jax.data.preprocess import FrameGeometry, geometry_of, preprocess
from vidsme_jax.data.readers.policy import read_clip
from vidsme_jax.data.store.store import open_store
from vidsme_jax.data.store.writer import StoreDraft
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.records import files as record_files
from vidsme_jax.runs.prepare import PrepareSettings, prepare
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores.orders import Calibration

pytestmark = [pytest.mark.slow(100), pytest.mark.least_compiled]

FRAMES = (2, 4)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Nine good clips, one of them asked about twice, and three that cannot be read."""
    folder = tmp_path_factory.mktemp("store")
    rows, manifest, model = make_project(folder, count=9)
    (folder / "text.mp4").write_text("no video\n" * 50)
    rows.insert(3, {"video": "text.mp4", "label": 0})
    rows.insert(5, {"video": "none.mp4", "label": 1})
    rows.append(rows[0] | {"question": "And what else moves?", "note": 3})
    rows.append(rows[1] | {"note": {"a": 1}})
    (folder / "empty.mp4").write_bytes(b"")
    rows.append({"video": "empty.mp4", "label": 0})
    manifest.write_text(json.dumps(rows))
    return PrepareSettings(
        model, (manifest,), folder / "made", FRAMES, decoding=Decoding(2, 60.0)
    )


@pytest.fixture(scope="module")
def store(project):
    return prepare(project)


def run_of(project, out, **changes):
    return ScoreSettings(project.model, project.data, out, FRAMES, batch=1, **changes)


@pytest.fixture(scope="module")
def from_files(project, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "files"
    score(run_of(project, out, definitions=("exact", "published")))
    return out


def assert_equal(run: Path, other: Path):
    """All tables and calibrations of two runs are the same, bit for bit."""
    names = {path.name for path in run.glob("*.parquet")}
    assert names == {path.name for path in other.glob("*.parquet")} >= {"scores.parquet"}
    for name in names:
        a, b = pq.read_table(run / name), pq.read_table(other / name)
        assert a.schema == b.schema and len(a) == len(b)
        for column in a.column_names:
            x, y = (t[column].combine_chunks() for t in (a, b))
            if str(x.type) in ("float", "double"):
                x, y = (v.to_numpy(zero_copy_only=False).tobytes() for v in (x, y))
                assert x == y, (name, column)
            else:
                assert x.equals(y), (name, column)
    assert record_files.read_json(run / "calibration.json") == record_files.read_json(
        other / "calibration.json"
    )


def test_what_it_holds(project, store):
    assert len(store.rows) == 14 and len(store.table) == 12
    assert store.clip_numbers[:4] == [0, 1, 2, 3] and store.clip_numbers[11:13] == [0, 1]
    status = [facts.status for facts in store.facts]
    assert status.count("ok") == 9 and status[3] == "decode_error"
    assert status[5] == "missing_file" and status[11] == "decode_error"
    processor = open_port(Path(project.model)).processor
    for clip, row in zip(store.clips([0, 2]), (store.rows[0], store.rows[2]), strict=True):
        source = read_clip(row.path, FRAMES)
        expected = preprocess(source.frames, geometry_of(processor))
        np.testing.assert_array_equal(clip.frames, expected)
        np.testing.assert_array_equal(clip.indices, source.indices)
        motion = flow_variance(source.sample(4))
        assert clip.facts.at[4].motion == motion
    ranges = record_files.read_json(store.path / "calibration.json")
    assert set(ranges) == {"2", "4"} and Calibration(**ranges["4"]).motion_max > 0
    assert {p.name for p in store.path.iterdir()} == {
        *(".lock", "calibration.json", "clips.parquet", "rows.parquet", "store.json"),
        "vidsme_clips",
    }


def test_tensorflow_datasets_opens_it(store):
    import tensorflow_datasets as tfds

    source = tfds.builder("vidsme_clips", data_dir=str(store.path)).as_data_source("clips")
    assert len(source) == 12 and "tensorflow" not in sys.modules
    first = source[0]
    assert first["frames"].dtype == np.uint8 and first["frames"].shape[-1] == 3
    assert first["status"] == b"ok" and first["container"] == b"mp4"
    assert first["frame_counts"].tolist() == [2, 4] and first["fps"] > 0
    facts = store.facts[0]
    assert first["motion"].tolist() == [facts.at[n].motion for n in FRAMES]
    assert source[3]["frames"].shape[0] == 0 and source[3]["error"]
    assert np.isnan(source[3]["motion"]).all()


def test_scores_are_those_straight_from_the_files(
    project, store, from_files, tmp_path, monkeypatch, capsys
):
    """Bit-equal, and not one clip is decoded."""

    def never(*_):
        raise AssertionError("a clip was decoded")

    monkeypatch.setattr(clips_module, "Workers", never)
    settings = run_of(project, tmp_path / "run", definitions=("exact", "published"))
    score(replace(settings, data=(store.path,)))
    assert_equal(from_files, tmp_path / "run")
    assert "time: " in capsys.readouterr().err


def test_a_second_frame_count_and_a_part_of_the_slices(project, store, tmp_path):
    changes = {"frames": (4,), "slices": ("video",)}
    score(replace(run_of(project, tmp_path / "a"), **changes))
    score(replace(run_of(project, tmp_path / "b"), data=(store.path,), **changes))
    assert_equal(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": (2, 8)}, r"holds frame counts \[2, 4\], expected \[8\]"),
        ({"manifests": ManifestSettings(Path("."))}, "which holds the rows and clips"),
        ({"manifests": ManifestSettings(labels=(1,))}, "no label, root, turns or fps"),
        ({"manifests": ManifestSettings(turns="last")}, "which holds the rows and clips"),
        ({"reader": "opencv"}, "reader=opencv, but .* was prepared with auto"),
    ],
)
def test_what_a_store_cannot_give_is_refused(project, store, tmp_path, change, message):
    settings = replace(run_of(project, tmp_path / "run"), data=(store.path,), **change)
    with pytest.raises(InputError, match=message):
        score(settings)
    assert not (tmp_path / "run").exists()


def test_a_model_with_other_pixels_is_refused(project, store, tmp_path):
    info = record_files.read_json(store.path / "store.json")
    info["settings"]["preprocessing"]["resize"] = 99
    info["settings_hash"] = record_files.digest(info["settings"])
    copy = Path(shutil.copytree(store.path, tmp_path / "copy"))
    (copy / "store.json").write_text(json.dumps(info))
    settings = replace(run_of(project, tmp_path / "run"), data=(copy,))
    with pytest.raises(InputError, match="holds frames resized to 99 .*prepare the clips"):
        score(settings)
    assert not (tmp_path / "run").exists()


def test_beside_other_data_or_unfinished(project, store, tmp_path):
    settings = run_of(project, tmp_path / "run")
    with pytest.raises(InputError, match="is a store, expected no other data"):
        score(replace(settings, data=(store.path, *project.data)))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "store.json").write_text((store.path / "store.json").read_text())
    with pytest.raises(InputError, match="its vidsme prepare has not ended"):
        score(replace(settings, data=(tmp_path / "half",)))
    (tmp_path / "half" / "store.json").write_text("{}")
    with pytest.raises(InputError, match="holds no settings"):
        score(replace(settings, data=(tmp_path / "half",)))


def test_other_settings_are_refused(project, store, capsys):
    with pytest.raises(InputError, match=r"other settings: frames \[2, 4\] there, \[2\]"):
        prepare(replace(project, frames=(2,)))
    before = (store.path / "clips.parquet").stat().st_mtime_ns
    prepare(project)
    assert (store.path / "clips.parquet").stat().st_mtime_ns == before


def test_nothing_readable_is_one_line(project, tmp_path, capsys):
    manifest = tmp_path / "m.json"
    manifest.write_text(json.dumps([{"video": "no.mp4"}]))
    words = ["prepare", str(manifest), "--model", str(project.model), "--out"]
    assert cli.main([*words, str(tmp_path / "s"), "--frames", "2"]) == 2
    assert "none of 1 clips could be read, the first:" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert cli.main([*words, str(tmp_path / "mine")]) == 2
    assert "holds other files (notes.txt) and no store.json" in capsys.readouterr().err


def test_the_weights_are_not_needed(project, tmp_path):
    model = Path(shutil.copytree(project.model, tmp_path / "model"))
    for path in model.glob("*.safetensors"):
        path.unlink()
    again = prepare(replace(project, model=model, out=tmp_path / "s"))
    assert again.info["settings"]["preprocessing"]["crop"] > 0


@pytest.mark.parametrize(("clips", "files"), [(0, 1), (128, 1), (129, 2), (102_400, 512)])
def test_files_are_few(clips, files):
    paths = tuple(Path(str(n)) for n in range(clips))
    draft = StoreDraft(Path(), paths, ClipSpec((2,), FrameGeometry(None, 8)))
    assert len(draft.pieces) == files
    assert [n for piece in draft.pieces for n in piece] == list(range(clips))


def assert_same_clips(store, other):
    assert store.table.equals(other.table) and store.clip_numbers == other.clip_numbers
    assert store.rows == other.rows and store.info["settings"] == other.info["settings"]
    for a, b in zip(store.clips(range(14)), other.clips(range(14)), strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)


def command(project, out, *more):
    words = [str(path) for path in project.data]
    words += ["--model", str(project.model), "--out", str(out), "--frames", "2,4"]
    return [sys.executable, "-m", "vidsme_jax", "prepare", *words, *map(str, more)]


def test_killed_at_any_moment_and_run_again(project, store, tmp_path):
    dice, out = random.Random(0), tmp_path / "s"
    for _ in range(2):
        process = subprocess.Popen(
            command(project, out, "--workers", 1), cwd=tmp_path, stderr=subprocess.DEVNULL
        )
        time.sleep(dice.uniform(2, 5))
        process.kill()
        process.wait()
    assert_same_clips(prepare(replace(project, out=out)), store)
    assert not list(out.rglob("*.tmp")) and not (out / "journal").exists()


def test_a_full_disk_loses_nothing(project, store, tmp_path):
    """The kernel refuses to let a file grow, as it does on a full disk."""
    out = tmp_path / "s"
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))\n"
        "from vidsme_jax.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = command(project, out)[3:]
    done = subprocess.run(
        [sys.executable, "-c", limited, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 75 and "Traceback" not in done.stderr
    *_, line = done.stderr.strip().splitlines()  # the first says what is not read
    assert "could not be written: File too large" in line and "same command again" in line
    assert not list(out.rglob("*.tmp"))
    assert_same_clips(prepare(replace(project, out=out)), store)


def test_sigterm_ends_with_75_and_it_goes_on(project, store, tmp_path):
    out = tmp_path / "s"
    process = subprocess.Popen(
        command(project, out, "--workers", 1), cwd=tmp_path, stderr=subprocess.PIPE
    )
    while not list(out.glob("journal/*.npz")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, noise = process.communicate(timeout=60)
    assert process.returncode == 75, noise
    assert b"interrupted, run it again" in noise and b"Traceback" not in noise
    assert_same_clips(prepare(replace(project, out=out)), store)


def test_shards_of_two_hosts_at_once_become_one_store(
    project, store, from_files, tmp_path, capsys
):
    out = tmp_path / "s"
    hosts = [
        subprocess.Popen(command(project, out, "--shards", f"{k}/2"), cwd=tmp_path)
        for k in range(2)
    ]
    assert [host.wait() for host in hosts] == [0, 0]
    assert cli.main(["status", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "shard 1/2: finished" in printed and "not merged yet" in printed
    with pytest.raises(InputError, match="is in shards, vidsme merge makes a store"):
        score(replace(run_of(project, tmp_path / "run"), data=(out,)))
    assert cli.main(["merge", str(out)]) == 0 == cli.main(["verify", str(out)])
    assert "the store of 14 rows, from 2 shards" in capsys.readouterr().out
    whole = open_store(out)
    assert whole.rows == store.rows and len(whole.table) >= 12
    again = replace(run_of(project, tmp_path / "run"), data=(out,))
    score(replace(again, definitions=("exact", "published")))
    assert_equal(from_files, tmp_path / "run")
    assert cli.main(["status", str(out)]) == 0
    assert "whole: finished" in capsys.readouterr().out


def test_verify_finds_what_is_wrong(project, store, tmp_path, capsys):
    assert cli.main(["verify", str(store.path)]) == 0
    printed = capsys.readouterr().out
    assert (
        "12 clips (2 decode_error, 1 missing_file, 9 ok) of 14 rows, each readable"
        in printed
    )
    copy = Path(shutil.copytree(store.path, tmp_path / "copy"))
    (records_file,) = (copy / "vidsme_clips" / "1.0.0").glob("*array_record*")
    content = bytearray(records_file.read_bytes())
    for n in range(100, len(content), 97):  # padding lies between the clips
        content[n] ^= 255
    records_file.write_bytes(content)
    assert cli.main(["verify", str(copy)]) == 2
    assert "cannot be read" in capsys.readouterr().err
    info = record_files.read_json(store.path / "store.json")
    info["settings"]["reader"] = "pyav"
    copy = Path(shutil.copytree(store.path, tmp_path / "other"))
    (copy / "store.json").write_text(json.dumps(info))
    assert cli.main(["verify", str(copy)]) == 2
    assert "the settings in store.json were changed by hand" in capsys.readouterr().err


def test_damage_is_one_line(project, store, tmp_path, capsys):
    """Whatever file of a store is damaged, and whichever command meets it."""

    def cut(path):
        path.write_bytes(path.read_bytes()[:500])

    def other_rows(path):
        table = pq.read_table(path)
        clips = pa.array([99] * len(table), pa.int64())
        place = table.column_names.index("clip")
        pq.write_table(table.set_column(place, "clip", clips), path)

    frames = "vidsme_clips/1.0.0/"
    for pattern, damage in (
        (frames + "*array_record*", Path.unlink),
        (frames + "*array_record*", cut),
        (frames + "features.json", Path.unlink),
        (frames + "dataset_info.json", lambda path: path.write_text("{")),
        ("clips.parquet", cut),
        ("rows.parquet", Path.unlink),
        ("rows.parquet", other_rows),
        ("store.json", lambda path: path.write_text("{}")),
        ("store.json", lambda path: path.write_text('{"settings": {}}')),
    ):
        copy = Path(shutil.copytree(store.path, tmp_path / "copy"))
        damage(next(copy.glob(pattern)))
        words = ["score", "--model", project.model, "--data", copy, "--frames", 2]
        words += ["--slices", "video", "--out", tmp_path / "run"]
        for line in (words, ["verify", copy]):
            assert cli.main([str(word) for word in line]) == 2, (pattern, line[0])
            printed = capsys.readouterr().err.splitlines()
            assert printed[-1].startswith(f"vidsme {line[0]}: "), (pattern, printed)
        assert cli.main(["status", str(copy)]) in (0, 2)
        capsys.readouterr()
        shutil.rmtree(copy)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)


def test_a_store_of_nothing_does_not_hold_its_directory(project, tmp_path):
    """A wrong --root is corrected by the next try, and one that is no folder refused."""
    manifest = tmp_path / "m.json"
    manifest.write_text(json.dumps([{"video": "clips/clip-000.mp4"}]))
    wrong = replace(
        project,
        data=(manifest,),
        manifests=ManifestSettings(tmp_path),
        out=tmp_path / "made",
    )
    with pytest.raises(InputError, match="none of 1 clips could be read"):
        prepare(wrong)
    made = prepare(replace(wrong, manifests=ManifestSettings(Path(project.data[0]).parent)))
    assert [facts.status for facts in made.facts] == ["ok"]
    with pytest.raises(InputError, match="root=.*nowhere is no folder"):
        prepare(replace(wrong, manifests=ManifestSettings(tmp_path / "nowhere")))
