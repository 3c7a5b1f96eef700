import json
import re
import shutil
import threading

import numpy as np
import pytest
from tools import make_project, python

from vidsme_jax.cli.main import main

pytestmark = [pytest.mark.slow(80), pytest.mark.least_compiled]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    make_project(folder, count=6)
    return folder


def run(*line):
    return main([str(word) for word in line])


def one_line(capsys):
    """Return the single line of an error."""
    err = capsys.readouterr().err
    lines = [x for x in err.splitlines() if x.startswith("vidsme ")]
    assert len(lines) == 1 and "Traceback" not in err
    return lines[0]


def test_help_does_not_import_jax(tmp_path):
    code = (
        "import sys; from vidsme_jax.cli import main\n"
        "try: main(['score', '--help'])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "assert not {'jax', 'numpy', 'transformers', 'cv2'} & set(sys.modules)"
    )
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    for flag in ("--calibration", "--slices", "--parallel", "--dtype", "--frames"):
        assert flag in done.stdout


def test_train_score_evaluate(project, tmp_path, capsys):
    """The three commands one after the other, as a user would call them."""
    data = project / "manifest.json"
    model = tmp_path / "tuned"
    options = ("--data", data, "--frames", 2)
    assert run("train", "--model", project / "model", *options, "--out", model,
               "--steps", 10, "--batch", 2, "--learning-rate", 1e-3,
               "--objective", "text+video") == 0  # fmt: skip
    record = json.loads((model / "training.json").read_text())
    assert len(record["loss"]) == 10 and record["loss"][-1] < record["loss"][0]
    for name, folder in (("run", model), ("control", project / "model")):
        out = tmp_path / name
        assert run("score", "--model", folder, *options, "--slices", "video",
                   "--batch", 1, "--out", out) == 0  # fmt: skip
    assert "6 rows (6 ok)" in capsys.readouterr().out
    report = tmp_path / "report"
    assert run("evaluate", tmp_path / "run", "--control", tmp_path / "control",
               "--out", report) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "video.sme.mean" in out and "report.html" in out
    for name in ("report.html", "report.md", "metrics.json", "metrics.csv"):
        assert (report / name).stat().st_size > 500, name


