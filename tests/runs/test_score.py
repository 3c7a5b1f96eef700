"""The whole of `vidsme score` on real clips and a real checkpoint of a million numbers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from tools import make_project, numbered

from vidsme_jax.data.batches import make_layout, smallest_layout
from vidsme_jax.data.manifest import ManifestSettings, read_manifests
from vidsme_jax.data.prepare_clip import prepare_clip
from vidsme_jax.data.prepared import ClipSpec
from vidsme_jax.data.preprocess import geometry_of
from vidsme_jax.data.synthetic.shapes import write_mp4
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.evaluate import read
from vidsme_jax.models import open_port
from vidsme_jax.models.video_llm import bind
from vidsme_jax.records import files, runs
from vidsme_jax.runs.identity import about
from vidsme_jax.runs.job import make_job
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.orders import EntropyOrders

pytestmark = [pytest.mark.slow(130), pytest.mark.least_compiled]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Twenty clips, of which one is missing, one is text, and one has a single frame."""
    folder = tmp_path_factory.mktemp("project")
    entries, manifest, model = make_project(folder, count=17)
    (folder / "clips" / "text.mp4").write_text("not a video")
    write_mp4(folder / "clips" / "one.mp4", numbered(1), 8.0)
    entries += [{"video": f"clips/{n}.mp4", "label": 0} for n in ("none", "text", "one")]
    for n, entry in enumerate(entries):
        entry["source"], entry["status"] = f"camera {n % 3}", n
    manifest.write_text(json.dumps(entries))
    return ScoreSettings(model, (manifest,), folder / "run", frames=(4,), batch=1)


@pytest.fixture(scope="module")
def whole(project):
    return score(project)


@pytest.fixture(scope="module")
def video_only(project, tmp_path_factory):
    out = tmp_path_factory.mktemp("video") / "run"
    return score(replace(project, slices=("video",), out=out))


def column(table, name):
    return np.array(table[name].to_pylist(), float)


def assert_equal(a, b):
    """Bit-equal tables, NaN included."""
    assert a.schema == b.schema
    for name in a.column_names:
        assert repr(a[name].to_pylist()) == repr(b[name].to_pylist()), name


def test_one_row_per_clip_in_order_with_every_column(project, whole):
    names = whole.column_names
    base = "id frames row group label video status error reader fallback container codec"
    base += " frames_total frame_indices frame_hash motion illumination q r duration fps"
    base = [*base.split(), "width", "height"]
    assert names[:23] == base
    assert names[23:27] == ["source", "manifest.status", *catalogue.columns()[:2]]
    assert tuple(names[25:]) == catalogue.columns()
    assert whole["row"].to_pylist() == list(range(20))
    assert whole.num_rows == 20 and len(set(whole["id"].to_pylist())) == 20
    entries = json.loads(project.data[0].read_text())
    assert whole["video"].to_pylist() == [e["video"] for e in entries]
    assert whole["manifest.status"].to_pylist() == list(range(20))


def test_every_field_of_the_settings_decides_but_a_few(project, whole):
    """Or a run would go on under other settings than it began with."""
    settings = files.read_json(project.out / "run.json")["settings"]
    names = {field.name for field in fields(ScoreSettings)}
    stood_for = {"data", "manifests", "system", "published_prompt", "keep_tokens"}
    stood_for |= {"adapter"}
    rounding_only = {"batch", "parallel"}
    assert names - set(settings) == {"out", "decoding"} | stood_for | rounding_only
    assert set(settings) - names == {
        *("port", "manifest", "prompt", "template", "vocab_keep", "keep"),
        *("batches", "versions"),
    }


def test_bad_clips_are_rows_and_good_ones_are_whole(whole):
    status = whole["status"].to_pylist()
    assert status[:17] + status[19:] == ["ok"] * 18
    assert status[17:19] == ["missing_file", "decode_error"]
    assert "none.mp4 does not exist" in whole["error"][17].as_py()
    assert whole["error"][18].as_py().startswith("it is no video: text, expected one of")
    for name in ("motion", "q", "video.sme.mean", "response.logp.mean"):
        values = column(whole, name)
        assert np.all(np.isfinite(values[:17])) and np.all(np.isnan(values[17:19]))
    assert column(whole, "motion")[19] == 0 and whole["frames_total"][19].as_py() == 1
    assert whole["frame_indices"][19].as_py() == [0] * 4
    for name in ("sme", "sme_aligned", "sme_rev", "logp_diff"):  # nothing to reverse
        assert np.isnan(column(whole, f"video.{name}.mean")[19]), name
    assert np.isfinite(column(whole, "video.sme_nat.mean")[19])
    assert np.isnan(column(whole, "response.logp.mean")[19])  # no answer: an empty slice


