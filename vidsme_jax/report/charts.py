"""Draw the figures of the report for each run and frame count."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vidsme_jax.evaluation.result import Result, ScoreMetrics
from vidsme_jax.evaluation.samples import Sample, labelled_scores
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import FrameStudy
from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.records import runs as run_files
from vidsme_jax.records.runs import distinct_names
from vidsme_jax.report import figures
from vidsme_jax.report.figures import Curve
from vidsme_jax.report.page import Figure
from vidsme_jax.report.words.answers import (
    FrameReport,
    frame_reports,
    representative_rows,
    titled,
)
from vidsme_jax.report.words.formatting import percent
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.metrics import roc
from vidsme_jax.stats.rates import tpr_interval

# Groups of scores that are no slices, as titles call them.
_GROUPS = {"published": "published definitions"}


@dataclass(frozen=True)
class ChartContext:
    """A frame count of a run with the data of its figures.

    Attributes:
        report: result of the frame count, with its title.
        study: rows of the frame count.
        run: the run as it was read.
        slug: start of the names of the figures.
        last: whether it is the largest frame count of its run.
    """

    report: FrameReport
    study: FrameStudy
    run: run_files.Run
    slug: str
    last: bool


def chart_contexts(result: Result) -> list[ChartContext]:
    """Return every run and frame count of a result with its rows."""
    reports = iter(frame_reports(result))
    names = distinct_names([_slug(run.name) for run in result.runs])
    out = []
    for run, name in zip(result.study.runs, names, strict=True):
        for study in run.frames:
            slug, last = f"{name}-f{study.frames}", study is run.frames[-1]
            out.append(ChartContext(next(reports), study, run.run, slug, last))
    return out


def _slug(name: str) -> str:
    """Return a name with only letters, digits, - and _, safe in a path and a link."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60].strip("-") or "run"


def primary_figures(
    contexts: list[ChartContext], settings: EvaluationSettings
) -> Iterator[Figure]:
    """Yield the ROC and the histogram of the primary score of each frame count."""
    for context in contexts:
        frame = context.report.frame
        name = frame.primary
        if name and frame.scores[name].auc.value is not None:
            yield _roc(context, name, settings)
            yield _histogram(context, name)


def slice_figures(contexts: list[ChartContext], control: bool) -> Iterator[Figure]:
    """Yield the AUCs of the representative scores of each frame count, by slice."""
    for context in contexts:
        evaluated = context.report.frame.counts.evaluated
        if evaluated.members and evaluated.non_members:
            rows = representative_rows(context.report.frame)
            for slice_name, names in rows.items():
                yield _dots(context, slice_name, names, control)


def _roc(context: ChartContext, name: str, settings: EvaluationSettings) -> Figure:
    """Draw the ROC of a score, with the control's if there is one."""
    curves = [_curve("target", context.study.labelled, name, settings)]
    metrics, pairs = context.report.frame.scores[name], context.study.paired_labelled
    if pairs is not None and metrics.control and metrics.control.auc.value is not None:
        curves.append(_curve("control, dashed", pairs.control, name, settings))
    counts = metrics.counts
    around = f"with {percent(settings.confidence)} band, log axes from 1/n"
    title = titled(f"ROC of {name} {around}", context.report)
    svg = figures.roc_figure(title, curves, counts.members, counts.non_members)
    return Figure(f"{context.slug}-roc", title, svg)


def _curve(label: str, sample: Sample, name: str, settings: EvaluationSettings) -> Curve:
    """Return the ROC of a score of a sample, with its band."""
    values = sample.scores[name]
    finest = 1 / max(2, int(np.sum(~sample.member)))
    grid = tuple(np.geomspace(finest, 1, 40).tolist())
    low, high = tpr_interval(labelled_scores(sample, values), grid, settings.confidence)
    exists = ~np.isnan(low[0])
    band = (np.array(grid)[exists], low[0, exists], high[0, exists])
    fpr, tpr, _ = roc(values, sample.member)
    return Curve(label, fpr, tpr, band if exists.any() else None)


def _histogram(context: ChartContext, name: str) -> Figure:
    """Draw the values of a score for members and for non-members."""
    sample, is_higher = context.study.labelled, catalogue.higher_is_member(name)
    values = sample.scores[name] if is_higher else -sample.scores[name]
    title = titled(f"Values of {name}", context.report)
    svg = figures.histogram_figure(
        title,
        values[sample.member],
        values[~sample.member],
        f"{name} ({'higher' if is_higher else 'lower'} = more member-like)",
    )
    return Figure(f"{context.slug}-histogram", title, svg)


def _dots(
    context: ChartContext, slice_name: str, names: list[str], control: bool
) -> Figure:
    """Draw the AUCs of scores of a slice, with the control's if there is one."""
    scores = context.report.frame.scores
    rows = [(name, _aucs(scores[name])) for name in names]
    series = ("target", "control")[: 2 if control else 1]
    group = _GROUPS.get(slice_name, f"slice {slice_name}")
    title = titled(f"AUC of the representative scores, {group}", context.report)
    svg = figures.dot_figure(title, rows, series)
    return Figure(f"{context.slug}-auc-{slice_name}", title, svg)


def _aucs(metrics: ScoreMetrics) -> list[Estimate]:
    """Return the AUC of a score, and the control's if there is one."""
    return [metrics.auc] if metrics.control is None else [metrics.auc, metrics.control.auc]
