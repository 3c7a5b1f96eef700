"""Say in words and in table rows what a result shows, for report and terminal."""

from dataclasses import astuple, dataclass

import numpy as np

from vidsme_jax.errors import shorten
from vidsme_jax.evaluation.result import (
    FrameResult,
    Result,
    RunResult,
    ScoreMetrics,
    Verdict,
)
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.values import ClassCounts
from vidsme_jax.report.words.blind import blind_texts
from vidsme_jax.report.words.formatting import (
    both_classes,
    counted,
    listed,
    number,
    or_one,
    p_text,
    percent,
    side_of,
    with_interval,
)
from vidsme_jax.report.words.primary import primary_lead, significance_of, way_on
from vidsme_jax.report.words.rates import rates_title
from vidsme_jax.report.words.signatures import signature_texts, summary
from vidsme_jax.report.words.verdicts import verdict_texts
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.metrics import FEW_GROUPS, allowed_false

# Chosen before anything was measured, one to three per family of scores. Choosing the
# best of all columns would show chance.
_REPRESENTATIVES = (
    "sme.mean",
    "sme.min_10",
    "logp.mean",
    "logp.min_10",
    "renyi_one.mean",
    "renyi_two.mean",
    "gap.mean",
    "minkpp.min_10",
    "renyi_one_diff.mean",
    "logp_diff.mean",
)
REPRESENTATIVES = {
    "video": (*_REPRESENTATIVES, "sme_aligned.min_10"),
    "instruction": _REPRESENTATIVES,
    "response": _REPRESENTATIVES,
}
# Of the scores that the published code writes; shown where a run has them.
_PUBLISHED = (
    "ppl",
    "Min_10.0% Prob",
    "Max_100% renyi_1",
    "Max_Prob_Gap",
    "Modified_entropy",
    "Min_0% vetp",
    "Min_10.0% vetp",
    "Mean_vetp",
    "sequence_vetp",
)
PUBLISHED_HEADER = (
    "AUC (published)",
    "accuracy (published)",
    "TPR below 5 % FPR (published)",
)
PUBLISHED_RULES = (
    "The columns called published follow the rules of the published code. Infinite scores"
    " become the largest or smallest finite one. Accuracy is the balanced accuracy at the"
    " threshold that is best on these very clips. TPR below 5 % FPR is read at the last"
    " vertex of the ROC with an FPR strictly below 5 %. Vertices between equal steps were"
    " dropped before. The other columns are those of this report."
)
CAVEAT = (
    "Scores that separate are evidence consistent with training use, not proof of it. They"
    " also differ between sets of clips for other reasons."
)


@dataclass(frozen=True)
class FrameReport:
    """A run at a frame count, as the report shows it.

    Attributes:
        run: result of the run.
        frame: result of the frame count.
        title: name of run and frame count; empty where there is only one.
    """

    run: RunResult
    frame: FrameResult
    title: str


@dataclass(frozen=True)
class Answer:
    """An answer in a sentence, and what limits it.

    Attributes:
        title: title, where there are several answers.
        lead: the answer.
        notes: sentences after the answer.
        warning: sentence before the answer, where it should not be believed.
    """

    title: str
    lead: str
    notes: tuple[str, ...]
    warning: str = ""


def frame_reports(result: Result) -> list[FrameReport]:
    """Return every run and frame count of a result, in order."""
    pairs = [(run, frame) for run in result.runs for frame in run.frames]
    return [
        FrameReport(run, frame, _frame_title(run, frame) * (len(pairs) > 1))
        for run, frame in pairs
    ]


def _frame_title(run: RunResult, frame: FrameResult) -> str:
    """Return the name of a run with its frame count."""
    frames = f", {frame.frames} frames" if frame.frames else ""  # 0: from elsewhere
    return shorten(run.name, 60) + frames


def titled(text: str, report: FrameReport) -> str:
    """Return a title followed by the title of a run and frame count, if any."""
    return f"{text} · {report.title}" if report.title else text


def answers(report: FrameReport, result: Result) -> list[Answer]:
    """Return the answers on members against non-members, and on clips to judge."""
    out = [answer(report, result)] if has_both(report.frame) else []
    verdict = report.frame.verdict
    if verdict is not None:
        title = f"{report.title}: clips to judge" if report.title else "Clips to judge"
        texts = verdict_texts(verdict, result.settings, result.reference)
        out.append(Answer(title, *texts))
    return out


def signature_answer(report: FrameReport, settings: EvaluationSettings) -> Answer:
    """Return the answer on the failure signatures of a frame count."""
    signatures = report.frame.signatures
    texts = signature_texts(signatures, report.run.perturbation, settings)
    return Answer(report.title, *summary(signatures, texts))