def test_orders_come_from_the_run_s_own_calibration(project, whole):
    v, b = column(whole, "motion"), column(whole, "illumination")
    span_v, span_b = np.nanmax(v) - np.nanmin(v), np.nanmax(b) - np.nanmin(b)
    want_q = 1 + (np.nanmax(v) - v) / span_v
    np.testing.assert_allclose(column(whole, "q"), want_q)
    want_r = 1 + 0.1 * (b - np.nanmin(b)) / span_b
    np.testing.assert_allclose(column(whole, "r"), want_r)
    saved = files.read_json(project.out / "calibration.json")
    assert saved["4"]["motion_max"] == np.nanmax(v)


def test_a_finished_run_is_only_its_results(project, whole):
    left = sorted(p.name for p in project.out.iterdir())
    tables = ("curves", "features", "scores", "thumbnails")
    want = [".lock", "calibration.json", "run.json", *(f"{t}.parquet" for t in tables)]
    assert left == sorted(want)
    curves = pq.read_table(project.out / "curves.parquet")
    assert curves.column_names == ["id", "frames", "video.sme"]
    lengths = [len(c) if c else None for c in curves["video.sme"].to_pylist()]
    assert lengths == [36] * 17 + [None] * 3  # bad clips, and a single frame
    for n in range(17):
        mean = np.mean(curves["video.sme"][n].as_py())
        assert mean == pytest.approx(column(whole, "video.sme.mean")[n], abs=1e-5)
    strips = pq.read_table(project.out / "thumbnails.parquet")["thumbnail"].to_pylist()
    assert strips[0].startswith(b"\xff\xd8") and not strips[17]


def test_features_are_what_baselines_look_at(project, whole):
    """Texts and file as given, and the mean of what the tower makes of the frames."""
    table = pq.read_table(project.out / "features.parquet")
    assert table["id"].to_pylist() == whole["id"].to_pylist()
    features, rows = table.to_pylist(), read_manifests(project.data)
    for feature, row in zip(features, rows, strict=True):
        assert (feature["question"], feature["answer"]) == (row.asked, row.answer)
        assert feature["candidates"] == list(row.candidates)
    assert [feature["embedding"] is None for feature in features] == [
        n in (17, 18) for n in range(20)
    ]
    assert features[0]["file_bytes"] == rows[0].path.stat().st_size
    assert len(features[0]["appearance"]) == 56
    port = open_port(project.model)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    params = port.load(np.float32, lambda *_: device)
    spec = ClipSpec((4,), geometry_of(port.processor))
    pixels = prepare_clip(rows[0].path, spec).sample(4)[None]
    frames = bind(port.config, params).embed_frames(jax.numpy.asarray(pixels))
    want = np.mean(np.asarray(frames), axis=(0, 1, 2))
    np.testing.assert_allclose(features[0]["embedding"], want, rtol=1e-3, atol=1e-5)


def test_running_again_changes_nothing(project, whole, capsys):
    before = (project.out / "scores.parquet").stat().st_mtime_ns
    assert_equal(score(project), whole)
    assert (project.out / "scores.parquet").stat().st_mtime_ns == before
    assert "is complete" in capsys.readouterr().err


class Killed(BaseException):
    """Nobody catches it, like a kill."""


@pytest.mark.parametrize("when", range(1, 12, 2))
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_write_and_resumed(
    project, whole, tmp_path, monkeypatch, when, after
):
    """Die just before or after the n-th file appears: the next run ends the same."""
    settings, rename, count = replace(project, out=tmp_path / "run"), os.replace, []

    def dying(source, target):
        count.append(target)
        if len(count) == when and not after:
            raise Killed
        rename(source, target)
        if len(count) == when:
            raise Killed

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(Killed):
        score(settings)
    monkeypatch.setattr(os, "replace", rename)
    assert_equal(score(settings), whole)


