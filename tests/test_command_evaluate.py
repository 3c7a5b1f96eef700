import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidsme_jax.commands.evaluate import evaluate, terminal_table
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation import EvaluationSettings

SMALL = EvaluationSettings(bootstrap=50, permutations=99)


@pytest.fixture
def write_run(tmp_path):
    def write(name="run", seed=0, effect=3.0, n=30, **changed):
        rng = np.random.default_rng(seed)
        path = tmp_path / name
        path.mkdir(parents=True)
        keys = {"id": [f"clip-{k}" for k in range(n)], "frames": [16] * n}
        label = np.arange(n) % 2
        table = {
            **keys,
            "group": keys["id"],
            "label": label.tolist(),
            "status": ["ok"] * n,
            "motion": rng.normal(size=n),
            "video.sme.mean": rng.normal(size=n) - effect * label,
            "video.logp.mean": rng.normal(size=n) + effect * label,
        }
        pq.write_table(pa.table(table | changed), path / "scores.parquet")
        curves = pa.array([None] + [[0.5, 1.0]] * (n - 1), pa.list_(pa.float32()))
        pq.write_table(pa.table(keys | {"video.sme": curves}), path / "curves.parquet")
        thumbnails = pa.array([None] * n, pa.binary())
        pq.write_table(
            pa.table(keys | {"thumbnail": thumbnails}), path / "thumbnails.parquet"
        )
        (path / "run.json").write_text(json.dumps({"settings": {"model": "tiny"}}))
        return path

    return write


def test_everything_is_written(write_run, tmp_path):
    out = tmp_path / "deep" / "out"
    run, control = write_run("target"), write_run("base", 1, 0)
    result = evaluate([run], out, control, SMALL)
    assert result["control"] == "base"
    held = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    fixed = {"report.html", "report.md", "metrics.json", "metrics.csv"}
    drawn = {"roc", "histogram", "auc-video", *(f"clip-{k}" for k in range(1, 7))}
    assert held == fixed | {f"figures/target-f16-{name}.svg" for name in drawn}
    assert json.loads((out / "metrics.json").read_text()) == result


def test_same_seed_same_report_and_other_files_stay(write_run, tmp_path):
    run, out = write_run(), tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    evaluate([run], out, None, SMALL)
    first = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    evaluate([run], out, None, SMALL)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == first
    assert (out / "notes.txt").read_text() == "mine"


def test_runs_of_one_name_are_told_apart(write_run, tmp_path):
    runs = [write_run("a/run"), write_run("b/run", 1)]
    result = evaluate(runs, tmp_path / "out", None, SMALL)
    assert [run["name"] for run in result["runs"]] == ["run", "run-2"]
    assert (tmp_path / "out/figures/run-2-f16-roc.svg").exists()


def test_terminal_table_is_aligned_and_starts_with_the_answer(write_run, tmp_path):
    result = evaluate([write_run()], tmp_path / "out", write_run("base", 1), SMALL)
    lines = terminal_table(result).splitlines()
    assert lines[0].startswith("The primary score video.sme.mean separates")
    start = next(k for k, line in enumerate(lines) if line.startswith("score"))
    columns = lines[start].index("control AUC"), lines[start].index("difference")
    assert lines[start + 1].startswith("video.sme.mean")
    assert lines[start + 2].startswith("video.logp.mean")
    for line in lines[start + 1 : start + 3]:
        assert all(line[k - 1] == " " and line[k] in "-01" for k in columns)
    assert "not proof" in lines[-1]


def test_terminal_table_holds_no_control_characters(write_run, tmp_path):
    run = write_run("evil\x1b[31m", status=["bad\x1b[2J"] * 2 + ["ok"] * 28)
    text = terminal_table(evaluate([run], tmp_path / "out", run, SMALL))
    assert "bad" in text and "\x1b" not in text


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([None] * 30, "no labelled row .*0 members, 0 non-members, 30 without a label"),
        ([1] * 30, "one class only .*30 members, 0 non-members"),
        ([0] * 29 + [None], "one class only .*0 members, 29 non-members, 1 without"),
    ],
)
def test_runs_without_two_classes_are_refused(write_run, tmp_path, label, expected):
    run = write_run(label=pa.array(label, pa.int64()))
    with pytest.raises(InputError, match=expected):
        evaluate([run], tmp_path / "out", None, SMALL)
    assert not (tmp_path / "out").exists()


def test_a_control_of_other_clips_is_refused(write_run, tmp_path):
    control = write_run("base", id=[f"other-{k}" for k in range(30)])
    with pytest.raises(InputError, match="shares no scored clip.*clip-0.*other-0"):
        evaluate([write_run()], tmp_path / "out", control, SMALL)


def test_a_control_of_other_frame_counts_is_refused(write_run, tmp_path):
    control = write_run("base", frames=[8] * 30)
    with pytest.raises(InputError, match=r"frames \[16\].*frames \[8\]"):
        evaluate([write_run()], tmp_path / "out", control, SMALL)


def test_out_that_is_a_file_is_refused(write_run, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for out in (file, file / "below"):
        with pytest.raises(InputError, match="is a file, expected a directory"):
            evaluate([write_run(out.name + "-run")], out, None, SMALL)


def test_runs_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        evaluate([tmp_path / "none"], tmp_path / "out", None, SMALL)
    with pytest.raises(InputError, match="no run given"):
        evaluate([], tmp_path / "out", None, SMALL)


def test_no_scored_row_is_said_and_not_a_crash(write_run, tmp_path):
    run = write_run(
        status=["decode_error"] * 30,
        **{
            "video.sme.mean": pa.nulls(30, pa.float32()),
            "video.logp.mean": pa.nulls(30, pa.float32()),
        },
    )
    text = terminal_table(evaluate([run], tmp_path / "out", None, SMALL))
    assert "cannot be evaluated: no member and no non-member has a value" in text
    assert "15 members and 15 non-members with status decode_error" in text


@pytest.mark.parametrize(
    ("perturbation", "word"),
    [("shuffle", "shuffled"), ("reverse", "reversed"), ([], "rev")],
)
def test_the_diagnosis_is_in_every_output(write_run, tmp_path, perturbation, word):
    run, out = write_run(effect=-3.0), tmp_path / "out"
    info = {"settings": {"perturbation": perturbation}}
    (run / "run.json").write_text(json.dumps(info))
    text = terminal_table(evaluate([run], out, None, SMALL))
    held = json.loads((out / "metrics.json").read_text())["runs"][0]["frames"][0]
    kinds = [entry["kind"] for entry in held["diagnosis"]]
    assert kinds == ["unchecked", "inverted", "inverted", "unchecked"]
    assert f"for members the {word}" in held["diagnosis"][1]["text"]
    markdown = (out / "report.md").read_text().replace("\\", "")
    html = (out / "report.html").read_text()
    for page in (text, markdown, html):
        assert "Failure signatures: inverted signal." in page
        for entry in held["diagnosis"]:
            assert entry["text"] in page


def test_the_diagnosis_of_nothing_is_one_line(write_run, tmp_path):
    flat = {"video.sme.min_0": [-1.0] * 30, "video.sme.max_0": [1.0] * 30}
    others = {"video.sme_nat.mean": [2.0] * 30, "video.renyi_one.mean": [0.0] * 30}
    result = evaluate([write_run(**flat, **others)], tmp_path / "out", None, SMALL)
    (entry,) = result["runs"][0]["frames"][0]["diagnosis"]
    assert entry["kind"] == "none" and "None of the three" in entry["text"]
    assert terminal_table(result).count("failure signatures") == 1
