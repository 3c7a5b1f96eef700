"""The result of an evaluation and the rows that it is made of."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pyarrow as pa
import pytest
from studies import run_of

from vidsme_jax.evaluation import study as study_module
from vidsme_jax.evaluation.evaluate import evaluate_study
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import make_study
from vidsme_jax.report.metrics_json import metrics_json
from vidsme_jax.report.terminal import terminal_table
from vidsme_jax.report.write import write_report

SMALL = EvaluationSettings(bootstrap=20, permutations=19)


def make_run(seed=0, frames=(4, 8)):
    """Return a run of twenty clips, those of the control or of the target."""
    rng, total = np.random.default_rng(seed), 20 * len(frames)
    columns = {
        "id": [f"clip-{k % 20}" for k in range(total)],
        "frames": np.repeat(frames, 20),
        "label": pa.array([k % 2 if k % 20 < 16 else None for k in range(total)]),
        "motion": rng.normal(size=total),
        "video.sme.mean": rng.normal(size=total),
        "response.logp.mean": rng.normal(size=total),
    }
    return run_of(pa.table(columns))


@pytest.fixture(scope="module")
def result():
    return evaluate_study(make_study([make_run(), make_run(1)], make_run(2)), SMALL)


def test_evaluating_needs_no_report():
    code = (
        "import sys, vidsme_jax.evaluation.evaluate\n"
        "raise SystemExit(any(m.startswith('vidsme_jax.report') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code]).returncode == 0


def test_the_rows_of_a_frame_count_are_read_once(monkeypatch, tmp_path):
    read, seen = study_module.read_sample, []

    def counting(table):
        seen.append(table)
        return read(table)

    monkeypatch.setattr(study_module, "read_sample", counting)
    study = make_study([make_run(), make_run(1)], make_run(2), make_run(3))
    result = evaluate_study(study, SMALL)
    write_report(result, tmp_path / "out")
    assert terminal_table(result)
    assert len(seen) == 4 * 2  # two runs, control and reference, with two frame counts


def test_a_result_cannot_be_changed(result):
    with pytest.raises(FrozenInstanceError):
        result.runs[0].frames[0].primary = "another"


def test_the_json_holds_everything_but_the_clips(result):
    content = metrics_json(result)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert "clips" not in content["runs"][0]["frames"][0]
    for run in content["runs"]:
        assert all(d["text"] for frame in run["frames"] for d in frame["diagnosis"])


def test_the_verdict_of_each_clip_stands_beside_its_score(result):
    frame = result.runs[0].frames[0]
    judged = {clip.id for clip in frame.clips if clip.verdict.p_value is not None}
    assert judged == set(frame.verdict.clips) == {f"clip-{k}" for k in range(16, 20)}
    assert all(clip.control.score is not None for clip in frame.clips)