def test_sigkill_sigint_and_sigterm(project, video_only, tmp_path):
    """Real signals to a real process, and the exit code that asks for another run.

    In the end the table is that of a run in this process, which nothing disturbed.
    """
    words = [sys.executable, "-m", "vidsme_jax", "score", "--frames", "4"]
    words += ["--model", project.model, "--data", *project.data, "--batch", "1"]
    line = [*map(str, words), "--slices", "video", "--out", str(tmp_path / "run")]

    def start():
        pipe = subprocess.PIPE
        return subprocess.Popen(line, stdout=pipe, stderr=pipe, cwd=tmp_path)

    out = tmp_path / "run"
    for number, pattern in (
        (signal.SIGKILL, "prepared/*"),
        (signal.SIGINT, "prepared/*/*"),
        (signal.SIGTERM, "parts/*"),
    ):
        process = start()
        while process.poll() is None and not list(out.glob(pattern)):
            time.sleep(0.005)
        process.send_signal(number)
        code = process.wait()
        expected = (-9,) if number == signal.SIGKILL else (75, 0)  # 0: it was quicker
        assert code in expected, process.stderr.read()
        process.communicate()
    last = start()
    assert last.wait() == 0, last.stderr.read()
    assert_equal(pq.read_table(out / "scores.parquet"), video_only)
    last.communicate()


def test_a_calibration_file_streams_and_clips(project, whole, tmp_path):
    settings = replace(
        project, out=tmp_path / "run", calibration=project.out / "calibration.json"
    )
    same = score(settings)
    for name in ("q", "r", "video.sme.mean", "response.renyi_two.mean"):
        np.testing.assert_array_equal(column(same, name), column(whole, name))
    narrow = {"4": {"motion_min": 1.0, "motion_max": 2.0} | dict.fromkeys(
        ("illumination_min", "illumination_max"), 0.0)}  # fmt: skip
    path = tmp_path / "narrow.json"
    path.write_text(json.dumps(narrow))
    clipped = score(replace(settings, out=tmp_path / "two", calibration=path))
    assert set(column(clipped, "q")[:17]) == {1.0} and column(clipped, "q")[19] == 2


def test_several_frame_counts_and_all_curves(project, whole, tmp_path):
    settings = replace(project, out=tmp_path / "run", frames=(2, 4), keep_tokens=True)
    table = score(settings)
    assert table["frames"].to_pylist() == [2] * 20 + [4] * 20
    four = table.slice(20)
    for name in ("motion", "q", "video.sme.mean", "instruction.logp.min_10"):
        np.testing.assert_array_equal(column(four, name), column(whole, name))
    curves = pq.read_table(settings.out / "curves.parquet")
    for name in ("video.sme_aligned", "instruction.minkpp", "response.logp_diff"):
        values = curves[name][20].as_py()
        assert np.mean(values) == pytest.approx(column(four, f"{name}.mean")[0], rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "atol"),
    [
        ({"batch": 3}, 1e-5),
        # A sum split over devices is another sum: gaps of 8 nats move in the last digits.
        ({"parallel": "partitioned", "batch": 2}, 3e-5),
    ],
)
def test_other_batches_and_placements_agree(project, whole, tmp_path, changes, atol):
    assert_agree(score(replace(project, out=tmp_path / "run", **changes)), whole, atol)


def test_a_slice_alone_agrees(whole, video_only):
    assert_agree(video_only, whole, 1e-5)


def assert_agree(table, whole, atol):
    ok = np.array(whole["status"].to_pylist()) == "ok"
    shared = [c for c in table.column_names if catalogue.is_score(c)]
    assert len(shared) >= 300
    for name in shared:
        got, want = column(table, name)[ok], column(whole, name)[ok]
        np.testing.assert_allclose(got, want, rtol=0, atol=atol, err_msg=name)


def test_another_run_s_directory_is_not_touched(project, whole, tmp_path):
    with pytest.raises(InputError, match="other settings: .*beta1 1.0 there, 0.5 here"):
        score(replace(project, beta1=0.5))
    assert_equal(runs.read_run(project.out).table, whole)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other files \(notes.txt\)"):
        score(replace(project, out=tmp_path))
    with (
        files.locked(project.out),
        pytest.raises(InputError, match="another process"),
    ):
        score(project)


