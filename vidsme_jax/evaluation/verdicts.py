"""Verdicts on clips whose use is unknown, against clips that are known to be outside."""

from functools import partial

import numpy as np
from jaxtyping import Float, Int

from vidsme_jax.evaluation.blind import evaluate_blind
from vidsme_jax.evaluation.estimates import as_estimate, estimate_metrics, plain
from vidsme_jax.evaluation.facts import Facts, joined, read_facts
from vidsme_jax.evaluation.features import COLUMNS
from vidsme_jax.evaluation.result import (
    BlindResult,
    CallLimit,
    CallLimits,
    ClipVerdict,
    NoVerdict,
    SetSize,
    SetTest,
    Verdict,
)
from vidsme_jax.evaluation.samples import (
    MEMBER,
    NON_MEMBER,
    UNLABELLED,
    Sample,
    clusters_of,
    labelled,
    primary_of,
)
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import FrameStudy, RunStudy
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.conformal import benjamini_hochberg, conformal_p, threshold
from vidsme_jax.stats.permutation import permutation_test

_RATES = (0.05, 0.10)  # of false discoveries


def judge(
    study: FrameStudy, reference: RunStudy | None, settings: EvaluationSettings
) -> Verdict | NoVerdict | None:
    """Judge the clips of a run at one frame count by its primary score.

    Judged are the rows without a label, against those with label 0. With a reference all
    rows but those with label 0 are judged, against the reference's rows with label 0, or,
    where it has none, its rows without a label.

    Args:
        study: whose clips are judged.
        reference: other clips that are known to be outside, or None.
        settings: of the evaluation.

    Returns:
        None where there is nothing to judge.
    """
    labels = (UNLABELLED,) if reference is None else (UNLABELLED, MEMBER)
    judged = study.scored.with_label(*labels)
    if not judged.ids:
        return None
    size = SetSize(len(judged.ids), len(set(judged.groups)))
    source = study if reference is None else reference.at(study.frames)
    outside = None if source is None else _outside(source, reference is not None)
    if source is None or outside is None:
        return NoVerdict("no clip is known to be outside", size)
    both = _both_sets(judged, outside)
    dropped = len(judged.ids) + len(outside.ids) - len(both.ids)
    if dropped == len(outside.ids):
        return NoVerdict("every clip of the reference is judged", size)
    name = primary_of(both, settings.score)
    if name is None:
        return NoVerdict("the primary score is not in this run", size)
    read = partial(_facts_of_both, study, source)
    blind = evaluate_blind(both, read, both.scores[name], settings)
    return _judge(both, name, settings, blind, dropped)


def _outside(source: FrameStudy, is_reference: bool) -> Sample | None:
    """Return the rows that are known to be outside; None where there are none."""
    outside = source.scored.with_label(NON_MEMBER)
    if is_reference and not outside.ids:
        outside = source.scored.with_label(UNLABELLED)
    return outside if outside.ids else None


def _both_sets(judged: Sample, outside: Sample) -> Sample:
    """Join judged clips, as members, and those of the reference from other groups."""
    groups, ids = set(judged.groups), set(judged.ids)
    keys = zip(outside.groups, outside.ids, strict=True)
    apart = [group not in groups and name not in ids for group, name in keys]
    kept = outside.take(np.flatnonzero(apart))
    label = np.repeat([MEMBER, NON_MEMBER], [len(judged.ids), len(kept.ids)])
    names = [*judged.groups, *kept.groups]
    cluster, group = clusters_of(label == MEMBER, names)
    scores = {
        name: np.concatenate([values, kept.scores[name]])
        for name, values in judged.scores.items()
        if name in kept.scores
    }
    ids_of_both = [*judged.ids, *kept.ids]
    return Sample(
        judged.frames, ids_of_both, label, names, cluster, group, scores, numbers={}
    )


def _facts_of_both(study: FrameStudy, source: FrameStudy, sample: Sample) -> Facts:
    """Return what is known of the sample's clips, of each from its run.

    The judged ones come first, as `_both_sets` has joined them.
    """
    judged = int(np.sum(sample.member))
    return joined(
        read_facts(study, sample.ids[:judged], COLUMNS),
        read_facts(source, sample.ids[judged:], COLUMNS),
    )


def _judge(
    both: Sample,
    name: str,
    settings: EvaluationSettings,
    blind: BlindResult,
    dropped: int,
) -> Verdict:
    values, member = both.scores[name], both.member
    has_score = ~member & ~np.isnan(values)
    reference, group = values[has_score], both.cluster[has_score]
    judged = values[member]
    p = conformal_p(judged, reference, group)
    q = benjamini_hochberg(p)
    up = catalogue.higher_is_member(name)
    count = len(np.unique(group))
    places = np.flatnonzero(member)
    verdicts = (ClipVerdict(*map(plain, values)) for values in zip(p, q, strict=True))
    return Verdict(
        score=name,
        higher_is_member=up,
        reference=SetSize(len(reference), count),
        judged=SetSize(int(np.sum(~np.isnan(p))), len(np.unique(both.cluster[member]))),
        dropped=dropped,
        smallest_p=1 / (1 + count),
        limits={
            fpr: _limits(judged, reference, group, (fpr, settings.confidence), up)
            for fpr in settings.fprs
            if 0 < fpr < 1
        },
        discoveries={rate: int(np.sum(q <= rate)) for rate in _RATES},
        whole_set=_test_as_a_set(both, name, settings),
        baselines=blind,
        clips={both.ids[k]: verdict for k, verdict in zip(places, verdicts, strict=True)},
    )


def _limits(
    judged: Float[np.ndarray, "clip"],
    reference: Float[np.ndarray, "row"],
    group: Int[np.ndarray, "row"],
    rate: tuple[float, float],
    up: bool,
) -> CallLimits:
    """Return the limits at a false positive rate; `rate` is that and the confidence."""
    limits = threshold(reference, group, *rate)
    sides = ((limits.value, limits.groups), (limits.sure, limits.groups_sure))
    return CallLimits(*(_limit(judged, *side, up) for side in sides))


def _limit(judged, limit: float | None, groups: int, up: bool) -> CallLimit:
    """Return a limit as the table writes the score, and the clips beyond it."""
    if limit is None:
        return CallLimit(None, 0, groups)
    return CallLimit(limit if up else -limit, int(np.sum(judged > limit)), groups)


def _test_as_a_set(both: Sample, name: str, settings: EvaluationSettings) -> SetTest:
    """Test whether the judged clips as a whole score higher than the reference."""
    rows = labelled(both, both.scores[name])
    metrics = estimate_metrics(rows, settings)
    tested = permutation_test(rows, settings.permutations, settings.seed)
    ends = (side.auc[0] for side in (metrics.metrics, metrics.low, metrics.high))
    return SetTest(as_estimate(*ends), plain(tested.p[0]))
