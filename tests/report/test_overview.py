"""All clips in a figure: their ranks, their limits, the frames that carry the score."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from reports import HOSTILE, SMALL, SVG, make_result, make_run, section

from vidsme_jax.evaluation.evaluate import evaluate_study
from vidsme_jax.evaluation.study import make_study
from vidsme_jax.records.runs import Run, strip_frames
from vidsme_jax.report import write
from vidsme_jax.report.difference_map import (
    PALETTE,
    binned,
    difference_figure,
    frame_means,
    ink_on,
    scale_of,
)
from vidsme_jax.report.overview import label_limits
from vidsme_jax.report.ranking import ClassShares, RankedClips, rank_figure
from vidsme_jax.report.sections import build

pytestmark = pytest.mark.slow(4)


def texts(svg):
    return [t.text for t in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def titles(svg):
    return [t.text for t in ElementTree.fromstring(svg).iter(f"{SVG}title")]


def ranked(count):
    half = np.arange(count) % 2
    return RankedClips(
        np.linspace(0, 1, count),
        [f"clip {k}" for k in range(count)],
        ClassShares(("members", "non-members"), half),
        half == 0,
    )


@pytest.mark.parametrize("count", [1, 2, 4, 200, 201, 10_000])
def test_any_number_of_clips_makes_a_figure_of_any_size_but_large(count):
    svg = rank_figure("t", "score", ranked(count), [(0.5, "5 % FPR")], [])
    assert len(svg) < 60_000
    words = texts(svg)
    assert f"members ({count - count // 2})" in words and "5 % FPR" in words
    assert len(words) < 30 and str(count) in words and "1" in words


def test_the_lanes_show_where_the_clips_of_a_class_stand():
    of = np.array([0] * 300 + [1] * 700)
    shares = ClassShares(("members", "non-members"), of).shares()
    assert shares.shape == (2, 160) and shares.sum(axis=0) == pytest.approx(1)
    assert shares[0, :43].min() == 1 and shares[0, 44:].max() == 0


@pytest.mark.parametrize("rule", ["<=", "<"])
def test_no_more_non_members_lie_beyond_a_limit_than_its_rate_allows(rule):
    settings = replace(SMALL, rule=rule)
    sample = make_result(make_run(effect=0.5)).study.runs[0].frames[0].labelled
    values = -sample.scores["video.sme.mean"][~sample.member]  # as in the table
    limits = label_limits(sample, "video.sme.mean", False, settings)
    beyond = {rate: int(np.sum(values < limit)) for rate, limit in limits.items()}
    if rule == "<=":
        assert beyond == {0.0: 0, 0.001: 0, 0.01: 0, 0.05: 1, 0.1: 2}
    else:
        assert beyond == {0.001: 0, 0.01: 0, 0.05: 0, 0.1: 1}  # 0 % allows no limit


def judged():
    """Clips to judge, half of them far beyond a reference of another run."""
    mine = make_run(name="mine", n=30, effect=4.0)
    mine = replace(mine, table=mine.table.drop(["label"]).append_column(
        "label", pa.array([None] * 30, pa.int64())
    ))  # fmt: skip
    other = make_run(7, 0.0, 40, name="other", id=[f"other-{k}" for k in range(40)])
    outside = other.table.drop(["label", "group"])
    outside = outside.append_column("label", pa.array([0] * 40))
    outside = outside.append_column("group", outside["id"])
    study = make_study([mine], None, replace(other, table=outside))
    return evaluate_study(study, SMALL)


def test_judged_clips_stand_beside_the_reference_with_their_p_values():
    result = judged()
    page = build(result)
    overview = section(page, "All clips")
    ranks = overview.figures[0]
    words = texts(ranks.svg)
    assert "to judge (30)" in words and "reference (40)" in words
    assert "p ≤ 0.05" in words and "5 % FPR" in words
    verdict = result.runs[0].frames[0].verdict
    small = sum(clip.p_value <= 0.05 for clip in verdict.clips.values())
    paths = re.findall(r'<path d="[^"]*" fill="#009E73" fill-opacity="0.8"', ranks.svg)
    assert len(paths) == small + 2  # and in the legend, and before the lane
    assert any("p-values of the judged clips" in text for text in overview.paragraphs)


def test_clips_of_label_0_are_called_the_reference_where_they_judge():
    label = [0] * 20 + [None] * 20
    result = make_result(make_run(label=label))
    words = texts(section(build(result), "All clips").figures[0].svg)
    assert "to judge (20)" in words and "reference (20)" in words


def test_a_mark_names_its_clip_and_its_rank():
    svg = section(build(make_result(make_run())), "All clips").figures[0].svg
    assert any(re.fullmatch(r"clip-\d+: -?[\d.]+, rank 1", t) for t in titles(svg))


def test_the_mean_of_a_frame_leaves_the_rest_out():
    assert frame_means(np.array([1.0, 3, 5, 7, 99]), 2).tolist() == [2, 6]
    assert np.isnan(frame_means(np.array([1.0]), 2)).all()


def test_colours_say_the_side_and_white_says_nothing():
    scale = scale_of(np.array([-2.0, 2.0, np.nan]), is_higher=False)
    assert scale.limit == 2
    assert scale.colour(-2.0) == "#0072b2"  # the side of members
    assert scale.colour(5.0) == "#d55e00" and scale.colour(0.0) == "#ffffff"
    assert scale.colour(float("nan")) == "#999999"
    assert scale_of(np.array([2.0]), is_higher=True).colour(2.0) == "#0072b2"
    assert scale_of(np.array([]), False).limit == scale_of(np.zeros(3), False).limit == 1


def luminance(colour):
    """WCAG 2: relative luminance of `#rrggbb`."""
    shares = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def test_numbers_are_read_on_every_colour():
    for shade in PALETTE.tolist():
        colour = "#{:02x}{:02x}{:02x}".format(*shade)
        ink = 1.0 if ink_on(colour) == "#fff" else 0.0
        dark, light = sorted((ink, luminance(colour)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def pixels(svg):
    image = next(ElementTree.fromstring(svg).iter(f"{SVG}image"))
    data = image.get("href").removeprefix("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_the_map_has_a_row_per_clip_and_a_column_per_frame():
    values = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, np.nan]])
    classes = ClassShares(("members", "non-members"), np.array([0, 1]))
    svg = difference_figure("t", values, classes, is_higher=False)
    colours = pixels(svg)
    height, width = colours.shape[:2]
    rows, columns = (np.arange(n) for n in (2, 3))
    middle = colours[
        ((rows + 0.5) * height / 2).astype(int)[:, None],
        ((columns + 0.5) * width / 3).astype(int)[None],
    ]
    white, blue, orange, grey = (
        tuple(c) for c in ((255,) * 3, (0, 114, 178), (213, 94, 0), (153,) * 3)
    )
    assert [tuple(c) for c in middle[0].tolist()] == [white, blue, white]
    assert [tuple(c) for c in middle[1].tolist()] == [orange, white, grey]
    assert {"-1", "0", "+1"} <= {*texts(svg)}


def test_many_clips_share_the_rows_of_a_small_map():
    values = np.repeat(np.arange(1000.0)[:, None], 8, axis=1)
    rows = binned(values)
    assert rows.shape == (160, 8)
    assert rows[0, 0] == pytest.approx(3) and rows[-1, 0] == pytest.approx(996.5)
    assert np.isnan(binned(np.full((3, 2), np.nan))).all()
    classes = ClassShares(("members",), np.zeros(10_000, int))
    noise = np.random.default_rng(0).normal(size=(10_000, 32))
    assert len(difference_figure("t", noise, classes, True)) < 60_000


def test_the_frame_that_carries_the_score_is_seen_in_map_and_strip():
    page = build(make_result(make_run()))
    (figure,) = [f for f in section(page, "All clips").figures if "differences" in f.name]
    colours = pixels(figure.svg)
    middle = (np.arange(16) + 0.5) * colours.shape[1] / 16
    top = colours[3, middle.astype(int)].astype(int)
    assert int(np.argmax(top[:, 2] - top[:, 0])) == 2  # the bluest: the third frame
    card = section(page, "Clips").clips[0]
    assert [m.text.split(":")[0] for m in card.marks] == ["1", "4", "7", "10", "13", "16"]
    assert strip_frames(16) == [0, 3, 6, 9, 12, 15] and strip_frames(1) == [0] * 6
    text = write.render_html(page)
    assert text.count('class="marks values"') == 12  # of the natural strips alone


def test_a_run_without_curves_says_so_and_a_table_from_elsewhere_does_not():
    run = make_run()
    bare = replace(run, curves=run.curves.drop(["video.sme"]))
    overview = section(build(make_result(bare)), "All clips")
    assert len(overview.figures) == 1
    assert "no curve of sme with values" in overview.paragraphs[-1]
    table = pa.table({
        "id": ["a", "b", "c", "d"], "label": [1.0, 0.0, 1.0, 0.0],
        "score": [1.0, 2.0, 3.0, 4.0], "frames": pa.array([0] * 4, pa.int64()),
    })  # fmt: skip
    empty = table.select(["id", "frames"]).slice(0, 0)
    page = build(make_result(Run(Path("t"), {"settings": {}}, table, empty, empty)))
    overview = section(page, "All clips")
    assert len(overview.figures) == 1 and len(overview.paragraphs) == 1
    assert section(page, "Clips").paragraphs[0].startswith("These are the clips")


NAMES = {
    f"clips/{'a' * 300}.mp4": "a" * 59 + "…",
    "D:\\films\\cat.mp4": "cat.mp4",
    "clips/two\nlines.mp4": "two lines.mp4",
    "clips/שלום.mp4": "\u2068שלום.mp4\u2069",
    "clips/🎬 film.mp4": "🎬 film.mp4",
    "clips/<b onload=y>.mp4": "<b onload=y>.mp4",
    "clips/\u202egnp.mp4": "gnp.mp4",
    "": "clip-7",
    None: "clip-8",
    "///": "clip-9",
    "clips/\x01\x02": "clip-10",
}


def test_clips_are_called_by_their_files():
    files = [*NAMES, *(f"clips/{k}.mp4" for k in range(len(NAMES), 40))]
    values = [float(k) for k in range(40)]
    run = make_run(video=files, **{"video.sme.mean": values})
    page = build(make_result(run))
    cards = section(page, "Clips").clips
    assert [card.title for card in cards[: len(NAMES)]] == [*NAMES.values()]
    assert [card.id for card in cards[:2]] == ["clip-0", "clip-1"]
    text = write.render_html(page)
    assert "&lt;b onload=y&gt;.mp4" in text and "<b onload" not in text
    assert "### cat.mp4 (id clip-1)" in write.render_markdown(page)
    assert "sme along cat.mp4" in [card.curve.title for card in cards[:6]]


def test_hostile_text_stays_text_in_these_figures():
    clips = replace(ranked(3), names=[HOSTILE] * 3)
    classes = ClassShares(("members",), np.zeros(1, int))
    drawn = [
        rank_figure(HOSTILE, HOSTILE, clips, [(0.5, HOSTILE)], [(0.5, HOSTILE)]),
        difference_figure(HOSTILE, np.zeros((1, 2)), classes, False),
    ]
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        assert root.find(f".//{SVG}script") is None
        assert root.find(f"{SVG}title").text.startswith('<script>alert("1")')
