"""Bounds on epsilon against the test vectors of jax_privacy's auditor, and by simulation.

The vectors are those of jax_privacy at commit 8967688: `test_epsilon_one_run_close` of its
tests, and values that its `CanaryScoreAuditor` gives for the inputs below.
"""

import math

import numpy as np
import pytest
from scipy.stats import norm

from vidsme_jax.stats.privacy import (
    epsilon_independent,
    epsilon_one_run,
    one_run_p_value,
)


def quantiles(mean, count):
    """Return normal scores at even quantiles."""
    return norm.ppf((np.arange(count) + 0.5) / count) + mean


@pytest.mark.parametrize(
    ("shift", "one_run", "independent"),
    [
        (0, 0, 0),
        (1, 1.13346, 1.787169607),
        (2, 2.311945, 3.827951176),
        (4, 4.395568, 6.412509046),
    ],
)
def test_vectors_of_ten_thousand_clips(shift, one_run, independent):
    members, others = quantiles(shift, 10_000), quantiles(0, 10_000)
    bound = epsilon_one_run(members, others, 0.95, 1e-6)
    assert bound == pytest.approx(one_run, rel=1e-5)
    bound = epsilon_independent(members, others, 0.95, 1e-6)
    assert bound == pytest.approx(independent, rel=1e-9)


@pytest.mark.parametrize(
    ("mean", "ratio", "bound"),
    [(1.0, 0.5, 0.9534359320969712), (1.5, 1.5, 2.071433994070879), (0.3, 1.0, 0.0)],
)
def test_vectors_of_classes_of_unequal_size(mean, ratio, bound):
    members, others = quantiles(mean, 20_000), quantiles(0, int(20_000 * ratio))
    assert epsilon_independent(members, others, 0.8, 0.1) == pytest.approx(bound)


@pytest.mark.parametrize(
    ("clips", "guesses", "wrong", "epsilon", "delta"),
    [(10, 10, 1, 0.5, 1e-3), (100, 10, 0, 1.0, 1e-6), (1000, 100, 10, 0.0, 1e-6)],
)
def test_p_value_term_by_term(clips, guesses, wrong, epsilon, delta):
    right, share = guesses - wrong, 1 / (1 + math.exp(-epsilon))
    mass = [
        math.comb(guesses, k) * share**k * (1 - share) ** (guesses - k)
        for k in range(guesses + 1)
    ]
    gains = [sum(mass[right - n : right]) / n for n in range(1, right + 1)]
    expected = min(1, sum(mass[right:]) + 2 * clips * delta * max(gains))
    p_value = one_run_p_value(clips, guesses, right, delta, epsilon)
    assert p_value == pytest.approx(expected, rel=1e-9)


def test_bounds_of_a_private_answer_hold(rng):
    """Randomised response with epsilon 1: the right answer with probability 0.731."""
    truth, share, too_high = 1.0, 1 / (1 + math.exp(-1.0)), [0, 0]
    for _ in range(200):
        is_member = rng.random(200) < 0.5
        says = np.where(rng.random(200) < share, is_member, ~is_member).astype(float)
        members, others = says[is_member], says[~is_member]
        too_high[0] += epsilon_one_run(members, others, 0.95, 1e-6) > truth
        too_high[1] += epsilon_independent(members, others, 0.95) > truth
    # At most 5 % of 200; three standard deviations more are 19.
    assert max(too_high) <= 19


def test_perfect_separation_bounds_by_the_number_of_clips():
    members, others = np.full(100, 1.0), np.zeros(100)
    small = epsilon_one_run(members[:20], others[:20], 0.95, 1e-6)
    large = epsilon_one_run(members, others, 0.95, 1e-6)
    assert 1 < small < large < 5
    assert epsilon_one_run(others, members, 0.95, 1e-6) == 0


@pytest.mark.parametrize(
    ("members", "confidence", "delta", "named"),
    [
        ([], 0.95, 0.1, "members"),
        ([np.nan], 0.95, 0.1, "members"),
        ([1.0], 1.0, 0.1, "confidence"),
        ([1.0], 0.95, 1.0, "delta"),
    ],
)
def test_wrong_arguments_are_named(members, confidence, delta, named):
    for bound in (epsilon_one_run, epsilon_independent):
        with pytest.raises(ValueError, match=named):
            bound(np.array(members), np.array([0.0]), confidence, delta)
