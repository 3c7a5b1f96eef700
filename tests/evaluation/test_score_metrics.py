import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.estimates import estimate, tpr_band
from vidsme_jax.evaluation.samples import pair, samples
from vidsme_jax.evaluation.score_metrics import calibrated, compare_runs, evaluate_table
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.metrics import auc, tpr_at_fpr
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
    (found,) = evaluate_table(make_table(rng), SMALL)
    assert found["primary"] == catalogue.PRIMARY
    for name in ("video.sme.mean", "video.logp.mean"):
        assert found["scores"][name]["auc"] > 0.9
    assert set(found["numbers"]) == {"motion", "illumination"}
    assert found["scores"]["video.sme.mean"]["p_value"] <= 0.05
    for one in found["scores"].values():
        assert one["p_value"] <= one["p_adjusted"] <= 0.05


def test_blind_numbers_are_taken_as_they_are(rng):
    table = make_table(rng, motion=[float(k % 2) for k in range(24)])
    assert evaluate_table(table, SMALL)[0]["numbers"]["motion"]["auc"] == 1
    table = make_table(rng, motion=[-float(k % 2) for k in range(24)])
    assert evaluate_table(table, SMALL)[0]["numbers"]["motion"]["auc"] == 0


def test_a_score_is_estimated_alike_whatever_stands_beside_it(rng):
    table = make_table(rng)
    alone = evaluate_table(table.drop_columns(["video.sme.mean"]), SMALL)[0]["scores"]
    both = evaluate_table(table, SMALL)[0]["scores"]
    assert both["video.logp.mean"].items() >= alone["video.logp.mean"].items()


def test_every_score_is_compared_with_the_primary_one_on_the_same_resamples(rng):
    table = make_table(rng)
    twin = table.append_column("response.sme.mean", table["video.sme.mean"])
    found = evaluate_table(twin, SMALL)[0]["scores"]
    assert found["response.sme.mean"]["over_primary"] == 0
    assert found["response.sme.mean"]["over_primary_interval"] == [0, 0]
    other, primary = found["video.logp.mean"], found["video.sme.mean"]
    assert other["over_primary"] == pytest.approx(other["auc"] - primary["auc"])
    low, high = other["over_primary_interval"]
    assert low <= other["over_primary"] <= high and low < high


def test_another_score_can_be_the_primary_one(rng):
    settings = replace(SMALL, score="video.logp.mean")
    (found,) = evaluate_table(make_table(rng), settings)
    assert found["primary"] == "video.logp.mean"
    assert found["scores"]["video.logp.mean"]["over_primary"] == 0
    with pytest.raises(
        InputError, match="score=video.logp is not among the scores .*2, for"
    ):
        evaluate_table(make_table(rng), replace(SMALL, score="video.logp"))


def test_the_control_calibrates_each_clip():
    target = np.array([3.0, 2.0, np.nan])
    same_sign = calibrated(target, np.array([2.0, 4.0, 1.0]))
    np.testing.assert_array_equal(same_sign["difference"], [1, -2, np.nan])
    np.testing.assert_array_equal(same_sign["ratio"], [1.5, 0.5, np.nan])
    # Log-probabilities: closer to 0 than the control's is member-like.
    ratio = calibrated(np.array([-1.0, -4.0]), np.array([-2.0, -2.0]))["ratio"]
    assert ratio[0] > ratio[1]
    assert calibrated(target, np.array([-2.0, 4.0, 1.0]))["ratio"] is None


def test_a_calibrated_score_drops_what_is_hard_for_every_model(rng):
    hard = 10 * rng.normal(size=24)
    label = np.arange(24) % 2
    table = make_table(rng, **{"video.sme.mean": hard - label})
    control = make_table(rng, **{"video.sme.mean": hard})
    (found,) = evaluate_table(table, SMALL, control)
    held = found["scores"]["video.sme.mean"]
    assert held["auc"] < 0.8
    assert held["control"]["calibrated"]["difference"]["auc"] == 1
    ratio = held["control"]["calibrated"]["ratio"]
    assert ratio["auc"] is None and "both signs" in ratio["reason"]


