"""Rates that so few non-members cannot tell apart share a column."""

import json
from dataclasses import replace

import numpy as np
import pytest
from reports import SMALL, make_result, make_run, section

from vidsme_jax.report import terminal, write
from vidsme_jax.report.sections import build
from vidsme_jax.report.words.rates import merged_rates, rates_title

pytestmark = pytest.mark.slow(3)


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([20], [(0.0, 0.001, 0.01), (0.05,), (0.1,)]),
        ([18], [(0.0, 0.001, 0.01, 0.05), (0.1,)]),
        ([4], [(0.0, 0.001, 0.01, 0.05, 0.1)]),
        ([999], [(0.0, 0.001), (0.01,), (0.05,), (0.1,)]),
        ([1000], [(0.0,), (0.001,), (0.01,), (0.05,), (0.1,)]),
        ([20, 200], [(0.0, 0.001), (0.01,), (0.05,), (0.1,)]),  # 1 % of 200 are two
        ([0, 20], [(0.0, 0.001, 0.01), (0.05,), (0.1,)]),
        ([], [(0.0,), (0.001,), (0.01,), (0.05,), (0.1,)]),
    ],
)
def test_rates_merge_where_they_allow_the_same_for_every_row(counts, groups):
    assert merged_rates(SMALL, counts) == groups


def test_below_is_not_at_most():
    """With `<` no non-member is allowed at 0 %, not even none: its TPR is another."""
    rule = replace(SMALL, rule="<")
    assert merged_rates(rule, [20]) == [(0.0,), (0.001, 0.01, 0.05), (0.1,)]


def test_a_group_is_named_by_its_rates():
    assert rates_title((0.05,)) == "TPR at 5 % FPR"
    assert rates_title((0.0, 0.001, 0.01)) == "TPR at 0, 0.1 and 1 % FPR"


def test_tables_have_a_column_for_what_differs_and_files_keep_all(tmp_path):
    """Perfect scores have equal TPRs everywhere: that alone merges no columns."""
    result = make_result(make_run(effect=100))
    merged = ["TPR at 0, 0.1 and 1 % FPR", "TPR at 5 % FPR", "TPR at 10 % FPR"]
    page = build(result)
    for table in section(page, "Scores by slice").tables:
        assert [name for name in table.header if "TPR" in name] == merged
        assert all(len(row) == len(table.header) for row in table.rows)
        assert {row[3] for row in table.rows} == {"1.000"}
    (full,) = section(page, "The primary score in full").tables
    assert [row[0] for row in full.rows if row[0].startswith("TPR at")] == merged
    lines = terminal.terminal_table(result).splitlines()
    (header,) = [line for line in lines if line.startswith("score ")]
    assert "TPR@0/0.1/1%" in header and "TPR@5%" in header and "TPR@1%" not in header
    write.write_report(result, tmp_path)
    kept = json.loads((tmp_path / "metrics.json").read_text())
    scores = kept["runs"][0]["frames"][0]["scores"]
    assert len(scores["video.sme.mean"]["tpr"]) == 5
    names = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert names.count("tpr_at_") >= 5


def test_parts_of_few_clips_share_a_column_and_keep_their_dash():
    """Parts of 6 and 7 non-members allow none at any rate: one column is left."""
    run = make_run(motion=np.arange(40.0).tolist())
    (table,) = section(build(make_result(run)), "Parts of the clips").tables
    assert [name.split(" (")[0] for name in table.header[4:]] == [
        "TPR at 0, 0.1, 1, 5 and 10 % FPR"
    ]
    assert not any(" to " in row[4] for row in table.rows)  # too few for an interval
