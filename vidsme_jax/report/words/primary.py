"""Say in words what the primary score shows, and what a negative answer leaves open."""

from vidsme_jax.evaluation.result import FrameResult, ScoreMetrics
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.values import Significance
from vidsme_jax.report.words.formatting import (
    both_classes,
    is_clear,
    is_small,
    number,
    or_one,
    p_text,
    percent,
    side_of,
)
from vidsme_jax.scores import catalogue

_LOOKS_AT = {
    "video": "the video",
    "instruction": "the question",
    "response": "the list's answer",
}


def primary_lead(frame: FrameResult, settings: EvaluationSettings) -> str:
    """Return the first paragraph of a report: what the primary score shows."""
    name = frame.primary
    if name is None:
        return (
            f"The primary score {catalogue.PRIMARY} is not in this run, which was scored"
            " without the video slice. There is no primary answer, and everything below is"
            " secondary."
        )
    metrics = frame.scores[name]
    if metrics.auc.value is None:
        return f"The primary score {name} cannot be evaluated: {metrics.reason}."
    better = _better_score(frame, settings)
    if better is not None:
        return " ".join(_other_separates(better, name, frame, settings))
    sentences = [
        f"{_subject(name)} {_conclusion(metrics, settings)}.",
        f"{_measured(metrics, settings)}; {both_classes(metrics.counts)}.",
    ]
    if not _separates(metrics, settings):
        sentences += _no_clean_bill(metrics)
    return " ".join(sentences)


def _measured(metrics: ScoreMetrics, settings: EvaluationSettings) -> str:
    """Return the AUC with its interval and the p-value of a score."""
    auc = metrics.auc
    return (
        f"AUC {number(auc.value)}, {percent(settings.confidence)} interval"
        f" {number(auc.low)} to {number(auc.high)}; permutation p ="
        f" {p_text(significance_of(metrics).p_value)}"
    )


def way_on(frame: FrameResult, settings: EvaluationSettings) -> list[str]:
    """Return a sentence on how to ask again, where another score found something."""
    name = _better_score(frame, settings)
    if name is None:
        return []
    return [
        f"To rely on {name}, name it before you look (--score {name}), and take clips that"
        " nobody has looked at yet."
    ]


def privacy_rows(metrics: ScoreMetrics) -> list[list[str]]:
    """Return the table rows of the bounds on epsilon; none where there are none."""
    bounds = metrics.privacy
    if bounds is None:
        return []
    titles = {"coins, one training": bounds.one_run, "independent": bounds.independent}
    return [
        [f"ε at least ({title})", number(bound, 2), "–"] for title, bound in titles.items()
    ]


def privacy_note(settings: EvaluationSettings) -> str:
    """Return what the bounds on epsilon say."""
    confidence = percent(settings.confidence)
    return (
        f"A training that is (ε, {settings.delta:g})-private with an ε below a bound would"
        f" not give such scores, with a confidence of {confidence}. The first bound is for"
        " clips that coins dealt to a single training. The second is for clips whose scores"
        " do not depend on each other. 0 means that nothing is refuted."
    )


def significance_of(metrics: ScoreMetrics) -> Significance:
    """Return the p-values of a score, which every score has."""
    assert metrics.significance is not None
    return metrics.significance


def _subject(name: str) -> str:
    """Return what a sentence on the primary score begins with."""
    return "The score" if name == catalogue.EXTERNAL else f"The primary score {name}"


def _separates(metrics: ScoreMetrics, settings: EvaluationSettings) -> bool:
    """Tell whether interval and p-value both say that members score higher."""
    is_significant = is_clear(significance_of(metrics).p_value, settings.confidence)
    return is_significant and side_of(metrics.auc) == "above"


def _conclusion(metrics: ScoreMetrics, settings: EvaluationSettings) -> str:
    """Return the verb phrase of the answer, from interval, p-value and control."""
    side = side_of(metrics.auc)
    is_significant = is_clear(significance_of(metrics).p_value, settings.confidence)
    if side == "below":
        return "does not separate members as expected (it ranks non-members higher)"
    if (side == "above") != is_significant:
        return (
            "does not clearly separate members from non-members (interval and"
            " permutation test disagree)"
        )
    if not is_significant:
        return "does not separate members from non-members"
    excess = None if metrics.control is None else metrics.control.difference
    if excess is not None and excess.low is not None and side_of(excess, 0.0) != "above":
        return "separates members from non-members, but not clearly more than the control's"
    return "separates members from non-members"


def _no_clean_bill(metrics: ScoreMetrics) -> list[str]:
    """Return sentences on what a negative answer leaves open."""
    if side_of(metrics.auc) == "below":
        return [
            "Labels or frames may be the wrong way round, or the sets differ otherwise."
        ]
    detectable = significance_of(metrics).detectable_auc
    power = "These clips are too few, or their scores too alike, to find anything."
    if detectable is not None:
        power = (
            "Four of five audits with as many clips would find a true AUC of"
            f" {number(detectable, 2)}; smaller effects mostly stay unseen."
        )
    sentence = (
        "That is no proof that the clips were not trained on: the score may look where this"
        " model holds nothing."
    )
    return [sentence, power]


def _better_score(frame: FrameResult, settings: EvaluationSettings) -> str | None:
    """Return a score that separates for sure where the primary score does not.

    Sure means after correction for all scores. If several do, it is the one to name in
    advance for training on answers. Else it is the one with the smallest p-value and, of
    those, with the largest AUC.
    """
    if frame.primary is None or _separates(frame.scores[frame.primary], settings):
        return None
    p_values = {
        name: or_one(significance_of(metrics).p_adjusted)
        for name, metrics in frame.scores.items()
        if name != frame.primary and metrics.auc.value is not None
    }
    sure = [name for name, p in p_values.items() if is_small(p, settings.confidence)]
    if catalogue.PRIMARY_OF_ANSWERS in sure:
        return catalogue.PRIMARY_OF_ANSWERS

    def key(name: str) -> tuple[float, float]:
        return p_values[name], -(frame.scores[name].auc.value or 0.0)

    return min(sure, key=key, default=None)


def _other_separates(
    name: str, primary: str, frame: FrameResult, settings: EvaluationSettings
) -> list[str]:
    """Return sentences on a score that separates where the primary score does not."""
    metrics, first = frame.scores[name], frame.scores[primary]
    p_value = p_text(significance_of(metrics).p_adjusted)
    control = metrics.control
    is_exceeded = control is None or side_of(control.difference, 0.0) == "above"
    opening = (
        "The model does tell members from non-members, but not by the primary score."
        if is_exceeded
        else f"{_subject(primary)} {_conclusion(first, settings)}."
    )
    sentences = [
        opening,
        f"{name}{_where(name)} has AUC {number(metrics.auc.value)}, p = {p_value} corrected"
        f" for all {len(frame.scores)} scores.",
    ]
    if control is not None:
        sentences.append(
            f"Under the control that score has AUC {number(control.auc.value)}."
            if is_exceeded
            else f"Under the control it has AUC {number(control.auc.value)}, not clearly"
            " less, so the two sets may differ by themselves."
        )
    sentences.append(
        f"{_subject(primary)}{_where(primary)} has {_measured(first, settings)}."
    )
    sentences.append(f"There are {both_classes(first.counts)}.")
    if is_exceeded:
        sentences.append("So it would be wrong to say that the clips were not used.")
    return sentences


def _where(name: str) -> str:
    """Return the words on where a score looks; none for a score from elsewhere."""
    place = _LOOKS_AT.get(name.split(".")[0])
    return f", which looks at {place}," if place else ""
