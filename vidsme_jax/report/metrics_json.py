"""Turn a result into the JSON of metrics.json."""

import math
from dataclasses import asdict
from typing import Any

from vidsme_jax.evaluation.result import (
    BlindMetrics,
    BlindResult,
    CallLimits,
    ControlMetrics,
    FrameResult,
    NoVerdict,
    Result,
    RunComparison,
    RunResult,
    ScoreMetrics,
    SearchResult,
    Verdict,
)
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.signatures import (
    FlatDifference,
    InvertedAuc,
    InvertedMean,
    NoSignature,
    OneFrame,
    ScoreAucs,
    Signature,
    StillImages,
    UncheckedSign,
)
from vidsme_jax.evaluation.values import ClassCounts, Estimate, LabelCounts, RowCounts
from vidsme_jax.report.words.signatures import signature_texts

Json = dict[str, Any]


def metrics_json(result: Result) -> Json:
    """Return the content of metrics.json: a result without its clips, see clips.csv."""
    settings = asdict(result.settings)
    settings |= {name: list(settings[name]) for name in ("fprs", "by")}
    return _finite(
        {
            "settings": settings,
            "control": result.control,
            "control_differs": result.control_differs,
            "reference": result.reference,
            "runs": [_run(run, result.settings) for run in result.runs],
        }
    )


def _run(run: RunResult, settings: EvaluationSettings) -> Json:
    return {
        "name": run.name,
        "path": run.path,
        "info": run.info,
        "frames": [_frame(frame, run.perturbation, settings) for frame in run.frames],
    }


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON cannot hold, by None."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _frame(frame: FrameResult, perturbation: str, settings: EvaluationSettings) -> Json:
    texts = signature_texts(frame.signatures, perturbation, settings)
    return {
        "frames": frame.frames,
        "counts": _row_counts(frame.counts),
        "primary": frame.primary,
        "scores": _all_metrics(frame.scores),
        "search": None if frame.search is None else _search(frame.search),
        "numbers": _all_metrics(frame.numbers),
        "baselines": _blind(frame.baselines),
        "subsets": {name: _all_metrics(metrics) for name, metrics in frame.subsets.items()},
        "verdict": None if frame.verdict is None else _verdict(frame.verdict),
        "diagnosis": [
            signature_json(signature) | {"text": text}
            for signature, text in zip(frame.signatures, texts, strict=True)
        ],
        "versus_first": None
        if frame.versus_first is None
        else _comparison(frame.versus_first),
    }


def _estimate(name: str, estimate: Estimate) -> Json:
    return {name: estimate.value, f"{name}_interval": [estimate.low, estimate.high]}


def _classes(counts: ClassCounts) -> Json:
    return {"member": counts.members, "non_member": counts.non_members}


def _row_counts(counts: RowCounts) -> Json:
    def labels(value: LabelCounts) -> Json:
        return asdict(value)

    return {
        "rows": counts.rows,
        **labels(counts.labels),
        "status": {name: labels(value) for name, value in counts.status.items()},
        "groups": labels(counts.groups),
        "groups_with_both_labels": counts.mixed_groups,
        "clips_with_both_labels": counts.mixed_clips,
        "names_with_both_labels": list(counts.mixed_names),
        "evaluated": _classes(counts.evaluated),
        "evaluated_groups": _classes(counts.evaluated_groups),
    }


def _all_metrics(metrics: dict[str, ScoreMetrics]) -> Json:
    return {name: _metrics(value) for name, value in metrics.items()}


def _metrics(metrics: ScoreMetrics) -> Json:
    out: Json = {}
    for name in (
        "auc",
        "average_precision",
        "best_balanced_accuracy",
        "fpr_at_95_tpr",
        "advantage",
    ):
        out |= _estimate(name, getattr(metrics, name))
    rates = {f"{fpr:g}": tpr for fpr, tpr in metrics.tpr.items()}
    others = metrics.counts.non_members
    out |= {
        "tpr": {rate: tpr.value for rate, tpr in rates.items()},
        "tpr_interval": {rate: [tpr.low, tpr.high] for rate, tpr in rates.items()},
        **asdict(metrics.counts),
        "fpr_step": 1 / others if others else None,
        "reason": metrics.reason,
    }
    if metrics.published is not None:
        out["published"] = asdict(metrics.published)
    if metrics.significance is not None:
        out |= asdict(metrics.significance)
    if metrics.over_primary is not None:
        out |= _estimate("over_primary", metrics.over_primary)
    if metrics.control is not None:
        out["control"] = _control(metrics.control)
    if metrics.privacy is not None:
        out["epsilon"] = asdict(metrics.privacy)
    return out


