"""What the blind baselines say of two sets of clips, in words."""

from vidsme_jax.evaluation.result import BlindMetrics, BlindResult
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.report.words.formatting import (
    is_small,
    number,
    or_one,
    p_text,
    percent,
    side_of,
    with_interval,
)


def telling(blind: BlindResult, settings: EvaluationSettings) -> list[str]:
    """Return the baselines that tell the sets apart, the best first."""
    names = [
        name
        for name, metrics in blind.baselines.items()
        if is_small(metrics.significance.p_adjusted, settings.confidence)
    ]
    return sorted(names, key=lambda name: -_auc(blind.baselines[name]))


def _auc(metrics: BlindMetrics) -> float:
    """Return a baseline's AUC, which exists wherever the baseline could be run."""
    assert metrics.auc.value is not None
    return metrics.auc.value


def as_good(blind: BlindResult, settings: EvaluationSettings) -> list[str]:
    """Return those of them that the primary score does not clearly exceed."""
    return [
        name for name in telling(blind, settings) if not _is_exceeded(blind.baselines[name])
    ]


def _is_exceeded(metrics: BlindMetrics) -> bool:
    return metrics.difference is not None and side_of(metrics.difference, 0.0) == "above"


def blind_texts(blind: BlindResult, settings: EvaluationSettings) -> tuple[str, list[str]]:
    """Return the warning that comes first, or none, and what is noted besides."""
    if blind.reason:
        return "", [f"No blind baseline could be run: {blind.reason}."]
    names, best = telling(blind, settings), as_good(blind, settings)
    if best:
        return _warning(best, blind), []
    if names:
        metrics = blind.baselines[names[0]]
        assert metrics.difference is not None  # or it were as good
        return "", [
            f"The two sets differ without the model, too: {names[0]} tells them apart with"
            f" AUC {with_interval(metrics.auc)}. The primary score exceeds that by"
            f" {with_interval(metrics.difference)}."
        ]
    return "", [none_tells(blind, "the two sets")]


def _warning(names: list[str], blind: BlindResult) -> str:
    first = blind.baselines[names[0]]
    text = (
        "The two sets of clips differ by more than training: without asking the model,"
        f" {names[0]} tells them apart with AUC {with_interval(first.auc)}, corrected p ="
        f" {p_text(first.significance.p_adjusted)}"
    )
    if len(names) > 1:
        text += f", and so do {', '.join(names[1:])}"
    if first.difference is None or first.difference.value is None:
        return text + ". Scores may follow that difference."
    return (
        text + ". The primary score is not clearly better (its AUC less that one's is"
        f" {with_interval(first.difference)}), so that it is no evidence of training here."
    )


def none_tells(blind: BlindResult, what: str) -> str:
    """Say that no baseline tells them apart, or that there are too few clips to know."""
    baselines = blind.baselines
    corrected = {name: m.significance.p_adjusted for name, m in baselines.items()}
    least = min(baselines, key=lambda name: or_one(corrected[name]))
    text = (
        f"None of {len(baselines)} blind baselines, which do not ask the model, is sure to"
        f" tell {what} apart: the smallest corrected p is {p_text(corrected[least])}, of"
        f" {least} with AUC {number(baselines[least].auc.value)}."
    )
    best = max(baselines, key=lambda name: _auc(baselines[name]))
    metrics = baselines[best]
    less = None if metrics.difference is None else metrics.difference.value
    if side_of(metrics.auc) != "above" or less is None or less > 0:
        return text
    return (
        f"{text} That is no clean bill: {best} has AUC {number(metrics.auc.value)}, no"
        " less than the primary score, and there are too few clips to tell this from"
        " chance."
    )


def blind_header(settings: EvaluationSettings) -> list[str]:
    """Return the column names that `blind_cells` fills."""
    around = f"({percent(settings.confidence)} interval)"
    return [
        "baseline",
        f"AUC {around}",
        "p",
        "p corrected",
        f"AUC of the primary score less this one {around}",
    ]


def blind_cells(name: str, metrics: BlindMetrics) -> list[str]:
    """Return one table row: what `blind_header` names."""
    difference, tested = metrics.difference, metrics.significance
    less = "–" if difference is None else with_interval(difference)
    p_values = (p_text(tested.p_value), p_text(tested.p_adjusted))
    return [name, with_interval(metrics.auc), *p_values, less]
