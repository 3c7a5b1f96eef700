"""List the clips with their primary score, the control's score and the verdict."""

import numpy as np

from vidsme_jax.evaluation.estimates import float_or_none
from vidsme_jax.evaluation.result import (
    ClipControl,
    ClipResult,
    ClipVerdict,
    NoVerdict,
    Verdict,
)
from vidsme_jax.evaluation.samples import UNLABELLED
from vidsme_jax.evaluation.score_metrics import calibrated_values
from vidsme_jax.evaluation.study import FrameStudy
from vidsme_jax.scores import catalogue


def clip_results(
    study: FrameStudy, name: str | None, verdict: Verdict | NoVerdict | None
) -> tuple[ClipResult, ...]:
    """Return the clips of a frame count with status ok, the most member-like first.

    Args:
        study: rows of the frame count.
        name: name of the primary score; for None there are no clips.
        verdict: verdict on the clips whose use is unknown.
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
        clip, label = sample.ids[k], int(sample.label[k])
        out.append(
            ClipResult(
                id=clip,
                group=sample.groups[k],
                label=None if label == UNLABELLED else label,
                value=float_or_none(sign * values[k]),
                control=None if controls is None else controls.get(clip, ClipControl()),
                verdict=None if verdicts is None else verdicts.get(clip, ClipVerdict()),
            )
        )
    return tuple(out)


def _controls(study: FrameStudy, name: str, sign: int) -> dict[str, ClipControl] | None:
    """Return the control's scores by clip id; None where the control lacks the score."""
    if study.paired is None or name not in study.paired.control.scores:
        return None
    target, control = study.paired.target, study.paired.control
    scores = control.scores[name]
    difference, ratio = calibrated_values(target.scores[name], scores)
    ratio = np.full(len(scores), np.nan) if ratio is None else ratio
    columns = zip(target.ids, sign * scores, difference, ratio, strict=True)
    return {clip: ClipControl(*map(float_or_none, values)) for clip, *values in columns}
