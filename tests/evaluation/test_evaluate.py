import csv
import json
from dataclasses import astuple, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidsme_jax.cli.main import main
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.evaluate import evaluate
from vidsme_jax.evaluation.result import BlindMetrics, BlindResult, SetSize, SetTest
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.signatures import NoSignature
from vidsme_jax.evaluation.values import Estimate, Significance
from vidsme_jax.report.metrics_json import metrics_json
from vidsme_jax.report.terminal import terminal_table
from vidsme_jax.report.words.blind import blind_texts
from vidsme_jax.report.write import write_report

pytestmark = pytest.mark.slow(20)

SMALL = EvaluationSettings(bootstrap=50, permutations=99)


def report(runs, out, control=None, settings=SMALL, reference=None):
    """Evaluate and write the report, as the command does."""
    result = evaluate(runs, control, settings, reference)
    write_report(result, out)
    return result


@pytest.fixture
def write_run(tmp_path):
    def write(name="run", seed=0, effect=3.0, n=30, model="tiny", **changed):
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
        (path / "run.json").write_text(json.dumps({"settings": {"model": model}}))
        return path

    return write


def csv_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_everything_is_written(write_run, tmp_path):
    out = tmp_path / "deep" / "out"
    run, control = write_run("target"), write_run("base", 1, 0, model="base")
    result = report([run], out, control, SMALL)
    assert result.control == "base"
    written = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    tables = {
        f"{name}.{kind}" for name in ("metrics", "clips") for kind in ("csv", "parquet")
    }
    fixed = {"report.html", "report.md", "metrics.json", *tables}
    drawn = {
        "clips",
        "roc",
        "histogram",
        "roc-all",
        "auc-video",
        *(f"clip-{k}" for k in range(1, 7)),
    }
    assert written == fixed | {f"figures/target-f16-{name}.svg" for name in drawn}
    kept = json.loads((out / "metrics.json").read_text())
    assert kept == metrics_json(result)
    clips = result.runs[0].frames[0].clips  # which metrics.json leaves to clips.csv
    rows = csv_rows(out / "clips.csv")
    assert [row["id"] for row in rows] == [clip.id for clip in clips]
    values = [float(row["value"]) for row in rows]
    assert values == sorted(values) and len(values) == 30  # lower = member
    for row in rows:
        expected = float(row["control"]) - float(row["value"])
        assert float(row["difference"]) == pytest.approx(expected)


def test_same_seed_same_report_and_other_files_stay(write_run, tmp_path):
    run, out = write_run(), tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    report([run], out, None, SMALL)
    first = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    report([run], out, None, SMALL)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == first
    assert (out / "notes.txt").read_text() == "mine"


def test_runs_of_one_name_are_told_apart(write_run, tmp_path):
    runs = [write_run("a/run"), write_run("b/run", 1)]
    result = report(runs, tmp_path / "out", None, SMALL)
    assert [run.name for run in result.runs] == ["run", "run-2"]
    assert (tmp_path / "out/figures/run-2-f16-roc.svg").exists()


def test_terminal_table_is_aligned_and_starts_with_the_answer(write_run, tmp_path):
    result = report(
        [write_run()], tmp_path / "out", write_run("base", 1, model="base"), SMALL
    )
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
    status = ["bad\x1b[2J"] * 2 + ["ok"] * 28
    runs = [
        write_run("evil\x1b[31m" + name, seed, model=name, status=status)
        for seed, name in enumerate("ab")
    ]
    text = terminal_table(report(runs[:1], tmp_path / "out", runs[1], SMALL))
    assert "bad" in text and "\x1b" not in text


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([1] * 30, "one class only .*30 members, 0 non-members, none without.*--reference"),
        ([0] * 30, "one class only .*0 members, 30 non-members"),
    ],
)
def test_runs_without_two_classes_are_refused(write_run, tmp_path, label, expected):
    run = write_run(label=pa.array(label, pa.int64()))
    with pytest.raises(InputError, match=expected):
        report([run], tmp_path / "out", None, SMALL)
    assert not (tmp_path / "out").exists()