def test_rows_left_out_are_counted_by_label(rng):
    values = [None, NAN, np.inf, *np.linspace(0, 1, 21)]
    status = ["ok"] * 20 + ["decode_error", "timeout", "timeout", "ok"]
    label = [k % 2 for k in range(23)] + [None]
    table = make_table(rng, **{"video.sme.mean": values, "status": status, "label": label})
    (found,) = evaluate_table(table, SMALL)
    counts = found["counts"]
    assert (counts["member"], counts["non_member"], counts["unlabelled"]) == (11, 12, 1)
    assert counts["status"]["timeout"] == {
        "member": 1,
        "non_member": 1,
        "unlabelled": 0,
    }
    assert counts["evaluated"] == {"member": 10, "non_member": 10}
    primary = found["scores"]["video.sme.mean"]
    assert (primary["members"], primary["non_members"]) == (9, 9)


def test_each_frame_count_is_evaluated_apart(rng):
    table = make_table(rng, frames=(32, 8))
    both = evaluate_table(table, SMALL)
    assert [one["frames"] for one in both] == [8, 32]
    alone = evaluate_table(table.slice(24), SMALL)
    assert alone[0]["frames"] == 8 and alone[0] == both[0]


def test_a_class_without_values_gives_a_reason(rng):
    values = [1.0 if k % 2 else NAN for k in range(24)]
    table = make_table(rng, **{"video.sme.mean": values})
    found = evaluate_table(table, SMALL)[0]["scores"]["video.sme.mean"]
    assert found["auc"] is None and found["auc_interval"] == [None, None]
    assert found["p_value"] is None
    assert found["reason"] == "no non-member has a value"
    assert (found["members"], found["non_members"]) == (12, 0)


@pytest.mark.parametrize("label", [[None] * 24, [1] * 24])
def test_tables_without_both_classes_do_not_crash(rng, label):
    (found,) = evaluate_table(make_table(rng, label=label), SMALL)
    assert found["scores"]["video.sme.mean"]["auc"] is None
    assert "no non-member" in found["scores"]["video.sme.mean"]["reason"]


def test_group_under_both_labels_is_counted(rng):
    table = make_table(rng, group=["same"] * 4 + [f"g{k}" for k in range(20)])
    (found,) = evaluate_table(table, SMALL)
    assert found["counts"]["groups_with_both_labels"] == 1
    assert found["counts"]["evaluated_groups"] == {"member": 11, "non_member": 11}


def test_other_labels_in_a_table_are_refused(rng):
    with pytest.raises(InputError, match="label=2"):
        evaluate_table(make_table(rng, label=[2] * 24), SMALL)


def test_own_scores_need_three_columns_only():
    table = pa.table(
        {
            "id": ["a", "b", "c", "d"],
            "label": [1, 1, 0, 0],
            "score": [4.0, 3.0, 2.0, 1.0],
        }
    )
    (found,) = evaluate_table(table, SMALL)
    assert found["primary"] == "score" and found["scores"]["score"]["auc"] == 1


def test_columns_outside_the_catalogue_are_not_scores(rng):
    extra = {"my.own.column": np.ones(24), "evil.sme.mean": np.ones(24)}
    (found,) = evaluate_table(make_table(rng, **extra), SMALL)
    assert set(found["scores"]) == {"video.sme.mean", "video.logp.mean"}


