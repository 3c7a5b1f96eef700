"""The functions that people call from Python: what they return, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
from tools import make_project, python

import vidsme_jax as vj
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.models.toy import write_toy
from vidsme_jax.report.page import Figure

pytestmark = [pytest.mark.slow(70), pytest.mark.least_compiled]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Six clips with alternating labels, and two checkpoints."""
    folder = tmp_path_factory.mktemp("api")
    _, manifest, model = make_project(folder, count=6)
    other = write_toy(folder / "other", ["What moves in this video?"], seed=1)
    return folder, manifest, model, other


@pytest.fixture(scope="module")
def runs(project):
    """The target's run and the control's, asked for with strings and single numbers."""
    folder, manifest, model, other = map(str, project)
    return [
        vj.score(name, manifest, out=f"{folder}/runs/{n}", frames=2, batch=4)
        for n, name in enumerate((model, other))
    ]


@pytest.fixture(scope="module")
def audit(runs):
    return vj.evaluate(runs[0], control=runs[1], bootstrap=100)


def test_a_run_is_its_table_and_what_decided_it(project, runs):
    run = runs[0]
    assert isinstance(run, vj.Run) and run.path == Path(project[0]) / "runs" / "0"
    assert run.table.num_rows == 6 and run.info["settings"]["frames"] == [2]


def test_a_finished_run_is_read_and_another_refused(project, runs, capsys):
    folder, manifest, model, _ = project
    sizes = {"frames": (np.int64(2),), "batch": np.int64(4)}
    again = vj.score(model, [manifest], out=folder / "runs" / "0", **sizes)
    assert again.table.equals(runs[0].table)
    assert "complete: nothing left to do" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"frames \[2\] there, \[4\] here"):
        vj.score(model, manifest, out=folder / "runs" / "0", frames=4, batch=4)


def test_the_command_goes_on_with_what_a_function_wrote(project, tmp_path):
    folder, manifest, model, _ = project
    words = ["score", "--model", model, "--data", manifest, "--frames", "2", "--batch", "4"]
    done = python(tmp_path, "-m", "vidsme_jax", *words, "--out", folder / "runs" / "0")
    assert done.returncode == 0 and "6 rows" in done.stdout, done.stderr


def test_an_audit_says_its_numbers(audit):
    assert isinstance(audit, vj.Audit) and isinstance(audit, vj.Result)
    assert audit.primary is audit.runs[0].frames[0].scores["video.sme.mean"]
    assert isinstance(audit.primary.auc, Estimate) and audit.primary.control is not None
    assert str(Estimate(0.912, 0.8, None)) == "0.91 (0.80 to –)"
    assert audit.verdict is None  # every clip has a label
    assert "video.sme.mean" in str(audit)


def test_an_audit_is_written_and_shown(audit, tmp_path):
    page = audit.write(tmp_path / "report")
    assert page.name == "report.html" and page.is_file()
    assert json.loads((tmp_path / "report" / "metrics.json").read_text()) == audit.to_json()
    assert audit.figures and all(isinstance(figure, Figure) for figure in audit.figures)
    assert audit.figures[0]._repr_svg_().startswith("<svg")


def test_runs_and_tables_are_evaluated_by_path_too(runs, tmp_path):
    by_path = vj.evaluate(str(runs[0].path), control=runs[1].path, bootstrap=100)
    both = vj.evaluate([runs[0], runs[1].path], bootstrap=100, by="question")
    assert len(by_path.runs) == 1 and len(both.runs) == 2
    lines = ["id,label,score", *(f"{n},{n % 2},{n}" for n in range(20))]
    (tmp_path / "scores.csv").write_text("\n".join(lines))
    assert vj.evaluate(tmp_path / "scores.csv", bootstrap=100).primary.auc.value == 0.55


def test_what_is_wrong_with_a_control_is_said_of_the_control(runs):
    with pytest.raises(InputError, match="^control=nowhere does not exist"):
        vj.evaluate(runs[0], control="nowhere")
    with pytest.raises(InputError, match="^reference=.*model has no run.json"):
        vj.evaluate(runs[0], reference=runs[0].path.parents[1] / "model")


def test_clips_without_labels_have_a_verdict_and_no_metrics(project, tmp_path):
    folder, manifest, model, _ = project
    rows = json.loads(manifest.read_text())
    for row in rows[:2]:
        del row["label"]
    for row in rows[2:]:
        row["label"] = 0
    (folder / "unknown.json").write_text(json.dumps(rows))
    run = vj.score(model, folder / "unknown.json", out=tmp_path / "run", frames=2)
    audit = vj.evaluate(run, bootstrap=100)
    assert audit.verdict.judged.rows == 2 and audit.verdict.reference.rows == 4
    assert audit.primary.auc.value is None
    assert audit.primary.reason == "no member has a value"