def test_a_control_of_other_clips_is_refused(write_run, tmp_path):
    control = write_run("base", id=[f"other-{k}" for k in range(30)])
    with pytest.raises(InputError, match="shares no scored clip.*clip-0.*other-0"):
        report([write_run()], tmp_path / "out", control, SMALL)


def test_a_control_of_the_same_model_is_refused(write_run, tmp_path):
    with pytest.raises(InputError, match="control=.*is a run of the same model as run="):
        report([write_run()], tmp_path / "out", write_run("base"), SMALL)


def test_a_control_scored_otherwise_is_named(write_run, tmp_path):
    control = write_run("base", 1, model="base")
    info = {"settings": {"model": "base", "perturbation": "shuffle"}}
    (control / "run.json").write_text(json.dumps(info))
    text = terminal_table(report([write_run()], tmp_path / "out", control, SMALL))
    assert "scored otherwise: perturbation 'shuffle' there, None here." in text


def test_a_control_of_other_frame_counts_is_refused(write_run, tmp_path):
    control = write_run("base", frames=[8] * 30)
    with pytest.raises(InputError, match=r"frames \[16\].*frames \[8\]"):
        report([write_run()], tmp_path / "out", control, SMALL)


def test_a_control_that_belies_itself_is_refused(write_run, tmp_path):
    """Other labels for the same clips, or the run once more under another name."""
    run = write_run()
    flipped = write_run("flipped", 1, model="base", label=[(k + 1) % 2 for k in range(30)])
    with pytest.raises(InputError, match=r"has label=1 for id='clip-0', run=.* has 0;"):
        report([run], tmp_path / "out", flipped, SMALL)
    again = write_run("again", model="base")
    with pytest.raises(
        InputError, match=r"the same video\.sme\.mean as run=.*all 30 clips"
    ):
        report([run], tmp_path / "out", again, SMALL)


