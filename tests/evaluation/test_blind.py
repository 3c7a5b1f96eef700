"""Blind baselines: what they find, what they must not find, what they look at."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import roc_auc_score
from studies import frame_studies, labelled_rows

from vidsme_jax.evaluation.blind import evaluate_blind
from vidsme_jax.evaluation.facts import join_facts, read_facts
from vidsme_jax.evaluation.features import COLUMNS, baselines
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import study_table
from vidsme_jax.stats import cross_validation
from vidsme_jax.stats.cross_validation import (
    FeatureBlock,
    GroupedLabels,
    cross_validate,
    of_numbers,
    of_words,
)

pytestmark = pytest.mark.slow(10)

SMALL = EvaluationSettings(bootstrap=100, permutations=199)


def run(blocks, member, group, permutations=199, seed=0):
    alone, labels = [(block,) for block in blocks], GroupedLabels(member, group, group)
    return cross_validate(alone, labels, permutations, 100, seed)


def numbers(rng, member, shift):
    values = rng.normal(size=(len(member), 3))
    values[member, 0] += shift
    return FeatureBlock(values, of_numbers)


def test_a_difference_is_found_and_none_is_not(rng):
    member = rng.permutation(np.arange(80) % 2 == 0)
    scores = run(
        [numbers(rng, member, 2.0), numbers(rng, member, 0)], member, np.arange(80)
    )
    assert scores.auc[0] > 0.8 and scores.p_values.adjusted[0] == 1 / 200
    assert scores.p_values.p[1] > 0.02
    assert np.all(scores.p_values.adjusted >= scores.p_values.p)
    low, high = np.quantile(scores.draws, (0.025, 0.975), axis=1)
    assert np.all((low < scores.auc) & (scores.auc < high))
    assert high[0] - low[0] < 0.4


def test_the_area_is_that_of_pairs_within_a_fold(rng, monkeypatch):
    """A transcription with scikit-learn's kernel ridge, one repeat of the same folds."""
    monkeypatch.setattr(cross_validation, "_REPEATS", 1)
    member = rng.permutation(np.arange(60) % 2 == 0)
    block, group = numbers(rng, member, 1.0), np.arange(60) // 2
    member = member[group]
    scores = run([block], member, group, seed=3)
    wins = pairs = 0.0
    for fold in cross_validation._folds(group, np.random.default_rng(3)):
        train = ~fold
        x = (block.values - block.values[train].mean(0)) / block.values[train].std(0)
        apart = [
            np.sum((a - b) ** 2)
            for i, a in enumerate(x[train])
            for j, b in enumerate(x[train])
            if i != j
        ]
        kernel = RBF(np.sqrt(np.median(apart) / 2))
        model = KernelRidge(alpha=1, kernel="precomputed")
        y = member[train] - member[train].mean()
        model.fit(kernel(x[train]), y)
        here = member[fold].sum() * (~member[fold]).sum()
        if here:
            predicted = model.predict(kernel(x[fold], x[train]))
            wins += here * roc_auc_score(member[fold], predicted)
            pairs += here
    assert scores.auc[0] == pytest.approx(wins / pairs, abs=1e-6)


def test_permuted_labels_reject_at_the_nominal_rate():
    """No signal: rows of a group alike, half of the groups members, three baselines."""
    least = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        group = np.arange(40) // 2
        member = rng.permutation(np.arange(20) % 2 == 0)[group]
        near = rng.normal(size=(20, 4))[group] + 0.3 * rng.normal(size=(40, 4))
        words = (rng.random((20, 30)) < 0.1)[group].astype(float)
        blocks = [FeatureBlock(near, of_numbers), FeatureBlock(words, of_words)]
        least.append(run(blocks, member, group, 99, seed).p_values.adjusted.min())
    # Of 40 at 10 %: 4 expected, 10 or more have a chance of 0.5 %.
    assert np.sum(np.array(least) <= 0.1) < 10
    assert np.sum(np.array(least) <= 0.5) > 9


