"""Verdicts: what is judged, what is left out, and when there is none."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from studies import run_of

from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.checks import check_run, scoring_differences
from vidsme_jax.evaluation.result import NoVerdict
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import make_study
from vidsme_jax.evaluation.verdicts import judge

SMALL = EvaluationSettings(bootstrap=100, permutations=199)


def make_table(rng, n=20, prefix="clip", label=None, **changed):
    """Return rows of clips of videos of their own, with frames of their own."""
    names = [f"{prefix}-{k}" for k in range(n)]
    columns = {
        "id": names,
        "frames": [16] * n,
        "group": names,
        "frame_hash": [f"{prefix}{k:x}" for k in range(n)],
        "label": pa.array([label] * n, pa.int64()),
        "status": ["ok"] * n,
        "video.sme.mean": rng.normal(size=n),
    }
    return pa.table(columns | changed)


def verdict_of(table, reference=None):
    """Return the verdict on the clips of a table."""
    other = None if reference is None else run_of(reference)
    study = make_study([run_of(table)], reference=other)
    return judge(study.runs[0].frames[0], study.reference, SMALL)


def test_clips_at_the_limit_of_the_correction_are_called(rng):
    judged = make_table(rng, 3, **{"video.sme.mean": [-99.0, -98.0, -97.0]})
    verdict = verdict_of(judged, make_table(rng, 19, "outside", 0))
    assert verdict.discoveries[0.05] == 3
    assert {clip.q_value for clip in verdict.clips.values()} == {0.05}


@pytest.mark.parametrize("side", ["judged", "reference"])
def test_without_values_of_the_score_there_is_no_verdict(rng, side):
    empty = {"video.sme.mean": pa.nulls(20, pa.float64())}
    tables = {
        "judged": make_table(rng, **(empty if side == "judged" else {})),
        "reference": make_table(rng, 20, "o", 0, **(empty if side != "judged" else {})),
    }
    verdict = verdict_of(tables["judged"], tables["reference"])
    assert isinstance(verdict, NoVerdict)
    assert verdict.reason == f"no {side} clip has a value of video.sme.mean"


def test_a_reference_that_lacks_the_score_gives_no_verdict(rng):
    reference = make_table(rng, 20, "outside", 0).drop_columns(["video.sme.mean"])
    reference = reference.append_column("video.logp.mean", pa.array([0.0] * 20))
    verdict = verdict_of(make_table(rng), reference)
    assert verdict.reason == "the reference has no score video.sme.mean"


def test_reference_clips_with_the_frames_of_a_judged_clip_are_left_out(rng):
    judged = make_table(rng)
    hashes = [f"clip{k:x}" for k in range(3)] + [f"outside{k:x}" for k in range(17)]
    reference = make_table(rng, 20, "outside", 0, frame_hash=hashes)
    assert verdict_of(judged, reference).dropped == 3
    assert verdict_of(judged, reference).reference.rows == 17


def test_unknown_frames_are_not_taken_for_equal(rng):
    unknown = {"frame_hash": pa.nulls(20, pa.string())}
    judged, reference = make_table(rng, **unknown), make_table(rng, 20, "o", 0, **unknown)
    assert verdict_of(judged, reference).dropped == 0


def test_equal_frames_under_two_names_are_one_video(rng):
    table = make_table(rng, label=0, frame_hash=["same"] * 5 + [f"{k}" for k in range(15)])
    (frame,) = make_study([run_of(table)]).runs[0].frames
    assert len(np.unique(frame.scored.cluster)) == 16


def test_a_run_with_a_row_twice_is_refused(rng):
    table = make_table(rng, label=0)
    study = make_study([run_of(pa.concat_tables([table, table.slice(0, 2)]))])
    with pytest.raises(InputError, match="holds id='clip-0' with 16 frames 2 times"):
        check_run(study.runs[0], study, SMALL)


def test_a_calibration_matters_to_scores_that_use_it(rng, tmp_path):
    runs = []
    for name, motion in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "calibration.json").write_text(f'{{"motion": {motion}}}')
        runs.append(replace(run_of(make_table(rng)), path=tmp_path / name))
    for score in (None, "response.sme.mean", "video.sme_nat.min_10", "published: ppl"):
        assert "calibration" in scoring_differences(*runs, score=score)
    for score in ("response.logp.mean", "video.renyi_one_diff.mean"):
        assert not scoring_differences(*runs, score=score)
