"""The published code's metrics and scores, beside ours: rule, table, report, command."""

import csv
import json
import math
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import auc as area
from sklearn.metrics import roc_curve
from studies import frame_studies

from vidsme_jax.cli.main import main
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.evaluate import evaluate
from vidsme_jax.evaluation.samples import with_published
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.records import runs
from vidsme_jax.report.terminal import terminal_table
from vidsme_jax.report.words import answers
from vidsme_jax.report.write import write_report
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.metrics import auc, measure, published_metrics

SMALL = EvaluationSettings(bootstrap=50, permutations=99)
BOTH = EvaluationSettings(bootstrap=50, permutations=99, published=True)
KEYS = {"auc", "accuracy", "tpr_below_5"}
NAMES = ("ppl", "Min_10.0% Prob", "Max_5.0% renyi_0.5", "Mean_vetp")


def oracle(values, labels):
    """The same three numbers with scikit-learn; low = member goes in, as published."""
    low = np.array(values, float)
    finite = low[np.isfinite(low)]
    low[np.isposinf(low)], low[np.isneginf(low)] = finite.max(), finite.min()
    fpr, tpr, _ = roc_curve(labels, -low)
    accuracy = max(1 - (f + 1 - t) / 2 for f, t in zip(fpr, tpr, strict=True))
    below = [t for f, t in zip(fpr, tpr, strict=True) if f < 0.05]
    return {"auc": area(fpr, tpr), "accuracy": accuracy, "tpr_below_5": below[-1]}


@pytest.mark.parametrize("levels", [2, 6, 40, 10**9])
@pytest.mark.parametrize("shift", [0, 0.3, -0.3])
def test_against_sklearn_on_random_scores(rng, levels, shift):
    for n in (2, 3, 9, 60, 400):
        labels = np.append(rng.integers(0, 2, n), [0, 1])
        values = rng.integers(0, levels, n + 2) - shift * levels * labels
        spoilt = rng.random(n + 2)
        values = np.where(spoilt < 0.1, np.inf, np.where(spoilt > 0.9, -np.inf, values))
        values[0] = 0
        metrics = published_metrics(-values, labels)
        assert metrics == pytest.approx(oracle(values, labels), abs=1e-12)
        assert set(metrics) == KEYS


@pytest.mark.parametrize("better", [1, -1, 0])
def test_perfect_inverted_and_constant_scores(better):
    labels = np.array([0] * 30 + [1] * 30)
    values = -better * labels.astype(float)
    metrics = published_metrics(-values, labels)
    assert metrics == pytest.approx(oracle(values, labels))
    # Never flipped: an inverted score has AUC 0, and accuracy one half.
    assert metrics["auc"] == (1 + better) / 2
    assert metrics["accuracy"] == (1 if better == 1 else 0.5)
    assert metrics["tpr_below_5"] == (1 if better == 1 else 0)


@pytest.mark.parametrize(("count", "expected"), [(3, 0.3), (4, 0.4), (6, 0.1)])
def test_vertices_between_equal_steps_are_dropped(count, expected):
    """Blocks of one member and one non-member, tied, lead; then the others, tied.

    Of the equal steps only the first and the last vertex stay. Six of them end at an FPR
    of 0.06: all that is left below 0.05 is the first, at 0.01.
    """
    labels = np.array([1, 0] * count + [1] * (10 - count) + [0] * (100 - count))
    place = [*np.repeat(np.arange(count), 2), *[count] * (110 - 2 * count)]
    values = -np.array(place, float)
    metrics = published_metrics(values, labels)
    assert metrics == pytest.approx(oracle(-values, labels))
    assert metrics["tpr_below_5"] == expected
    assert measure(values, labels, (0.049,)).tpr[0] == min(count, 4) / 10


def test_strictly_below_five_percent():
    labels = np.array([0] + [1, 1] + [0] * 19)
    values = np.array([5.0] + [4.0, 4.0] + [1.0] * 19)
    assert measure(values, labels, (0.05,)).tpr[0] == 1
    assert published_metrics(values, labels)["tpr_below_5"] == 0


def test_infinities_tie_with_the_largest_finite_score():
    values, labels = np.array([np.inf, 3.0, 1.0, -np.inf]), np.array([1, 0, 1, 0])
    assert published_metrics(values, labels)["auc"] == 0.5  # as 3, 3, 1, 1
    assert auc(values, labels) == 0.75


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1.0, 2.0], [1, 1]),
        ([1.0, 2.0], [0, 0]),
        ([], []),
        ([math.nan, 1.0], [1, 0]),
        ([math.inf, -math.inf], [1, 0]),
    ],
)
def test_without_two_classes_or_finite_scores_it_is_nan(values, labels):
    metrics = published_metrics(np.array(values), np.array(labels, int))
    assert set(metrics) == KEYS and all(map(math.isnan, metrics.values()))


