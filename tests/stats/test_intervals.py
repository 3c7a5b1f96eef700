"""Intervals against scipy's, by hand, and by how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from vidsme_jax.evaluation.estimates import estimate_metrics
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.stats import intervals
from vidsme_jax.stats.metrics import LabelledScores, auc


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 10), (10, 10), (7, 200)])
def test_counts_agree_with_scipy(hits, count):
    expected = stats.binomtest(hits, count).proportion_ci(0.9, "exact")
    ends = intervals.clopper_pearson(np.array(hits), np.array(count), 0.9)
    np.testing.assert_allclose(ends, expected, rtol=1e-9)


def test_percentiles_leave_out_what_is_missing(rng):
    draws = rng.normal(size=(3, 101))
    draws[1, :40] = np.nan
    draws[2] = np.nan
    low, high = intervals.percentile(draws, 0.9)
    for n, values in enumerate((draws[0], draws[1, 40:])):
        np.testing.assert_allclose((low[n], high[n]), np.quantile(values, [0.05, 0.95]))
    assert np.isnan(low[2]) and np.isnan(high[2])


def test_bca_agrees_with_scipy(rng):
    """Of a mean, whose acceleration is a sixth of the skewness over sqrt(n)."""
    sample = rng.exponential(size=40)
    draws = rng.choice(sample, size=(200_000, 40)).mean(axis=1)
    skew = stats.skew(sample) / 6 / np.sqrt(40)
    ends = intervals.bca(draws[None], sample[None].mean(1), np.array([skew]), 0.95)
    expected = stats.bootstrap(
        (sample,), np.mean, n_resamples=100_000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    np.testing.assert_allclose(np.ravel(ends), expected, atol=0.01)


def test_acceleration_by_leaving_out_each_cluster(rng):
    member = np.arange(40) % 2 == 0
    cluster = np.arange(40) // 4 * 2 + member
    values = np.round(rng.normal(size=40) + member, 1)
    cubes, squares = 0.0, 0.0
    for side in (member, ~member):
        kinds = np.unique(cluster[side])
        without = [auc(values[cluster != k], member[cluster != k]) for k in kinds]
        influence = (np.mean(without) - without) * (1 - 1 / len(kinds))
        cubes, squares = cubes + np.sum(influence**3), squares + np.sum(influence**2)
    acceleration = intervals.auc_acceleration(LabelledScores(values[None], member, cluster))
    np.testing.assert_allclose(acceleration, cubes / (6 * squares**1.5))


def test_ranks_alone_give_perfect_separation_a_width():
    low, high = intervals.rank_interval(
        np.array([1.0, 0.5, np.nan]), np.array([20, 64, 5]), np.array([20, 64, 5]), 0.95
    )
    assert 0.85 < low[0] < 0.95 and high[0] == 1
    assert low[1] + high[1] == pytest.approx(1) and 0.38 < low[1] < 0.42
    assert np.isnan(low[2])


def covered(rng, truth, size, repeats=150, groups=1):
    """Return how often the interval of the AUC holds the true one.

    Normal scores; those of a group are one score, so that only groups are independent.
    """
    shift = stats.norm.ppf(truth) * np.sqrt(2)
    member = np.repeat(np.arange(2 * size) % 2 == 0, groups)
    cluster = np.repeat(np.arange(2 * size), groups)
    settings = EvaluationSettings(bootstrap=500, fprs=())
    scores = rng.normal(size=(repeats, 2 * size)) + shift * (np.arange(2 * size) % 2 == 0)
    rows = LabelledScores(np.repeat(scores, groups, axis=1), member, cluster)
    estimates = estimate_metrics(rows, settings)
    return np.mean((estimates.low.auc <= truth) & (truth <= estimates.high.auc))


@pytest.mark.parametrize("truth", [0.5, 0.76, 0.9])
def test_intervals_hold_the_true_auc(rng, truth):
    # 95 % of 150: three standard deviations are 5 %.
    assert 0.9 <= covered(rng, truth, 40) <= 1
    assert 0.9 <= covered(rng, truth, 40, groups=3) <= 1
