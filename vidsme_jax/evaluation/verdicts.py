"""Judge clips whose use is unknown against clips that are known to be outside."""

from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from vidsme_jax.evaluation.blind import evaluate_blind
from vidsme_jax.evaluation.estimates import as_estimate, estimate_metrics, float_or_none
from vidsme_jax.evaluation.facts import Facts, join_facts, read_facts
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
    labelled_scores,
    linked,
    primary_of,
)
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import FrameStudy, RunStudy
from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.conformal import benjamini_hochberg, conformal_p, threshold
from vidsme_jax.stats.permutation import permutation_test
from vidsme_jax.stats.rates import member_share

_RATES = (0.05, 0.10)  # shares of the calls that may be wrong


def judge(
    study: FrameStudy, reference: RunStudy | None, settings: EvaluationSettings
) -> Verdict | NoVerdict | None:
    """Judge the clips of a run at a frame count by its primary score.

    Without a reference, rows without a label are judged against rows with label 0. With a
    reference, all rows but those with label 0 are judged. They are judged against the
    reference's rows with label 0, or, without such rows, its rows without a label.

    Args:
        study: rows of the run, of which some are judged.
        reference: run of other clips that are known to be outside, or None.
        settings: settings of the evaluation.

    Returns:
        None where there are no clips to judge.
    """
    labels = (UNLABELLED,) if reference is None else (UNLABELLED, MEMBER)
    judged = study.scored.with_label(*labels)
    if not judged.ids:
        return None
    size = SetSize(len(judged.ids), len(set(judged.groups)))
    source = study if reference is None else reference.at(study.frames)
    outside = None if source is None else outside_rows(source, reference is not None)
    if source is None or outside is None:
        return NoVerdict("no clip is known to be outside", size, needs_reference=True)
    both = both_sets(judged, outside)
    dropped = len(judged.ids) + len(outside.ids) - len(both.ids)
    if dropped == len(outside.ids):
        reason = "every clip of the reference is judged"
        return NoVerdict(reason, size, needs_reference=True)
    name = primary_of(judged, settings.score)
    if name is None:
        return NoVerdict("the primary score is not in this run", size)
    if name not in both.scores:
        return NoVerdict(f"the reference has no score {name}", size)
    reason = _no_values(both, name)
    if reason:
        return NoVerdict(reason, size)
    read = partial(_facts_of_both, study, source)
    blind = evaluate_blind(both, read, both.scores[name], settings)
    return _judge(both, name, settings, blind, dropped)


def outside_rows(source: FrameStudy, is_reference: bool) -> Sample | None:
    """Return the rows that are known to be outside, or None."""
    outside = source.scored.with_label(NON_MEMBER)
    if is_reference and not outside.ids:
        outside = source.scored.with_label(UNLABELLED)
    return outside if outside.ids else None


def _no_values(both: Sample, name: str) -> str:
    """Return why a score judges nothing, or no text."""
    exists = ~np.isnan(both.scores[name])
    for side, clips in ((~both.member, "reference"), (both.member, "judged")):
        if not np.any(exists & side):
            why = "; it needs an answer" if name.startswith("response.") else ""
            return f"no {clips} clip has a value of {name}{why}"
    return ""


def both_sets(judged: Sample, outside: Sample) -> Sample:
    """Join the judged clips, labelled as members, and the reference, as non-members.

    Reference clips that have the id, the group or the frames of a judged clip are left out.
    """
    groups, ids, pixels = set(judged.groups), set(judged.ids), {*judged.pixels} - {None}
    keys = zip(outside.groups, outside.ids, outside.pixels, strict=True)
    is_apart = [
        group not in groups and clip not in ids and frames not in pixels
        for group, clip, frames in keys
    ]
    kept = outside.take(np.flatnonzero(is_apart))
    label = np.repeat([MEMBER, NON_MEMBER], [len(judged.ids), len(kept.ids)])
    names, frames = [*judged.groups, *kept.groups], [*judged.pixels, *kept.pixels]
    cluster, group = clusters_of(label == MEMBER, linked(names, frames))
    scores = {
        name: np.concatenate([values, kept.scores[name]])
        for name, values in judged.scores.items()
        if name in kept.scores
    }
    return replace(
        judged,
        ids=[*judged.ids, *kept.ids],
        label=label,
        groups=names,
        pixels=frames,
        cluster=cluster,
        group=group,
        scores=scores,
        numbers={},
    )


