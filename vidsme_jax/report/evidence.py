"""Build the sections of further evidence: verdicts, blind baselines, subsets, controls."""

from collections.abc import Iterator

from vidsme_jax import errors
from vidsme_jax.evaluation.result import (
    BlindResult,
    CalibratedAuc,
    FrameResult,
    Result,
    RunComparison,
    ScoreMetrics,
    Verdict,
)
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.report.page import Section, Table
from vidsme_jax.report.words import answers, formatting
from vidsme_jax.report.words.answers import FrameReport, titled
from vidsme_jax.report.words.blind import blind_cells, blind_header
from vidsme_jax.report.words.verdicts import calls_hold, limit_rows


def verdict_sections(
    reports: list[FrameReport], settings: EvaluationSettings
) -> list[Section]:
    """Return the section of the call limits; none where no clips were judged.

    Limits stand there only if nothing speaks against their rates.
    """
    tables = []
    for report in reports:
        verdict = report.frame.verdict
        if isinstance(verdict, Verdict) and calls_hold(verdict, settings):
            header, rows = limit_rows(verdict)
            tables.append(Table(header, rows, titled(verdict.score, report)))
    note = (
        "Thresholds on the primary score. The first holds its rate on average over"
        " reference sets; the second for this very one, with the confidence of the"
        " intervals, and so needs a larger one. Clips of one video count as one. clips.csv"
        " has the p-value of each clip, and the one corrected for their number."
    )
    return [Section("Calling members", (), (note,), tuple(tables))] if tables else []


def evidence_sections(reports: list[FrameReport], result: Result) -> list[Section]:
    """Return the sections of blind baselines, subsets, calibration and comparison."""
    settings = result.settings
    sections = [
        _blind(reports, settings),
        _subsets(reports, settings),
        _control(reports, settings),
        _versus(reports, settings),
    ]
    return [section for section in sections if section.tables]


def _blind(reports: list[FrameReport], settings: EvaluationSettings) -> Section:
    """Return the section of blind baselines and of single numbers."""
    tables = [
        Table(
            blind_header(settings),
            [blind_cells(name, metrics) for name, metrics in blind.baselines.items()],
            titled(f"{sets}; {blind.rows} rows", report),
        )
        for report in reports
        for sets, blind in _baselines(report.frame)
        if blind.baselines
    ]
    rows = [
        answers.cells(titled(name, report), metrics)
        for report in reports
        for name, metrics in report.frame.numbers.items()
        if metrics.auc.value is not None
    ]
    if rows:
        header = answers.header(settings, first="number")
        tables.append(Table(header, rows, "Single numbers"))
    note = (
        "Nothing here asks the model what it predicts. Each baseline is a classifier"
        " (kernel ridge regression) that is fitted on some videos and tried on others; its"
        " p-value comes from permuted labels, corrected for the number of baselines. Where"
        " one is as good as a score, the score may only follow how the two sets differ. The"
        " vision tower is the audited model's, and was perhaps trained on the members."
        " A single number's AUC far from 0.5 on either side says the same; those intervals"
        " are not corrected for how many numbers there are."
    )
    return Section("Without asking the model", paragraphs=(note,), tables=tuple(tables))


def _baselines(frame: FrameResult) -> Iterator[tuple[str, BlindResult]]:
    """Yield the compared sets and their blind baselines."""
    yield "Members against non-members", frame.baselines
    if isinstance(frame.verdict, Verdict):
        yield "Judged clips against the reference", frame.verdict.baselines


def _subsets(reports: list[FrameReport], settings: EvaluationSettings) -> Section:
    """Return the section of subsets: a table per column, with all frame counts."""
    by_column: dict[str, list[list[str]]] = {}
    for report in reports:
        for column, subsets in report.frame.subsets.items():
            rows = by_column.setdefault(column, [])
            for subset, metrics in subsets.items():
                title = titled(errors.shorten(subset, 60), report)
                rows.append([title, *_subset_cells(metrics)])
    interval = f"({formatting.percent(settings.confidence)} interval)"
    header = ["part", "members", "non-members", f"AUC {interval}"]
    header += [f"TPR at {formatting.percent(fpr)} FPR {interval}" for fpr in settings.fprs]
    tables = [
        Table(header, rows, errors.shorten(column, 60))
        for column, rows in by_column.items()
    ]
    note = (
        "The primary score in parts of the clips, members of a part against non-members of"
        " the same part. Intervals are each part's own, not corrected for the number of"
        " parts; a TPR is left out where the part has too few non-members for its rate."
    )
    return Section("Parts of the clips", paragraphs=(note,), tables=tuple(tables))


def _subset_cells(metrics: ScoreMetrics) -> list[str]:
    """Return the cells of a subset; a TPR needs enough non-members for its rate."""
    counts = metrics.counts
    row = [str(counts.members), str(counts.non_members)]
    row.append(formatting.with_interval(metrics.auc))
    for rate, tpr in metrics.tpr.items():
        is_enough = counts.non_members * rate >= 1 or rate == 0
        ends = formatting.span(tpr)
        is_shown = is_enough and tpr.value is not None
        row.append(f"{formatting.number(tpr.value)} ({ends})" if is_shown else "–")
    return row


def _control(reports: list[FrameReport], settings: EvaluationSettings) -> Section:
    """Return the section of the primary score calibrated by the control."""
    rows = [
        [
            titled(f"{report.frame.primary}, {name}", report),
            formatting.with_interval(calibrated.auc),
            calibrated.reason or "",
        ]
        for report in reports
        for name, calibrated in _calibrated(report.frame)
    ]
    interval = f"({formatting.percent(settings.confidence)} interval)"
    note = (
        "Each clip's primary score less the control's, and its ratio to the control's: what"
        " is easy or hard for every model drops out. clips.csv has both for each clip. A"
        " ratio has an order only where the control's values have one sign."
    )
    table = Table(["calibrated score", f"AUC {interval}", "why not"], rows)
    return Section("Calibrated by the control", (), (note,), (table,) if rows else ())


def _calibrated(frame: FrameResult) -> Iterator[tuple[str, CalibratedAuc]]:
    """Yield the name and the AUC of each calibration."""
    control = frame.scores[frame.primary].control if frame.primary else None
    if control is not None and control.calibrated is not None:
        yield "difference", control.calibrated.difference
        yield "ratio", control.calibrated.ratio


def _versus(reports: list[FrameReport], settings: EvaluationSettings) -> Section:
    """Return the section that compares each run and frame count with the first."""
    rows = [
        [report.title, *_versus_cells(report.frame.versus_first)]
        for report in reports
        if report.frame.versus_first is not None
    ]
    interval = f"({formatting.percent(settings.confidence)} interval)"
    header = ["run", "its AUC", "the first's", f"difference {interval}", "rows"]
    note = (
        "The primary score of each run and frame count less that of the first, on the clips"
        " that both scored, resampled together."
    )
    table = Table(header, rows)
    return Section("Against the first run", (), (note,), (table,) if rows else ())


def _versus_cells(comparison: RunComparison) -> list[str]:
    """Return the cells of a comparison with the first run."""
    counts = comparison.counts
    return [
        formatting.number(comparison.auc),
        formatting.number(comparison.first_auc),
        formatting.with_interval(comparison.difference),
        f"{counts.members} members, {counts.non_members} non-members",
    ]
