"""Draw the figures of the report for each run and frame count."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from vidsme_jax.errors import shorten
from vidsme_jax.evaluation.result import FrameResult, Result, ScoreMetrics
from vidsme_jax.evaluation.samples import Sample, labelled_scores
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import FrameStudy
from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.records import runs as run_files
from vidsme_jax.records.runs import distinct_names
from vidsme_jax.report import figures
from vidsme_jax.report.difference_map import frame_means
from vidsme_jax.report.page import Figure
from vidsme_jax.report.roc import Curve, methods_figure, roc_figure
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
        titles: what each clip is called, by its id.
        differences: mean difference of sme in each frame, by the id of the clip.
    """

    report: FrameReport
    study: FrameStudy
    run: run_files.Run
    slug: str
    last: bool
    titles: dict[str, str]
    differences: dict[str, Float[np.ndarray, "frame"]]


def chart_contexts(result: Result) -> list[ChartContext]:
    """Return every run and frame count of a result with its rows."""
    reports = iter(frame_reports(result))
    names = distinct_names([_slug(run.name) for run in result.runs])
    out = []
    for run, name in zip(result.study.runs, names, strict=True):
        for study in run.frames:
            slug, last = f"{name}-f{study.frames}", study is run.frames[-1]
            titles = clip_titles(study.table)
            differences = _differences(run.run.curves, study.frames)
            where = (next(reports), study, run.run, slug, last)
            out.append(ChartContext(*where, titles, differences))
    return out


def clip_titles(table: pa.Table) -> dict[str, str]:
    """Return the name of each clip's file by its id; the id itself where there is none."""
    ids = table["id"].to_pylist()
    has_files = "video" in table.column_names
    files = table["video"].to_pylist() if has_files else [None] * len(ids)
    out = {}
    for clip, file in zip(ids, files, strict=True):
        name = re.split(r"[/\\]", str(file).rstrip("/\\"))[-1] if file else ""
        titles = (shorten(text, 60).strip() for text in (name, clip))
        out[clip] = next(filter(None, titles), "clip without a name")
    return out


def _differences(curves: pa.Table, frames: int) -> dict[str, Float[np.ndarray, "frame"]]:
    """Return the mean difference of sme in each frame by clip id, where it has values."""
    if "video.sme" not in curves.column_names or not frames:
        return {}
    rows = curves.filter(pc.equal(curves["frames"], frames))
    out = {}
    for clip, curve in zip(rows["id"].to_pylist(), rows["video.sme"], strict=True):
        if curve.is_valid:
            values = curve.values.to_numpy(zero_copy_only=False).astype(np.float64)
            means = frame_means(values, frames)
            if np.isfinite(means).any():
                out[clip] = means
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
    svg = roc_figure(title, curves, counts.members, counts.non_members)
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


def methods_figures(contexts: list[ChartContext]) -> Iterator[Figure]:
    """Yield one ROC figure of all representative scores for each frame count."""
    for context in contexts:
        frame = context.report.frame
        curves = [*_method_curves(frame, context.study.labelled)]
        if len(curves) > 1:
            counts = frame.counts.evaluated
            title = titled("ROC of the scores chosen in advance", context.report)
            svg = methods_figure(title, curves, counts.members, counts.non_members)
            yield Figure(f"{context.slug}-roc-all", title, svg)


def _method_curves(frame: FrameResult, sample: Sample) -> Iterator[Curve]:
    """Yield the ROC of the primary score, then of the other scores by slice."""
    by_slice = representative_rows(frame)
    rows: list[tuple[int | None, str]] = [(None, frame.primary)] if frame.primary else []
    rows += [
        (kind, name)
        for kind, names in enumerate(by_slice.values())
        for name in names
        if name != frame.primary
    ]
    for kind, name in rows:
        auc = frame.scores[name].auc.value
        if auc is not None:
            fpr, tpr, _ = roc(sample.scores[name], sample.member)
            yield Curve(f"{auc:.2f} {name}", fpr, tpr, kind=kind)


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
