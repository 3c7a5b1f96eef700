"""Verdicts without labels: the maths, and rates held in simulation."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from vidsme_jax.stats.conformal import benjamini_hochberg, conformal_p, threshold


def test_p_values_count_the_reference_clips_that_reach_a_score():
    reference, group = np.array([1.0, 2, 3, 4, 4]), np.arange(5)
    p = conformal_p(np.array([5, 4, 3.5, 0, np.nan]), reference, group)
    np.testing.assert_allclose(p, [1 / 6, 1 / 2, 1 / 2, 1, np.nan])


def test_a_video_of_many_rows_counts_once():
    reference = np.array([9.0, 0, 0, 0, 1])
    p = conformal_p(np.array([5.0, 0.5]), reference, np.array([0, 0, 0, 0, 1]))
    np.testing.assert_allclose(p, [(1 + 1 / 4) / 3, (1 + 1 / 4 + 1) / 3])


@pytest.mark.parametrize(("fpr", "needed"), [(0.05, 19), (0.01, 99), (0.1, 9)])
def test_the_smallest_reference_that_allows_a_rate(fpr, needed):
    for count in (needed - 1, needed):
        values = np.arange(float(count))
        limits = threshold(values, np.arange(count), fpr, 0.95)
        assert limits.groups == needed
        assert (limits.value is not None) == (count == needed)


@pytest.mark.parametrize(("fpr", "needed"), [(0.05, 59), (0.01, 299), (0.1, 29)])
def test_the_smallest_reference_that_makes_sure_of_a_rate(fpr, needed):
    for count in (needed - 1, needed):
        values = np.arange(float(count))
        limits = threshold(values, np.arange(count), fpr, 0.95)
        assert limits.groups_sure == needed
        assert limits.sure == (count - 1.0 if count == needed else None)


def test_the_threshold_and_the_p_value_say_the_same(rng):
    reference = np.round(rng.normal(size=150), 1)  # with ties
    group = rng.integers(0, 60, size=150)
    judged = np.concatenate([reference, rng.normal(size=300)])
    p = conformal_p(judged, reference, group)
    for fpr in (0.02, 0.05, 0.1, 0.3):
        limits = threshold(reference, group, fpr, 0.95)
        np.testing.assert_array_equal(judged > limits.value, p <= fpr)
        assert limits.sure is None or limits.sure >= limits.value


def test_correction_agrees_with_scipy(rng):
    p = rng.uniform(size=30) ** 2
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
    np.testing.assert_allclose(
        benjamini_hochberg(np.array([np.nan, *p]))[1:], false_discovery_control(p)
    )
    assert np.isnan(benjamini_hochberg(np.array([np.nan, 0.5]))[0])


@pytest.mark.parametrize("judged", [3, 6, 7, 12, 24])
def test_a_corrected_value_at_its_limit_is_not_rounded_beyond_it(judged):
    """All judged clips beyond all 19 reference clips: 0.05 * n / n is 0.05."""
    p = conformal_p(np.full(judged, 99.0), np.arange(19.0), np.arange(19))
    assert np.all(p <= 0.05) and np.all(benjamini_hochberg(p) <= 0.05)


def draws(rng, videos, rows, tied):
    """Scores of clips that are outside: those of a video alike, rounded where tied."""
    values = rng.normal(size=(videos, 1)) + 0.5 * rng.normal(size=(videos, rows))
    values = np.round(values) if tied else values
    return values.ravel(), np.repeat(np.arange(videos), rows)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("videos", [20, 100])
def test_false_positive_rates_hold(videos, tied):
    """With 20 reference videos nothing may be called at 1 %, and 5 % holds already."""
    trials, rates = 1500, np.array([0.01, 0.05, 0.1])
    called = np.zeros(3)
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        reference, group = draws(rng, videos, 2, tied)
        judged, _ = draws(rng, 1, 2, tied)
        called += conformal_p(judged[:1], reference, group) <= rates
    spread = np.sqrt(rates * (1 - rates) / trials)
    assert np.all(called / trials <= rates + 3 * spread), called / trials
    if not tied:  # and are not far below where they can be reached
        assert called[2] / trials > 0.06
    if videos == 20:
        assert called[0] == 0


def test_the_sure_threshold_holds_for_most_reference_sets():
    """The true rate above it is known here: at most 5 % of sets may exceed 10 %."""
    rng = np.random.default_rng(0)
    exceeded = 0
    for _ in range(600):
        limits = threshold(rng.uniform(size=60), np.arange(60), 0.1, 0.95)
        exceeded += 1 - limits.sure > 0.1
    assert exceeded / 600 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
    assert exceeded > 0


def test_false_discoveries_are_controlled():
    """40 of 50 judged clips are outside: of the calls at 10 %, at most 8 % are wrong."""
    shares = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        judged = np.concatenate([rng.normal(size=40), 4 + rng.normal(size=10)])
        q = benjamini_hochberg(conformal_p(judged, rng.normal(size=150), np.arange(150)))
        called = q <= 0.1
        shares.append(called[:40].sum() / max(1, called.sum()))
    assert np.mean(shares) < 0.1
