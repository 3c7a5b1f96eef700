"""Say in words and in table rows what a verdict shows of clips to judge."""

from vidsme_jax.errors import shorten
from vidsme_jax.evaluation.result import NoVerdict, SetTest, Verdict
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.report.words.blind import none_separates, separating_baselines
from vidsme_jax.report.words.formatting import (
    counted,
    is_clear,
    p_text,
    percent,
    side_of,
    with_interval,
)
from vidsme_jax.stats.metrics import FEW_GROUPS

_USUAL = 0.05  # false positive rate that the first sentence prefers


def verdict_texts(
    verdict: Verdict | NoVerdict, settings: EvaluationSettings, reference: str | None
) -> tuple[str, tuple[str, ...], str]:
    """Return the answer, notes that limit it, and a warning or an empty text."""
    if isinstance(verdict, NoVerdict):
        clips = counted(verdict.judged.rows, "clip")
        count = len(_WITHOUT) if verdict.needs_reference else 2
        return f"No verdict on {clips}: {verdict.reason}.", _WITHOUT[:count], ""
    source = "label 0" if reference is None else f"run {shorten(reference, 60)}"
    about_sets = (_size(verdict, source), *_dropped(verdict))
    warnings = _warnings(verdict, settings)
    if warnings:
        clips = counted(verdict.judged.rows, "clip")
        lead = (
            f"No calls on {clips}: judged clips and reference are not alike, so no false"
            " positive rate holds."
        )
        return lead, (*about_sets, _REMEDY), " ".join(warnings)
    notes = (
        _as_a_set(verdict.whole_set, settings),
        *_few(verdict),
        _member_share(verdict, settings),
        _discoveries(verdict),
        *about_sets,
        _smallest(verdict),
        _likeness(verdict),
        "Everything here rests on one assumption: outside clips among the judged are like"
        " the reference clips, from the same source and treated alike.",
        "A clip that is not called a member is not thereby shown to be outside.",
    )
    return _lead(verdict), notes, ""


_REMEDY = (
    "For calls, take reference clips of the same source, time and treatment as the judged"
    " ones."
)
_WITHOUT: tuple[str, ...] = (
    "What can be said: in which order the scores put the clips (clips.csv). The scores'"
    " level says nothing: it differs between models, sources and prompts.",
    "What cannot: that any clip, or how many of them, were trained on.",
    "For a verdict, score clips that cannot have been trained on, with the same settings."
    " They must be of the same source and time: held out by chance, or never released.",
    "Give them as --reference or as rows with label 0. 19 of them allow calls at a false"
    " positive rate of 5 %, 99 at 1 %.",
)


def _lead(verdict: Verdict) -> str:
    """Return the sentence with the number of clips called members."""
    count, limits = verdict.judged.rows, verdict.limits
    usable = [rate for rate, at in limits.items() if at.average.score is not None]
    if not usable:
        return (
            f"None of {counted(count, 'clip')} can be called a member: the reference is too"
            " small for every false positive rate asked for."
        )
    rate = min(usable, key=lambda rate: abs(rate - _USUAL))
    called = limits[rate].average.flagged
    return (
        f"Called members by {verdict.score}: {called} of"
        f" {counted(count, 'judged clip')}, at a false positive rate of at most"
        f" {percent(rate)}. If none were members, on average up to"
        f" {count * rate:.3g} would be called; at times several more, since one reference"
        " judges them all."
    )


def _as_a_set(test: SetTest, settings: EvaluationSettings) -> str:
    """Return the sentence on all judged clips together."""
    is_significant = is_clear(test.p_value, settings.confidence)
    is_above = side_of(test.auc) == "above"
    negation = "" if is_significant and is_above else "do not clearly "
    text = (
        f"Taken as one set, the judged clips {negation}"
        f"score more member-like than the reference: AUC {with_interval(test.auc)},"
        f" permutation p = {p_text(test.p_value)}"
    )
    if is_significant != is_above:
        text += " (interval and permutation test disagree)"
    return text + ". This is the test for an owner of many clips."


