import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from studies import frame_studies, labelled_rows, measured

from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.estimates import estimate_metrics
from vidsme_jax.evaluation.score_metrics import calibrated_values, compare_runs
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.values import ClassCounts, Estimate, LabelCounts
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.metrics import LabelledScores, auc
from vidsme_jax.stats.resampling import bootstrap_weights

SMALL = EvaluationSettings(bootstrap=200, permutations=199)
NAN = math.nan


@pytest.mark.parametrize(
    "wrong", [{"bootstrap": 0}, {"confidence": 1.0}, {"fprs": (1.5,)}, {"rule": "<>"}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        EvaluationSettings(**wrong)


def make_table(rng, n=24, frames=(16,), **changed):
    total = n * len(frames)
    label = [k % 2 for k in range(total)]
    columns = {
        "id": [f"clip-{k % n}" for k in range(total)],
        "frames": [f for f in frames for _ in range(n)],
        "group": [f"video-{k % n // 2 * 2 + k % 2}" for k in range(total)],
        "label": label,
        "status": ["ok"] * total,
        "motion": rng.normal(size=total),
        "illumination": rng.normal(size=total),
        "video.sme.mean": rng.normal(size=total) - 3.0 * np.array(label),
        "video.logp.mean": rng.normal(size=total) + 3.0 * np.array(label),
    }
    return pa.table(columns | changed)


def test_orientation_is_applied(rng):
    (frame,) = measured(make_table(rng), SMALL)
    assert frame.primary == catalogue.PRIMARY
    for name in ("video.sme.mean", "video.logp.mean"):
        assert frame.scores[name].auc.value > 0.9
    assert set(frame.numbers) == {"motion", "illumination"}
    assert frame.scores["video.sme.mean"].significance.p_value <= 0.05
    for metrics in frame.scores.values():
        p_values = metrics.significance
        assert p_values.p_value <= p_values.p_adjusted <= 0.05


def test_blind_numbers_are_taken_as_they_are(rng):
    table = make_table(rng, motion=[float(k % 2) for k in range(24)])
    assert measured(table, SMALL)[0].numbers["motion"].auc.value == 1
    table = make_table(rng, motion=[-float(k % 2) for k in range(24)])
    assert measured(table, SMALL)[0].numbers["motion"].auc.value == 0


def test_a_score_is_estimated_alike_whatever_stands_beside_it(rng):
    table = make_table(rng)
    alone = measured(table.drop_columns(["video.sme.mean"]), SMALL)[0].scores
    both = measured(table, SMALL)[0].scores["video.logp.mean"]
    assert both.over_primary is not None
    assert replace(both, over_primary=None) == alone["video.logp.mean"]


def test_every_score_is_compared_with_the_primary_one_on_the_same_resamples(rng):
    table = make_table(rng)
    twin = table.append_column("response.sme.mean", table["video.sme.mean"])
    scores = measured(twin, SMALL)[0].scores
    assert scores["response.sme.mean"].over_primary == Estimate(0.0, 0.0, 0.0)
    other, primary = scores["video.logp.mean"], scores["video.sme.mean"]
    over = other.over_primary
    assert over.value == pytest.approx(other.auc.value - primary.auc.value)
    assert over.low <= over.value <= over.high and over.low < over.high


def test_another_score_can_be_the_primary_one(rng):
    settings = replace(SMALL, score="video.logp.mean")
    (frame,) = measured(make_table(rng), settings)
    assert frame.primary == "video.logp.mean"
    assert frame.scores["video.logp.mean"].over_primary.value == 0
    with pytest.raises(
        InputError, match="score=video.logp is not among the scores .*2, for"
    ):
        measured(make_table(rng), replace(SMALL, score="video.logp"))


def test_the_control_calibrates_each_clip():
    target = np.array([3.0, 2.0, np.nan])
    same_sign = calibrated_values(target, np.array([2.0, 4.0, 1.0]))
    np.testing.assert_array_equal(same_sign.difference, [1, -2, np.nan])
    np.testing.assert_array_equal(same_sign.ratio, [1.5, 0.5, np.nan])
    # Log-probabilities: closer to 0 than the control's is member-like.
    ratio = calibrated_values(np.array([-1.0, -4.0]), np.array([-2.0, -2.0])).ratio
    assert ratio[0] > ratio[1]
    assert calibrated_values(target, np.array([-2.0, 4.0, 1.0])).ratio is None


def test_a_calibrated_score_drops_what_is_hard_for_every_model(rng):
    hard = 10 * rng.normal(size=24)
    label = np.arange(24) % 2
    table = make_table(rng, **{"video.sme.mean": hard - label})
    control = make_table(rng, **{"video.sme.mean": hard})
    (frame,) = measured(table, SMALL, control)
    metrics = frame.scores["video.sme.mean"]
    assert metrics.auc.value < 0.8
    assert metrics.control.calibrated.difference.auc.value == 1
    ratio = metrics.control.calibrated.ratio
    assert ratio.auc.value is None and "both signs" in ratio.reason


def test_rows_left_out_are_counted_by_label(rng):
    values = [None, NAN, np.inf, *np.linspace(0, 1, 21)]
    status = ["ok"] * 20 + ["decode_error", "timeout", "timeout", "ok"]
    label = [k % 2 for k in range(23)] + [None]
    table = make_table(rng, **{"video.sme.mean": values, "status": status, "label": label})
    (frame,) = measured(table, SMALL)
    assert frame.counts.labels == LabelCounts(11, 12, 1)
    assert frame.counts.status["timeout"] == LabelCounts(1, 1, 0)
    assert frame.counts.evaluated == ClassCounts(10, 10)
    assert frame.scores["video.sme.mean"].counts == ClassCounts(9, 9)


def test_each_frame_count_is_evaluated_apart(rng):
    table = make_table(rng, frames=(32, 8))
    both = measured(table, SMALL)
    assert [frame.frames for frame in both] == [8, 32]
    alone = measured(table.slice(24), SMALL)
    assert alone[0].frames == 8 and alone[0] == both[0]


def test_a_class_without_values_gives_a_reason(rng):
    values = [1.0 if k % 2 else NAN for k in range(24)]
    table = make_table(rng, **{"video.sme.mean": values})
    metrics = measured(table, SMALL)[0].scores["video.sme.mean"]
    assert metrics.auc == Estimate(None, None, None)
    assert metrics.significance.p_value is None
    assert metrics.reason == "no non-member has a value"
    assert metrics.counts == ClassCounts(12, 0)


@pytest.mark.parametrize("label", [[None] * 24, [1] * 24])
def test_tables_without_both_classes_do_not_crash(rng, label):
    (frame,) = measured(make_table(rng, label=label), SMALL)
    assert frame.scores["video.sme.mean"].auc.value is None
    assert "no non-member" in frame.scores["video.sme.mean"].reason


def test_group_under_both_labels_is_counted(rng):
    table = make_table(rng, group=["same"] * 4 + [f"g{k}" for k in range(20)])
    (frame,) = measured(table, SMALL)
    assert frame.counts.mixed_groups == 1
    assert frame.counts.evaluated_groups == ClassCounts(11, 11)


def test_other_labels_in_a_table_are_refused(rng):
    with pytest.raises(InputError, match="label=2"):
        measured(make_table(rng, label=[2] * 24), SMALL)


def test_own_scores_need_three_columns_only():
    table = pa.table(
        {
            "id": ["a", "b", "c", "d"],
            "label": [1, 1, 0, 0],
            "score": [4.0, 3.0, 2.0, 1.0],
        }
    )
    (frame,) = measured(table, SMALL)
    assert frame.primary == "score" and frame.scores["score"].auc.value == 1


def test_columns_outside_the_catalogue_are_not_scores(rng):
    extra = {"my.own.column": np.ones(24), "evil.sme.mean": np.ones(24)}
    (frame,) = measured(make_table(rng, **extra), SMALL)
    assert set(frame.scores) == {"video.sme.mean", "video.logp.mean"}


def test_control_is_paired_by_id_whatever_the_order(rng):
    table = make_table(rng)
    name = "video.logp.mean"
    moved = rng.permutation(24)
    control = make_table(rng, label=[None] * 24).take(moved)
    metrics = measured(table, SMALL, control)[0].scores[name]
    expected = auc(
        control.take(np.argsort(moved))[name].to_numpy(), np.array(table["label"])
    )
    assert metrics.control.auc.value == pytest.approx(expected)
    less = metrics.auc.value - expected
    assert metrics.control.difference.value == pytest.approx(less)
    same = measured(table, SMALL, table.take(moved))[0].scores[name].control
    assert (same.difference.low, same.difference.high) == (0, 0)


def test_paired_interval_is_that_of_the_same_resamples(rng):
    table = make_table(rng, **{"video.logp.mean": rng.normal(size=24)})
    control = make_table(rng, **{"video.logp.mean": rng.normal(size=24)})
    metrics = measured(table, SMALL, control)[0].scores["video.logp.mean"]
    target, other = labelled_rows(table), labelled_rows(control)
    weights = bootstrap_weights(target.member, target.cluster, 200, 0)
    differences = [
        roc_auc_score(target.member, target.scores["video.logp.mean"], sample_weight=w)
        - roc_auc_score(target.member, other.scores["video.logp.mean"], sample_weight=w)
        for w in weights.T
    ]
    # 12 clips a class: further out, by a t-distribution with 22 degrees of freedom.
    tail = stats.norm.sf(stats.t.ppf(0.975, 22) / np.sqrt(11 / 12))
    np.testing.assert_allclose(
        (metrics.control.difference.low, metrics.control.difference.high),
        np.quantile(differences, [tail, 1 - tail]),
        atol=1e-6,
    )


def test_control_compares_common_clips_only(rng):
    table, control = make_table(rng), make_table(rng).slice(4)
    (study,) = frame_studies(table, control)
    target, other = study.paired_labelled.target, study.paired_labelled.control
    assert target.ids == other.ids == [f"clip-{k}" for k in range(4, 24)]
    metrics = measured(table, SMALL, control)[0].scores[catalogue.PRIMARY].control
    assert metrics.counts == ClassCounts(10, 10)
    assert metrics.target_auc == pytest.approx(
        auc(target.scores[catalogue.PRIMARY], target.member)
    )


def test_control_of_other_frames_gives_a_reason(rng):
    control = make_table(rng, frames=(4,))
    metrics = measured(make_table(rng), SMALL, control)[0].scores[catalogue.PRIMARY]
    assert metrics.control.auc.value is None
    assert metrics.control.reason == "no member and no non-member has a value"


def test_runs_are_compared_on_their_common_clips(rng):
    table = make_table(rng)
    first = labelled_rows(table)
    weaker = labelled_rows(make_table(rng, **{"video.sme.mean": rng.normal(size=24)}))
    part = weaker.take(list(range(20)))
    comparison = compare_runs(first, part, SMALL)
    assert comparison.counts.members + comparison.counts.non_members == 20
    assert comparison.difference.value == pytest.approx(
        comparison.auc - comparison.first_auc
    )
    assert comparison.difference.high < 0
    same = compare_runs(first, first, SMALL).difference
    assert (same.low, same.high) == (0, 0)
    strangers = replace(part, ids=[f"other-{k}" for k in range(20)])
    assert compare_runs(first, strangers, SMALL) is None


def test_an_interval_is_not_narrower_for_being_a_little_worse():
    member = np.arange(128) < 64
    perfect = np.where(member, 1.0, 0) + np.arange(128) / 1000
    nearly = perfect.copy()
    nearly[100] = 1.02  # a non-member above some members
    rows = LabelledScores(np.stack([perfect, nearly]), member, np.arange(128))
    estimates = estimate_metrics(rows, SMALL)
    assert estimates.metrics.auc[1] < estimates.metrics.auc[0] == 1
    assert estimates.low.auc[1] < estimates.low.auc[0] < 0.98