@pytest.fixture(scope="module")
def finished(project, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    options = ("--model", project / "model", "--data", project / "manifest.json")
    options += ("--batch", 1, "--profile", out.parent / "trace")
    assert run("score", *options, "--frames", 2, "--slices", "video", "--out", out) == 0
    return out


def test_a_trace_names_the_parts_of_the_program(finished):
    """With them a reader can tell the tower from the decoder, and both from the rest."""
    (trace,) = (finished.parent / "trace").rglob("*.xplane.pb")
    content = trace.read_bytes()
    for name in (b"/vision/", b"/decoder/", b"/head/", b"/statistics/"):
        assert name in content, name
    assert list(trace.parent.glob("perfetto_trace.json.gz"))


def test_a_finished_run_has_nothing_to_trace(project, finished, tmp_path, capsys):
    options = ("--model", project / "model", "--data", project / "manifest.json")
    options += ("--batch", 1, "--frames", 2, "--slices", "video", "--out", finished)
    assert run("score", *options, "--profile", tmp_path / "trace") == 0
    assert "nothing left to do, and no trace to write" in capsys.readouterr().err
    assert not (tmp_path / "trace").exists()
    (tmp_path / "file").touch()
    assert run("score", *options, "--profile", tmp_path / "file" / "trace") == 2
    assert "file, which is a file, expected a directory" in capsys.readouterr().err


def test_evaluating_a_run_of_one_slice(finished, tmp_path, capsys):
    assert run("evaluate", finished, "--out", tmp_path / "report") == 0
    assert "instruction." not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"--data": "nowhere.json"},
            "nowhere.json does not exist, expected a manifest",
        ),
        ({"--model": "nowhere"}, "model=nowhere does not exist"),
        ({"--model": "owner/name"}, "pass the directory of a downloaded checkpoint"),
        ({"--calibration": "nowhere.json"}, "nowhere.json does not exist"),
        ({"--root": "nowhere"}, "root=nowhere is no folder"),
        ({"--label": "1", "--frames": "2"}, "label=0, but --label 1 was given"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(project, tmp_path, capsys, change, message):
    options = {
        "--model": project / "model",
        "--data": project / "manifest.json",
        "--out": tmp_path / "run",
        "--frames": "2",
    } | change
    words = [word for pair in options.items() for word in pair]
    assert run("score", *words) == 2
    assert message in one_line(capsys)


@pytest.mark.parametrize(
    "words",
    [
        ("--frames", "0"),
        ("--frames", "4,4"),
        ("--frames", "four"),
        ("--slices", "sound"),
        ("--published-prompt", "msrvtt"),
        ("--label", "3"),
        ("--dtype", "int8"),
        ("--batch", "-1"),
        ("--beta1", "nan"),
        ("--beta2", "-1"),
    ],
)
def test_words_that_are_not_understood(words, capsys):
    options = ("--model", "m", "--data", "d.json", "--out", "o")
    with pytest.raises(SystemExit) as caught:
        run("score", *options, *words)
    assert caught.value.code == 2
    assert words[1] in one_line(capsys)


def test_a_published_prompt_has_its_own_system_message(capsys):
    options = ("--model", "m", "--data", "d.json", "--out", "o", "--system", "Be brief.")
    with pytest.raises(SystemExit) as caught:
        run("score", *options, "--published-prompt", "nextqa")
    assert caught.value.code == 2
    assert "not allowed with argument --system" in one_line(capsys)


def test_training_errors(project, tmp_path, capsys):
    command = ("train", "--model", project / "model", "--out", tmp_path / "new")
    others = tmp_path / "others.json"
    others.write_text(json.dumps([{"video": "a.mp4", "label": 0}]))
    assert run(*command, "--data", others) == 2
    assert "no row of 1 has label 1" in one_line(capsys)
    others.write_text(json.dumps([{"video": "a.mp4", "label": 1, "answer": "x"}]))
    assert run(*command, "--data", others) == 2
    assert "video=a.mp4: " in one_line(capsys)
    clip = project / "clips" / "clip-000.mp4"
    others.write_text(json.dumps([{"video": str(clip), "label": 1}]))
    assert run(*command, "--data", others, "--root", "/") == 2
    assert "no answer" in one_line(capsys)
    row = {"video": str(clip), "label": 1, "answer": "it goes on " * 800}
    others.write_text(json.dumps([row]))
    assert run(*command, "--data", others, "--root", "/") == 2
    assert "tokens of text, more than --max-text 2048" in one_line(capsys)
    (tmp_path / "new").mkdir()
    assert run(*command, "--data", project / "manifest.json") == 2
    assert "exists, expected a new directory" in one_line(capsys)


def test_weights_that_do_not_fit_are_found_before_decoding(project, tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(project / "model", model)
    (model / "model.safetensors").write_bytes(b"cut short")
    command = ("score", "--model", model, "--data", project / "manifest.json")
    assert run(*command, "--out", tmp_path / "run") == 2
    assert "not a whole safetensors file" in one_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("failure", "remedies"),
    [
        ("ImportError('libGL.so.1: cannot open')", ("libgl1", "opencv-python-headless")),
        ("ImportError('numpy.core.multiarray failed to import')", ("another NumPy",)),
        ("AttributeError('_ARRAY_API not found')", ("another NumPy",)),
        ("ImportError('no loader')", ("--force-reinstall opencv-python",)),
    ],
)
def test_opencv_that_fails_names_what_helps(
    project, tmp_path, monkeypatch, failure, remedies
):
    """As on a machine without a screen, where import cv2 fails on libGL; and others."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "cv2.py").write_text(f"raise {failure}")
    code = "import sys; from vidsme_jax.cli import main; sys.exit(main())"
    options = ("--model", project / "model", "--data", project / "manifest.json")
    done = python(tmp_path, "-c", code, "score", *options, "--out", tmp_path / "run")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert all(remedy in done.stderr for remedy in remedies), done.stderr
    assert ("libgl1" in done.stderr) == ("libGL" in failure)


def test_training_that_diverges_writes_nothing(project, tmp_path, capsys, monkeypatch):
    fit = lambda params, *_: (params, np.array([2.0, np.nan]))  # noqa: E731
    monkeypatch.setattr("vidsme_jax.training.train.fit", fit)
    command = ("train", "--model", project / "model", "--out", tmp_path / "new")
    command += ("--data", project / "manifest.json", "--frames", 2, "--batch", 2)
    assert run(*command, "--steps", 3, "--learning-rate", 1e9) == 2
    assert "the loss is nan at step" in one_line(capsys)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["score", "train", "evaluate"])
def test_an_output_that_is_a_file(project, finished, tmp_path, capsys, command):
    (tmp_path / "out").write_text("mine")
    options = ("--model", project / "model", "--data", project / "manifest.json")
    words = (finished,) if command == "evaluate" else options
    assert run(command, *words, "--out", tmp_path / "out") == 2
    one_line(capsys)
    assert run(command, *words, "--out", tmp_path / "out" / "below") == 2
    one_line(capsys)
    assert (tmp_path / "out").read_text() == "mine"


def test_a_signal_that_python_dropped_is_not_forgotten(monkeypatch):
    """A KeyboardInterrupt raised inside a callback may vanish; the next step stops."""
    from vidsme_jax import progress

    monkeypatch.setattr(progress, "_stop_requested", threading.Event())
    with pytest.raises(KeyboardInterrupt):
        progress.stop(2, None)
    with pytest.raises(KeyboardInterrupt):
        list(progress.progress([1, 2], 2, "work"))


def test_interrupts_ask_for_another_run(monkeypatch, capsys):
    import vidsme_jax.runs.score as command

    def interrupted(settings, profile):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "score", interrupted)
    assert run("score", "--model", "m", "--data", "d.json", "--out", "o") == 75
    assert "run it again" in one_line(capsys)


def test_the_demo_replaces_only_a_demo(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("x")
    assert run("demo", "--out", tmp_path) == 2
    assert "holds other files" in one_line(capsys)
    assert (tmp_path / "mine.txt").exists()


def test_models_are_listed_with_what_is_proven(capsys):
    from vidsme_jax.models.ports import PORTS

    assert run("list", "models") == 0
    text = capsys.readouterr().out
    for port in PORTS:
        assert f"{port.name}\n" in text and port.checkpoints in text
    assert "7,923,047,936 parameters used, 12,598,272 not needed" in text
    assert "No released weights were run" in " ".join(text.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evaluate r --out o --bootstrap 10000000000", "number from 100 to 1000000"),
        ("plan --model m --text 100000000", "expected up to 1000000 tokens"),
        ("bench --frames 100000000", "expected up to 10000 frames"),
        ("train --model m --data d --out o --frames 20000", "expected up to 10000 frames"),
        ("score --model m --data d --out o --slices video,video", "names a slice twice"),
    ],
)
def test_numbers_beyond_any_memory_are_refused(capsys, words, message):
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_old_and_shortened_options_are_not_guessed(capsys):
    assert run("score", "--keep", "tokens") == 2
    assert "'--keep tokens' is now '--keep-tokens'" in one_line(capsys)
    with pytest.raises(SystemExit) as ended:
        run("status", "--vers", "x")
    assert ended.value.code == 2


def test_a_report_is_not_written_into_a_run(finished, tmp_path, capsys):
    assert run("evaluate", finished, "--bootstrap", 100, "--out", finished) == 2
    assert "holds run.json, expected a folder for the report" in one_line(capsys)


@pytest.mark.parametrize("command", ["status", "verify", "merge"])
def test_a_file_is_no_run(tmp_path, capsys, command):
    (tmp_path / "file.txt").write_text("mine")
    assert run(command, tmp_path / "file.txt") == 2
    assert re.search("file.txt is a file[,;] expected", one_line(capsys))
