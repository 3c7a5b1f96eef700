"""Intervals of true positive rates: by hand, and by how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from vidsme_jax.stats.metrics import LabelledScores
from vidsme_jax.stats.rates import member_share, tpr_interval


def labelled(members, others, repeats=1):
    """Return a score's rows, each repeated as rows of a cluster."""
    values = np.concatenate([members, others])
    member = np.arange(len(values)) < len(members)
    clusters = np.repeat(np.arange(len(values)), repeats)
    return LabelledScores(values[clusters][None], member[clusters], clusters)


def interval(rows, fpr, confidence=0.95):
    """Return the two ends for a single score and rate."""
    low, high = tpr_interval(rows, (fpr,), confidence)
    return float(low[0, 0]), float(high[0, 0])


def test_no_interval_where_non_members_are_too_few(rng):
    rows = labelled(rng.normal(size=30), rng.normal(size=19))
    assert np.isnan(interval(rows, 0.0)).all()
    assert np.isnan(interval(rows, 0.05)).all()  # 19 / 20 above the threshold on average
    assert not np.isnan(interval(rows, 1 / 19)).any()
    empty = labelled(rng.normal(size=3) * np.nan, rng.normal(size=19))
    assert np.isnan(interval(empty, 0.5)).all()


def test_of_a_threshold_that_is_certain_it_is_jeffreys():
    """All non-members are equal: whatever their number above it, the threshold is known."""
    rows = labelled(np.repeat([1.0, -1.0], [7, 13]), np.zeros(40))
    ends = stats.beta.ppf([0.025, 0.975], [7.5, 7.5], [13.5, 13.5])
    low, high = interval(rows, 0.5)
    np.testing.assert_allclose((low, high), ends, atol=1e-4)


def test_mixture_against_random_numbers(rng):
    """Draw the number of non-members above the threshold, then the members' share."""
    members, others = rng.normal(size=35) + 1, rng.normal(size=60)
    ordered = np.concatenate([[np.inf], -np.sort(-others), [-np.inf]])
    above = rng.binomial(60, 0.1, size=400_000)
    ends = []
    for limits, level in ((ordered[above], 0.025), (ordered[above + 1], 0.975)):
        hits = np.sum(members[:, None] > np.unique(limits), axis=0)
        hits = hits[np.unique(limits, return_inverse=True)[1]]
        ends.append(np.quantile(rng.beta(hits + 0.5, 35 - hits + 0.5), level))
    np.testing.assert_allclose(interval(labelled(members, others), 0.1), ends, atol=0.005)


def test_no_lower_end_where_the_threshold_may_lie_above_all():
    """Of 60 non-members none lies above the 1.7 % threshold in 36 % of samples."""
    rows = labelled(np.full(50, 9.0), np.linspace(0, 1, 60))
    low, high = interval(rows, 1 / 59)
    assert low < 1e-4 and high > 0.99


def test_repeated_rows_of_a_cluster_add_no_certainty(rng):
    members, others = rng.normal(size=40) + 1, rng.normal(size=40)
    single, repeated = (interval(labelled(members, others, n), 0.1) for n in (1, 3))
    np.testing.assert_allclose(repeated, single, atol=1e-6)


@pytest.mark.parametrize(("members", "others"), [(20, 20), (64, 64), (200, 20), (20, 200)])
@pytest.mark.parametrize("auc", [0.5, 0.76, 0.95])
def test_intervals_hold_the_rate_of_the_population(rng, members, others, auc):
    """Of the threshold that 10 % of all non-members exceed, not of these non-members'."""
    shift, fpr = stats.norm.ppf(auc) * np.sqrt(2), 0.1
    member = np.arange(members + others) < members
    scores = rng.normal(size=(400, len(member))) + shift * member
    rows = LabelledScores(scores, member, np.arange(len(member)))
    low, high = tpr_interval(rows, (fpr,), 0.95)
    truth = stats.norm.sf(stats.norm.isf(fpr) - shift)
    # 95 % of 400: three standard deviations are 3.3 %.
    assert np.mean((low <= truth) & (truth <= high)) >= 0.917


def test_share_of_members_among_judged_clips(rng):
    """Half of 400 judged clips score four deviations higher than any from outside."""
    outside = rng.normal(size=200)
    judged = np.concatenate([rng.normal(size=200), 4 + rng.normal(size=200)])
    share, low, high = member_share(labelled(judged, outside), 0.95)
    assert low[0] < 0.5 < high[0] and abs(share[0] - 0.5) < 0.12
    none, low, _ = member_share(labelled(rng.normal(size=200), outside), 0.95)
    assert low[0] == 0 and none[0] < 0.2


def test_share_of_members_is_a_lower_bound_where_members_score_like_outsiders(rng):
    held = []
    for _ in range(200):
        outside, judged = rng.normal(size=60), rng.normal(size=60)
        judged[:30] += 1.0  # members that are hard to tell
        held.append(member_share(labelled(judged, outside), 0.95)[1][0] <= 0.5)
    assert np.mean(held) >= 0.95