def _few(verdict: Verdict) -> list[str]:
    """Return a sentence on sets with too few videos for an interval, if any."""
    sizes = {"judged": verdict.judged, "reference": verdict.reference}
    names = [name for name, size in sizes.items() if size.groups < FEW_GROUPS]
    if not names:
        return []
    sets = " and ".join(f"the {name} clips" for name in names)
    return [f"Of {sets} there are fewer than {FEW_GROUPS} videos: all here rests on few."]


def _member_share(verdict: Verdict, settings: EvaluationSettings) -> str:
    """Return the sentence on the share of members among the judged clips."""
    share, confidence = verdict.member_share, percent(settings.confidence)
    ends = (share.value, share.low, share.high)
    value, low, high = ("–" if x is None else percent(round(x, 2)) for x in ends)
    if share.low is None or round(share.low, 2) <= 0:
        return (
            f"These scores do not require any member (estimated share {value},"
            f" {confidence} interval {low} to {high})."
        )
    return (
        f"At least {low} of the judged clips must be members to explain these scores. The"
        f" estimated share is {value}, its {confidence} interval ends at {high}. Members"
        " that score like outsiders are not counted."
    )


def _discoveries(verdict: Verdict) -> str:
    """Return the sentence on calls corrected for the number of clips."""
    counts = [
        f"{count} if {percent(rate)} of the calls may be wrong"
        for rate, count in verdict.discoveries.items()
    ]
    return f"Called, corrected for their number: {', '.join(counts)}."


def _size(verdict: Verdict, source: str) -> str:
    """Return the sentence on the size of the reference."""
    size = verdict.reference
    return (
        f"The reference, {source}, has {counted(size.rows, 'row')} of"
        f" {counted(size.groups, 'video')}."
    )


def _smallest(verdict: Verdict) -> str:
    """Return the sentences on what the size of the reference allows."""
    text = f"With it no p-value can be below {verdict.smallest_p:.2g}."
    needed = {
        rate: at.average.groups
        for rate, at in verdict.limits.items()
        if at.average.score is None
    }
    if needed:
        needs = ", ".join(f"{percent(r)} needs {n}" for r, n in needed.items())
        text += f" Nothing can be called at smaller rates: {needs}."
    return text


def _dropped(verdict: Verdict) -> list[str]:
    """Return a sentence on reference rows that were left out, if any."""
    if not verdict.dropped:
        return []
    rows = counted(verdict.dropped, "reference row")
    return [f"Left out, their video being among the judged ones: {rows}."]


def _likeness(verdict: Verdict) -> str:
    """Return a sentence on whether judged clips are like the reference."""
    blind = verdict.baselines
    if blind.reason:
        return (
            "Whether the judged clips are like the reference was not checked:"
            f" {blind.reason}."
        )
    return none_separates(blind, "judged clips and reference")


def calls_hold(verdict: Verdict, settings: EvaluationSettings) -> bool:
    """Tell whether nothing speaks against judged clips and reference being alike."""
    return not _warnings(verdict, settings)


def _warnings(verdict: Verdict, settings: EvaluationSettings) -> list[str]:
    """Return the reasons for which judged clips are not like the reference."""
    out = []
    names = separating_baselines(verdict.baselines, settings)
    if names:
        metrics = verdict.baselines.baselines[names[0]]
        out.append(
            "The judged clips are not like the reference. Without asking the model,"
            f" {names[0]} tells them apart with AUC {with_interval(metrics.auc)},"
            f" corrected p = {p_text(metrics.significance.p_adjusted)}."
        )
    if side_of(verdict.whole_set.auc) == "below":
        out.append(
            "The judged clips score far less member-like than the reference, with AUC"
            f" {with_interval(verdict.whole_set.auc)}. Clips from outside would score like"
            " it, and members higher."
        )
    return out


def limit_rows(verdict: Verdict) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table of the call limits."""
    side = "above" if verdict.higher_is_member else "below"
    header = [
        "false positive rate",
        f"called {side}",
        "clips called",
        "reference videos needed",
        f"called {side}, sure for this reference",
        "clips called",
        "reference videos needed",
    ]
    rows = []
    for rate, limits in verdict.limits.items():
        row = [f"at most {percent(rate)}"]
        for limit in (limits.average, limits.sure):
            score = "–" if limit.score is None else f"{limit.score:.4g}"
            called = "–" if limit.score is None else str(limit.flagged)
            row += [score, called, str(limit.groups)]
        rows.append(row)
    return header, rows
