import base64
import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from reports import HOSTILE, SMALL, make_result, make_run, section

from vidsme_jax.errors import shorten
from vidsme_jax.records.runs import Run, distinct_names
from vidsme_jax.report import write
from vidsme_jax.report.sections import build
from vidsme_jax.report.words import answers

pytestmark = pytest.mark.slow(5)


def only_answer(run, control=None):
    result = make_result(run, control=control)
    (report,) = answers.frame_reports(result)
    (report_answer,) = answers.answers(report, result)
    return report_answer


def answer(run, control=None):
    report_answer = only_answer(run, control)
    return report_answer.lead, " ".join(report_answer.notes)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.links, self.attributes, self.words = set(), [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


def hostile_run():
    run = make_run(
        name=HOSTILE.replace("/", "").replace("\x00", ""),
        id=[HOSTILE + str(k) for k in range(40)],
        status=[HOSTILE] * 3 + ["ok"] * 37,
    )
    run.info["settings"][HOSTILE] = {"value": HOSTILE}
    return run


def test_hostile_text_is_escaped_in_html():
    run = hostile_run()
    page = build(make_result(run, control=run))
    text = write.render_html(page)
    tags = Tags(text)
    assert "script" not in tags.seen and "a" not in tags.seen
    assert not [name for name in tags.attributes if name.startswith("on")]
    assert any("<script>" in word for word in tags.words)  # it is there, as text
    assert text.count("<svg") == text.count("</svg>") == 13


def test_page_needs_no_network():
    run = make_run()
    text = write.render_html(build(make_result(run)))
    tags = Tags(text)
    assert len(tags.links) == 25  # two strips a clip and a map, and nothing else
    (image,) = {link for link in tags.links if "jpeg" not in link}
    assert image.startswith("data:image/png;base64,")  # the map of differences
    assert all(link.startswith("data:image/") for link in tags.links)
    assert "url(" not in text and "@import" not in text


def test_hostile_text_is_escaped_in_markdown():
    run = hostile_run()
    text = write.render_markdown(build(make_result(run, control=run)))
    assert "<" not in text
    assert "alert" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
    links = re.findall(r"(?<!\\)\]\((.*?)\)", text)
    assert links and all(re.fullmatch(r"figures/[\w-]+\.svg", link) for link in links)


def test_order_of_sections():
    run = make_run()
    page = build(make_result(run))
    assert [s.title.split()[0] for s in page.sections] == [
        "Answer", "All", "The", "Scores", "Without", "Parts", "Clips", "Failure", "What",
        "The", "All", "Settings",
    ]  # fmt: skip


def test_answer_separates_and_names_what_limits_it():
    status = ["decode_error"] * 3 + ["ok"] * 37
    lead, notes = answer(make_run(effect=1.5, status=status))
    assert "separates members from non-members. AUC 0." in lead
    assert "to 0.953; permutation p = 0.005; 19 members and 18 non-members" in lead
    assert "No control run was given" in notes
    assert "FPR <= t; the finest step of FPR is 1/18. TPR at 0.1 %, 1 % and 5 % is" in notes
    assert "1 member and 2 non-members with status decode_error" in notes


def test_no_rate_is_below_zero():
    """Under the published rule TPR at 0 % FPR is empty, and 1/n is no FPR below itself."""
    result = make_result(
        make_run(), settings=replace(SMALL, rule="<", fprs=(0.0, 0.05, 0.1))
    )
    (report,) = answers.frame_reports(result)
    notes = " ".join(answers.answer(report, result).notes)
    assert "FPR < t; the finest step of FPR is 1/20. No FPR is below 0, so that" in notes
    assert "TPR at 0 % is 0. TPR at 5 % is the TPR at zero false positives" in notes


def test_answer_does_not_separate():
    lead, notes = answer(make_run(effect=0))
    assert "does not separate members from non-members" in lead
    assert "no proof that the clips were not trained on" in lead
    # 20 against 20: 1/2 and 2.8 standard deviations of sqrt(41 / 12 / 400).
    assert "would find a true AUC of 0.76;" in lead
    assert "No row was left out" in notes


def test_answer_below_one_half():
    lead, _ = answer(make_run(effect=-3))
    assert "does not separate members as expected" in lead and "wrong way round" in lead


def test_constant_score_contains_one_half():
    lead, _ = answer(make_run(**{"video.sme.mean": [1.0] * 40}))
    assert "not by the primary score" in lead and "interval 0.332 to 0.668;" in lead
    assert "permutation p = 1." in lead


def test_answer_when_interval_and_p_disagree():
    run = make_run()
    result = make_result(run)
    (report,) = answers.frame_reports(result)
    metrics = report.frame.scores["video.sme.mean"]
    doubtful = replace(metrics, significance=replace(metrics.significance, p_value=0.2))
    frame = replace(report.frame, scores={"video.sme.mean": doubtful})
    report_answer = answers.answer(replace(report, frame=frame), result)
    assert "does not clearly separate" in report_answer.lead


def test_answer_without_the_primary_score():
    lead, _ = answer(make_run(**{"video.sme.mean": None}))
    assert "video.sme.mean is not in this run" in lead


def test_answer_without_values_gives_the_reason():
    lead, notes = answer(make_run(**{"video.sme.mean": [None, 1.0] * 20}))
    assert "cannot be evaluated: no non-member has a value" in lead
    assert "0 members and 20 non-members without a value of the primary" in notes


def test_perfect_separation_is_not_called_certain():
    """No resample differs; the ranks of 20 against 20 still leave room."""
    lead, _ = answer(make_run(effect=100))
    assert "AUC 1.000, 95 % interval 0.899 to 1.000; permutation p" in lead


def test_the_best_of_all_scores_is_put_into_proportion():
    run = make_run(effect=0)
    texts = answers.search_texts(answers.frame_reports(make_result(run))[0])
    assert "Of 2 scores, " in texts[0] and "Corrected for their number" in texts[0]
    assert "Chosen on one half of the groups" in texts[1] and "flatters by" in texts[1]


def test_the_primary_score_in_full():
    run = make_run(effect=1.5)
    page = build(make_result(run))
    (table,) = section(page, "The primary score in full").tables
    assert [row[0] for row in table.rows] == [
        "AUC", "average precision", "balanced accuracy", "advantage, TPR - FPR",
        "FPR at 95 % TPR", "TPR at 0, 0.1 and 1 % FPR", "TPR at 5 % FPR", "TPR at 10 % FPR",
        "ε at least (coins, one training)", "ε at least (independent)",
    ]  # fmt: skip
    assert "FPR <= t; the finest step of FPR is 1/20" in table.caption
    without = [row[0] for row in table.rows if " to " not in row[2]]
    rates = ["TPR at 0, 0.1 and 1 % FPR"]
    assert [name for name in without if not name.startswith("ε")] == rates


@pytest.mark.parametrize(("effect", "shift"), [(0, False), (3, True), (-3, True)])
def test_control_that_tells_the_sets_apart_is_named(effect, shift):
    _, notes = answer(make_run(effect=1.5), make_run(1, effect=effect, name="base"))
    assert "Under the control base, which should have seen none of these clips" in notes
    assert ("rather than of training" in notes) == shift
    assert ("does not exceed the control" in notes) == (effect == 3)


def test_control_with_the_same_effect_leaves_no_difference():
    _, notes = answer(make_run(effect=1), make_run(1, effect=1, name="base"))
    assert "By video.sme.mean the target does not exceed the control" in notes


def test_blind_baseline_that_separates_is_named():
    run = make_run(motion=[k % 2 + 0.01 * k for k in range(40)], effect=0)
    only = only_answer(run)
    assert "differ by more than training" in only.warning
    assert "motion and illumination tells them apart with AUC 1.000" in only.warning
    assert "is not clearly better" in only.warning
    page = build(make_result(run))
    texts = (write.render_html(page), write.render_markdown(page))
    for text, title in zip(texts, ("<h2>Answer", "## Answer"), strict=True):
        first = text[text.index(title) :]
        assert first.index("Warning") < first.index("The primary score video.sme.mean ")


def test_few_groups_and_contradicting_labels_are_named():
    _, notes = answer(make_run(group=["a"] * 20 + ["b"] * 20))
    assert "fewer than 10 groups" in notes and "2 groups stand under both" in notes


def test_clips_are_the_most_member_like():
    values = [float(k) for k in range(40)]  # lower = member
    run = make_run(**{"video.sme.mean": [*values[:-1], None]})
    page = build(make_result(run))
    clips = section(page, "Clips").clips
    assert [clip.title for clip in clips] == [f"clip-{k}" for k in range(12)]
    assert clips[1].text == "member, video.sme.mean = 1"
    assert [bool(clip.curve) for clip in clips] == [True] * 6 + [False] * 6
    assert [name for name, _ in clips[0].strips] == ["natural", "reversed"]


@pytest.mark.parametrize("data", [None, b"<svg onload=x>", b"\xff\xd8\xff" * 500_000])
def test_only_small_jpeg_thumbnails_are_shown(data):
    run = make_run()
    bad = run.thumbnails.set_column(2, "thumbnail", pa.array([data] * 40, pa.binary()))
    run = Run(run.path, run.info, run.table, run.curves.drop(["video.sme"]), bad)
    page = build(make_result(run))
    clips = section(page, "Clips").clips
    assert {(clip.strips, clip.curve) for clip in clips} == {((), None)}


def test_the_reversed_strip_is_the_natural_one_backwards():
    run = make_run()
    (strips,) = {c.strips for c in section(build(make_result(run)), "Clips").clips}
    natural, backwards = (pixels_of(uri) for _, uri in strips)
    assert natural.shape == backwards.shape == (32, 6 * 32, 3)
    levels = [natural[:, 32 * n : 32 * (n + 1)].mean() for n in range(6)]
    turned = [backwards[:, 32 * n : 32 * (n + 1)].mean() for n in range(6)]
    assert levels == sorted(levels) and turned == pytest.approx(levels[::-1], abs=2)
    run.info["settings"]["perturbation"] = "shuffle"  # whose order is the clip's own
    clips = section(build(make_result(run)), "Clips").clips
    assert {tuple(name for name, _ in clip.strips) for clip in clips} == {("natural",)}


def pixels_of(uri):
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_jpeg_that_cannot_be_decoded_is_shown_as_it_is():
    run = make_run(thumbnail=b"\xff\xd8\xff\xe0 not decoded here")
    clips = section(build(make_result(run)), "Clips").clips
    assert {tuple(name for name, _ in clip.strips) for clip in clips} == {("natural",)}


def test_runs_and_frame_counts_stand_side_by_side(tmp_path):
    first, second = make_run(frames=(8, 16)), make_run(1, name="other")
    write.write_report(make_result(first, second), tmp_path)
    text = (tmp_path / "report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| video.sme.mean")]
    assert [row.split("|")[1].split("·")[1].strip() for row in rows] == [
        "run, 8 frames", "run, 16 frames", "other, 16 frames"
    ]  # fmt: skip
    for link in re.findall(r"\((figures/.*?)\)", text):
        ElementTree.parse(tmp_path / link)


