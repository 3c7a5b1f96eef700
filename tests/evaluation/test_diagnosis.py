"""The three failure signatures: each found where it is put, and not where it is not."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from reports import long_sentences
from studies import frame_studies, measured

from vidsme_jax.evaluation.diagnosis import diagnose
from vidsme_jax.evaluation.score_metrics import evaluate_scores
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.signatures import FlatDifference, NoSignature, OneFrame
from vidsme_jax.report.metrics_json import signature_json
from vidsme_jax.report.words.signatures import signature_texts, summary

SMALL = EvaluationSettings(bootstrap=200, permutations=99)
N = 40
LABEL = np.arange(N) % 2


def make_table(part="video", frames=16, seed=0, **changed):
    """A sound run: the reversal separates, and every clip moves and is not flat."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=N) * 0.1 - 0.3 * LABEL
    columns = {
        "id": [f"clip-{k}" for k in range(N)],
        "frames": [frames] * N,
        "label": LABEL.tolist(),
        "status": ["ok"] * N,
        "motion": [1.0] * N,
        f"{part}.sme.mean": mean,
        f"{part}.sme.min_0": mean - 0.5,
        f"{part}.sme.max_0": mean + 0.5,
        f"{part}.sme_nat.mean": [2.0] * N,
        f"{part}.logp.min_10": rng.normal(size=N),
        f"{part}.renyi_one.mean": rng.normal(size=N),
    }
    changed = {k.replace("__", "."): v for k, v in changed.items()}
    present = {k: v for k, v in (columns | changed).items() if v is not None}
    return pa.table(present)


def looked(table, control=None, perturbation="reverse", settings=SMALL):
    """Return the signatures of a table with one frame count, and their sentences."""
    (study,) = frame_studies(table, control)
    signatures = diagnose(study, evaluate_scores(study, settings), settings)
    texts = signature_texts(signatures, perturbation, settings)
    assert not long_sentences(*texts)
    return signatures, texts


def signature_entries(table, **others):
    """Return the entries as metrics.json holds them."""
    entries = [
        signature_json(signature) | {"text": text}
        for signature, text in zip(*looked(table, **others), strict=True)
    ]
    json.dumps(entries, allow_nan=False)
    return entries


def only(table, kind, **others):
    """Return the single entry of a kind; of the rest, none may be a sign."""
    entries = signature_entries(table, **others)
    same = [entry for entry in entries if entry["kind"] == kind]
    assert len(same) == 1, entries
    assert {entry["kind"] for entry in entries} <= {kind, "unchecked"}, entries
    return same[0]


def flat(count, size=0.02):
    """The columns in which the first `count` clips differ by no more than `size`."""
    first = np.arange(N) < count
    return {
        "video__sme__min_0": np.where(first, -size, -0.8),
        "video__sme__max_0": np.where(first, size / 2, 0.4),
    }


def test_a_sound_run_has_none():
    entry = only(make_table(), "none")
    text = (
        "None of the three failure signatures was found (slice video). They are signs of"
        " faults, not of training."
    )
    assert entry["text"] == text
    assert summary(*looked(make_table())) == (text, ())


def test_flat_clips_are_counted():
    entry = only(make_table(**flat(5)), "flat")
    expected = {"flat": 5, "clips": N, "moving": 5, "not_moving": 0, "strong": False}
    assert entry | expected == entry
    assert "in 5 of 40 clips" in entry["text"] and "at most 1 %" in entry["text"]
    assert "With motion: 5; the model ignores the order of the frames" in entry["text"]
    assert "Without motion" not in entry["text"] and "warning" not in entry["text"]


def test_flat_clips_that_do_not_move_are_told_apart():
    motion = np.array([0.0, 0.0099, 0.01, math.nan] + [1.0] * (N - 4))
    entry = only(make_table(**flat(4) | {"motion": motion}), "flat")
    counts = [entry[k] for k in ("not_moving", "moving", "motion_unknown")]
    assert counts == [2, 1, 1]
    assert "square pixels): 2;" in entry["text"]
    assert "reversal changes nothing there" in entry["text"]
    assert "Of unknown motion: 1." in entry["text"]


@pytest.mark.parametrize(("count", "strong"), [(20, False), (21, True)])
def test_more_than_half_is_a_strong_warning(count, strong):
    entry = only(make_table(**flat(count)), "flat")
    assert entry["strong"] is strong
    assert entry["text"].startswith("Strong warning, flat") == strong


