"""Make the rows of metrics.csv and clips.csv."""

from collections.abc import Iterator
from dataclasses import asdict

from vidsme_jax.evaluation.columns import Cell, estimate_columns, rate_columns
from vidsme_jax.evaluation.result import (
    BlindMetrics,
    ClipResult,
    ClipVerdict,
    ControlMetrics,
    FrameResult,
    Result,
    ScoreMetrics,
    Verdict,
)
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.values import Significance
from vidsme_jax.report.words.verdicts import calls_hold

Row = dict[str, Cell]


def metric_rows(result: Result) -> list[Row]:
    """Return a flat row for each score, number, baseline and subset of a result.

    Its `kind` is score, number (of the clips, without a model), baseline or subset. A
    baseline is a classifier without the model. A subset is one of the clips, with the
    metrics of the primary score.
    """
    fpr_rule = result.settings.rule
    return [
        {"run": run.name, "frames": frame.frames, **row}
        for run in result.runs
        for frame in run.frames
        for row in _metric_rows(frame, fpr_rule)
    ]


def clip_rows(result: Result) -> list[Row]:
    """Return a row for each clip that has a primary score or was judged."""
    return [
        {"run": run.name, "frames": frame.frames, **row}
        for run in result.runs
        for frame in run.frames
        for row in _clips(frame, result.settings)
    ]


def _clips(frame: FrameResult, settings: EvaluationSettings) -> Iterator[Row]:
    """Yield the columns of each clip; without p-values where these do not hold."""
    verdict = frame.verdict
    holds = isinstance(verdict, Verdict) and calls_hold(verdict, settings)
    for clip in frame.clips:
        yield _clip(clip, holds)


def _clip(clip: ClipResult, calls_are_valid: bool) -> Row:
    row: Row = {
        "id": clip.id,
        "group": clip.group,
        "label": clip.label,
        "value": clip.value,
    }
    if clip.control is not None:
        row |= {
            "control": clip.control.score,
            "difference": clip.control.difference,
            "ratio": clip.control.ratio,
        }
    if clip.verdict is not None:
        row |= asdict(clip.verdict if calls_are_valid else ClipVerdict())
    return row


def _metric_rows(frame: FrameResult, fpr_rule: str) -> Iterator[Row]:
    """Yield the rows of a frame count."""
    for name, metrics in frame.scores.items():
        is_primary = int(name == frame.primary)
        head: Row = {"score": name, "kind": "score", "primary": is_primary}
        yield head | _metrics(metrics, fpr_rule)
    for name, metrics in frame.numbers.items():
        head = {"score": name, "kind": "number", "primary": 0}
        yield head | _metrics(metrics, fpr_rule)
    for name, blind in frame.baselines.baselines.items():
        head = {"score": name, "kind": "baseline", "primary": 0}
        yield head | _baseline(blind)
    for column, subsets in frame.subsets.items():
        for subset, metrics in subsets.items():
            head = {"score": frame.primary, "kind": "subset", "primary": 1}
            yield head | {"part": f"{column}: {subset}"} | _metrics(metrics, fpr_rule)


def _metrics(metrics: ScoreMetrics, fpr_rule: str) -> Row:
    """Return the columns of all metrics of a score."""
    others = metrics.counts.non_members
    row = estimate_columns("auc", metrics.auc) | rate_columns(metrics)
    row |= {"rule": fpr_rule, "fpr_step": 1 / others if others else None}
    for name, estimate in (
        ("average_precision", metrics.average_precision),
        ("fpr_at_95_tpr", metrics.fpr_at_95_tpr),
        ("best_balanced_accuracy", metrics.best_balanced_accuracy),
        ("advantage", metrics.advantage),
    ):
        row |= estimate_columns(name, estimate)
    row |= asdict(metrics.counts) | {"reason": metrics.reason}
    row |= _significance(metrics.significance)
    if metrics.over_primary is not None:
        row |= estimate_columns("over_primary", metrics.over_primary)
    if metrics.published is not None:
        row |= {f"published_{k}": v for k, v in asdict(metrics.published).items()}
    return row | ({} if metrics.control is None else _control(metrics.control))


def _baseline(blind: BlindMetrics) -> Row:
    return estimate_columns("auc", blind.auc) | _significance(blind.significance)


def _significance(significance: Significance | None) -> Row:
    return asdict(significance or Significance(None, None, None))


def _control(control: ControlMetrics) -> Row:
    row = estimate_columns("auc", control.auc)
    row |= estimate_columns("difference", control.difference)
    row |= {"target_auc": control.target_auc, **asdict(control.counts)}
    row |= {"p_value": control.p_value}
    if control.calibrated is not None:
        calibrated = control.calibrated
        row |= estimate_columns("calibrated_difference_auc", calibrated.difference.auc)
        row |= estimate_columns("calibrated_ratio_auc", calibrated.ratio.auc)
    return {f"control_{key}": value for key, value in row.items()}
