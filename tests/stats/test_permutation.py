"""Permuted labels and halves: by enumeration, and by how often chance is taken for more."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from vidsme_jax.stats.metrics import LabelledScores, auc, measure
from vidsme_jax.stats.permutation import (
    choose_on_half,
    corrected_limit,
    detectable_areas,
    permutation_test,
)


@pytest.mark.parametrize("size", [1, 5])
def test_p_value_is_calibrated_over_groups(rng, size):
    # Rows of a group share their score: counting them as independent would be rejected.
    member = np.repeat(np.arange(24) % 2 == 0, size)
    cluster = np.repeat(np.arange(24), size)
    scores = np.repeat(rng.normal(size=(300, 24)), size, axis=1)
    p = permutation_test(LabelledScores(scores, member, cluster), 199, 0).p
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(p <= level) - level) < 0.08
    assert np.mean(p) == pytest.approx(0.5, abs=0.07)


def test_p_value_by_enumeration():
    # Of the 6 ways to call two of four clusters members, one reaches AUC 1.
    values, member = (
        np.array([4.0, 3.0, 2.0, 1.0]),
        np.array([True, True, False, False]),
    )
    both = np.stack([values, -values])
    p_values = permutation_test(LabelledScores(both, member, np.arange(4)), 6000, 0)
    assert p_values.p[0] == pytest.approx(1 / 6, abs=0.02) and p_values.p[1] == 1
    assert p_values.adjusted[0] == pytest.approx(2 / 6, abs=0.03)  # or its opposite


def test_p_value_of_unequal_groups_counts_rows():
    # Two members of three and one rows, two others of one row: brute force over all 6.
    values = np.array([5.0, 5.0, 1.0, 4.0, 2.0, 3.0])
    cluster = np.array([0, 0, 0, 1, 2, 3])
    member = cluster < 2
    observed = roc_auc_score(member, values)
    ways = [(a, b) for a in range(4) for b in range(a)]
    reached = np.mean(
        [roc_auc_score(np.isin(cluster, w), values) >= observed - 1e-12 for w in ways]
    )
    assert 0 < reached < 1
    p = permutation_test(LabelledScores(values[None], member, cluster), 6000, 0).p[0]
    assert p == pytest.approx(reached, abs=0.03)


def test_without_one_class_there_is_no_p_value():
    scores = np.array([[1.0, 2.0, 3.0], [np.nan, np.nan, 3.0]])
    member = np.array([True, True, False])
    p_values = permutation_test(LabelledScores(scores, member, np.arange(3)), 20, 0)
    for values in (p_values.p, p_values.adjusted, p_values.spread):
        assert not np.isnan(values[0]) and np.isnan(values[1])


def test_missing_values_are_left_out(rng):
    member = np.arange(40) % 2 == 0
    scores = rng.normal(size=40) + member
    missing = np.where(np.arange(40) % 5 == 0, np.nan, scores)
    exists = ~np.isnan(missing)
    rows = LabelledScores(missing[None, exists], member[exists], np.flatnonzero(exists))
    alone = permutation_test(rows, 4000, 0)
    p_values = permutation_test(
        LabelledScores(missing[None], member, np.arange(40)), 4000, 0
    )
    assert p_values.p[0] == pytest.approx(alone.p[0], abs=0.01)


def test_the_best_of_many_is_no_finding_once_corrected(rng):
    """50 scores of noise: some p is small in most audits, the corrected one in few."""
    member = np.arange(40) % 2 == 0
    smallest = []
    for seed in range(60):
        scores = rng.normal(size=(50, 40))
        p_values = permutation_test(
            LabelledScores(scores, member, np.arange(40)), 199, seed
        )
        smallest.append((p_values.p.min(), p_values.adjusted.min()))
        assert np.all(p_values.adjusted >= p_values.p)
    alone, corrected = np.mean(np.array(smallest) <= 0.05, axis=0)
    assert alone > 0.8 and corrected <= 0.15


def test_correction_costs_equal_scores_nothing(rng):
    member = np.arange(30) % 2 == 0
    score = rng.normal(size=30) + member
    rows = LabelledScores(np.stack([score] * 20), member, np.arange(30))
    p_values = permutation_test(rows, 500, 0)
    np.testing.assert_array_equal(p_values.adjusted, p_values.p)


def test_a_choice_on_one_half_is_measured_on_the_other(rng):
    member, cluster = np.arange(60) % 2 == 0, np.arange(60) // 4 * 2 + np.arange(60) % 2
    audits = [rng.normal(size=(40, 60)) for _ in range(12)]
    noise_choices = [
        choose_on_half(LabelledScores(x, member, cluster), 20, 0) for x in audits
    ]
    assert np.mean([c.auc_seen for c in noise_choices]) > 0.65
    assert abs(np.mean([c.auc_held_out for c in noise_choices]) - 0.5) < 0.05
    noise = audits[0]
    scores = np.concatenate([noise, rng.normal(size=(1, 60)) + 3 * member])
    choices = choose_on_half(LabelledScores(scores, member, cluster), 50, 0)
    assert np.mean(choices.chosen == 40) > 0.9
    assert np.mean(choices.auc_held_out) == pytest.approx(auc(scores[40], member), abs=0.02)


def test_the_detectable_area_is_found_in_four_of_five_audits(rng):
    member = np.arange(80) % 2 == 0
    noise = rng.normal(size=(1, 80))
    spread = permutation_test(LabelledScores(noise, member, np.arange(80)), 2000, 0).spread
    np.testing.assert_allclose(spread, np.sqrt(81 / 12 / 1600), rtol=0.05)
    limit = 1.96
    (area,) = detectable_areas(spread, limit)
    shift = norm.ppf(area) * np.sqrt(2)
    audits = rng.normal(size=(2000, 80)) + shift * member
    found = measure(audits, member).auc > 0.5 + limit * spread[0]
    assert 0.75 < np.mean(found) < 0.87


def test_the_limit_of_a_correction_is_where_its_p_value_is_small(rng):
    member, clusters = np.arange(60) % 2 == 0, np.arange(60)
    scores = rng.normal(size=(20, 60))
    p_values = permutation_test(LabelledScores(scores, member, clusters), 999, 0)
    limit = corrected_limit(p_values.largest, 0.05)
    reaching = np.sum(p_values.largest > limit)
    assert (1 + reaching) / 1000 <= 0.05 < (2 + reaching) / 1000
    assert corrected_limit(p_values.largest[:10], 0.05) == np.inf


def test_too_few_clips_and_equal_clips_detect_nothing():
    spread = np.array([0.3, 1e-9, np.nan])
    assert np.isnan(detectable_areas(spread, 1.96)).all()