def test_control_is_paired_by_id_whatever_the_order(rng):
    table = make_table(rng)
    name = "video.logp.mean"
    moved = rng.permutation(24)
    control = make_table(rng, label=[None] * 24).take(moved)
    found = evaluate_table(table, SMALL, control)[0]["scores"][name]
    expected = auc(
        control.take(np.argsort(moved))[name].to_numpy(), np.array(table["label"])
    )
    assert found["control"]["auc"] == pytest.approx(expected)
    assert found["control"]["difference"] == pytest.approx(found["auc"] - expected)
    same = evaluate_table(table, SMALL, table.take(moved))[0]["scores"][name]["control"]
    assert same["difference_interval"] == [0, 0]


def test_paired_interval_is_that_of_the_same_resamples(rng):
    table = make_table(rng, **{"video.logp.mean": rng.normal(size=24)})
    control = make_table(rng, **{"video.logp.mean": rng.normal(size=24)})
    found = evaluate_table(table, SMALL, control)[0]["scores"]["video.logp.mean"]
    (target,), (other,) = samples(table), samples(control)
    weights = bootstrap_weights(target.member, target.unit, 200, 0)
    differences = [
        roc_auc_score(target.member, target.scores["video.logp.mean"], sample_weight=w)
        - roc_auc_score(target.member, other.scores["video.logp.mean"], sample_weight=w)
        for w in weights.T
    ]
    np.testing.assert_allclose(
        found["control"]["difference_interval"],
        np.quantile(differences, [0.025, 0.975]),
        atol=1e-6,
    )


def test_control_compares_common_clips_only(rng):
    table, control = make_table(rng), make_table(rng).slice(4)
    (sample,) = samples(table)
    target, other = pair(sample, control)
    assert target.ids == other.ids == [f"clip-{k}" for k in range(4, 24)]
    found = evaluate_table(table, SMALL, control)[0]["scores"][catalogue.PRIMARY]["control"]
    assert (found["members"], found["non_members"]) == (10, 10)
    assert found["target_auc"] == pytest.approx(
        auc(target.scores[catalogue.PRIMARY], target.member)
    )


def test_control_of_other_frames_gives_a_reason(rng):
    control = make_table(rng, frames=(4,))
    found = evaluate_table(make_table(rng), SMALL, control)[0]["scores"][catalogue.PRIMARY]
    assert found["control"]["auc"] is None
    assert found["control"]["reason"] == "no member and no non-member has a value"


def test_tpr_band_holds_the_curve(rng):
    (sample,) = samples(make_table(rng, n=80))
    values, grid = rng.normal(size=80), (0.05, 0.2, 0.5, 1.0)
    low, high = tpr_band(values, sample.member, sample.unit, grid, SMALL)
    middle = [tpr_at_fpr(values, sample.member, fpr) for fpr in grid]
    assert np.all(low <= np.add(middle, 1e-6)) and np.all(middle <= high + 1e-6)
    assert low[-1] == high[-1] == 1 and np.all(np.diff(low) >= 0)


def test_runs_are_compared_on_their_common_clips(rng):
    table = make_table(rng)
    (first,) = samples(table)
    (weaker,) = samples(make_table(rng, **{"video.sme.mean": rng.normal(size=24)}))
    part = weaker.take(list(range(20)))
    found = compare_runs(first, part, SMALL)
    assert found["members"] + found["non_members"] == 20
    assert found["difference"] == pytest.approx(found["auc"][1] - found["auc"][0])
    assert found["difference_interval"][1] < 0
    assert compare_runs(first, first, SMALL)["difference_interval"] == [0, 0]
    strangers = replace(part, ids=[f"other-{k}" for k in range(20)])
    assert compare_runs(first, strangers, SMALL) is None


def test_an_interval_is_not_narrower_for_being_a_little_worse():
    member = np.arange(128) < 64
    perfect = np.where(member, 1.0, 0) + np.arange(128) / 1000
    nearly = perfect.copy()
    nearly[100] = 1.02  # a non-member above some members
    found = estimate(np.stack([perfect, nearly]), member, np.arange(128), SMALL)
    assert found.metrics.auc[1] < found.metrics.auc[0] == 1
    assert found.low.auc[1] < found.low.auc[0] < 0.98