def test_when_nothing_can_be_read(project, tmp_path):
    manifest = tmp_path / "m.json"
    manifest.write_text(json.dumps([{"video": "a.mp4"}, {"video": "b.mp4"}]))
    settings = replace(project, data=(manifest,), out=tmp_path / "run")
    with pytest.raises(InputError, match="none of 2 rows could be scored, the first: "):
        score(settings)
    table = pq.read_table(settings.out / "scores.parquet")
    assert table["status"].to_pylist() == ["missing_file"] * 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable JSON"),
        ("[]", "is not one of ours"),
        ('{"4": {"motion_min": 0}}', "is not one of ours"),
        ('{"4": 3}', "is not one of ours"),
        ('{"8": {"motion_min": 0, "motion_max": 1, "illumination_min": 0, '
         '"illumination_max": 1}}', r"frame counts \[8\], expected \[4\]"),
    ],
)  # fmt: skip
def test_calibration_files_that_are_none(project, tmp_path, content, message):
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        score(replace(project, out=tmp_path / "run", calibration=path))


def test_rows_with_too_much_text_are_refused_alone(project, whole, tmp_path):
    entries = json.loads(project.data[0].read_text())[:4]
    entries[1]["question"] = "why " * 5000
    manifest = project.data[0].parent / "long.json"
    manifest.write_text(json.dumps(entries))
    table = score(replace(project, data=(manifest,), out=tmp_path / "run"))
    assert table["status"].to_pylist() == ["ok", "too_long", "ok", "ok"]
    assert "tokens of text, more than --max-text 2048" in table["error"][1].as_py()
    assert np.isnan(column(table, "video.sme.mean")[1]) and table["q"][1].as_py() is None


def test_a_model_that_gives_nan_is_not_ok(project, tmp_path):
    from safetensors.numpy import load_file, save_file

    model = tmp_path / "model"
    shutil.copytree(project.model, model)
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"][:] = np.nan
    save_file(weights, model / "model.safetensors")
    settings = replace(project, model=model, out=tmp_path / "run")
    with pytest.raises(InputError, match="none of 20 rows could be scored.*not finite"):
        score(settings)
    table = pq.read_table(settings.out / "scores.parquet")
    assert table["status"].to_pylist().count("not_finite") == 18


def test_a_run_of_nothing_does_not_hold_its_directory(project, whole, tmp_path):
    manifest = tmp_path / "m.json"
    manifest.write_text(json.dumps([{"video": "none.mp4"}]))
    out = tmp_path / "run"
    with pytest.raises(InputError, match="none of 1 rows"):
        score(replace(project, data=(manifest,), out=out))
    assert_equal(score(replace(project, out=out)), whole)


@pytest.mark.parametrize(
    "error",
    [
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."),
        jax.errors.JaxRuntimeError("INTERNAL: std::bad_alloc"),
        MemoryError("Unable to allocate 23.8 GiB for an array"),
    ],
)
@pytest.mark.parametrize("step", ["start", "make_engine", "fill_store"])
def test_memory_that_runs_out_names_what_needs_less(
    project, tmp_path, monkeypatch, error, step
):
    import vidsme_jax.runs.score as command

    def full(*arguments):
        raise error

    monkeypatch.setattr(command, step, full)
    with pytest.raises(InputError, match="out of memory with batch=1 clips of 4") as caught:
        score(replace(project, out=tmp_path / "run"))
    assert all(f"--{name}" in str(caught.value) for name in ("batch", "frames", "workers"))


def test_another_fault_of_the_device_is_not_called_memory(project, tmp_path, monkeypatch):
    import vidsme_jax.runs.score as command

    def broken(*arguments):
        raise jax.errors.JaxRuntimeError("INTERNAL: the link is down")

    monkeypatch.setattr(command, "make_engine", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="link"):
        score(replace(project, out=tmp_path / "run"))


def test_a_full_disk_is_said_before_decoding(project, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="0.0 GB free, expected"):
        score(replace(project, out=tmp_path / "run"))


def test_published_lists_get_their_label_from_the_command_line(project, tmp_path):
    folder = project.data[0].parent
    train, test = folder / "train.json", folder / "test.json"
    entry = {"question": "Which?", "candidates": ["a", "b"], "answer": "b"}
    for path, clip in ((train, "clip-000"), (test, "clip-001")):
        path.write_text(json.dumps([entry | {"video": f"clips/{clip}.mp4"}]))
    settings = replace(
        project,
        data=(train, test),
        manifests=ManifestSettings(labels=(1, 0)),
        out=tmp_path / "run",
    )
    assert score(replace(settings, slices=("video",)))["label"].to_pylist() == [1, 0]