def test_out_that_is_a_file_is_refused(write_run, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for out in (file, file / "below"):
        with pytest.raises(InputError, match="is a file, expected a directory"):
            report([write_run(out.name + "-run")], out, None, SMALL)


def test_the_command_looks_at_out_before_it_evaluates(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert main(["evaluate", str(tmp_path / "none"), "--out", str(file)]) == 2
    assert f"out={file} is a file, expected a directory" in capsys.readouterr().err


def test_runs_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        report([tmp_path / "none"], tmp_path / "out", None, SMALL)
    with pytest.raises(InputError, match="no run given"):
        report([], tmp_path / "out", None, SMALL)


def test_no_scored_row_is_said_and_not_a_crash(write_run, tmp_path):
    run = write_run(
        status=["decode_error"] * 30,
        **{
            "video.sme.mean": pa.nulls(30, pa.float32()),
            "video.logp.mean": pa.nulls(30, pa.float32()),
        },
    )
    text = terminal_table(report([run], tmp_path / "out", None, SMALL))
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
    text = terminal_table(report([run], out, None, SMALL))
    frame = json.loads((out / "metrics.json").read_text())["runs"][0]["frames"][0]
    kinds = [entry["kind"] for entry in frame["diagnosis"]]
    assert kinds == ["unchecked", "inverted", "inverted", "unchecked"]
    assert f"for members the {word}" in frame["diagnosis"][1]["text"]
    markdown = (out / "report.md").read_text().replace("\\", "")
    html = (out / "report.html").read_text()
    for page in (text, markdown, html):
        assert "Failure signatures: inverted signal." in page
        for entry in frame["diagnosis"]:
            assert entry["text"] in page


def test_the_diagnosis_of_nothing_is_one_line(write_run, tmp_path):
    flat = {"video.sme.min_0": [-1.0] * 30, "video.sme.max_0": [1.0] * 30}
    others = {"video.sme_nat.mean": [2.0] * 30, "video.renyi_one.mean": [0.0] * 30}
    result = report([write_run(**flat, **others)], tmp_path / "out", None, SMALL)
    (signature,) = result.runs[0].frames[0].signatures
    assert signature == NoSignature("video", 0)
    assert "None of the three" in terminal_table(result)
    assert terminal_table(result).count("failure signatures") == 1


LABEL = np.arange(30) % 2
UNKNOWN = [None if x else 0 for x in LABEL]  # the members' use is unknown


def judged(result):
    return result.runs[0].frames[0].verdict


def test_clips_without_a_label_are_judged_by_those_outside(write_run, tmp_path):
    run, out = write_run(label=UNKNOWN, effect=6.0), tmp_path / "out"
    result = report([run], out, None, SMALL)
    verdict = judged(result)
    assert verdict.reference == verdict.judged == SetSize(15, 15)
    assert {clip.p_value for clip in verdict.clips.values()} == {1 / 16}
    assert len(verdict.clips) == 15
    assert verdict.limits[0.1].average.flagged == 15
    assert verdict.limits[0.05].average.score is None
    assert verdict.whole_set.auc.value == 1 and verdict.whole_set.p_value == 1 / 100
    text = terminal_table(result)
    assert text.startswith(
        "Clips to judge\nCalled members by video.sme.mean: 15 of 15 judged clips, at a"
    )
    assert (
        "at most 10 %. If none were members, on average up to 1.5 would be called" in text
    )
    assert "5 % needs 19" in text
    rows = csv_rows(out / "clips.csv")
    assert [row["p_value"] != "" for row in rows] == [True] * 15 + [False] * 15
    page = (out / "report.html").read_text()
    assert "<h2>Calling members</h2>" in page and "called below" in page


def test_nothing_is_called_where_nothing_was_learned(write_run, tmp_path):
    run = write_run(label=UNKNOWN, effect=0.0, n=30)
    result = report([run], tmp_path / "out", None, SMALL)
    assert judged(result).limits[0.1].average.flagged <= 4
    assert judged(result).discoveries == {0.05: 0, 0.1: 0}
    assert "do not clearly score more member-like" in terminal_table(result)


def test_a_reference_of_another_run_judges_all_clips_of_this(write_run, tmp_path):
    ids = [f"outside-{k}" for k in range(30)]
    outside = write_run("outside", 1, 0, id=ids, group=ids, label=[None] * 30)
    run = write_run(label=[1] * 29 + [0])
    result = report([run], tmp_path / "out", None, SMALL, outside)
    assert result.reference == "outside"
    assert judged(result).judged.rows == 29
    assert judged(result).reference.rows == 30
    assert "The reference, run outside, has 30 rows of 30 videos" in terminal_table(result)


def test_clips_of_both_sides_are_no_reference(write_run, tmp_path):
    group = [f"clip-{k + 10}" for k in range(30)]  # 20 of them are the run's
    ids = [f"outside-{k}" for k in range(30)]
    outside = write_run("outside", 1, 0, id=ids, group=group, label=[0] * 30)
    result = report([write_run(label=[1] * 30)], tmp_path / "out", None, SMALL, outside)
    assert judged(result).dropped == 20 and judged(result).reference.rows == 10
    assert "being among the judged ones: 20 reference rows" in terminal_table(result)


def test_a_reference_whose_clips_are_all_judged_gives_no_verdict(write_run, tmp_path):
    run, same = write_run(label=[1] * 30), write_run("same", label=[0] * 30)
    text = terminal_table(report([run], tmp_path / "out", None, SMALL, same))
    assert "No verdict on 30 clips: every clip of the reference is judged." in text


def test_of_a_reference_with_labels_only_those_outside_count(write_run, tmp_path):
    ids = [f"outside-{k}" for k in range(30)]
    label = [0] * 12 + [None] * 10 + [1] * 8
    outside = write_run("outside", 1, 0, id=ids, group=ids, label=label)
    result = report([write_run(label=[1] * 30)], tmp_path / "out", None, SMALL, outside)
    assert judged(result).reference.rows == 12
    members = write_run("members", 1, 0, id=ids, group=ids, label=[1] * 30)
    with pytest.raises(InputError, match="reference=.* has members only"):
        report([write_run("new", label=[1] * 30)], tmp_path / "out", None, SMALL, members)


def test_clips_to_judge_may_have_a_control(write_run, tmp_path):
    run, out = write_run(label=UNKNOWN), tmp_path / "out"
    control = write_run("base", 1, 0, model="base", label=pa.nulls(30, pa.int8()))
    report([run], out, control, SMALL)
    assert all(row["difference"] for row in csv_rows(out / "clips.csv"))
    alone = write_run("alone", label=pa.nulls(30, pa.int8()))
    report([alone], out, control, SMALL)
    assert all(row["difference"] for row in csv_rows(out / "clips.csv"))


def test_a_run_given_twice_or_as_its_own_control_is_refused(write_run, tmp_path):
    run = write_run()
    with pytest.raises(InputError, match="run=.* was given twice"):
        report([run, run], tmp_path / "out", None, SMALL)
    with pytest.raises(InputError, match="control=.* is the run itself"):
        report([run], tmp_path / "out", run, SMALL)


def test_a_separation_that_the_control_shows_too_is_not_called_clear(write_run, tmp_path):
    control = write_run("base", 1, 3.0, model="base")
    text = terminal_table(report([write_run()], tmp_path / "out", control, SMALL))
    assert "separates members from non-members, but not clearly more than the con" in text


def test_clips_csv_is_not_taken_for_scores(write_run, tmp_path):
    report([write_run()], tmp_path / "out", None, SMALL)
    with pytest.raises(InputError, match="has no column score"):
        report([tmp_path / "out/clips.csv"], tmp_path / "again", None, SMALL)


def test_a_reference_from_another_source_is_named(write_run, tmp_path):
    ids = [f"outside-{k}" for k in range(30)]
    moved = (np.arange(30) / 10 + 20).tolist()
    outside = write_run("outside", 1, 0, id=ids, group=ids, label=[0] * 30, motion=moved)
    result = report([write_run(label=[1] * 30)], tmp_path / "out", None, SMALL, outside)
    text = terminal_table(result)
    assert "WARNING: The judged clips are not like the reference" in text
    assert "motion and illumination tells them apart with AUC 1.000" in text


@pytest.mark.parametrize("dtype", ["bfloat16", None])
def test_a_reference_scored_otherwise_is_refused(write_run, tmp_path, dtype):
    outside, run = write_run("outside"), write_run(label=[1] * 30)
    info = {"settings": {"model": "tiny"} | ({"dtype": dtype} if dtype else {})}
    (outside / "run.json").write_text(json.dumps(info))
    if dtype is None:
        (outside / "calibration.json").write_text("{}")
    difference = "dtype 'bfloat16' there, None here" if dtype else "calibration {} there"
    with pytest.raises(InputError, match=f"was scored otherwise than run=.*{difference}"):
        report([run], tmp_path / "out", None, SMALL, outside)


def test_without_a_reference_the_report_says_what_can_be_concluded(write_run, tmp_path):
    out = tmp_path / "out"
    result = report([write_run(label=pa.nulls(30, pa.int8()))], out, None, SMALL)
    text = terminal_table(result)
    assert text.startswith("Clips to judge\nNo verdict on 30 clips: no clip is known to be")
    assert "What cannot: that any clip" in text
    assert "separates" not in text and "–" not in text
    assert "An inverted signal was not looked for: no row with a label was scored." in text
    assert "Scores by slice" not in (out / "report.html").read_text()
    assert len(csv_rows(out / "clips.csv")) == 30


def test_parts_by_a_column_of_the_manifest(write_run, tmp_path):
    kinds = ["day", "night"] * 15
    run = write_run(kind=[kinds[k // 2 % 2] for k in range(30)])
    result = report([run], tmp_path / "out", None, replace(SMALL, by=("kind",)))
    subsets = result.runs[0].frames[0].subsets["kind"]
    assert {n: sum(astuple(m.counts)) for n, m in subsets.items()} == {
        "day": 16, "night": 14
    }  # fmt: skip
    with pytest.raises(InputError, match="by=kid is no column of run=.*kind"):
        report([run], tmp_path / "out", None, replace(SMALL, by=("kid",)))
    alone = write_run("alone", label=UNKNOWN, kind=kinds)
    with pytest.raises(InputError, match="by=id makes no part that holds both"):
        report([run], tmp_path / "out", None, replace(SMALL, by=("kind", "id")))
    with pytest.raises(InputError, match="by=kind compares members with non-members"):
        report([alone], tmp_path / "out", None, replace(SMALL, by=("kind",)))


def test_few_judged_clips_are_not_compared_with_the_reference(write_run, tmp_path):
    label = [None] * 3 + [0] * 27
    text = terminal_table(report([write_run(label=label)], tmp_path / "out", None, SMALL))
    assert "like the reference was not checked: a class has fewer than 5 groups" in text


def test_further_runs_are_set_against_the_first(write_run, tmp_path):
    runs = [write_run("a"), write_run("b", 1, 0.0)]
    result = report(runs, tmp_path / "out", None, SMALL)
    first, second = (run.frames[0].versus_first for run in result.runs)
    assert first is None and second.difference.high < 0
    assert "<h2>Against the first run</h2>" in (tmp_path / "out/report.html").read_text()


def test_a_set_is_told_by_interval_and_test_both(write_run, tmp_path):
    """Far more spread than the reference, but no higher: that is no verdict on the set."""
    text = terminal_table(report([write_run(label=UNKNOWN)], tmp_path / "a", None, SMALL))
    assert "the judged clips score more member-like" in text
    result = report(
        [write_run("none", label=UNKNOWN, effect=0)], tmp_path / "b", None, SMALL
    )
    assert "do not clearly score more" in terminal_table(result)
    (run,), verdict = result.runs, judged(result)
    auc = replace(verdict.whole_set.auc, low=0.45, high=0.8)
    verdict = replace(verdict, whole_set=SetTest(auc, 0.01))
    frame = replace(run.frames[0], verdict=verdict)
    text = terminal_table(replace(result, runs=(replace(run, frames=(frame,)),)))
    assert "do not clearly score more" in text
    assert "p = 0.01 (interval and permutation test disagree)" in text


def test_few_clips_are_no_clean_bill():
    """A baseline that ranks perfectly but has too few clips to be sure."""
    auc, less = Estimate(1.0, 0.9, 1.0), Estimate(-0.04, -0.2, 0.0)
    metrics = BlindMetrics(auc, Significance(0.1, 0.25, 0.8), less)
    warning, (note,) = blind_texts(BlindResult(9, None, {"file": metrics}), SMALL)
    assert not warning and "That is no clean bill: file has AUC 1.000" in note
    for change in (
        {"difference": replace(less, value=0.1)},
        {"auc": replace(auc, low=0.4)},
    ):
        other = BlindResult(9, None, {"file": replace(metrics, **change)})
        assert "no clean bill" not in blind_texts(other, SMALL)[1][0]


def test_parts_without_both_labels_are_refused(write_run, tmp_path):
    label = [str(k % 2) for k in range(30)]
    run = write_run(same=label, empty=pa.nulls(30, pa.string()))
    for name, message in (
        ("same", "there is 0, 1"),
        ("empty", "there is unknown|no value"),
    ):
        with pytest.raises(InputError, match=f"by={name} makes no part.*({message})"):
            report([run], tmp_path / "out", None, replace(SMALL, by=(name,)))