def test_a_store_is_prepared_once_and_scored(project, runs, tmp_path):
    folder, manifest, model, _ = project
    store = vj.prepare(model, manifest, tmp_path / "store", frames=2)
    assert len(store.facts) == 6
    run = vj.score(model, store, out=tmp_path / "run", frames=2, batch=4, workers=1)
    column = "video.sme.mean"
    assert run.table[column].to_pylist() == runs[0].table[column].to_pylist()


def test_a_model_is_trained_opened_and_asked(project, tmp_path):
    _, manifest, model, _ = project
    new = vj.train(model, manifest, tmp_path / "new", frames=2, steps=2, batch=2)
    port = vj.open_model(new)
    assert port.name == "longva" and len(port.prompt("What?", "a cat").answer) > 0
    assert json.loads((new / "training.json").read_text())["steps"] == 2


def test_a_grid_is_a_mapping_or_a_file(project, tmp_path):
    _, manifest, model, _ = project
    grid = {"models": {"toy": model}, "data": manifest, "frames": (2,)}
    grid |= {"families": "sme", "aggregates": ["mean", "max_0"], "slices": "video"}
    table = vj.sweep(grid, out=tmp_path / "grid")
    assert table.num_rows == 2
    (tmp_path / "grid.yaml").write_text(json.dumps(grid, default=str))
    assert vj.sweep(tmp_path / "grid.yaml", out=tmp_path / "grid").equals(table)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"frame": 2}, TypeError, "no setting frame; there are frames, slices"),
        ({"frames": 0}, InputError, r"frames=\(0,\), expected whole numbers from 1 on"),
        ({"frames": ()}, InputError, r"frames=\(\), expected whole numbers"),
        ({"frames": "four"}, InputError, r"frames=\('four',\), expected whole numbers"),
        ({"frames": [2, 2]}, InputError, r"frames=\(2, 2\) names a value twice"),
        ({"batch": True}, InputError, "batch=True, expected a whole number"),
        ({"keep_tokens": "tokens"}, InputError, "keep_tokens='tokens', expected a bool"),
        ({"shard": "4/2"}, InputError, "4/2"),
        ({"workers": 0}, InputError, "workers=0, expected whole numbers from 1 on"),
        ({"slices": "sound"}, InputError, r"slices=\('sound',\), there are video, inst"),
        ({"perturbation": "rotate"}, InputError, "perturbation='rotate', there are reve"),
        ({"beta1": float("nan")}, InputError, "beta1=nan, expected a finite number"),
        ({"dtype": "int8"}, InputError, "dtype=int8, there are auto"),
        ({"calibration": "none.json"}, InputError, "none.json"),
    ],
)
def test_wrong_settings_are_one_line_and_write_nothing(
    project, tmp_path, settings, error, message
):
    _, manifest, model, _ = project
    with pytest.raises(error, match=message) as caught:
        vj.score(model, manifest, out=tmp_path / "run", **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vj.open_model("nowhere"), "model=nowhere does not exist"),
        (lambda: vj.score("nowhere", "no.json", out="x"), "no.json"),
        (lambda: vj.evaluate("nowhere"), "run=nowhere does not exist"),
        (lambda: vj.evaluate([]), "no run given"),
        (lambda: vj.evaluate("nowhere", bootstrap=0), "bootstrap=0, expected at least 1"),
        (lambda: vj.train("m", "d.json", "o", objective="sound"), "objective='sound'"),
        (lambda: vj.train("m", "d.json", "o", steps=0), "steps=0, expected whole numbers"),
        (lambda: vj.prepare("m", "d.json", "o", frames=-1), r"frames=\(-1,\), expected"),
        (lambda: vj.sweep({"model": "m"}), "grid: no such key: model; there are"),
        (lambda: vj.sweep("no.yaml"), "no.yaml does not exist"),
    ],
)
def test_wrong_input_is_one_line(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_values_of_a_wrong_type_are_one_line(tmp_path):
    """Without the types that these tests check, as users run it."""
    code = """
import vidsme_jax as vj
from vidsme_jax.errors import InputError

for call in (
    lambda: vj.score("m", "d.json", out="o", frames="four"),
    lambda: vj.score("m", "d.json", out="o", beta2="wide"),
    lambda: vj.evaluate("x", bootstrap="many"),
    lambda: vj.train("m", "d.json", "o", steps=1.5),
):
    try:
        call()
    except InputError as error:
        print(error)
"""
    done = python(tmp_path, "-c", code)
    assert done.stdout.splitlines() == [
        "frames=('four',), expected whole numbers",
        "beta2='wide', expected a number",
        "bootstrap='many', expected a whole number",
        "steps=1.5, expected a whole number",
    ], done.stderr


def test_a_process_of_its_own_verifies_a_run(runs, tmp_path):
    """What a test has imported before hides what a command forgets to import."""
    done = python(tmp_path, "-m", "vidsme_jax", "verify", str(runs[0].path))
    assert done.returncode == 0, done.stderr
    assert "each once, no score missing" in done.stdout
