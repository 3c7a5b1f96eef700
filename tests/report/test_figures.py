from xml.etree import ElementTree

import numpy as np
import pytest
from reports import HOSTILE, SVG

from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.report import figures
from vidsme_jax.report.roc import Curve, roc_figure


def test_hostile_text_is_escaped_in_every_figure():
    values = np.array([0.0, 1.0, 2.0])
    drawn = [
        roc_figure(HOSTILE, [Curve(HOSTILE, values / 2, values / 2)], 3, 3),
        figures.histogram_figure(HOSTILE, values, values, HOSTILE),
        figures.dot_figure(HOSTILE, [(HOSTILE, [Estimate(0.5, 0.4, 0.6)])], (HOSTILE,)),
        figures.time_figure(HOSTILE, values, 1, None, True),
    ]
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert root.find(f"{SVG}title").text.startswith('<script>alert("1")')
        assert root.find(f".//{SVG}script") is None


def points(element):
    return [tuple(map(float, p.split(","))) for p in element.get("points").split()]


def test_roc_figure_starts_at_one_over_n_on_log_axes():
    fpr, tpr = np.array([0, 0, 0.1, 1]), np.array([0, 0.1, 1, 1])
    root = ElementTree.fromstring(roc_figure("t", [Curve("target", fpr, tpr)], 100, 100))
    assert {"0.01", "0.1", "1"} <= {t.text for t in root.iter(f"{SVG}text")}
    curve = points(list(root.iter(f"{SVG}polyline"))[1])
    left, right = curve[0][0], curve[-1][0]
    # A FPR of 0.1 lies half way between 0.01 and 1.
    assert any(x == pytest.approx((left + right) / 2, abs=0.1) for x, _ in curve)
    assert curve[0][1] > curve[-1][1]


def test_dot_figure_places_one_half_on_the_line():
    rows = [("a", [Estimate(0.5, 0.25, 0.75)]), ("b", [Estimate(None, None, None)])]
    root = ElementTree.fromstring(figures.dot_figure("t", rows, ("target",)))
    (dot,) = root.iter(f"{SVG}circle")
    (middle,) = root.iter(f"{SVG}polyline")
    assert float(dot.get("cx")) == pytest.approx(points(middle)[0][0])
    assert "no value" in {t.text for t in root.iter(f"{SVG}text")}


def test_histogram_outlines_hold_every_clip():
    members, others = np.linspace(-1, 1, 50), np.append(np.full(30, 5.0), np.inf)
    root = ElementTree.fromstring(figures.histogram_figure("t", members, others, "x"))
    words = {t.text for t in root.iter(f"{SVG}text")}
    assert {"members, solid (50)", "non-members, dashed (30)"} <= words
    blocks = [points(p) for p in root.iter(f"{SVG}polygon")]
    assert len(blocks) == 2 and len(blocks[0]) == len(blocks[1])


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, -np.inf], [2.0, 2.0], [0.0]])
def test_figures_of_empty_and_constant_values(values):
    array = np.array(values, float)
    finite = bool(np.isfinite(array).any())
    for svg in (
        figures.histogram_figure("t", array, array, "x"),
        figures.time_figure("t", array, 1, None, True),
    ):
        ElementTree.fromstring(svg)
        assert ("no finite value" in svg) == (not finite)


def test_the_curve_along_a_clip_has_its_times_and_its_most_member_like_frame():
    values = np.array([0.0, 0, 1, 1, -3, -1, np.nan, 2, 7])  # four frames, one value more
    root = ElementTree.fromstring(
        figures.time_figure("t", values, 4, [0.0, 0.5, 1.0, 1.5], high=False)
    )
    texts = {t.text for t in root.iter(f"{SVG}text")}
    assert {"0", "0.5", "1", "1.5", "time in seconds", "most member-like at 1 s"} <= texts
    lines = [points(e) for e in root.iter(f"{SVG}polyline")]
    assert [len(line) for line in lines] == [2, 6, 2, 6]  # zero, thin with a gap, thick
    root = ElementTree.fromstring(figures.time_figure("t", values, 4, None, high=True))
    texts = {t.text for t in root.iter(f"{SVG}text")}
    assert {"1", "4", "frame", "most member-like at frame 2"} <= texts