@pytest.mark.parametrize(("size", "kind"), [(0.02, "flat"), (0.0201, "none")])
def test_the_threshold_is_one_percent_of_the_entropy(size, kind):
    assert only(make_table(**flat(3, size)), kind)["kind"] == kind


def test_one_position_that_differs_is_not_flat():
    """The mean may well be zero: it is the largest difference that counts."""
    columns = flat(3)
    columns["video__sme__max_0"] = np.full(N, 0.03)
    assert only(make_table(**columns), "none")["kind"] == "none"


def test_clips_without_motion_column_are_flat_all_the_same():
    entry = only(make_table(**flat(3) | {"motion": None}), "flat")
    assert entry["motion_unknown"] == 3


def test_a_model_that_is_certain_throughout_is_flat_only_without_difference():
    natural = np.array([0.0] * 3 + [2.0] * (N - 3))
    zero = make_table(**flat(2, size=0.0) | {"video__sme_nat__mean": natural})
    assert only(zero, "flat")["flat"] == 2  # the third differs, by 0.5 of nothing


def test_rows_that_are_bad_nan_or_infinite_are_not_counted():
    columns = flat(6)
    columns["video__sme__min_0"][[0, 7]] = [math.nan, math.nan]
    columns["video__sme_nat__mean"] = np.where(np.arange(N) == 1, math.inf, 2.0)
    columns["status"] = ["ok"] * 2 + ["timeout"] + ["ok"] * (N - 3)
    entry = only(make_table(**columns), "flat")
    assert (entry["flat"], entry["clips"], entry["without_value"]) == (3, N - 4, 3)
    assert "Beside them, without a value: 3." in entry["text"]


def test_clips_without_label_count_for_flatness():
    label = pa.array([None] * 6 + LABEL[6:].tolist(), pa.int64())
    assert only(make_table(**flat(4), label=label), "flat")["flat"] == 4


def members_at(value, spread=0.1, seed=1, **changed):
    """Members' mean difference around `value`; the others a little above them."""
    rng = np.random.default_rng(seed)
    values = np.where(LABEL == 1, value, value + 0.3) + spread * rng.normal(size=N)
    return make_table(video__sme__mean=values, **changed)


def test_members_with_lower_entropy_reversed_are_inverted():
    entry = only(members_at(0.2), "inverted")
    low, high = entry["mean_interval"]
    assert 0 < low < entry["mean"] < high and entry["mean"] == pytest.approx(0.2, abs=0.1)
    assert (entry["members"], entry["groups"]) == (20, 20)
    assert "for members the reversed clip has the lower entropy" in entry["text"]
    assert "wholly above 0" in entry["text"] and "wrong order" in entry["text"]
    assert "groups only" not in entry["text"]


@pytest.mark.parametrize("value", [-0.2, 0.0])
def test_members_at_or_below_zero_are_not(value):
    assert only(members_at(value), "none")["kind"] == "none"


