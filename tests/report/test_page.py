"""The page as a browser and a reader meet it: structure, keyboard, print, prose."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from reports import long_sentences, make_result, make_run, prose, sentences

from vidsme_jax.report import write
from vidsme_jax.report.sections import build

pytestmark = pytest.mark.slow(4)


def test_sentences_end_where_readers_stop():
    assert sentences("A is 0.5. Is B, c: d? E") == ["A is 0.5.", "Is B, c: d?", "E"]


@pytest.fixture(scope="module")
def built():
    judged = make_run(label=[0] * 20 + [None] * 20)
    run = make_run(frames=(8, 16))
    return {
        "control": build(make_result(make_run(), control=make_run(1, name="base"))),
        "frames": build(make_result(run, make_run(1, name="other"))),
        "judged": build(make_result(judged)),
        "bare": build(make_result(replace(run, curves=run.curves.drop(["video.sme"])))),
        "no primary": build(make_result(make_run(**{"video.sme.mean": None}))),
    }


def test_sentences_are_short(built):
    texts = [text for page in built.values() for text in prose(page)]
    assert len(texts) > 100
    assert not long_sentences(*texts)


class Elements(HTMLParser):
    """The elements of a page in order: name and attributes."""

    def __init__(self, text):
        super().__init__()
        self.all, self.empty = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))

    def of(self, tag):
        return [attributes for name, attributes in self.all if name == tag]


@pytest.fixture(params=["control", "frames", "judged", "bare", "no primary"])
def text(request, built):
    return write.render_html(built[request.param])


def test_headings_are_in_order_under_one_title(text):
    levels = [int(tag[1]) for tag, _ in Elements(text).all if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


def test_tables_scroll_by_keyboard_and_have_a_name(text):
    elements = Elements(text)
    regions = [a for a in elements.of("div") if a.get("class") == "scroll"]
    assert len(regions) == len(elements.of("table")) > 0
    for region in regions:
        assert (region["tabindex"], region["role"]) == ("0", "region")
        assert len(region["aria-label"]) > len("Table: ")


def test_pictures_have_a_text_in_their_place(text):
    elements = Elements(text)
    assert all(a["role"] == "img" for a in elements.of("svg"))
    assert text.count("<title>") >= len(elements.of("svg")) + 1
    assert all(a["alt"] for a in elements.of("img"))


def test_the_page_runs_and_loads_nothing(text):
    elements = Elements(text)
    assert not elements.of("script") and not elements.of("link") and not elements.of("a")
    sources = [a.get("src") or a.get("href") for _, a in elements.all]
    assert all(s.startswith("data:image/") for s in sources if s)
    (policy,) = [a for a in elements.of("meta") if "http-equiv" in a]
    assert policy["content"].startswith("default-src 'none'")


def test_print_unfolds_everything_and_the_dark_keeps_figures_light(text):
    style = text[text.index("<style>") : text.index("</style>")]
    printed = style[style.index("@media print") :]
    assert "details-content { content-visibility: visible" in printed
    assert ".scroll { overflow: visible" in printed
    dark = style[style.index("@media screen and (prefers-color-scheme: dark)") :]
    assert dark.index("--paper: #16181c") < dark.index("@media print")
    assert ":focus-visible" in style
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert '<rect width="100%" height="100%" fill="#fff"/>' in svg
