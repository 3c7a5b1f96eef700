"""Build the sections of the report from a result and its rows."""

import json
from dataclasses import asdict

from vidsme_jax.errors import shorten
from vidsme_jax.evaluation.result import Result, ScoreMetrics
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.report.charts import (
    ChartContext,
    chart_contexts,
    methods_figures,
    primary_figures,
    slice_figures,
)
from vidsme_jax.report.clips import clip_section
from vidsme_jax.report.evidence import evidence_sections, verdict_sections
from vidsme_jax.report.overview import overview_section
from vidsme_jax.report.page import Figure, Page, Section, Table
from vidsme_jax.report.words import answers as answers_module
from vidsme_jax.report.words import formatting
from vidsme_jax.report.words.answers import FrameReport, titled
from vidsme_jax.report.words.primary import privacy_note, privacy_rows
from vidsme_jax.report.words.rates import merged_rates, rates_title
from vidsme_jax.scores import catalogue

_TITLE = "Membership inference on video clips"
_CAPTIONS = {"published": "As the published code defines them (video slice)"}
_ROWS_SHOWN = 1000  # at most, in the table of all scores: more make a browser slow


def build(result: Result) -> Page:
    """Return the report, its sections in the order in which a reader needs them."""
    reports = answers_module.frame_reports(result)
    contexts = chart_contexts(result)
    has_both = any(answers_module.has_both(report.frame) for report in reports)
    sections = [
        _answers(reports, result),
        overview_section(contexts, result),
        *verdict_sections(reports, result.settings),
        *(_metrics(reports, contexts, result) if has_both else []),
        *evidence_sections(reports, result),
        clip_section(contexts),
        _signatures(reports, result.settings),
        _terms(reports),
        *([_search(reports), _all_scores(reports, result)] if has_both else []),
        _settings(result),
    ]
    return Page(_TITLE, tuple(sections))


def _metrics(
    reports: list[FrameReport], contexts: list[ChartContext], result: Result
) -> list[Section]:
    """Return the sections of metrics and figures, which need rows of both labels."""
    settings, control = result.settings, result.control is not None
    primary = tuple(primary_figures(contexts, settings))
    slices = (*methods_figures(contexts), *slice_figures(contexts, control))
    return [
        _in_full(reports, settings, primary),
        _slices(reports, settings, control, slices),
    ]


def _terms(reports: list[FrameReport]) -> Section:
    """Return the section that explains the names of the scores, from the catalogue."""
    names = [name for report in reports for name in report.frame.scores]
    families = {name.split(".")[1] for name in names if catalogue.is_score(name)}
    rows = [
        [name, info.formula, "higher" if info.higher_is_member else "lower"]
        for name, info in catalogue.FAMILY_INFO.items()
        if name in families and not name.endswith("_diff")
    ]
    paragraphs = [*_TERMS]
    if any(map(catalogue.is_published, names)):
        paragraphs.append(
            "published: NAME is what the published code writes as NAME. It goes by its own"
            " definitions, over the video slice; members are expected lower in each."
        )
    table = Table(["family", "per position", "members are expected"], rows)
    return Section("What the names mean", paragraphs=tuple(paragraphs), tables=(table,))


_TERMS = (
    "A score is named slice.family.aggregate. The slice video holds the model's predictions"
    " at the positions of the video. The slice instruction is where it predicts the text"
    " after the video, and response where it predicts the answer.",
    "A family is a number of each position. There p is the predicted distribution and y the"
    " true token. On the video slice y is the most likely token. X_diff is X with the clip"
    " shown forwards, minus X with it shown backwards.",
    "S_{q,r} is the Sharma-Mittal entropy. The clip sets its orders q and r: by its motion"
    " (variance of optical flow) and its illumination (change of brightness).",
    "The aggregate mean is over the positions. min_K and max_K are the mean of the K %"
    " smallest or largest. min_0 is the smallest alone.",
)


def _answers(reports: list[FrameReport], result: Result) -> Section:
    """Return the section of the answers."""
    answers = [
        answer for report in reports for answer in answers_module.answers(report, result)
    ]
    return Section("Answer", tuple(answers), (answers_module.CAVEAT,))


def _signatures(reports: list[FrameReport], settings: EvaluationSettings) -> Section:
    """Return the section of the failure signatures."""
    answers = [answers_module.signature_answer(report, settings) for report in reports]
    note = (
        "Three signs by which the method is known to fail are looked for. They say where"
        " to look, not whether a clip was trained on."
    )
    return Section("Failure signatures", tuple(answers), (note,))


def _slices(
    reports: list[FrameReport],
    settings: EvaluationSettings,
    control: bool,
    figures: tuple[Figure, ...],
) -> Section:
    """Return the section of scores by slice: a table per slice, with all frame counts."""
    by_slice: dict[str, dict[str, list[FrameReport]]] = {}
    for report in reports:
        for slice_name, names in answers_module.representative_rows(report.frame).items():
            for name in names:
                by_slice.setdefault(slice_name, {}).setdefault(name, []).append(report)
    tables = []
    for slice_name, by_name in by_slice.items():
        rows = [(name, report) for name, shown in by_name.items() for report in shown]
        caption = _CAPTIONS.get(slice_name, f"Slice: {slice_name}")
        tables.append(_score_table(rows, settings, control, caption))
    note = (
        "The scores shown were chosen in advance. Each is turned so that, by its"
        " definition, members should score higher. AUC 1 is perfect separation, 0.5 is"
        " none. TPR at t is the largest true positive rate at a false positive rate"
        f" {settings.rule} t, read off the step ROC. Rates share a column where so few"
        " non-members allow the same number of false positives."
    )
    figure_note = (
        "The first figure has the ROC of all of them, the primary score thick. Its axes"
        " are logarithmic and begin at a single clip: what lies left of that was not"
        " measured."
    )
    notes = (note, figure_note, answers_module.PUBLISHED_RULES)[: 2 + settings.published]
    return Section("Scores by slice", (), notes, tuple(tables), figures)


