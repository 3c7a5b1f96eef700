"""The sentences of an answer: what they conclude, and what they leave open."""

import re

import numpy as np
import pyarrow as pa
from reports import long_sentences, prose
from studies import run_of

from vidsme_jax.evaluation.evaluate import evaluate_study
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import make_study
from vidsme_jax.report.csv_rows import clip_rows
from vidsme_jax.report.sections import build
from vidsme_jax.report.words.answers import answers, frame_reports

SMALL = EvaluationSettings(bootstrap=100, permutations=999)


def make_table(rng, n=60, labels=(0, 1), **changed):
    """Return rows of clips; `changed` replaces columns or adds some."""
    names = [f"clip-{k}" for k in range(n)]
    columns = {
        "id": names,
        "frames": [16] * n,
        "group": names,
        "label": pa.array(np.resize(labels, n).tolist(), pa.int64()),
        "status": ["ok"] * n,
        "duration": rng.normal(size=n) + 10,
        "video.sme.mean": rng.normal(size=n),
        "response.logp.mean": rng.normal(size=n),
    }
    return pa.table(columns | changed)


def result_of(table, control=None, reference=None):
    """Return the result of a table."""
    others = (None if other is None else run_of(other) for other in (control, reference))
    return evaluate_study(make_study([run_of(table)], *others), SMALL)


def answers_of(*tables):
    """Return the answers of a report on a table, its control and its reference."""
    result = result_of(*tables)
    assert not long_sentences(*prose(build(result)))
    (report,) = frame_reports(result)
    return answers(report, result)


def is_member(n=60):
    """Return the labels of `make_table`."""
    return np.resize((0, 1), n)


def test_a_negative_answer_names_the_score_that_does_separate(rng):
    shifted = rng.normal(size=60) + 4 * is_member()
    (answer,) = answers_of(make_table(rng, **{"response.logp.mean": shifted}))
    assert answer.lead.startswith(
        "The model does tell members from non-members, but not by"
    )
    assert re.search(r"response\.logp\.mean, which .* has AUC (1\.0|0\.9)", answer.lead)
    assert "video.sme.mean, which looks at the video, has AUC" in answer.lead
    assert "wrong to say that the clips were not used" in answer.lead
    assert any("--score response.logp.mean" in note for note in answer.notes)


def test_a_score_that_separates_under_the_control_too_is_no_trace(rng):
    shifted = {"response.logp.mean": rng.normal(size=60) + 4 * is_member()}
    (answer,) = answers_of(make_table(rng, **shifted), make_table(rng, **shifted))
    assert "does not separate members from non-members" in answer.lead
    assert "the two sets may differ by themselves" in answer.lead
    assert "wrong to say" not in answer.lead


def test_the_control_of_the_score_that_separates_stands_beside_it(rng):
    shifted = rng.normal(size=60) + 4 * is_member()
    table = make_table(rng, **{"response.logp.mean": shifted})
    (answer,) = answers_of(table, make_table(rng))
    assert re.search(r"Under the control that score has AUC 0\.[3-7]", answer.lead)


def test_a_positive_answer_needs_no_other_score(rng):
    shifted = rng.normal(size=60) + 4 * is_member()
    columns = {"response.logp.mean": shifted, "video.sme.mean": -shifted}
    (answer,) = answers_of(make_table(rng, **columns))
    assert "separates members" in answer.lead and "not by the primary" not in answer.lead
    assert not any("--score" in note for note in answer.notes)


def test_too_few_clips_are_said_to_find_nothing(rng):
    (answer,) = answers_of(make_table(rng, 4))
    assert "too few, or their scores too alike, to find anything" in answer.lead


def test_equal_frames_under_both_labels_are_said(rng):
    hashes = ["a", "a", "b", "c", "c"] + [f"h{k}" for k in range(55)]
    (answer,) = answers_of(make_table(rng, frame_hash=hashes))
    notes = " ".join(answer.notes)
    assert "2 clips stand under both labels by other names" in notes
    assert "(clip-0, clip-1, clip-3, clip-4)" in notes


def judged_result(rng, *, duration=0.0, score=0.0):
    """Return the result of 40 judged clips that differ from 40 reference clips."""
    judged = {
        "duration": rng.normal(size=40) + 10 + duration,
        "video.sme.mean": rng.normal(size=40) - score,
    }
    reference = make_table(rng, 40, (0,), id=[f"o-{k}" for k in range(40)],
                           group=[f"o-{k}" for k in range(40)])  # fmt: skip
    table = make_table(rng, 40, (None,), **judged)
    return result_of(table, None, reference)


def judged_answer(rng, **shifts):
    """Return the answer of `judged_result`, and the titles of its page."""
    result = judged_result(rng, **shifts)
    page = build(result)
    assert not long_sentences(*prose(page))
    (report,) = frame_reports(result)
    return answers(report, result)[0], [section.title for section in page.sections]


def test_no_calls_and_no_rates_stand_below_a_warning_that_they_do_not_hold(rng):
    for shift in ({"duration": 30.0}, {"score": -4.0}):
        answer, titles = judged_answer(rng, **shift)
        assert "not like the reference" in answer.warning or "far less" in answer.warning
        assert answer.lead.startswith("No calls on 40 clips")
        assert "called" not in " ".join((answer.lead, *answer.notes))
        assert "Calling members" not in titles


def test_the_share_of_members_stands_with_its_interval(rng):
    answer, titles = judged_answer(rng, score=4.0)
    assert not answer.warning and "Calling members" in titles
    share = next(note for note in answer.notes if "must be members" in note)
    assert re.search(r"At least \d\d % .* share is (9\d|100) %, .* ends at 100 %", share)


def test_p_values_that_do_not_hold_are_not_written(rng):
    for shifts, is_kept in (({"score": 4.0}, True), ({"duration": 30.0}, False)):
        rows = clip_rows(judged_result(rng, **shifts))
        assert {row["p_value"] is not None for row in rows} == {is_kept}


def test_noise_requires_no_member(rng):
    answer, _ = judged_answer(rng)
    assert any("do not require any member" in note for note in answer.notes)


def test_blind_baselines_say_what_they_could_have_noticed(rng):
    (answer,) = answers_of(make_table(rng))
    power = [note for note in answer.notes if "would notice a baseline" in note]
    assert len(power) == 1 and re.search(r"a true AUC of 0\.\d\d;", power[0])
    (answer,) = answers_of(make_table(rng, 10))
    assert any("too few for them to notice" in note for note in answer.notes)


def test_detectable_areas_shrink_with_more_clips(rng):
    found = []
    for n in (40, 400):
        (report,) = frame_reports(result_of(make_table(rng, n)))
        metrics = report.frame.scores["video.sme.mean"]
        found.append(metrics.significance.detectable_auc)
    assert 0.7 < found[0] < 0.8 and 0.55 < found[1] < 0.6


def test_bounds_on_epsilon_are_those_of_the_primary_score_alone(rng):
    shifted = -(rng.normal(size=60) + 4 * is_member())
    (report,) = frame_reports(result_of(make_table(rng, **{"video.sme.mean": shifted})))
    scores = report.frame.scores
    assert scores["response.logp.mean"].privacy is None
    bounds = scores["video.sme.mean"].privacy
    assert 0.5 < bounds.one_run < 5 and 0.5 < bounds.independent < 5
    assert bounds.delta == SMALL.delta
