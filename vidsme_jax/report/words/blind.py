"""Say in words how blind baselines tell two sets of clips apart."""

from vidsme_jax.evaluation.result import BlindMetrics, BlindResult
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.report.words.formatting import (
    counted,
    is_small,
    number,
    or_one,
    p_text,
    percent,
    side_of,
    with_interval,
)


def separating_baselines(blind: BlindResult, settings: EvaluationSettings) -> list[str]:
    """Return the baselines that tell the two sets apart, the best first."""
    names = [
        name
        for name, metrics in blind.baselines.items()
        if is_small(metrics.significance.p_adjusted, settings.confidence)
    ]
    return sorted(names, key=lambda name: -_auc(blind.baselines[name]))


def _auc(metrics: BlindMetrics) -> float:
    """Return a baseline's AUC, which every baseline has."""
    assert metrics.auc.value is not None
    return metrics.auc.value


def unexceeded_baselines(blind: BlindResult, settings: EvaluationSettings) -> list[str]:
    """Return separating baselines that the primary score does not clearly exceed."""
    names = separating_baselines(blind, settings)
    return [name for name in names if not _is_exceeded(blind.baselines[name])]


def _is_exceeded(metrics: BlindMetrics) -> bool:
    """Tell whether the primary score's AUC is clearly above a baseline's."""
    return metrics.difference is not None and side_of(metrics.difference, 0.0) == "above"


def blind_texts(blind: BlindResult, settings: EvaluationSettings) -> tuple[str, list[str]]:
    """Return a warning for before the answer, or none, and notes for after it."""
    if blind.reason:
        return "", [f"No blind baseline could be run: {blind.reason}."]
    names = separating_baselines(blind, settings)
    unexceeded = unexceeded_baselines(blind, settings)
    if unexceeded:
        return _warning(unexceeded, blind), []
    if names:
        metrics = blind.baselines[names[0]]
        assert metrics.difference is not None  # the primary score exceeds this baseline
        return "", [
            f"The two sets differ without the model, too: {names[0]} tells them apart with"
            f" AUC {with_interval(metrics.auc)}. The primary score exceeds that by"
            f" {with_interval(metrics.difference)}."
        ]
    return "", [none_separates(blind, "the two sets")]


def _warning(names: list[str], blind: BlindResult) -> str:
    """Return the warning that the sets differ by more than training."""
    best = blind.baselines[names[0]]
    text = (
        "The two sets of clips differ by more than training: without asking the model,"
        f" {names[0]} tells them apart with AUC {with_interval(best.auc)}, corrected p ="
        f" {p_text(best.significance.p_adjusted)}"
    )
    if len(names) > 1:
        text += f", and so do {', '.join(names[1:])}"
    if best.difference is None or best.difference.value is None:
        return text + ". Scores may follow that difference."
    return (
        text + ". The primary score is not clearly better: its AUC less that one's is"
        f" {with_interval(best.difference)}. So it is no evidence of training here."
    )


def none_separates(blind: BlindResult, sets: str) -> str:
    """Return a text that no baseline tells two sets apart, or that clips are too few.

    Args:
        blind: metrics of the baselines.
        sets: name of the two sets, for the text.
    """
    baselines = blind.baselines
    corrected = {name: m.significance.p_adjusted for name, m in baselines.items()}
    smallest = min(baselines, key=lambda name: or_one(corrected[name]))
    text = (
        f"No blind baseline, a classifier that does not ask the model, clearly tells {sets}"
        f" apart. Of {counted(len(baselines), 'baseline')} the smallest corrected p is"
        f" {p_text(corrected[smallest])}, of {smallest} with AUC"
        f" {number(baselines[smallest].auc.value)}."
        f" {_power(blind)}"
    )
    best = max(baselines, key=lambda name: _auc(baselines[name]))
    metrics = baselines[best]
    excess = None if metrics.difference is None else metrics.difference.value
    if side_of(metrics.auc) != "above" or excess is None or excess > 0:
        return text
    return (
        f"{text} That is no clean bill: {best} has AUC {number(metrics.auc.value)}, no less"
        " than the primary score. There are too few clips to tell this from chance."
    )


def _power(blind: BlindResult) -> str:
    """Return a sentence on the differences that the baselines could have noticed."""
    areas = [
        metrics.significance.detectable_auc
        for metrics in blind.baselines.values()
        if metrics.significance.detectable_auc is not None
    ]
    if not areas:
        return "These clips are too few for them to notice any difference."
    return (
        "Four of five audits with as many clips would notice a baseline with a true AUC of"
        f" {number(min(areas), 2)}; smaller differences mostly stay unseen."
    )


def blind_header(settings: EvaluationSettings) -> list[str]:
    """Return the names of the columns of `blind_cells`."""
    interval = f"({percent(settings.confidence)} interval)"
    return [
        "baseline",
        f"AUC {interval}",
        "p",
        "p corrected",
        f"AUC of the primary score less this one {interval}",
    ]


def blind_cells(name: str, metrics: BlindMetrics) -> list[str]:
    """Return the cells of a baseline; `blind_header` names their columns."""
    significance, difference = metrics.significance, "–"
    if metrics.difference is not None:
        difference = with_interval(metrics.difference)
    p_values = (p_text(significance.p_value), p_text(significance.p_adjusted))
    return [name, with_interval(metrics.auc), *p_values, difference]