def _facts_of_both(study: FrameStudy, source: FrameStudy, sample: Sample) -> Facts:
    """Return the facts of the clips of both sets, each from its run.

    The judged clips come first, as in `both_sets`.
    """
    judged = int(np.sum(sample.member))
    return join_facts(
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
    """Return the verdict on the members of a sample against its non-members."""
    values, member = both.scores[name], both.member
    has_score = ~member & ~np.isnan(values)
    reference, group = values[has_score], both.cluster[has_score]
    judged = values[member]
    p = conformal_p(judged, reference, group)
    q = benjamini_hochberg(p)
    is_higher = catalogue.higher_is_member(name)
    count = len(np.unique(group))
    places = np.flatnonzero(member)
    verdicts = (
        ClipVerdict(*map(float_or_none, values)) for values in zip(p, q, strict=True)
    )
    return Verdict(
        score=name,
        higher_is_member=is_higher,
        reference=SetSize(len(reference), count),
        judged=SetSize(int(np.sum(~np.isnan(p))), len(np.unique(both.cluster[member]))),
        dropped=dropped,
        smallest_p=1 / (1 + count),
        limits={
            fpr: _limits(judged, reference, group, (fpr, settings.confidence), is_higher)
            for fpr in settings.fprs
            if 0 < fpr < 1
        },
        discoveries={rate: int(np.sum(q <= rate)) for rate in _RATES},
        whole_set=_test_whole_set(both, name, settings),
        member_share=_member_share(both, name, settings),
        baselines=blind,
        clips={both.ids[k]: verdict for k, verdict in zip(places, verdicts, strict=True)},
    )


def _limits(
    judged: Float[np.ndarray, "clip"],
    reference: Float[np.ndarray, "row"],
    group: Int[np.ndarray, "row"],
    rate: tuple[float, float],
    is_higher: bool,
) -> CallLimits:
    """Return the limits at a false positive rate.

    Args:
        judged: scores of the judged clips, higher = member.
        reference: scores of the reference, higher = member.
        group: index of the group of each reference row.
        rate: the false positive rate, and the confidence.
        is_higher: whether members have higher scores in the table.
    """
    limits = threshold(reference, group, *rate)
    pairs = ((limits.value, limits.groups), (limits.sure, limits.groups_sure))
    return CallLimits(*(_limit(judged, *pair, is_higher) for pair in pairs))


def _limit(judged, limit: float | None, groups: int, is_higher: bool) -> CallLimit:
    """Return a limit with the sign of the table, and the number of clips beyond it."""
    if limit is None:
        return CallLimit(None, 0, groups)
    return CallLimit(limit if is_higher else -limit, int(np.sum(judged > limit)), groups)


def _test_whole_set(both: Sample, name: str, settings: EvaluationSettings) -> SetTest:
    """Test whether the judged clips as a whole score higher than the reference."""
    rows = labelled_scores(both, both.scores[name])
    estimates = estimate_metrics(rows, settings)
    p_values = permutation_test(rows, settings.permutations, settings.seed)
    auc = (x.auc[0] for x in (estimates.metrics, estimates.low, estimates.high))
    return SetTest(as_estimate(*auc), float_or_none(p_values.p[0]))


def _member_share(both: Sample, name: str, settings: EvaluationSettings) -> Estimate:
    """Return the least share of members that explains the judged clips' scores."""
    rows = labelled_scores(both, both.scores[name])
    share, low, high = member_share(rows, settings.confidence)
    return as_estimate(share[0], low[0], high[0])
