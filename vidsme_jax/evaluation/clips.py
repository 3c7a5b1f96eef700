"""One row per clip: its primary score, calibrated by the control, and its verdict."""

import numpy as np

from vidsme_jax.evaluation.estimates import plain
from vidsme_jax.evaluation.result import (
    ClipControl,
    ClipResult,
    ClipVerdict,
    NoVerdict,
    Verdict,
)
from vidsme_jax.evaluation.samples import UNLABELLED
from vidsme_jax.evaluation.score_metrics import calibrated
from vidsme_jax.evaluation.study import FrameStudy
from vidsme_jax.scores import catalogue


def clip_results(
    study: FrameStudy, name: str | None, verdict: Verdict | NoVerdict | None
) -> tuple[ClipResult, ...]:
    """Return the clips of one frame count with status ok, the most member-like first.

    Args:
        study: the rows of the frame count.
        name: of the primary score; without one there are no clips.
        verdict: on the clips of unknown use.
    """
    if name is None:
        return ()
    sample = study.scored
    values = sample.scores[name]
    sign = 1 if catalogue.higher_is_member(name) else -1
    controls = _controls(study, name, sign)
    verdicts = verdict.clips if isinstance(verdict, Verdict) else None
    out = []
    for k in np.argsort(-values, kind="stable").tolist():  # NaN comes last
        key, label = sample.ids[k], int(sample.label[k])
        out.append(
            ClipResult(
                id=key,
                group=sample.groups[k],
                label=None if label == UNLABELLED else label,
                value=plain(sign * values[k]),
                control=None if controls is None else controls.get(key, ClipControl()),
                verdict=None if verdicts is None else verdicts.get(key, ClipVerdict()),
            )
        )
    return tuple(out)


def _controls(study: FrameStudy, name: str, sign: int) -> dict[str, ClipControl] | None:
    """Return the control's score of each clip by id; None where there is no such score."""
    if study.paired is None or name not in study.paired.control.scores:
        return None
    target, control = study.paired.target, study.paired.control
    scores = control.scores[name]
    difference, ratio = calibrated(target.scores[name], scores)
    ratio = np.full(len(scores), np.nan) if ratio is None else ratio
    columns = zip(target.ids, sign * scores, difference, ratio, strict=True)
    return {key: ClipControl(*map(plain, values)) for key, *values in columns}
