"""The demo at a small size: all its steps, and what it must and must not find."""

import json
from dataclasses import replace

import pytest

from vidsme_jax.cli.demo import DemoSettings, demo
from vidsme_jax.data.manifest import read_manifests
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation import evaluate as command

pytestmark = pytest.mark.slow(120)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "demo"
    real = command.evaluate

    def quickly(runs, control, settings):
        few = replace(settings, bootstrap=200, permutations=199)
        return real(runs, control, few)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "evaluate", quickly)
        text = demo(DemoSettings(out, clips=12, steps=30))
        metrics = json.loads((out / "report" / "metrics.json").read_text())
        yield out, text, metrics


def test_thirds_are_disjoint_and_complete(small):
    out, _, _ = small
    thirds = [{r.video for r in read_manifests([out / f"{n}.json"])} for n in "ABC"]
    assert [len(t) for t in thirds] == [12] * 3
    assert len(set.union(*thirds)) == 36 == len(list((out / "clips").glob("*.mp4")))


def test_the_target_remembers_its_answers_and_the_control_does_not(small):
    """At this size the text is memorised; the control saw neither half."""
    _, _, metrics = small
    scores = find(metrics, "response.logp.mean")
    assert scores["auc"] > 0.9
    assert scores["control"]["auc"] < 0.85


def test_the_table_ends_with_the_report(small):
    out, text, _ = small
    assert text.splitlines()[-1] == f"report: {out / 'report' / 'report.html'}"
    for name in ("video.sme.mean", "control AUC", "response.renyi_one.mean"):
        assert name in text
    page = (out / "report" / "report.html").read_text()
    assert "motion" in page and "illumination" in page and "<svg" in page


def test_the_same_demo_goes_on_and_another_is_refused(small, monkeypatch):
    import vidsme_jax.training.trial as command

    def trained_again(settings):
        raise AssertionError("the checkpoints are there already")

    monkeypatch.setattr(command, "train", trained_again)
    out, text, _ = small
    assert demo(DemoSettings(out, clips=12, steps=30)) == text
    with pytest.raises(InputError, match="holds another trial"):
        demo(DemoSettings(out, seed=1))
    assert (out / "target").exists()


def find(metrics, score):
    """Return the entry of a score, wherever it stands in metrics.json."""
    if isinstance(metrics, dict):
        if score in metrics and isinstance(metrics[score], dict):
            return metrics[score]
        metrics = list(metrics.values())
    if isinstance(metrics, list):
        for value in metrics:
            if isinstance(value, dict) and value.get("score") == score:
                return value
            entry = find(value, score)
            if entry:
                return entry
    return None