def test_folds_keep_groups_whole_and_see_no_label(rng):
    group = rng.integers(0, 12, size=50)
    folds = list(cross_validation._folds(group, np.random.default_rng(0)))
    assert len(folds) == cross_validation.FOLDS
    assert np.all(np.sum(folds, axis=0) == 1)
    for group_id in np.unique(group):
        assert sum(fold[group == group_id].any() for fold in folds) == 1
    few = list(cross_validation._folds(np.array([0, 0, 1]), np.random.default_rng(0)))
    assert len(few) == 2


def test_nothing_of_the_tested_rows_enters_the_fit(rng):
    values, words = rng.normal(size=(12, 3)), (rng.random((12, 9)) < 0.4).astype(float)
    words[:, 0] = 1  # a row without a word is like no other, nor like itself
    train, test = np.arange(8), np.arange(8, 12)
    for kernel, features in ((of_numbers, values), (of_words, words)):
        inner, outer = kernel(features, train, test)
        moved = features.copy()
        moved[9:] = rng.normal(size=moved[9:].shape) ** 2
        again = kernel(moved, train, test)
        np.testing.assert_array_equal(again[0], inner)
        np.testing.assert_allclose(again[1][0], outer[0], rtol=1e-6)
        assert inner.shape == (8, 8) and np.allclose(np.diag(inner), 1)


def test_unknown_and_constant_numbers_do_no_harm(rng):
    values = rng.normal(size=(20, 3))
    values[:, 1], values[3, 0], values[:, 2] = 7.0, np.nan, np.nan
    inner, outer = of_numbers(values, np.arange(15), np.arange(15, 20))
    assert np.isfinite(inner).all() and np.isfinite(outer).all()


TABLE = {
    "id": ["a", "b", "c"],
    "frames": [4, 4, 4],
    "label": [1, 0, 1],
    "group": ["a", "b", "c"],
    "status": ["ok"] * 3,
    "duration": [1.0, 2.0, None],
    "fps": [25.0, 25.0, 25.0],
    "codec": ["h264", "vp9", None],
    "motion": [0.1, 0.2, 0.3],
    "illumination": [1.0, 1.0, 1.0],
}
FEATURES = {
    "id": ["c", "b", "a"],
    "frames": [4, 4, 4],
    "question": ["What?", "Who is it?", "What?"],
    "candidates": [["x", "yy"], [], ["x", "y", "z"]],
    "answer": ["yy", "", "z"],
    "file_bytes": [100, None, 300],
    "appearance": [[1.0, 2.0], None, [3.0, 4.0]],
    "embedding": [[1.0], None, [1.0]],
}


def facts_of(table, features, ids):
    (study,) = study_table(table, features)
    return read_facts(study, ids, COLUMNS)


def test_what_is_known_of_two_runs_stands_one_after_the_other():
    first = facts_of(pa.table(TABLE), pa.table(FEATURES), ["c", "a"])
    second = facts_of(pa.table(TABLE), None, ["b"])
    both = join_facts(first, second)
    assert both.rows == 3 and both.of("answer") == ["yy", "z", None]
    assert both.of("codec") == [None, "h264", "vp9"] and both.of("container") == [None] * 3


def test_a_column_of_both_tables_is_known_from_either():
    twice = FEATURES | {"duration": [7.0, None, 9.0]}  # of c, b and a
    facts = facts_of(pa.table(TABLE), pa.table(twice), ["a", "b", "c"])
    assert facts.of("duration") == [9.0, 2.0, 7.0]


