"""Measure every score of a frame count, and compare it with the control's."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from itertools import chain
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from vidsme_jax.evaluation.estimates import (
    MetricEstimates,
    as_estimate,
    auc_difference,
    estimate_metrics,
    float_or_none,
)
from vidsme_jax.evaluation.result import (
    CalibratedAuc,
    CalibratedAucs,
    ControlMetrics,
    PrivacyBounds,
    PublishedMetrics,
    RunComparison,
    ScoreMetrics,
    SearchResult,
)
from vidsme_jax.evaluation.samples import (
    MEMBER,
    NON_MEMBER,
    UNLABELLED,
    PairedSamples,
    Sample,
    groups_of,
    labelled_scores,
    labels_of,
    pixels_of,
    primary_of,
    status_of,
)
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import FrameStudy
from vidsme_jax.evaluation.values import (
    ClassCounts,
    Estimate,
    LabelCounts,
    RowCounts,
    Significance,
)
from vidsme_jax.stats.metrics import published_metrics
from vidsme_jax.stats.permutation import (
    choose_on_half,
    detectable_areas,
    permutation_test,
)
from vidsme_jax.stats.privacy import epsilon_independent, epsilon_one_run

Key = TypeVar("Key", bound=Hashable)
_EXAMPLES = 4  # names of groups that are shown
_MIDDLE = (0.05, 0.95)  # quantiles of the splits


def count_rows(study: FrameStudy) -> RowCounts:
    """Count the rows and groups of a frame count by label and status."""
    table, sample = study.table, study.labelled
    labels, status = labels_of(table), status_of(table)
    names = groups_of(table)
    groups = np.array(names, object)
    members, others, unlabelled = (
        set(groups[labels == label]) for label in (MEMBER, NON_MEMBER, UNLABELLED)
    )
    clusters = (len(np.unique(sample.cluster[side])) for side in _sides(sample))
    twins = _mixed_clips(labels, pixels_of(table), names)
    return RowCounts(
        rows=len(table),
        labels=_by_label(labels),
        status={s: _by_label(labels[status == s]) for s in sorted(set(status))},
        groups=LabelCounts(len(members), len(others), len(unlabelled)),
        mixed_groups=len(members & others),
        mixed_clips=len(twins),
        mixed_names=tuple(sorted({*(members & others), *chain(*twins)})[:_EXAMPLES]),
        evaluated=ClassCounts(*(int(np.sum(side)) for side in _sides(sample))),
        evaluated_groups=ClassCounts(*clusters),
    )


def _mixed_clips(labels, pixels: list[str | None], groups: list[str]) -> list[set[str]]:
    """Return the groups of each clip that different groups show under both labels."""
    seen: dict[str, set[tuple[int, str]]] = {}
    for label, frames, group in zip(labels.tolist(), pixels, groups, strict=True):
        if frames is not None and label != UNLABELLED:
            seen.setdefault(frames, set()).add((label, group))
    out = []
    for rows in seen.values():
        kinds, names = {label for label, _ in rows}, {group for _, group in rows}
        if len(kinds) > 1 and len(names) > 1:
            out.append(names)
    return out


def _by_label(labels) -> LabelCounts:
    """Count the rows with each label."""
    values = (MEMBER, NON_MEMBER, UNLABELLED)
    return LabelCounts(*(int(np.sum(labels == value)) for value in values))


def _sides(sample: Sample):
    """Return which rows are members, and which are not."""
    return sample.member, ~sample.member


def evaluate_columns(
    sample: Sample,
    columns: Mapping[Key, Float[np.ndarray, "row"]],
    settings: EvaluationSettings,
) -> dict[Key, ScoreMetrics]:
    """Return the metrics of columns of numbers, a number for each row of the sample.

    Args:
        sample: rows with labels and clusters.
        columns: numbers by any key, higher = member.
        settings: settings of the evaluation.
    """
    if not columns:
        return {}
    estimates = estimate_metrics(labelled_scores(sample, *columns.values()), settings)
    return _metrics_of(sample, columns, estimates, settings)


def _metrics_of(
    sample: Sample,
    columns: Mapping[Key, Float[np.ndarray, "row"]],
    estimates: MetricEstimates,
    settings: EvaluationSettings,
) -> dict[Key, ScoreMetrics]:
    """Return the metrics of estimated columns, with the published ones if requested."""
    out = {name: _score_metrics(estimates, n, settings) for n, name in enumerate(columns)}
    if settings.published:
        for name, column in columns.items():
            metrics = published_metrics(column, sample.member)
            published = PublishedMetrics(
                **{k: float_or_none(v) for k, v in metrics.items()}
            )
            out[name] = replace(out[name], published=published)
    return out


def evaluate_scores(
    study: FrameStudy, settings: EvaluationSettings
) -> dict[str, ScoreMetrics]:
    """Return the metrics of every score of the labelled rows, by its name.

    With a control, each score is compared with the control's on the clips of both.

    Raises:
        InputError: the run lacks the score `settings.score`.
    """
    sample = study.labelled
    if not sample.scores:
        return {}
    names, primary = list(sample.scores), primary_of(sample, settings.score)
    estimates = estimate_metrics(labelled_scores(sample, *sample.scores.values()), settings)
    out = _metrics_of(sample, sample.scores, estimates, settings)
    for name, significance in _significance(sample, names, settings).items():
        out[name] = replace(out[name], significance=significance)
    if primary:
        aucs, draws = estimates.metrics.auc, estimates.draws
        n = names.index(primary)
        for k, name in enumerate(names):
            over = auc_difference(
                aucs[k] - aucs[n], draws[k] - draws[n], estimates.clusters_of(k), settings
            )
            out[name] = replace(out[name], over_primary=over)
        bounds = _privacy(sample, primary, settings)
        out[primary] = replace(out[primary], privacy=bounds)
    if study.paired_labelled is None:
        return out
    controls = _compare(study.paired_labelled, primary, settings)
    return {n: replace(metrics, control=controls[n]) for n, metrics in out.items()}


def _privacy(
    sample: Sample, name: str, settings: EvaluationSettings
) -> PrivacyBounds | None:
    """Return the bounds on epsilon that a score shows; None where a class has no value.

    A video is one clip here, with the mean of its rows: videos are what is kept private.
    """
    values = sample.scores[name]
    classes = []
    for side in _sides(sample):
        rows = side & np.isfinite(values)
        _, cluster = np.unique(sample.cluster[rows], return_inverse=True)
        classes.append(np.bincount(cluster, values[rows]) / np.bincount(cluster))
    members, others = classes
    if not len(members) or not len(others):
        return None
    confidence, delta = settings.confidence, settings.delta
    return PrivacyBounds(
        delta,
        epsilon_one_run(members, others, confidence, delta),
        epsilon_independent(members, others, confidence, delta),
    )


class CalibratedValues(NamedTuple):
    """The scores of clips, calibrated by those of the control.

    Attributes:
        difference: score less the control's, higher = member.
        ratio: score over the control's, higher = member; None where it has no order.
    """

    difference: Float[np.ndarray, "row"]
    ratio: Float[np.ndarray, "row"] | None


def calibrated_values(
    target: Float[np.ndarray, "row"], control: Float[np.ndarray, "row"]
) -> CalibratedValues:
    """Calibrate each clip's score by the control's, by difference and by ratio.

    Where every control score is negative (a log-probability, a negated entropy), a
    smaller ratio means member, so it is negated. Where the control's scores take both
    signs, a ratio has no order.

    Args:
        target: scores of the target, higher = member.
        control: scores of the control for the same clips.
    """
    values = control[~np.isnan(control)]
    ratio = None
    if len(values) and (np.all(values > 0) or np.all(values < 0)):
        ratio = target / np.abs(control)
    return CalibratedValues(target - control, ratio)


def _compare(
    pairs: PairedSamples, primary: str | None, settings: EvaluationSettings
) -> dict[str, ControlMetrics]:
    """Return the control's AUC, and target minus control, for each score."""
    target, control = pairs.target, pairs.control
    missing = np.full(len(target.ids), np.nan)
    values = np.stack(list(target.scores.values()))
    other = np.stack([control.scores.get(name, missing) for name in target.scores])
    has_both = ~(np.isnan(values) | np.isnan(other))
    of_target, of_control = (
        estimate_metrics(labelled_scores(target, *np.where(has_both, x, np.nan)), settings)
        for x in (values, other)
    )
    points = of_target.metrics.auc - of_control.metrics.auc
    draws = of_target.draws - of_control.draws
    out = {}
    for n, name in enumerate(target.scores):
        metrics = _score_metrics(of_control, n, settings)
        out[name] = ControlMetrics(
            auc=metrics.auc,
            target_auc=float_or_none(of_target.metrics.auc[n]),
            difference=auc_difference(
                points[n], draws[n], of_target.clusters_of(n), settings
            ),
            counts=metrics.counts,
            reason=metrics.reason,
        )
    if primary and primary in control.scores:
        alone = _significance(control, [primary], settings)[primary]
        out[primary] = replace(
            out[primary],
            p_value=alone.p_value,
            calibrated=_calibrated_aucs(pairs, primary, settings),
        )
    return out