def _score_table(
    rows: list[tuple[str, FrameReport]],
    settings: EvaluationSettings,
    control: bool,
    caption: str = "",
) -> Table:
    """Return the table of scores, each of a frame count."""
    counts = (report.frame.scores[name].counts.non_members for name, report in rows)
    rates = merged_rates(settings, counts)
    cells = [
        answers_module.cells(
            titled(f"{name} (primary)" if name == report.frame.primary else name, report),
            report.frame.scores[name],
            rates,
            control,
        )
        for name, report in rows
    ]
    return Table(answers_module.header(settings, rates, control), cells, caption)


def _in_full(
    reports: list[FrameReport], settings: EvaluationSettings, figures: tuple[Figure, ...]
) -> Section:
    """Return the section with every metric of the primary score."""
    interval = f"{formatting.percent(settings.confidence)} interval"
    tables = []
    for report in reports:
        name = report.frame.primary
        metrics = report.frame.scores[name] if name else None
        if metrics is None or metrics.auc.value is None:
            continue
        rates = answers_module.rates_text(settings, metrics.counts.non_members)
        caption = titled(f"{name}; {rates}", report)
        rows = _metric_rows(metrics, settings)
        tables.append(Table(["metric", "value", interval], rows, caption))
    note = (
        "Intervals count whole groups, large ones more. That of the AUC rests on the"
        " variance of ranks, or on their number alone where few clips are in wrong order."
        " Those of rates are for the rate of the population, with the threshold's own"
        " uncertainty. There is none where less than one non-member is to be expected above"
        " the threshold. The balanced accuracy and the advantage are those of the best"
        " threshold on these very clips."
    )
    no_metrics = "The primary score cannot be evaluated."
    paragraphs = (note, privacy_note(settings)) if tables else (no_metrics,)
    return Section("The primary score in full", (), paragraphs, tuple(tables), figures)


def _metric_rows(metrics: ScoreMetrics, settings: EvaluationSettings) -> list[list[str]]:
    """Return name, value and interval of each metric.

    Rates that allow equally many false positives share a row if their intervals agree.
    """
    estimates = {
        "AUC": metrics.auc,
        "average precision": metrics.average_precision,
        "balanced accuracy": metrics.best_balanced_accuracy,
        "advantage, TPR - FPR": metrics.advantage,
        "FPR at 95 % TPR": metrics.fpr_at_95_tpr,
    }
    for rates in merged_rates(settings, [metrics.counts.non_members]):
        by_estimate: dict[Estimate, list[float]] = {}
        for rate in rates:
            by_estimate.setdefault(metrics.tpr[rate], []).append(rate)
        estimates |= {rates_title((*r,)): tpr for tpr, r in by_estimate.items()}
    rows = [
        [title, formatting.number(estimate.value), formatting.span(estimate)]
        for title, estimate in estimates.items()
    ]
    return rows + privacy_rows(metrics)


def _all_scores(reports: list[FrameReport], result: Result) -> Section:
    """Return the section with the table of all scores."""
    control = result.control is not None
    rows = [
        (name, report)
        for report in reports
        if answers_module.has_both(report.frame)
        for name in report.frame.scores
    ]
    note = (
        f"metrics.csv holds every score ({len(rows)} rows). The best of hundreds is no"
        " finding: with nothing to find, some score still comes out well by chance."
    )
    is_short = len(rows) <= _ROWS_SHOWN
    tables = (_score_table(rows, result.settings, control),) if is_short else ()
    return Section("All scores", (), (note,), tables, folded=True, tables_in_markdown=False)


def _search(reports: list[FrameReport]) -> Section:
    """Return the section on how far the best of all scores is due to chance."""
    texts = [text for report in reports for text in answers_module.search_texts(report)]
    note = (
        "The primary score was fixed in advance. Whoever looks for the best of all scores"
        " instead finds one that separates, also where there is nothing to find."
    )
    return Section("The best of all scores", paragraphs=(note, *texts))


def _settings(result: Result) -> Section:
    """Return the section with the settings of the evaluation and each run.json."""
    infos = [(run.name, run.info) for run in result.runs]
    if result.study.control is not None:
        infos.append((f"control {result.control}", result.study.control.run.info))
    settings = _flat(asdict(result.settings))
    tables = [Table(["setting", "value"], settings, "Evaluation")]
    tables += [
        Table(["setting", "value"], _flat(info), f"Run {shorten(name, 60)}")
        for name, info in infos
    ]
    return Section("Settings and versions", tables=tuple(tables), folded=True)


def _flat(value: object, key: str = "") -> list[list[str]]:
    """Return a row for each leaf of nested dicts: `a.b.c` and its JSON.

    The dicts of a list are numbered from 1.
    """
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        value = {str(n): inner for n, inner in enumerate(value, 1)}
    if isinstance(value, dict) and value:
        return [
            row
            for name, inner in value.items()
            for row in _flat(inner, f"{key}.{name}" if key else str(name))
        ]
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return [[shorten(key, 80), shorten(text, 200)]]