def test_batches_of_short_texts_take_a_smaller_shape(project, tmp_path):
    """A long question makes no other long, and comes in a later batch; scores stay."""
    rows = json.loads(project.data[0].read_text())[:9]
    rows[0] |= {"question": "What happens in this clip, and why? " * 20}
    manifest = project.data[0].with_name("long.json")
    manifest.write_text(json.dumps(rows))
    settings = replace(project, data=(manifest,), batch=1)
    job = make_job(replace(settings, out=tmp_path / "job"))
    assert job.batches == [[(n,) for n in range(1, 9)], [(0,)]]
    whole = make_layout(job.prompts.longest[4], job.port.video(4), catalogue.SLICES)
    shapes = [smallest_layout(whole, [prompt]) for prompt in job.prompts.longest[4]]
    assert shapes[0] == whole != shapes[1]
    assert shapes[1:] == [shapes[1]] * 8
    assert shapes[1].text_rows == 64 and shapes[1].time < whole.time - 60
    fixed = EntropyOrders(q=2.0, r=1.0)
    table = score(replace(settings, out=tmp_path / "run", variants=(fixed,)))
    assert table["row"].to_pylist() == [*range(9)]
    swept = pq.read_table(tmp_path / "run" / "exact-orders.parquet")
    assert swept["id"].to_pylist() == [i for i in table["id"].to_pylist() for _ in "12"]
    first = column(swept, "video.sme.mean")[::2]
    np.testing.assert_array_equal(first, column(table, "video.sme.mean"))
    manifest.write_text(json.dumps(rows[1:]))
    ranges = tmp_path / "run" / "calibration.json"
    alone = score(replace(settings, out=tmp_path / "alone", calibration=ranges))
    for name in ("video.sme.mean", "instruction.logp.mean", "response.logp.mean"):
        np.testing.assert_allclose(
            column(table, name)[1:], column(alone, name), rtol=1e-5, atol=1e-5
        )


def test_rows_that_score_alike_are_scored_once(project, whole, video_only, tmp_path):
    """Three questions about a clip are one row of the model's work, but three rows."""
    entries = json.loads(project.data[0].read_text())
    clips = [0, 17, 2, 16]  # the second is missing
    rows = [
        {**entries[n], "question": f"Question {k}?", "label": k % 2}
        for k in range(3)
        for n in clips
    ]
    manifest = project.data[0].with_name("asked.json")
    manifest.write_text(json.dumps(rows))
    ranges = project.out / "calibration.json"
    settings = replace(project, data=(manifest,), out=tmp_path / "run", calibration=ranges)
    settings = replace(settings, slices=("video",))
    job = make_job(settings)
    assert job.batches == [[(n, n + 4, n + 8) for n in range(4)]]
    assert about(job)["own_rows"] == 12
    apart = [[(n,) for n in range(8)], [(n,) for n in range(8, 12)]]
    for other in ({"slices": ("video", "response")}, {"perturbation": "shuffle"}):
        assert make_job(replace(settings, **other)).batches == apart
    table = score(settings)
    assert table["row"].to_pylist() == [*range(12)]
    assert table["label"].to_pylist() == [row["label"] for row in rows]
    assert table["status"].to_pylist() == ["ok", "missing_file", "ok", "ok"] * 3
    for name in catalogue.columns(("video",)):
        values = column(table, name)
        np.testing.assert_array_equal(values, np.tile(values[:4], 3))
        want = column(video_only, name)[clips]
        np.testing.assert_allclose(values[:4], want, rtol=1e-5, atol=1e-5)
    curves = pq.read_table(settings.out / "curves.parquet")
    assert curves["id"].to_pylist() == table["id"].to_pylist()
    shown = curves["video.sme"].to_pylist()
    assert shown == shown[:4] * 3 and shown[0]


def test_what_another_version_wrote_is_refused_or_said(project, whole, tmp_path, capsys):
    """A run is not continued; evaluate reads it and says whose it is."""
    copy = shutil.copytree(whole_run(project), tmp_path / "run")
    info = json.loads((copy / "run.json").read_text())
    info["settings"]["versions"]["vidsme-jax"] = "0.3.0"
    (copy / "run.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="vidsme-jax '0.3.0' there, '0.5") as caught:
        score(replace(project, out=copy))
    assert "jaxlib" not in str(caught.value)  # only what differs is named
    read(copy)
    assert "was made by vidsme_jax 0.3.0; this is 0.5" in capsys.readouterr().err


def whole_run(project):
    """The directory of the run that `whole` made."""
    return project.out
