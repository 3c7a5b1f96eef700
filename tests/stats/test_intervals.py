"""Intervals against scipy's, by hand, and by how often they hold the truth."""

import numpy as np
import pytest
from scipy import special, stats

from vidsme_jax.stats import intervals
from vidsme_jax.stats.metrics import LabelledScores, auc, measure


def test_percentiles_leave_out_what_is_missing(rng):
    draws = rng.normal(size=(3, 101))
    draws[1, :40] = np.nan
    draws[2] = np.nan
    low, high = intervals.percentile(draws, 0.9, np.full(3, 1e12))
    for n, values in enumerate((draws[0], draws[1, 40:])):
        np.testing.assert_allclose((low[n], high[n]), np.quantile(values, [0.05, 0.95]))
    assert np.isnan(low[2]) and np.isnan(high[2])


def test_percentiles_of_few_clusters_are_those_of_a_t_interval(rng):
    """Of a mean of normal numbers, the percentiles come to lie where Student's do."""
    sample = rng.normal(size=8)
    draws = rng.choice(sample, size=(400_000, 8)).mean(axis=1)
    ends = intervals.percentile(draws[None], 0.8, np.array([8.0]))
    student = stats.t.interval(0.8, 7, sample.mean(), stats.sem(sample))
    np.testing.assert_allclose(np.ravel(ends), student, atol=0.05)
    plain = np.quantile(draws, [0.1, 0.9])
    assert ends[1][0] - ends[0][0] > 1.1 * (plain[1] - plain[0])


def test_percentiles_of_two_classes_take_the_smaller_one_seriously(rng):
    draws = rng.normal(size=(1, 100_000))
    ends = [
        intervals.percentile(draws, 0.95, np.array([float(n)]), np.array([float(m)]))
        for n, m in ((500, 500), (500, 6), (6, 6))
    ]
    widths = [float(high[0] - low[0]) for low, high in ends]
    assert widths[0] == pytest.approx(2 * 1.96, rel=0.02)
    # Welch: the class of 6 alone decides, with 5 degrees of freedom.
    assert widths[1] == pytest.approx(2 * stats.t.ppf(0.975, 5) * np.sqrt(6 / 5), rel=0.05)
    assert widths[0] < widths[2] < widths[1]


def test_effective_clusters_count_large_clusters_more():
    member = np.array([True] * 6 + [False] * 6)
    cluster = np.array([0, 0, 0, 0, 1, 2, 3, 3, 4, 4, 5, 5])
    scores = np.zeros((2, 12))
    scores[1, :3] = np.nan
    members, others = intervals.effective_clusters(LabelledScores(scores, member, cluster))
    np.testing.assert_allclose(members, [36 / 18, 3])
    np.testing.assert_allclose(others, [3, 3])


def delong(values, member):
    """Return the variance of an AUC by DeLong's formula, pair by pair."""
    pairs = np.sign(values[member][:, None] - values[~member]) / 2 + 0.5
    return [
        np.var(pairs.mean(axis=axis), ddof=1) / pairs.shape[1 - axis] for axis in (1, 0)
    ]


def test_variance_of_single_rows_is_delongs(rng):
    member = np.arange(50) % 3 == 0
    values = np.round(rng.normal(size=50) + member, 1)
    rows = LabelledScores(values[None], member, np.arange(50))
    variance = np.array(delong(values, member))
    freedom = variance.sum() ** 2 / np.sum(variance**2 / [member.sum() - 1, 32])
    area = auc(values, member)
    reach = stats.t.ppf(0.95, freedom) * np.sqrt(variance.sum()) / (area * (1 - area))
    ends = special.expit(special.logit(area) + reach * np.array([-1, 1]))
    interval = intervals.auc_interval(rows, np.array([area]), 0.9)
    np.testing.assert_allclose(np.ravel(interval), ends, rtol=1e-12)


def test_repeated_rows_of_a_cluster_add_no_certainty(rng):
    member = np.arange(40) % 2 == 0
    values = rng.normal(size=(1, 40)) + member
    area = np.array([auc(values[0], member)])
    single = intervals.auc_interval(
        LabelledScores(values, member, np.arange(40)), area, 0.95
    )
    rows = LabelledScores(
        np.repeat(values, 5, axis=1), np.repeat(member, 5), np.repeat(np.arange(40), 5)
    )
    np.testing.assert_allclose(intervals.auc_interval(rows, area, 0.95), single, rtol=1e-12)


def test_classes_without_a_value_have_no_interval():
    rows = LabelledScores(
        np.array([[np.nan, np.nan, 1, 2.0]]), np.array([1, 1, 0, 0]) == 1, np.arange(4)
    )
    assert np.isnan(intervals.auc_interval(rows, np.array([np.nan]), 0.95)).all()


def test_ranks_alone_give_perfect_separation_a_width():
    low, high = intervals.rank_interval(
        np.array([1.0, 0.5, np.nan]), *[np.array([20.0, 64.0, 5.0])] * 2, 0.95
    )
    assert 0.85 < low[0] < 0.95 and high[0] == 1
    assert low[1] + high[1] == pytest.approx(1) and 0.38 < low[1] < 0.42
    assert np.isnan(low[2])


@pytest.mark.parametrize("truth", [0.5, 0.76, 0.9])
@pytest.mark.parametrize("sizes", [(1,), (3,), (1, 2, 3, 5, 12)])
def test_intervals_hold_the_true_auc(rng, truth, sizes):
    """Also of 20 clusters a class that are of one size, or of very different ones."""
    member = np.arange(40) % 2 == 0
    scores = rng.normal(size=(400, 40)) + stats.norm.ppf(truth) * np.sqrt(2) * member
    index = np.repeat(np.arange(40), np.repeat(np.resize(sizes, 20), 2))
    rows = LabelledScores(scores[:, index], member[index], index)
    area = measure(rows.scores, rows.member).auc
    low, high = intervals.auc_interval(rows, area, 0.95)
    # 95 % of 400: three standard deviations are 3.3 %.
    assert np.mean((low <= truth) & (truth <= high)) >= 0.917
