"""Look for three signs by which the reversal score is known to fail.

    flat      natural and reversed order give almost the same entropy
    inverted  for members the reversed order gives the lower entropy
    still     scores that need no order separate, the reversal score does not

They say where to look, not whether a clip was trained on. The slice is the video, or the
first other slice that a run holds. Source of the three: notes on arXiv 2506.03179
("flat distribution", "inverted signal", "corpus mismatch"); the thresholds are ours.
"""

from collections.abc import Mapping

import numpy as np

from vidsme_jax.evaluation.estimates import as_estimate
from vidsme_jax.evaluation.result import ScoreMetrics
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.signatures import (
    FlatDifference,
    InvertedAuc,
    InvertedMean,
    NoSignature,
    OneFrame,
    ScoreAucs,
    Signature,
    StillImages,
    UncheckedSign,
)
from vidsme_jax.evaluation.study import FrameStudy
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.intervals import effective_number, percentile
from vidsme_jax.stats.resampling import bootstrap_weights

# Share of the clip's mean entropy. bfloat16 keeps 8 significant bits, 0.4 %, by which two
# entropies of the same distribution can differ. So rounding explains up to 1 %.
FLAT_SHARE = 0.01
# Share of the clips: a few clips without motion are no fault of a run.
FLAT_CLIPS = 0.05
# Square pixels: noise and coding alone make the flow vary by a tenth of a pixel.
STILL_MOTION = 0.01
# Scores of the natural order alone, fixed in advance so that only two are tested.
STILL_SCORES = ("logp.min_10", "renyi_one.mean")


def diagnose(
    study: FrameStudy, scores: Mapping[str, ScoreMetrics], settings: EvaluationSettings
) -> tuple[Signature, ...]:
    """Look for the three signs in the rows of a frame count.

    Args:
        study: rows of the frame count.
        scores: metrics of every score by name, with or without a control.
        settings: resamples, confidence and seed of the interval of the mean entropy.
    """
    if study.frames == 1:
        return (OneFrame(),)
    slices = [s for s in catalogue.SLICES if f"{s}.sme.mean" in study.scored.scores]
    if not slices:
        return (UncheckedSign("all"),)
    name = slices[0]
    signatures = (
        *_flat(study, name),
        *_members_above_zero(study, f"{name}.sme.mean", settings),
        *_auc_below_half(scores, f"{name}.sme.mean"),
        *_still(scores, name),
    )
    unchecked = {s.sign for s in signatures if isinstance(s, UncheckedSign)}
    is_found = any(not isinstance(s, UncheckedSign) for s in signatures)
    if len(unchecked) == 3 or is_found:
        return signatures
    return (NoSignature(name, len(unchecked)), *signatures)


def _flat(study: FrameStudy, name: str) -> tuple[FlatDifference | UncheckedSign, ...]:
    """Return the count of clips whose entropy changes by almost nothing at any position.

    Empty where they are less than `FLAT_CLIPS` of the clips.
    """
    scores = study.scored.scores
    columns = [f"{name}.{c}" for c in ("sme.min_0", "sme.max_0", "sme_nat.mean")]
    lacking = [column for column in columns if column not in scores]
    if lacking:
        return (UncheckedSign("flat", (lacking[0],)),)
    low, high, natural = (np.abs(scores[column]) for column in columns)
    has_value = np.isfinite(low + high + natural)
    if not has_value.any():
        return (UncheckedSign("flat"),)
    # A difference of 0 is flat, even where the entropy is 0.
    flat = has_value & (np.maximum(low, high) <= FLAT_SHARE * natural)
    count, clips = int(np.sum(flat)), int(np.sum(has_value))
    if count < max(1, FLAT_CLIPS * clips):
        return ()
    motion = study.scored.numbers.get("motion", np.full(len(flat), np.nan))[flat]
    return (
        FlatDifference(
            slice=name,
            flat=count,
            clips=clips,
            without_value=int(np.sum(~has_value)),
            not_moving=int(np.sum(motion < STILL_MOTION)),
            moving=int(np.sum(motion >= STILL_MOTION)),
            motion_unknown=int(np.sum(np.isnan(motion))),
            strong=2 * count > clips,
            share=FLAT_SHARE,
            motion_below=STILL_MOTION,
        ),
    )


def _members_above_zero(
    study: FrameStudy, score: str, settings: EvaluationSettings
) -> tuple[InvertedMean | UncheckedSign, ...]:
    """Return the mean difference of members, if its interval lies above zero."""
    sample = study.labelled
    if not sample.ids:
        return (UncheckedSign("inverted"),)
    values = -sample.scores[score]  # with the sign of the table
    rows = sample.member & np.isfinite(values)
    cluster = sample.cluster[rows]
    groups = len(np.unique(cluster))
    if groups < 2:
        return (UncheckedSign("inverted", (score,), groups),)
    weights = bootstrap_weights(
        sample.member[rows], cluster, settings.bootstrap, settings.seed
    )
    draws = values[rows] @ weights / np.sum(weights, axis=0)
    _, sizes = np.unique(cluster, return_counts=True)
    ends = percentile(draws, settings.confidence, effective_number(sizes))
    mean = as_estimate(np.mean(values[rows]), *ends)
    if mean.low is None or not mean.low > 0:
        return ()
    return (InvertedMean(score, mean, int(np.sum(rows)), groups),)


def _auc_below_half(
    scores: Mapping[str, ScoreMetrics], score: str
) -> tuple[InvertedAuc, ...]:
    """Return the AUC of the reversal score, if its interval lies below one half."""
    auc = scores[score].auc
    is_below = auc.high is not None and auc.high < 0.5
    return (InvertedAuc(score, auc),) if is_below else ()


def _still(
    scores: Mapping[str, ScoreMetrics], name: str
) -> tuple[StillImages | UncheckedSign, ...]:
    """Return the scores of the natural order that separate, if the reversal score fails."""
    reversal = f"{name}.sme.mean"
    still = tuple(f"{name}.{score}" for score in STILL_SCORES)
    usable = [s for s in still if s in scores and scores[s].auc.value is not None]
    if scores[reversal].auc.value is None:
        return (UncheckedSign("still", (reversal,)),)
    if not usable:
        return (UncheckedSign("still", still),)
    above = tuple(s for s in usable if _lies_above(scores[s]))
    if _lies_above(scores[reversal]) or not above:
        return ()
    aucs = {s: _score_aucs(scores[s]) for s in (reversal, *usable)}
    return (StillImages(reversal, above, aucs),)


def _lies_above(metrics: ScoreMetrics) -> bool:
    """Tell whether the interval of an AUC lies above one half."""
    return metrics.auc.low is not None and metrics.auc.low > 0.5


def _score_aucs(metrics: ScoreMetrics) -> ScoreAucs:
    """Return the AUCs of a score under the target and under the control."""
    control = metrics.control
    return ScoreAucs(metrics.auc, None if control is None else control.auc)