def has_both(frame: FrameResult) -> bool:
    """Tell whether both classes have rows, or none were to be judged instead."""
    return min(astuple(frame.counts.evaluated)) > 0 or frame.verdict is None


def answer(report: FrameReport, result: Result) -> Answer:
    """Return the answer on the primary score of a frame count."""
    frame, settings = report.frame, result.settings
    metrics = frame.scores[frame.primary] if frame.primary else None
    warning, blind_notes = blind_texts(frame.baselines, settings)
    notes = [*way_on(frame, settings), *blind_notes]
    notes += [_left_out(frame, metrics), *_group_notes(frame)]
    if metrics is not None and metrics.auc.value is not None:
        notes = [*_control_notes(frame, result), *notes]
        notes += _step_notes(metrics.counts.non_members, settings)
    return Answer(report.title, primary_lead(frame, settings), tuple(notes), warning)


def representative_rows(frame: FrameResult) -> dict[str, list[str]]:
    """Return the names of the representative scores of a frame count, by slice.

    The published code's scores are under `published`.
    """
    if frame.primary == catalogue.EXTERNAL:
        return {catalogue.EXTERNAL: [catalogue.EXTERNAL]}
    candidates = {
        slice_name: [f"{slice_name}.{name}" for name in names]
        for slice_name, names in REPRESENTATIVES.items()
    }
    candidates["published"] = [catalogue.PUBLISHED + name for name in _PUBLISHED]
    scores = frame.scores if has_both(frame) else {}
    return {
        slice_name: kept
        for slice_name, names in candidates.items()
        if (kept := [name for name in names if name in scores])
    }


def search_texts(report: FrameReport) -> list[str]:
    """Return sentences on how far the best of all scores is due to chance."""
    scores = report.frame.scores
    aucs = {n: m.auc.value for n, m in scores.items() if m.auc.value is not None}
    if len(aucs) < 2:
        return []
    p_adjusted = {name: significance_of(scores[name]).p_adjusted for name in aucs}
    start = f"{report.title}: of" if report.title else "Of"
    name = max(aucs, key=lambda name: aucs[name])
    smallest = min(aucs, key=lambda name: or_one(p_adjusted[name]))
    texts = [
        f"{start} {len(aucs)} scores, {name} has the largest AUC, {number(aucs[name])}."
        " Corrected for their number, the smallest p-value"
        f" is {p_text(p_adjusted[smallest])}, of {smallest}. It counts how often any score"
        " comes as far under permuted labels, each in its standard deviations."
    ]
    search = report.frame.search
    if search is None:
        return texts
    held_out = search.auc_held_out
    low, high = number(held_out.low), number(held_out.high)
    return [
        *texts,
        f"Chosen on one half of the groups, the best score has AUC"
        f" {number(search.auc_seen)} there and {number(held_out.value)} on the other half."
        f" The latter is {low} to {high} in nine of ten of {search.splits} random splits."
        f" So choosing flatters by {number(search.optimism)}. Chosen most often, in"
        f" {percent(round(search.chosen_share, 3))} of the splits: {search.chosen}.",
    ]


def header(
    settings: EvaluationSettings,
    rates: list[tuple[float, ...]],
    control: bool = False,
    first: str = "score",
) -> list[str]:
    """Return the names of the columns of `cells`, for groups of `merged_rates`."""
    interval = f"({percent(settings.confidence)} interval)"
    names = [first, f"AUC {interval}", "balanced accuracy (best threshold)"]
    names += map(rates_title, rates)
    names += PUBLISHED_HEADER if settings.published else ()
    if not control:
        return names
    return [*names, f"control AUC {interval}", f"AUC minus control {interval}"]


def cells(
    name: str,
    metrics: ScoreMetrics,
    rates: list[tuple[float, ...]],
    control: bool = False,
    digits: int = 3,
) -> list[str]:
    """Return the cells of a score; `header` names their columns."""
    best = metrics.best_balanced_accuracy.value
    row = [name, with_interval(metrics.auc, digits), number(best, digits)]
    row += [number(metrics.tpr[group[0]].value, digits) for group in rates]
    if metrics.published is not None:
        row += [number(value, digits) for value in astuple(metrics.published)]
    if not control:
        return row
    if metrics.control is None:  # a number of the clips, equal for every model
        return [*row, "–", "–"]
    estimates = (metrics.control.auc, metrics.control.difference)
    return [*row, *(with_interval(estimate, digits) for estimate in estimates)]


