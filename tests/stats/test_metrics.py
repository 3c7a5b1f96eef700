"""Metrics of scores against scikit-learn's, ties, missing values and FPR rules included."""

import math
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from vidsme_jax.stats.metrics import FPR_RULES, auc, measure, roc

NAN = math.nan
RATES = (0.0, 0.01, 0.05, 0.1, 0.5, 1.0)


def test_auc_needs_no_jax():
    code = "import sys, vidsme_jax.stats.metrics; raise SystemExit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code]).returncode == 0


def test_known_curve():
    values = np.array([4.0, 3.0, 2.0, 2.0, 1.0])
    labels = np.array([1, 0, 1, 0, 0])
    fpr, tpr, thresholds = roc(values, labels)
    np.testing.assert_allclose(fpr, [0, 0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(tpr, [0, 0.5, 0.5, 1, 1])
    np.testing.assert_allclose(thresholds, [np.inf, 4, 3, 2, 1])
    # Pairs: (4 beats all three) + (2 beats 1, ties with 2) = 4.5 of 6.
    assert auc(values, labels) == pytest.approx(4.5 / 6)


@pytest.mark.parametrize(("better", "expected"), [(1, 1.0), (-1, 0.0), (0, 0.5)])
def test_auc_of_separated_and_constant_scores(better, expected):
    labels = np.array([1, 1, 0, 0, 0])
    assert auc(better * labels.astype(float), labels) == expected


@pytest.mark.parametrize("levels", [3, 10, 10_000])
def test_against_sklearn_with_ties(rng, levels):
    for n in (5, 60, 301):
        labels = np.append(rng.integers(0, 2, n), [0, 1])
        values = rng.integers(0, levels, n + 2).astype(float) + labels
        assert auc(values, labels) == pytest.approx(roc_auc_score(labels, values))
        expected = roc_curve(labels, values, drop_intermediate=False)
        for ours, theirs in zip(roc(values, labels), expected, strict=True):
            np.testing.assert_allclose(ours, theirs)


def tpr_at_fpr(values, labels, fpr):
    return measure(values, labels, (fpr,)).tpr[0]


def test_tpr_is_read_off_the_steps():
    values, labels = np.arange(20.0), np.tile([0, 1], 10)
    for fpr, expected in [(0.0, 0.1), (0.0999, 0.1), (0.1, 0.2), (0.3, 0.4), (1.0, 1)]:
        assert tpr_at_fpr(values, labels, fpr) == pytest.approx(expected)


def test_tpr_rule_survives_rounding():
    # 0.29 * 100 is 28.999999999999996 in floats; 29 of 100 false positives are allowed.
    labels = np.array([0] * 100 + [1] * 30)
    values = np.append(np.arange(100.0), np.full(30, 70.5))
    assert tpr_at_fpr(values, labels, 0.29) == 1
    assert tpr_at_fpr(values, labels, 0.2899) == 0


def test_nan_rows_are_left_out_and_infinities_sort():
    values = np.array([np.inf, 3.0, NAN, 2.0, -np.inf, NAN])
    labels = np.array([1, 0, 1, 1, 0, 0])
    assert auc(values, labels) == pytest.approx(3 / 4)
    assert roc(values, labels)[2].tolist() == [np.inf, np.inf, 3, 2, -np.inf]


def test_no_rows_are_nan():
    assert math.isnan(auc(np.array([NAN]), np.array([1])))


def test_other_labels_are_refused():
    with pytest.raises(ValueError, match="expected 0 and 1"):
        auc(np.array([1.0, 2.0]), np.array([1, 2]))


@pytest.mark.parametrize("levels", [3, 10, 10_000])
def test_every_metric_of_many_scores_at_once(rng, levels):
    for rows in (5, 60, 301):
        labels = np.append(rng.integers(0, 2, rows), [0, 1])
        values = rng.integers(0, levels, rows + 2) + labels * 1.0
        missing = np.where(rng.random(rows + 2) < 0.2, NAN, values)
        missing[-2:] = values[-2:]
        columns = np.stack([values, -values, missing])
        metrics = {rule: measure(columns, labels, RATES, rule) for rule in FPR_RULES}
        for n, column in enumerate(columns):
            exists = ~np.isnan(column)
            of_column = {rule: [x[n] for x in all_of] for rule, all_of in metrics.items()}
            check(of_column, column[exists], labels[exists])


def check(metrics, values, labels):
    fpr, tpr, _ = roc_curve(labels, values, drop_intermediate=False)
    area, precision, accuracy, at_recall, hits = metrics["<="]
    assert area == pytest.approx(roc_auc_score(labels, values))
    assert precision == pytest.approx(average_precision_score(labels, values))
    assert accuracy == pytest.approx((1 + np.max(tpr - fpr)) / 2)
    assert at_recall == pytest.approx(fpr[tpr >= 0.95 - 1e-12].min())
    for rate, tpr_at, strict in zip(RATES, hits, metrics["<"][4], strict=True):
        assert tpr_at == pytest.approx(tpr[fpr <= rate + 1e-12].max())
        assert strict == pytest.approx(max([0, *tpr[fpr < rate - 1e-12]]))


def test_one_class_has_no_metric():
    for value in measure(np.array([1.0, 2.0]), np.array([1, 1]), (0.1,)):
        assert np.all(np.isnan(value))


def test_another_rule_is_refused():
    with pytest.raises(ValueError, match="rule='<>', there are <=, <"):
        measure(np.array([1.0, 2.0]), np.array([1, 0]), (0.1,), "<>")