def test_nan_rows_are_left_out_and_other_labels_refused(rng):
    values, labels = rng.normal(size=50), np.arange(50) % 2
    holed, sides = np.append(values, [math.nan] * 2), np.append(labels, [0, 1])
    assert published_metrics(holed, sides) == published_metrics(values, labels)
    with pytest.raises(ValueError, match="expected 0 and 1"):
        published_metrics(np.array([1.0, 2.0]), np.array([1, 2]))


def write_run(path, seed=0, effect=2.0, frames=(16,), published=True, n=30, changed=()):
    """Write a run of n clips a frame count; `changed` replaces published columns."""
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    total = n * len(frames)
    label = np.arange(total) % 2
    keys = {
        "id": [f"clip-{k % n}" for k in range(total)],
        "frames": [f for f in frames for _ in range(n)],
    }
    table = keys | {
        "label": label.tolist(),
        "status": ["ok"] * (total - 2) + ["decode_error"] * 2,
        "motion": rng.normal(size=total),
        "published: ppl": ["of the manifest"] * total,
        "video.sme.mean": rng.normal(size=total) - effect * label,
    }
    pq.write_table(pa.table(table), path / "scores.parquet")
    for name in ("curves", "thumbnails"):
        pq.write_table(pa.table(keys), path / f"{name}.parquet")
    thumbnails = pa.table(keys | {"thumbnail": pa.nulls(total, pa.binary())})
    pq.write_table(thumbnails, path / "thumbnails.parquet")
    (path / "run.json").write_text(json.dumps({"settings": {"model": path.name}}))
    if published:
        columns = {name: rng.normal(size=total) - effect * label for name in NAMES}
        for column in columns.values():
            column[-2:] = np.nan
        moved = pa.table(keys | columns | dict(changed)).take(rng.permutation(total))
        pq.write_table(moved, path / "published.parquet")
    return path


def test_published_scores_are_joined_by_id_and_frames(tmp_path):
    run = runs.read_run(write_run(tmp_path / "run", frames=(8, 16)), needed=runs.KEYS)
    joined = with_published(run)
    assert joined.table["id"].to_pylist() == run.table["id"].to_pylist()
    published = {tuple(row[:2]): row[2] for row in zip(
        *(run.extra_tables["published"][c].to_pylist() for c in ("id", "frames", "ppl")),
        strict=True,
    )}  # fmt: skip
    rows = zip(
        *(joined.table[c].to_pylist() for c in ("id", "frames", "published: ppl")),
        strict=True,
    )
    for name, frames, value in rows:
        np.testing.assert_equal(value, published[name, frames])
    for sample in (study.labelled for study in frame_studies(joined.table)):
        for name in NAMES:  # turned: members are low there, and high here
            values = sample.scores[catalogue.PUBLISHED + name]
            assert values[sample.member].mean() > values[~sample.member].mean() + 1


def test_a_manifest_column_is_not_taken_for_a_published_score(tmp_path):
    run = runs.read_run(write_run(tmp_path / "run", published=False), needed=runs.KEYS)
    assert run.extra_tables == {} and "published: ppl" in run.table.column_names
    assert "published: ppl" not in with_published(run).table.column_names


def test_names_of_published_scores_are_no_families():
    name = "published: Max_5.0% renyi_0.5"
    assert name.count(".") == 2 and not catalogue.is_score(name)
    assert catalogue.is_published(name) and not catalogue.higher_is_member(name)
    assert not catalogue.is_published("video.sme.mean")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ["clip-0"] * 30}, "holds an id and frame count twice"),
        ({"id": [f"other-{k}" for k in range(30)]}, "belongs to another scores.parquet"),
        ({"frames": [8] * 30}, "with .* frames is not in"),
    ],
)
def test_a_file_of_other_rows_is_refused(tmp_path, change, message):
    run = runs.read_run(write_run(tmp_path / "run", changed=change), needed=runs.KEYS)
    with pytest.raises(InputError, match=message):
        with_published(run)


