"""From the rows of a frame count to metrics: of every score, and against a control."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from vidsme_jax.evaluation.estimates import (
    MetricEstimates,
    as_estimate,
    difference,
    estimate_metrics,
    plain,
)
from vidsme_jax.evaluation.result import (
    CalibratedAuc,
    CalibratedAucs,
    ControlMetrics,
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
    labelled,
    labels_of,
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
from vidsme_jax.stats.permutation import choose_on_half, permutation_test

Key = TypeVar("Key", bound=Hashable)
_MIDDLE = (0.05, 0.95)  # of the splits


def count_rows(study: FrameStudy) -> RowCounts:
    """Count the rows of a frame count by label, status and group."""
    table, sample = study.table, study.labelled
    labels, status = labels_of(table), status_of(table)
    groups = np.array(groups_of(table), object)
    members, others, unlabelled = (
        set(groups[labels == label]) for label in (MEMBER, NON_MEMBER, UNLABELLED)
    )
    clusters = (len(np.unique(sample.cluster[side])) for side in _sides(sample))
    return RowCounts(
        rows=len(table),
        labels=_by_label(labels),
        status={s: _by_label(labels[status == s]) for s in sorted(set(status))},
        groups=LabelCounts(len(members), len(others), len(unlabelled)),
        mixed_groups=len(members & others),
        evaluated=ClassCounts(*(int(np.sum(side)) for side in _sides(sample))),
        evaluated_groups=ClassCounts(*clusters),
    )


def _by_label(labels) -> LabelCounts:
    kinds = (MEMBER, NON_MEMBER, UNLABELLED)
    return LabelCounts(*(int(np.sum(labels == label)) for label in kinds))


def _sides(sample: Sample):
    return sample.member, ~sample.member


def evaluate_columns(
    sample: Sample,
    columns: Mapping[Key, Float[np.ndarray, "row"]],
    settings: EvaluationSettings,
) -> dict[Key, ScoreMetrics]:
    """Return the metrics of each column, which holds a number per row of the sample.

    Args:
        sample: whose labels and clusters count.
        columns: higher = member, by any key.
        settings: of the evaluation.
    """
    if not columns:
        return {}
    estimates = estimate_metrics(labelled(sample, *columns.values()), settings)
    return _metrics_of(sample, columns, estimates, settings)


def _metrics_of(
    sample: Sample,
    columns: Mapping[Key, Float[np.ndarray, "row"]],
    estimates: MetricEstimates,
    settings: EvaluationSettings,
) -> dict[Key, ScoreMetrics]:
    out = {name: _score_metrics(estimates, n, settings) for n, name in enumerate(columns)}
    if settings.published:
        for name, column in columns.items():
            rules = published_metrics(column, sample.member)
            published = PublishedMetrics(**{k: plain(v) for k, v in rules.items()})
            out[name] = replace(out[name], published=published)
    return out


def evaluate_scores(
    study: FrameStudy, settings: EvaluationSettings
) -> dict[str, ScoreMetrics]:
    """Evaluate every score of the labelled rows, by its name.

    With a control, each score is compared with the control's on the clips of both.

    Raises:
        InputError: a `settings.score` that is not there.
    """
    sample = study.labelled
    if not sample.scores:
        return {}
    names, primary = list(sample.scores), primary_of(sample, settings.score)
    estimates = estimate_metrics(labelled(sample, *sample.scores.values()), settings)
    out = _metrics_of(sample, sample.scores, estimates, settings)
    for name, significance in _significance(sample, names, settings).items():
        out[name] = replace(out[name], significance=significance)
    if primary:
        aucs, draws = estimates.metrics.auc, estimates.draws
        n = names.index(primary)
        for k, name in enumerate(names):
            over = difference(aucs[k] - aucs[n], draws[k] - draws[n], settings)
            out[name] = replace(out[name], over_primary=over)
    if study.paired_labelled is None:
        return out
    controls = _compare(study.paired_labelled, primary, settings)
    return {n: replace(metrics, control=controls[n]) for n, metrics in out.items()}


class CalibratedValues(NamedTuple):
    """Each clip's score less the control's, and its ratio to the control's.

    Attributes:
        difference: of each clip.
        ratio: of each clip; None where it has no order.
    """

    difference: Float[np.ndarray, "row"]
    ratio: Float[np.ndarray, "row"] | None


def calibrated(
    target: Float[np.ndarray, "row"], control: Float[np.ndarray, "row"]
) -> CalibratedValues:
    """Set each clip's score against the control's, by difference and by ratio.

    Higher = member in both. Where every control score is negative (a log-probability, a
    negated entropy), a smaller ratio means member, and it is negated; where they take
    both signs a ratio has no order.
    """
    values = control[~np.isnan(control)]
    ratio = None
    if len(values) and (np.all(values > 0) or np.all(values < 0)):
        ratio = target / np.abs(control)
    return CalibratedValues(target - control, ratio)


def _compare(
    pairs: PairedSamples, primary: str | None, settings: EvaluationSettings
) -> dict[str, ControlMetrics]:
    """Return the control's AUC, and target minus control on the same resamples."""
    target, control = pairs.target, pairs.control
    missing = np.full(len(target.ids), np.nan)
    ours = np.stack(list(target.scores.values()))
    theirs = np.stack([control.scores.get(name, missing) for name in target.scores])
    both = ~(np.isnan(ours) | np.isnan(theirs))
    mine, other = (
        estimate_metrics(labelled(target, *np.where(both, x, np.nan)), settings)
        for x in (ours, theirs)
    )
    point = mine.metrics.auc - other.metrics.auc
    out = {}
    for n, name in enumerate(target.scores):
        metrics = _score_metrics(other, n, settings)
        out[name] = ControlMetrics(
            auc=metrics.auc,
            target_auc=plain(mine.metrics.auc[n]),
            difference=difference(point[n], mine.draws[n] - other.draws[n], settings),
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
    """Return the AUC of the calibrated primary score, and why one of them has none."""
    target = pairs.target
    values = calibrated(target.scores[name], pairs.control.scores[name])
    columns = {key: x for key, x in values._asdict().items() if x is not None}
    aucs = {
        key: CalibratedAuc(metrics.auc, metrics.counts, metrics.reason)
        for key, metrics in evaluate_columns(target, columns, settings).items()
    }
    reason = "the control's values take both signs"
    none = CalibratedAuc(Estimate(None, None, None), None, reason)
    return CalibratedAucs(aucs["difference"], aucs.get("ratio", none))


def compare_runs(
    first: Sample, second: Sample, settings: EvaluationSettings
) -> RunComparison | None:
    """Return how the primary score does in the second sample less in the first.

    Rows are joined by id alone, so that models and frame counts can be compared; labels and
    groups are the first's. None where either lacks the score, or they share no row.
    """
    name, other = (primary_of(sample, settings.score) for sample in (first, second))
    place = {key: k for k, key in enumerate(second.ids)}
    rows = [k for k, key in enumerate(first.ids) if key in place]
    if name is None or name != other or not rows:
        return None
    ours = first.take(rows)
    theirs = second.take([place[key] for key in ours.ids])
    values = np.stack([ours.scores[name], theirs.scores[name]])
    values = np.where(np.isnan(values).any(axis=0), np.nan, values)
    estimates = estimate_metrics(labelled(ours, *values), settings)
    auc, draws = estimates.metrics.auc, estimates.draws
    return RunComparison(
        first_auc=plain(auc[0]),
        auc=plain(auc[1]),
        difference=difference(auc[1] - auc[0], draws[1] - draws[0], settings),
        counts=ClassCounts(int(estimates.members[0]), int(estimates.non_members[0])),
    )


def _significance(
    sample: Sample, names: list[str], settings: EvaluationSettings
) -> dict[str, Significance]:
    """Return each score's p-value, and the one adjusted for all these scores."""
    rows = labelled(sample, *(sample.scores[name] for name in names))
    tested = permutation_test(rows, settings.permutations, settings.seed)
    return {
        name: Significance(plain(p), plain(adjusted))
        for name, p, adjusted in zip(names, *tested, strict=True)
    }


def search_scores(sample: Sample, settings: EvaluationSettings) -> SearchResult | None:
    """Return what the score that is best on half of the groups reaches on the others.

    None where there is nothing to choose from, or a class has fewer than two groups.
    """
    names = list(sample.scores)
    groups = min(len(np.unique(sample.cluster[side])) for side in _sides(sample))
    if len(names) < 2 or groups < 2:
        return None
    rows = labelled(sample, *sample.scores.values())
    choices = choose_on_half(rows, settings.splits, settings.seed)
    has_value = ~np.isnan(choices.auc_held_out)
    if not has_value.any():
        return None
    often = np.bincount(choices.chosen, minlength=len(names))
    held_out = choices.auc_held_out[has_value]
    seen, mean = float(np.mean(choices.auc_seen[has_value])), float(np.mean(held_out))
    low, high = (float(x) for x in np.quantile(held_out, _MIDDLE))
    return SearchResult(
        scores=len(names),
        splits=settings.splits,
        chosen=names[int(np.argmax(often))],
        chosen_share=float(np.max(often)) / settings.splits,
        auc_seen=seen,
        auc_held_out=Estimate(mean, low, high),
        optimism=seen - mean,
    )


def _score_metrics(
    estimates: MetricEstimates, n: int, settings: EvaluationSettings
) -> ScoreMetrics:
    """Return all metrics of one score; a class without rows gives None and a reason."""
    values, low, high = (
        {name: side[n] for name, side in metrics._asdict().items()}
        for metrics in (estimates.metrics, estimates.low, estimates.high)
    )

    def of(name: str) -> Estimate:
        return as_estimate(values[name], low[name], high[name])

    advantage = (2 * side["balanced_accuracy"] - 1 for side in (values, low, high))
    rates = zip(values["tpr"], low["tpr"], high["tpr"], strict=True)
    counts = ClassCounts(int(estimates.members[n]), int(estimates.non_members[n]))
    return ScoreMetrics(
        auc=of("auc"),
        average_precision=of("average_precision"),
        best_balanced_accuracy=of("balanced_accuracy"),
        fpr_at_95_tpr=of("fpr_at_recall"),
        advantage=as_estimate(*advantage),
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