def _control(control: ControlMetrics) -> Json:
    out = {
        **_estimate("auc", control.auc),
        "target_auc": control.target_auc,
        **_estimate("difference", control.difference),
        **asdict(control.counts),
        "reason": control.reason,
    }
    if control.calibrated is None:
        return out
    aucs = {
        "difference": control.calibrated.difference,
        "ratio": control.calibrated.ratio,
    }
    calibrated = {
        name: {
            **_estimate("auc", value.auc),
            **({} if value.counts is None else asdict(value.counts)),
            "reason": value.reason,
        }
        for name, value in aucs.items()
    }
    return out | {"p_value": control.p_value, "calibrated": calibrated}


def _search(search: SearchResult) -> Json:
    held_out = search.auc_held_out
    return {
        "scores": search.scores,
        "splits": search.splits,
        "chosen": search.chosen,
        "chosen_share": search.chosen_share,
        "auc_seen": search.auc_seen,
        "auc_held_out": held_out.value,
        "auc_held_out_range": [held_out.low, held_out.high],
        "optimism": search.optimism,
    }


def _blind(blind: BlindResult) -> Json:
    metrics = {name: _baseline(value) for name, value in blind.baselines.items()}
    return {"rows": blind.rows, "reason": blind.reason, "found": metrics}


def _baseline(metrics: BlindMetrics) -> Json:
    out = _estimate("auc", metrics.auc) | asdict(metrics.significance)
    if metrics.difference is not None:
        out |= _estimate("difference", metrics.difference)
    return out


def _verdict(verdict: Verdict | NoVerdict) -> Json:
    if isinstance(verdict, NoVerdict):
        return asdict(verdict)
    return {
        "reason": None,
        "score": verdict.score,
        "member_is": "higher" if verdict.higher_is_member else "lower",
        "reference": asdict(verdict.reference),
        "judged": asdict(verdict.judged),
        "dropped": verdict.dropped,
        "smallest_p": verdict.smallest_p,
        "thresholds": {f"{fpr:g}": _limits(x) for fpr, x in verdict.limits.items()},
        "discoveries": {f"{rate:g}": n for rate, n in verdict.discoveries.items()},
        "set": {
            **_estimate("auc", verdict.whole_set.auc),
            "p_value": verdict.whole_set.p_value,
        },
        **_estimate("member_share", verdict.member_share),
        "baselines": _blind(verdict.baselines),
    }


def _limits(limits: CallLimits) -> Json:
    average, sure = limits.average, limits.sure
    return {
        "groups": average.groups,
        "groups_sure": sure.groups,
        "value": average.score,
        "flagged_value": average.flagged,
        "sure": sure.score,
        "flagged_sure": sure.flagged,
    }


def _comparison(comparison: RunComparison) -> Json:
    return {
        "auc": [comparison.first_auc, comparison.auc],
        **_estimate("difference", comparison.difference),
        **asdict(comparison.counts),
    }


def signature_json(signature: Signature) -> Json:
    """Return a signature's kind and numbers as JSON; the report adds a sentence."""
    match signature:
        case OneFrame():
            return {"kind": "one_frame", "frames": 1}
        case NoSignature():
            return {"kind": "none"}
        case UncheckedSign():
            return {"kind": "unchecked", "sign": signature.sign}
        case FlatDifference():
            return {"kind": "flat", **asdict(signature)}
        case InvertedMean():
            counts = {"members": signature.members, "groups": signature.groups}
            mean = _estimate("mean", signature.mean)
            return {"kind": "inverted", "score": signature.score, **mean, **counts}
        case InvertedAuc():
            auc = _estimate("auc", signature.auc)
            return {"kind": "inverted", "score": signature.score, **auc}
        case StillImages():
            aucs = {name: _aucs(value) for name, value in signature.looked_at.items()}
            above = list(signature.above)
            return {
                "kind": "still",
                "score": signature.score,
                "above": above,
                "looked_at": aucs,
            }


def _aucs(aucs: ScoreAucs) -> Json:
    control = {} if aucs.control is None else _estimate("control_auc", aucs.control)
    return _estimate("auc", aucs.target) | control