def test_a_file_without_keys_or_damaged_is_refused(tmp_path, capsys):
    path = write_run(tmp_path / "run")
    table = pq.read_table(path / "published.parquet").drop_columns(["frames"])
    pq.write_table(table, path / "published.parquet")
    with pytest.raises(InputError, match="no column frames"):
        with_published(runs.read_run(path, needed=runs.KEYS))
    (path / "published.parquet").write_bytes(b"cut short")
    assert main(["evaluate", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "published.parquet is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def kept(out):
    """Return what metrics.json says of the first frame count."""
    return json.loads((out / "metrics.json").read_text())["runs"][0]["frames"][0]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A run and a control, both with published scores, by both rules."""
    folder = tmp_path_factory.mktemp("evaluated")
    run, control = write_run(folder / "run"), write_run(folder / "base", 1, 0)
    result = evaluate([run], control, BOTH)
    write_report(result, folder / "out")
    return result, folder / "out"


def test_every_score_and_number_has_the_published_metrics(evaluated):
    result, out = evaluated
    assert result.settings.published is True
    data = json.loads((out / "metrics.json").read_text())["runs"][0]["frames"][0]
    assert set(data["scores"]) == {
        "video.sme.mean", *(catalogue.PUBLISHED + name for name in NAMES)
    }  # fmt: skip
    table = pq.read_table(out.parent / "run" / "published.parquet").to_pylist()
    kept = [row for row in table if row["id"] not in ("clip-28", "clip-29")]
    labels = [int(row["id"].removeprefix("clip-")) % 2 for row in kept]
    for name in NAMES:
        metrics = data["scores"][catalogue.PUBLISHED + name]
        expected = oracle([row[name] for row in kept], np.array(labels))
        assert metrics["published"] == pytest.approx(expected)
        assert metrics["auc"] == pytest.approx(metrics["published"]["auc"])
        assert metrics["control"]["difference"] is not None
        assert (metrics["members"], metrics["non_members"]) == (14, 14)
    assert set(data["numbers"]["motion"]["published"]) == KEYS


def test_csv_names_the_published_columns(evaluated):
    with (evaluated[1] / "metrics.csv").open(newline="") as file:
        csv_rows = [
            row for row in csv.DictReader(file) if row["kind"] in ("score", "number")
        ]
        rows = {row["score"]: row for row in csv_rows}
    frame = evaluated[0].runs[0].frames[0]
    assert set(rows) == {*frame.scores, *frame.numbers}
    for name, metrics in (frame.scores | frame.numbers).items():
        for key, value in asdict(metrics.published).items():
            assert float(rows[name][f"published_{key}"]) == value
    assert rows["published: ppl"]["kind"] == "score"


def test_report_and_terminal_show_both(evaluated):
    result, out = evaluated
    text = terminal_table(result)
    for page in (text, (out / "report.html").read_text(), (out / "report.md").read_text()):
        for name in answers.PUBLISHED_HEADER:
            assert name in page.replace("&lt;", "<")
    plain = (out / "report.md").read_text().replace("\\", "")
    assert "### As the published code defines them (video slice)" in plain
    shown = [name for name in NAMES if "renyi_0.5" not in name]
    for name in shown:
        assert f"| published: {name} |" in plain and f"published: {name}" in text
    assert "Max_5.0% renyi_0.5" not in plain  # only among all the scores
    assert "Max_5.0% renyi_0.5" in (out / "report.html").read_text()
    for line in plain.splitlines():
        if line.startswith("| published: "):
            assert line.count("|") == 11  # 14 non-members: four rates share a column
    assert (out / "figures" / "run-f16-auc-published.svg").exists()
    header, first = (
        next(line for line in text.splitlines() if line.startswith(word))
        for word in ("score ", "published: ppl")
    )
    place = header.index("accuracy (published)")
    expected = result.runs[0].frames[0].scores["published: ppl"].published
    assert first[place:].startswith(f"{expected.accuracy:.2f}")


def test_by_default_only_ours(tmp_path):
    out = tmp_path / "out"
    result = evaluate([write_run(tmp_path / "run", published=False)], None, SMALL)
    write_report(result, out)
    assert result.settings.published is False
    assert result.runs[0].frames[0].scores["video.sme.mean"].published is None
    assert "published" not in kept(out)["scores"]["video.sme.mean"]
    assert "published" not in (out / "metrics.csv").read_text()
    assert "(published)" not in (out / "report.md").read_text() + terminal_table(result)


def test_a_class_without_values_is_null_and_not_nan(tmp_path):
    holed = [None if k % 2 else float(k) for k in range(30)]
    run = write_run(tmp_path / "run", changed={"ppl": pa.array(holed, pa.float64())})
    write_report(evaluate([run], None, BOTH), tmp_path / "out")
    metrics = kept(tmp_path / "out")["scores"]["published: ppl"]
    assert metrics["published"] == {"auc": None, "accuracy": None, "tpr_below_5": None}
    assert "–" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize("words", [("ours", False), ("ours+published", True)])
def test_the_command_line_selects(tmp_path, words):
    out = tmp_path / "out"
    line = ["evaluate", str(write_run(tmp_path / "run")), "--out", str(out)]
    assert main([*line, "--metrics", words[0]]) == 0
    data = json.loads((out / "metrics.json").read_text())
    assert data["settings"]["published"] is words[1]


def test_other_metrics_are_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", "run", "--out", "out", "--metrics", "theirs"])
    assert caught.value.code == 2 and "'theirs'" in capsys.readouterr().err
