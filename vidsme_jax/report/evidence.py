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
from vidsme_jax.report.words.rates import merged_rates, rates_title
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
        " reference sets. The second holds it for this very one, with the confidence of the"
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
        (titled(name, report), metrics)
        for report in reports
        for name, metrics in report.frame.numbers.items()
        if metrics.auc.value is not None
    ]
    if rows:
        rates = merged_rates(settings, (metrics.counts.non_members for _, metrics in rows))
        header = answers.header(settings, rates, first="number")
        cells = [answers.cells(title, metrics, rates) for title, metrics in rows]
        tables.append(Table(header, cells, "Single numbers"))
    note = (
        "Nothing here asks the model what it predicts. Each baseline is a classifier"
        " (kernel ridge regression) that is fitted on some videos and tried on others. Its"
        " p-value comes from permuted labels, corrected for the number of baselines. Where"
        " one is as good as a score, the score may only follow how the two sets differ. The"
        " vision tower is the audited model's, and was perhaps trained on the members."
        " A single number's AUC far from 0.5 on either side says the same. Those intervals"
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
    by_column: dict[str, list[tuple[str, ScoreMetrics]]] = {}
    for report in reports:
        for column, subsets in report.frame.subsets.items():
            for subset, metrics in subsets.items():
                title = titled(errors.shorten(subset, 60), report)
                by_column.setdefault(column, []).append((title, metrics))
    tables = [
        _subset_table(errors.shorten(column, 60), rows, settings)
        for column, rows in by_column.items()
    ]
    note = (
        "The primary score in parts of the clips, members of a part against non-members of"
        " the same part. Intervals are each part's own, not corrected for the number of"
        " parts. A TPR is left out where the part has too few non-members for its rate."
    )
    return Section("Parts of the clips", paragraphs=(note,), tables=tuple(tables))


def _subset_table(
    caption: str, rows: list[tuple[str, ScoreMetrics]], settings: EvaluationSettings
) -> Table:
    """Return the table of the parts by a column."""
    interval = f"({formatting.percent(settings.confidence)} interval)"
    header = ["part", "members", "non-members", f"AUC {interval}"]
    cells = [
        [title, str(m.counts.members), str(m.counts.non_members)]
        + [formatting.with_interval(m.auc)]
        for title, m in rows
    ]
    for rates in merged_rates(settings, (m.counts.non_members for _, m in rows)):
        columns = {rate: [_tpr_cell(m, rate) for _, m in rows] for rate in rates}
        for title, column in _agreeing(columns):
            header.append(f"{title} {interval}")
            for row, cell in zip(cells, column, strict=True):
                row.append(cell)
    return Table(header, cells, caption)


def _agreeing(columns: dict[float, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the title and the cells of rates: one column where no two cells differ.

    A dash, of a rate that is too fine, differs from nothing.
    """
    texts = [{*cells} - {"–"} for cells in zip(*columns.values(), strict=True)]
    if all(len(of_row) < 2 for of_row in texts):
        yield rates_title((*columns,)), ["".join(of_row) or "–" for of_row in texts]
        return
    for rate, cells in columns.items():
        yield rates_title((rate,)), cells


def _tpr_cell(metrics: ScoreMetrics, rate: float) -> str:
    """Return the cell of a TPR, which needs enough non-members for its rate."""
    tpr = metrics.tpr[rate]
    is_enough = metrics.counts.non_members * rate >= 1 or rate == 0
    if not is_enough or tpr.value is None:
        return "–"
    return f"{formatting.number(tpr.value)} ({formatting.span(tpr)})"


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
        "Each clip's primary score less the control's, and its ratio to the control's. What"
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