def test_what_the_baselines_look_at():
    facts = facts_of(pa.table(TABLE), pa.table(FEATURES), ["a", "b", "c"])
    assert facts.of("question") == ["What?", "Who is it?", "What?"]
    blocks = baselines(facts)
    assert list(blocks) == [
        "words of the question",
        "words of options and answer",
        "number and length of texts",
        "file: duration, size, codec, rates",
        "motion and illumination",
        "frames: colour, texture, change",
        "vision tower",
        "all of these together",
    ]
    (lengths,) = blocks["number and length of texts"]
    np.testing.assert_array_equal(lengths.values[0], [3, 1, 1, 1, 5, 1, 2])
    np.testing.assert_array_equal(lengths.values[1], [0, 0, 0, 0, 10, 0, -1])
    (file,) = blocks["file: duration, size, codec, rates"]
    assert file.values[0, 6] == pytest.approx(np.log1p(300.0))  # bytes a second
    np.testing.assert_array_equal(file.values[:, 7:], [[1, 0], [0, 1], [0, 0]])
    (look,) = blocks["frames: colour, texture, change"]
    np.testing.assert_array_equal(look.values[0], [3, 4])
    assert np.isnan(look.values[1]).all()
    assert len(blocks["all of these together"]) == 7


def test_what_is_alike_in_all_clips_is_no_baseline():
    alike = {**FEATURES, "question": ["What?"] * 3, "embedding": [[1.0]] * 3}
    blocks = baselines(facts_of(pa.table(TABLE), pa.table(alike), ["a", "c"]))
    assert "words of the question" not in blocks and "vision tower" not in blocks
    assert list(baselines(facts_of(pa.table(TABLE), None, ["a", "c"]))) == [
        "file: duration, size, codec, rates",
        "motion and illumination",
        "all of these together",
    ]
    bare = pa.table({"id": ["a", "b"], "frames": [4, 4], "label": [0, 1]})
    assert baselines(facts_of(bare, None, ["a", "b"])) == {}


def labelled(rng, n, shift=0.0):
    label = rng.permutation(np.arange(n) % 2)
    ids = [f"clip-{k}" for k in range(n)]
    return pa.table(
        {
            "id": ids,
            "frames": [4] * n,
            "label": label,
            "group": ids,
            "status": ["ok"] * n,
            "motion": rng.normal(size=n) + shift * label,
            "video.sme.mean": rng.normal(size=n),
        }
    )


def blind_of(table, score=True):
    (study,) = frame_studies(table)
    values = study.labelled.scores["video.sme.mean"] if score else None

    def read(part):
        return read_facts(study, part.ids, COLUMNS)

    return evaluate_blind(study.labelled, read, values, SMALL)


def test_the_score_is_compared_on_the_same_resamples(rng):
    (metrics,) = blind_of(labelled(rng, 60, 3.0)).baselines.values()
    assert metrics.auc.value > 0.9 and metrics.significance.p_adjusted == 1 / 200
    assert metrics.difference.value < 0 and metrics.difference.high < 0
    (alone,) = blind_of(labelled(rng, 60), False).baselines.values()
    assert alone.difference is None


def test_reasons_why_there_is_no_baseline(rng):
    assert "fewer than 5 groups" in blind_of(labelled(rng, 8)).reason
    alike = labelled(rng, 20).drop_columns(["motion"])
    assert "nothing is known in which" in blind_of(alike).reason


def test_very_many_rows_are_a_random_choice_of_whole_groups(monkeypatch, rng):
    monkeypatch.setattr("vidsme_jax.evaluation.blind._ROWS", 30)
    table = labelled(rng, 60)
    pairs = pa.array([f"video-{k // 2}" for k in range(60)])
    table = table.set_column(3, "group", pairs)
    table = table.set_column(2, "label", pa.array(np.arange(60) // 2 % 2))
    sample = labelled_rows(table)
    from vidsme_jax.evaluation.blind import _choose_rows

    kept = _choose_rows(sample.group, 0)
    assert len(kept) == 30
    assert np.all(np.bincount(sample.group[kept], minlength=30) % 2 == 0)
    assert blind_of(table).rows == 30