def test_a_mean_above_zero_by_chance_is_not():
    """Its interval contains 0: members alternate between 0.5 and -0.45."""
    values = np.where(np.arange(N) // 2 % 2, 0.5, -0.45) + 1.0 * (LABEL == 0)
    assert np.mean(values[LABEL == 1]) > 0
    assert only(make_table(video__sme__mean=values), "none")["kind"] == "none"


def test_only_members_decide():
    """Non-members far above zero are how it should be."""
    values = np.where(LABEL == 1, -0.2, 5.0) + 0.1 * np.sin(np.arange(N))
    assert only(make_table(video__sme__mean=values), "none")["kind"] == "none"


def test_the_mean_and_its_interval_resample_groups():
    """Ten rows of a video are one: the interval over 2 groups is far wider."""
    values = np.where(np.arange(N) // 2 < 10, 0.05, 0.5)
    tables = [
        make_table(video__sme__mean=values, **columns)
        for columns in ({}, {"group": [f"g{k // 20}" for k in range(N)]})
    ]
    entries = [e for t in tables for e in signature_entries(t) if e["kind"] == "inverted"]
    widths = [e["mean_interval"][1] - e["mean_interval"][0] for e in entries]
    assert widths[1] > 2 * widths[0]
    assert [e["mean"] for e in entries] == [pytest.approx(0.275)] * 2
    assert "rests on 2 groups only" in entries[1]["text"]


def test_a_score_in_the_wrong_direction_is_said():
    values = -0.5 + 0.3 * LABEL + 0.1 * np.sin(np.arange(N))  # below zero, yet inverted
    entry = only(make_table(video__sme__mean=values), "inverted")
    assert entry["auc_interval"][1] < 0.5
    assert "video.sme.mean separates in the wrong direction" in entry["text"]
    assert "Check the labels" in entry["text"]


def test_both_forms_of_inversion_are_said():
    values = 0.5 + 0.3 * LABEL + 0.1 * np.sin(np.arange(N))
    table = make_table(video__sme__mean=values)
    assert [entry["kind"] for entry in signature_entries(table)] == ["inverted", "inverted"]
    lead, texts = summary(*looked(table))
    assert lead == "Failure signatures: inverted signal." and len(texts) == 2


def test_one_group_of_members_is_not_judged():
    table = make_table(group=["one" if k % 2 else f"g{k}" for k in range(N)])
    (none, entry) = signature_entries(table)
    assert entry["kind"] == "unchecked" and entry["sign"] == "inverted"
    assert "1 groups of members" in entry["text"]
    assert "1 of the three could not be looked for" in none["text"]


def still(seed=3, effect=3.0, names=("logp.min_10",), **changed):
    """The reversal score carries nothing; the named scores of one order do."""
    rng = np.random.default_rng(seed)
    columns = {"video__sme__mean": -0.3 + 0.1 * np.cos(np.arange(N) // 2)}
    for name in names:
        sign = 1 if name.startswith("logp") else -1
        key = "video__" + name.replace(".", "__")
        columns[key] = rng.normal(size=N) + sign * effect * LABEL
    return make_table(**columns | changed)


def test_still_image_scores_that_succeed_alone_are_named():
    entry = only(still(), "still")
    assert entry["above"] == ["video.logp.min_10"]
    assert set(entry["looked_at"]) == {
        "video.sme.mean", "video.logp.min_10", "video.renyi_one.mean"
    }  # fmt: skip
    low, high = entry["looked_at"]["video.sme.mean"]["auc_interval"]
    assert low <= 0.5 <= high
    for auc in ("AUC 0.5", "AUC 0.9"):
        assert auc in entry["text"]
    assert "none was given" in entry["text"]
    assert "Two such scores" in entry["text"] and "up to 5 % of runs" in entry["text"]


def test_both_scores_may_succeed():
    entry = only(still(names=("logp.min_10", "renyi_one.mean")), "still")
    assert entry["above"] == ["video.logp.min_10", "video.renyi_one.mean"]
    assert "which need no order" in entry["text"]


@pytest.mark.parametrize("effect", [0.0, -3.0])
def test_where_no_other_score_succeeds_it_is_not_said(effect):
    assert only(still(effect=effect), "none")["kind"] == "none"


def test_where_the_reversal_succeeds_too_it_is_not_said():
    separating = make_table()["video.sme.mean"]
    assert only(still(video__sme__mean=separating), "none")["kind"] == "none"


def by_chance(sign, every=9):
    """A score whose AUC is a little above one half, its interval containing it.

    Equal for both classes, but for the members among every ninth pair.
    """
    pair = np.arange(N) // 2
    return sign * (np.sin(pair) + 9.0 * ((LABEL == 1) & (pair % every == 0)))


def test_an_auc_above_one_half_by_chance_is_no_success():
    columns = {"video__sme__mean": by_chance(-1) - 9}
    entry = only(still(**columns), "still")
    assert entry["looked_at"]["video.sme.mean"]["auc"] > 0.5
    chance = still(video__logp__min_10=by_chance(1))
    auc = measured(chance, SMALL)[0].scores["video.logp.min_10"].auc
    assert auc.value > 0.5 > auc.low
    assert only(chance, "none")["kind"] == "none"


def test_an_auc_below_one_half_by_chance_is_not_the_wrong_direction():
    table = make_table(video__sme__mean=by_chance(1) - 9)
    assert measured(table, SMALL)[0].scores["video.sme.mean"].auc.value < 0.5
    assert only(table, "none")["kind"] == "none"


def test_a_control_above_one_half_by_chance_is_no_shift():
    control = still(video__logp__min_10=by_chance(1))
    assert "no such difference" in only(still(), "still", control=control)["text"]


def test_a_reversal_below_one_half_is_a_failure_too():
    values = -0.5 + 0.3 * LABEL + 0.1 * np.sin(np.arange(N))
    kinds = {entry["kind"] for entry in signature_entries(still(video__sme__mean=values))}
    assert kinds == {"inverted", "still"}


def test_other_confidence_is_said():
    settings = EvaluationSettings(bootstrap=200, permutations=99, confidence=0.9)
    assert "up to 10 % of runs" in only(still(), "still", settings=settings)["text"]


@pytest.mark.parametrize(
    ("effect", "expected"),
    [(3.0, "rather a shift between the sets"), (0.0, "no such difference between the")],
)
def test_the_control_tells_shift_from_memory(effect, expected):
    entry = only(still(), "still", control=still(4, effect))
    assert expected in entry["text"] and "none was given" not in entry["text"]
    assert "control_auc" in entry["looked_at"]["video.logp.min_10"]


def test_a_control_without_the_score_is_said():
    control = still(4).drop_columns(["video.logp.min_10"])
    assert "no AUC to compare" in only(still(), "still", control=control)["text"]


def test_one_of_the_two_scores_is_one_look():
    table = still().drop_columns(["video.renyi_one.mean"])
    assert "Two such scores" not in only(table, "still")["text"]


@pytest.mark.parametrize("part", ["instruction", "response"])
def test_without_the_video_slice_another_is_looked_at_and_named(part):
    assert f"(slice {part})" in only(make_table(part), "none")["text"]
    columns = {f"{part}__sme__{n}": [0.001] * N for n in ("min_0", "max_0")}
    entry = only(make_table(part, **columns), "flat")
    assert entry["slice"] == part and f"the {part} slice" in entry["text"]


def test_the_video_slice_comes_first():
    both = make_table()
    for name in ("sme.mean", "sme.min_0", "sme.max_0"):
        both = both.append_column(f"response.{name}", pa.array([0.0] * N))
    assert "(slice video)" in only(both, "none")["text"]


def test_one_frame_has_no_order():
    table = still(frames=1)
    (entry,) = signature_entries(table)
    assert entry["kind"] == "one_frame" and "One frame has no order" in entry["text"]
    lead, _ = summary(*looked(table))
    assert lead == "Failure signatures: one frame has no order."


def test_each_frame_count_has_its_own():
    table = pa.concat_tables([make_table(frames=1), make_table(frames=8)])
    table = pa.concat_tables([table, make_table(frames=16, **flat(3))])
    kinds = [
        [type(s) for s in diagnose(study, evaluate_scores(study, SMALL), SMALL)]
        for study in frame_studies(table)
    ]
    assert kinds == [[OneFrame], [NoSignature], [FlatDifference]]


@pytest.mark.parametrize(
    ("perturbation", "expected"),
    [
        ("reverse", "the reversed order"),
        ("shuffle", "or the shuffle kept it"),
        ("repeat", "ignores what the other frames show"),
        ("[1]", "the reversed order"),
    ],
)
def test_the_other_order_is_called_what_it_is(perturbation, expected):
    entry = only(make_table(**flat(3)), "flat", perturbation=perturbation)
    assert expected in entry["text"]


@pytest.mark.parametrize("label", [[None] * N, [0] * N])
def test_without_members_only_flatness_is_judged(label):
    table = make_table(label=pa.array(label, pa.int64()), **flat(3))
    entries = signature_entries(table)
    assert [e["kind"] for e in entries] == ["flat", "unchecked", "unchecked"]
    assert [e["sign"] for e in entries[1:]] == ["inverted", "still"]
    lead, texts = summary(*looked(table))
    assert lead == "Failure signatures: flat difference." and len(texts) == 3


def test_members_alone_can_be_inverted():
    entries = signature_entries(members_at(0.2, label=[1] * N))
    assert [e["kind"] for e in entries] == ["inverted", "unchecked"]


@pytest.mark.parametrize("bad", [{"status": ["timeout"] * N}, {}])
def test_where_no_row_has_a_value_nothing_is_claimed(bad):
    columns = {} if bad else {n: [math.nan] * N for n in make_table().column_names[5:]}
    table = make_table(**bad | columns)
    assert [e["kind"] for e in signature_entries(table)] == ["unchecked"] * 3
    lead, texts = summary(*looked(table))
    assert lead == "The failure signatures could not be looked for." and len(texts) == 3


def test_missing_columns_are_named():
    table = make_table().drop_columns(["video.sme.max_0"])
    none, entry = signature_entries(table)
    assert "no column video.sme.max_0" in entry["text"] and none["kind"] == "none"
    external = pa.table({"id": ["a", "b"], "label": [1, 0], "score": [1.0, 0.0]})
    (entry,) = signature_entries(external)
    assert entry["kind"] == "unchecked" and "this table lacks" in entry["text"]


def test_a_clip_or_two_that_do_not_move_are_no_failure():
    assert only(make_table(**flat(1)), "none")["kind"] == "none"
    assert only(make_table(**flat(2)), "flat")["flat"] == 2  # 5 %