def _calibrated_aucs(
    pairs: PairedSamples, name: str, settings: EvaluationSettings
) -> CalibratedAucs:
    """Return the AUCs of the calibrated primary score, with a reason for a missing one."""
    target = pairs.target
    values = calibrated_values(target.scores[name], pairs.control.scores[name])
    columns = {key: x for key, x in values._asdict().items() if x is not None}
    aucs = {
        key: CalibratedAuc(metrics.auc, metrics.counts, metrics.reason)
        for key, metrics in evaluate_columns(target, columns, settings).items()
    }
    reason = "the control's values take both signs"
    missing = CalibratedAuc(Estimate(None, None, None), None, reason)
    return CalibratedAucs(aucs["difference"], aucs.get("ratio", missing))


def compare_runs(
    first: Sample, second: Sample, settings: EvaluationSettings
) -> RunComparison | None:
    """Compare the AUC of the primary score in a second sample with that in a first.

    Rows are joined by id alone, so that models and frame counts can be compared. Labels
    and groups are the first's. None where either lacks the score, or no row is shared.
    """
    name, other = (primary_of(sample, settings.score) for sample in (first, second))
    row_of = {clip: k for k, clip in enumerate(second.ids)}
    rows = [k for k, clip in enumerate(first.ids) if clip in row_of]
    if name is None or name != other or not rows:
        return None
    first = first.take(rows)
    second = second.take([row_of[clip] for clip in first.ids])
    values = np.stack([first.scores[name], second.scores[name]])
    values = np.where(np.isnan(values).any(axis=0), np.nan, values)
    estimates = estimate_metrics(labelled_scores(first, *values), settings)
    auc, draws = estimates.metrics.auc, estimates.draws
    return RunComparison(
        first_auc=float_or_none(auc[0]),
        auc=float_or_none(auc[1]),
        difference=auc_difference(
            auc[1] - auc[0], draws[1] - draws[0], estimates.clusters_of(1), settings
        ),
        counts=ClassCounts(int(estimates.members[0]), int(estimates.non_members[0])),
    )