def test_text_from_right_to_left_turns_nothing_else_round():
    assert shorten("שלום 12", 60) == "\u2068שלום 12\u2069"
    assert shorten("\u202egnp.mp4", 60) == " gnp.mp4"
    assert shorten("é" * 9, 5) == "éééé…"


def test_long_values_are_shortened():
    run = make_run()
    run.info["settings"]["prompt"] = "x" * 5000
    text = write.render_html(build(make_result(run)))
    assert "x" * 199 + "…" in text and "x" * 200 not in text


def test_metrics_are_strict_json_and_one_csv_row_each(tmp_path):
    run = make_run(**{"response.logp.mean": [np.nan] * 40})
    run.info["settings"]["odd"] = [float("inf"), 1.0]
    control = make_run(1, name="base")
    write.write_report(make_result(run, control=control), tmp_path)

    def refuse(name):
        raise ValueError(name)

    text = (tmp_path / "metrics.json").read_text()
    content = json.loads(text, parse_constant=refuse)
    assert content["runs"][0]["info"]["settings"]["odd"] == [None, 1.0]
    with (tmp_path / "metrics.csv").open(newline="") as file:
        csv_rows = list(csv.DictReader(file))
    assert [row["kind"] for row in csv_rows] == (
        ["score"] * 2 + ["number", "baseline"] + ["subset"] * 3
    )
    assert [row["part"].split(":")[0] for row in csv_rows[4:]] == ["motion"] * 3
    rows = {row["score"]: row for row in csv_rows[:4]}
    assert rows["video.sme.mean"]["rule"] == "<="
    assert float(rows["video.sme.mean"]["fpr_step"]) == 1 / 20
    primary = content["runs"][0]["frames"][0]["scores"]["video.sme.mean"]
    row = rows["video.sme.mean"]
    assert (row["primary"], row["kind"], row["run"]) == ("1", "score", "run")
    assert float(row["auc_low"]) == primary["auc_interval"][0]
    assert float(row["control_difference"]) == primary["control"]["difference"]
    assert rows["response.logp.mean"]["auc"] == ""
    assert rows["motion"]["kind"] == "number"


def test_names_are_made_distinct():
    assert distinct_names(["a", "b", "a", "a-2", "a"]) == ["a", "b", "a-2", "a-2-2", "a-3"]