def _control_notes(frame: FrameResult, result: Result) -> list[str]:
    """Return sentences on the control of the primary score, or on its absence."""
    assert frame.primary is not None
    control = frame.scores[frame.primary].control
    if control is None or result.control is None:
        return [
            "No control run was given, so a difference between the two sets of clips"
            " cannot be told apart from an effect of training."
        ]
    name = shorten(result.control, 60)
    if control.auc.value is None:
        return [f"The control {name} cannot be compared: {control.reason}."]
    notes = [
        f"Under the control {name}, which should have seen none of these clips,"
        f" {frame.primary} has AUC {with_interval(control.auc)}. Target minus control is"
        f" {with_interval(control.difference)}, of {both_classes(control.counts)}."
    ]
    if result.control_differs:
        notes.append(f"The control was scored otherwise: {result.control_differs}.")
    if side_of(control.auc) != "in":
        notes.append(
            "The control tells the two sets apart too. This is evidence of a difference"
            " between the sets rather than of training."
        )
    if side_of(control.difference, 0.0) != "above":
        notes.append(
            f"By {frame.primary} the target does not exceed the control beyond the"
            " interval."
        )
    return notes


def rates_text(settings: EvaluationSettings, negatives: int) -> str:
    """Return how rates are read off the ROC, with so many non-members."""
    return (
        f"TPR is read off the step ROC where FPR {settings.rule} t; the finest step of"
        f" FPR is 1/{negatives}"
    )


def _step_notes(negatives: int, settings: EvaluationSettings) -> list[str]:
    """Return a sentence on how rates are read, and on rates that are too fine."""
    fpr_rule, fprs = settings.rule, settings.fprs
    allowed = allowed_false(fprs, np.array([float(negatives)]), fpr_rule)
    coarse = [
        percent(fpr) for fpr, count in zip(fprs, allowed, strict=True) if fpr and not count
    ]
    text = f"{rates_text(settings, negatives)}."
    if fpr_rule == "<" and 0 in fprs:
        text += " No FPR is below 0, so that TPR at 0 % is 0."
    if coarse:
        text += f" TPR at {listed(coarse)} is the TPR at zero false positives."
    return [text]


def _left_out(frame: FrameResult, metrics: ScoreMetrics | None) -> str:
    """Return a sentence on the rows that were left out."""
    phrases = []
    failed = {
        status: ClassCounts(count.member, count.non_member)
        for status, count in frame.counts.status.items()
        if status != "ok" and (count.member or count.non_member)
    }
    if failed:
        names = ", ".join(shorten(status, 30) for status in failed)
        total = ClassCounts(*map(sum, zip(*map(astuple, failed.values()), strict=True)))
        phrases.append(f"{both_classes(total)} with status {names}")
    if metrics is not None:
        rows = (astuple(frame.counts.evaluated), astuple(metrics.counts))
        missing = ClassCounts(*(a - b for a, b in zip(*rows, strict=True)))
        if any(astuple(missing)):
            phrases.append(
                f"{both_classes(missing)} without a value of the primary score (NaN)"
            )
    if frame.counts.labels.unlabelled:
        judged = ", judged below" if isinstance(frame.verdict, Verdict) else ""
        unlabelled = counted(frame.counts.labels.unlabelled, "row")
        phrases.append(f"{unlabelled} without a label{judged}")
    return f"Left out: {'; '.join(phrases)}." if phrases else "No row was left out."


def _group_notes(frame: FrameResult) -> list[str]:
    """Return sentences on groups: their number, few of them, and mixed labels."""
    groups = frame.counts.evaluated_groups
    notes = []
    if frame.counts.evaluated != groups:
        members = counted(groups.members, "member group")
        others = counted(groups.non_members, "non-member group")
        notes.append(
            f"The rows come from {members} and {others} (videos), which are resampled and"
            " permuted whole."
        )
    if min(astuple(groups)) < FEW_GROUPS:
        notes.append(
            f"A class has fewer than {FEW_GROUPS} groups: all here rests on few videos."
        )
    shown = [shorten(name, 30) for name in frame.counts.mixed_names]
    examples = f" ({', '.join(shown)})" if shown else ""
    for count, noun, how in (
        (frame.counts.mixed_groups, "group", ""),
        (
            frame.counts.mixed_clips,
            "clip",
            " by other names, with the same frames to the last bit",
        ),
    ):
        if count:
            verb = "stands" if count == 1 else "stand"
            notes.append(
                f"{counted(count, noun)} {verb} under both labels{how}; check the"
                f" manifest{examples}."
            )
    return notes