def _significance(
    sample: Sample, names: list[str], settings: EvaluationSettings
) -> dict[str, Significance]:
    """Return the p-values of each score, plain and corrected for all of these scores."""
    rows = labelled_scores(sample, *(sample.scores[name] for name in names))
    p_values = permutation_test(rows, settings.permutations, settings.seed)
    limit = float(ndtri((1 + settings.confidence) / 2))  # that the interval asks for
    detectable = detectable_areas(p_values.spread, limit)
    columns = zip(names, p_values.p, p_values.adjusted, detectable, strict=True)
    return {name: Significance(*map(float_or_none, values)) for name, *values in columns}


def search_scores(sample: Sample, settings: EvaluationSettings) -> SearchResult | None:
    """Return the AUC of the score that is best on half of the groups on the other half.

    None where there are fewer than two scores, or a class has fewer than two groups.
    """
    names = list(sample.scores)
    groups = min(len(np.unique(sample.cluster[side])) for side in _sides(sample))
    if len(names) < 2 or groups < 2:
        return None
    rows = labelled_scores(sample, *sample.scores.values())
    choices = choose_on_half(rows, settings.splits, settings.seed)
    has_value = ~np.isnan(choices.auc_held_out)
    if not has_value.any():
        return None
    counts = np.bincount(choices.chosen, minlength=len(names))
    held_out = choices.auc_held_out[has_value]
    seen, mean = float(np.mean(choices.auc_seen[has_value])), float(np.mean(held_out))
    low, high = (float(x) for x in np.quantile(held_out, _MIDDLE))
    return SearchResult(
        scores=len(names),
        splits=settings.splits,
        chosen=names[int(np.argmax(counts))],
        chosen_share=float(np.max(counts)) / settings.splits,
        auc_seen=seen,
        auc_held_out=Estimate(mean, low, high),
        optimism=seen - mean,
    )


def _score_metrics(
    estimates: MetricEstimates, n: int, settings: EvaluationSettings
) -> ScoreMetrics:
    """Return the metrics of score number n; None and a reason where a class is empty."""
    values, low, high = (
        {name: side[n] for name, side in metrics._asdict().items()}
        for metrics in (estimates.metrics, estimates.low, estimates.high)
    )

    def of(name: str) -> Estimate:
        return as_estimate(values[name], low[name], high[name])

    rates = zip(values["tpr"], low["tpr"], high["tpr"], strict=True)
    counts = ClassCounts(int(estimates.members[n]), int(estimates.non_members[n]))
    return ScoreMetrics(
        auc=of("auc"),
        average_precision=of("average_precision"),
        best_balanced_accuracy=of("balanced_accuracy"),
        fpr_at_95_tpr=of("fpr_at_recall"),
        tpr={
            fpr: as_estimate(*ends) for fpr, ends in zip(settings.fprs, rates, strict=True)
        },
        counts=counts,
        reason=_reason(counts),
    )


def _reason(counts: ClassCounts) -> str | None:
    """Return why there are no metrics; None where there are."""
    classes = {"member": counts.members, "non-member": counts.non_members}
    empty = [name for name, count in classes.items() if not count]
    return f"no {' and no '.join(empty)} has a value" if empty else None
