"""Resampled metrics against those of rows repeated as often as they were drawn."""

import numpy as np

from vidsme_jax.stats.metrics import measure
from vidsme_jax.stats.resampling import bootstrap_weights, resampled_metrics


def test_against_repeated_rows(rng):
    member = np.arange(30) % 3 == 0
    ties, smooth = rng.integers(0, 8, 30) + member * 1.0, rng.normal(size=30)
    missing = np.where(rng.random(30) < 0.3, np.nan, smooth)
    scores = np.stack([ties, smooth, missing] * 6)  # more than one call's
    weights = bootstrap_weights(member, np.arange(30) // 2, 12, 0).copy()
    weights[:, 0] = member  # a resample without a non-member
    seen = 0
    for chosen, metrics in resampled_metrics(scores, member, weights):
        for index, column in enumerate(scores[chosen]):
            for k, count in enumerate(weights.T):
                rows = np.repeat(column, count), np.repeat(member, count)
                expected = measure(*rows)
                for name, values in metrics._asdict().items():
                    want = getattr(expected, name)
                    np.testing.assert_allclose(
                        values[index, k], want, atol=2e-6, err_msg=name
                    )
            seen += 1
    assert seen == len(scores)


def test_resamples_keep_groups_together_and_classes_apart():
    member = np.array([True] * 7 + [False] * 6)
    cluster = np.array([0, 0, 0, 1, 1, 2, 3, 4, 4, 5, 5, 6, 6])
    weights = bootstrap_weights(member, cluster, 200, 0)
    for k in range(7):
        rows = weights[cluster == k]
        np.testing.assert_array_equal(rows, np.broadcast_to(rows[0], rows.shape))
    first = [np.flatnonzero(cluster == k)[0] for k in range(7)]
    np.testing.assert_array_equal(weights[first[:4]].sum(0), 4)
    np.testing.assert_array_equal(weights[first[4:]].sum(0), 3)
    assert len(np.unique(weights, axis=1).T) > 10
