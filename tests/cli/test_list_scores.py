import re

import jax.numpy as jnp
import numpy as np
import pytest
from tools import python

from vidsme_jax.cli.listing import scores_table
from vidsme_jax.cli.main import main
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.catalogue import PERCENTS
from vidsme_jax.scores.token_statistics import row_statistics


@pytest.fixture(scope="module")
def blocks():
    """Return the paragraphs of the catalogue by title, their spaces made single."""
    paragraphs = [paragraph.split("\n", 1) for paragraph in scores_table().split("\n\n")]
    return {paragraph[0]: " ".join(paragraph[-1].split()) for paragraph in paragraphs}


FAMILIES = [name for name in catalogue.FAMILY_INFO if not name.endswith("_diff")]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_there_with_its_facts(blocks, name):
    info, text = catalogue.FAMILY_INFO[name], blocks[name]
    side = "higher" if info.higher_is_member else "lower"
    assert f"members {side} slices" in text
    assert f"formula {info.formula} members" in text
    assert text.endswith(f"source {info.source}")
    slices = [s for s in catalogue.SLICES if name in catalogue.families(s)]
    assert f"slices {', '.join(slices)} source" in text


def test_sides_are_those_of_memorised_clips(blocks):
    """Not read off the catalogue: a member is likely, certain, more so forwards."""
    for name in ("logp", "gap", "minkpp"):
        assert "members higher" in blocks[name]
    for name in ("sme", "sme_aligned", "renyi_inf", "mod_entropy"):
        assert "members lower" in blocks[name]


def test_differences_are_said_once(blocks):
    titles = [title for title in blocks if title.startswith("X_diff")]
    text = blocks[titles[0]]
    high, low = re.search(r"members higher (.*) members lower (.*) slices", text).groups()
    assert high.split(", ") == ["logp_diff", "gap_diff", "minkpp_diff"]
    names = {name for name in catalogue.FAMILY_INFO if name.endswith("_diff")}
    assert len(titles) == 1 and set((high + ", " + low).split(", ")) == names


def test_aggregates_slices_and_what_else_there_is(blocks):
    text = " ".join(scores_table().split())
    for name, line in (catalogue.SLICE_INFO | catalogue.AGGREGATE_INFO).items():
        assert f"{name} {line}" in text
    assert f"K is one of {', '.join(map(str, PERCENTS))} (percent)" in text
    assert "k = max(1, n K // 100)" in text
    assert "slice.family.aggregate" in text
    assert "Primary score, fixed in advance: video.sme.mean (members lower)" in text
    assert "Columns of a run with all slices: 910" in text
    assert len(catalogue.columns()) == 910


def test_no_line_is_wider_than_a_terminal():
    assert max(map(len, scores_table().splitlines())) <= 88


def test_formulas_written_out_are_those_computed(rng):
    """Transcribed, the printed modified entropies and Min-K%++ are `row_statistics`."""
    logits = rng.normal(size=7).astype(np.float32) * 2
    p = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum()
    y, others = 3, np.delete(p, 3)
    mu = np.sum(p * np.log(p))
    expected = {
        "mod_renyi_half": -2
        * ((1 - p[y]) * (p[y] ** 0.5 - 1) + np.sum(others * ((1 - others) ** 0.5 - 1))),
        "mod_renyi_two": (1 - p[y]) ** 2 + np.sum(others**2),
        "minkpp": (np.log(p[y]) - mu) / np.sqrt(np.sum(p * (np.log(p) - mu) ** 2)),
        "renyi_half": 2 * np.log(np.sum(p**0.5)),
        "renyi_two": -np.log(np.sum(p**2)),
    }
    ones = jnp.ones(1)
    computed = row_statistics(jnp.array(logits[None]), jnp.array([y]), 2 * ones, ones)
    for name, value in expected.items():
        np.testing.assert_allclose(computed[name][0], value, rtol=1e-5)


def test_the_command_prints_it_and_imports_no_model(tmp_path, capsys):
    assert main(["list", "scores"]) == 0
    assert capsys.readouterr().out == scores_table() + "\n"
    code = (
        "import sys; from vidsme_jax.cli import main; main(['list', 'scores'])\n"
        "assert not {'vidsme_jax.models', 'flax', 'transformers', 'cv2'} & set(sys.modules)"
    )
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr


def test_words_after_it_are_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["list", "scores", "video"])
    assert (
        caught.value.code == 2
        and "unrecognized arguments: video" in capsys.readouterr().err
    )
