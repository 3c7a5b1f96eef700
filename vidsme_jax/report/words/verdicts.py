"""What a verdict says of clips whose use is unknown, in words and in table rows."""

from typing import Any

from vidsme_jax.errors import shorten
from vidsme_jax.report.words.blind import none_tells, telling
from vidsme_jax.report.words.formatting import counted, estimate, percent, side_of
from vidsme_jax.stats.metrics import FEW_GROUPS

_USUAL = 0.05  # the false positive rate of the sentence that comes first


def verdict_texts(
    verdict: dict[str, Any], settings: dict[str, Any], reference: str | None
) -> tuple[str, tuple[str, ...], str]:
    """Return the answer, what limits it, and a warning or none."""
    if verdict["reason"]:
        return _none(verdict), _WITHOUT, ""
    source = "label 0" if reference is None else f"run {shorten(reference, 60)}"
    notes = [
        _as_a_set(verdict, settings),
        *_few(verdict),
        _discoveries(verdict),
        _smallest(verdict, source),
        *_dropped(verdict),
        _likeness(verdict, settings),
        "Everything here rests on one assumption: a judged clip that was not trained on is"
        " like the reference clips, from the same source and treated alike. A clip that is"
        " not called a member is not thereby shown to be outside.",
    ]
    return _lead(verdict), tuple(notes), _warning(verdict, settings)


_WITHOUT = (
    "What can be said: in which order the scores put the clips (clips.csv). The scores'"
    " level says nothing: it differs between models, sources and prompts.",
    "What cannot: that any clip, or how many of them, were trained on.",
    "For a verdict, score clips of the same source and time that cannot have been trained"
    " on (held out by chance, never released) with the same settings, and give them as"
    " --reference or as rows with label 0: 19 of them allow calls at a false positive rate"
    " of 5 %, 99 at 1 %.",
)


def _none(verdict) -> str:
    clips = counted(verdict["judged"]["rows"], "clip")
    return f"No verdict on {clips}: {verdict['reason']}."


def _lead(verdict) -> str:
    count, limits = verdict["judged"]["rows"], verdict["thresholds"]
    usable = [rate for rate, found in limits.items() if found["value"] is not None]
    if not usable:
        return (
            f"None of {counted(count, 'clip')} can be called a member: the reference is too"
            " small for every false positive rate asked for."
        )
    rate = min(usable, key=lambda rate: abs(float(rate) - _USUAL))
    called = limits[rate]["flagged_value"]
    return (
        f"Called members by {verdict['score']}: {called} of"
        f" {counted(count, 'judged clip')}, at a false positive rate of at most"
        f" {percent(float(rate))}; if none were, on average up to"
        f" {count * float(rate):.3g} would be called, sometimes several more, since one"
        " reference judges them all."
    )


def _as_a_set(verdict, settings) -> str:
    found = verdict["set"]
    small = found["p_value"] <= 1 - settings["confidence"] + 1e-12
    above = side_of(found["auc_interval"]) == "above"
    text = (
        f"Taken as one set, the judged clips {'' if small and above else 'do not clearly '}"
        f"score more member-like than the reference: AUC {estimate(found, 'auc')},"
        f" permutation p = {found['p_value']:.2g}"
    )
    if small != above:
        text += " (interval and permutation test disagree)"
    return text + ". This is the test for an owner of many clips."


def _few(verdict) -> list[str]:
    """Say so where an interval rests on hardly any videos."""
    names = [
        name for name in ("judged", "reference") if verdict[name]["groups"] < FEW_GROUPS
    ]
    if not names:
        return []
    which = " and ".join(f"the {name} clips" for name in names)
    return [
        f"Of {which} there are fewer than {FEW_GROUPS} videos: the interval of the set is"
        " unreliable."
    ]


def _discoveries(verdict) -> str:
    called = [
        f"{count} where {percent(float(rate))} of the calls may be wrong"
        for rate, count in verdict["discoveries"].items()
    ]
    return f"Corrected for their number (Benjamini and Hochberg): {', '.join(called)}."


def _smallest(verdict, source: str) -> str:
    held = verdict["reference"]
    text = (
        f"The reference, {source}, has {counted(held['rows'], 'row')} of"
        f" {counted(held['groups'], 'video')}; no p-value can be below"
        f" {verdict['smallest_p']:.2g}"
    )
    short = {
        rate: found["groups"]
        for rate, found in verdict["thresholds"].items()
        if found["value"] is None
    }
    if short:
        needs = ", ".join(f"{percent(float(r))} needs {n}" for r, n in short.items())
        text += f", and nothing can be called at smaller rates: {needs}"
    return text + "."


def _dropped(verdict) -> list[str]:
    count = verdict["dropped"]
    if not count:
        return []
    rows = counted(count, "reference row")
    return [f"Left out, their video being among the judged ones: {rows}."]


def _likeness(verdict, settings) -> str:
    """Say whether the one assumption was looked into, and what came out."""
    blind = verdict["baselines"]
    if blind["reason"]:
        return (
            "Whether the judged clips are like the reference was not checked:"
            f" {blind['reason']}."
        )
    if telling(blind, settings):
        return "The judged clips are not like the reference: see the warning."
    return none_tells(blind, "judged clips and reference")


def _warning(verdict, settings) -> str:
    names = telling(verdict["baselines"], settings)
    if not names:
        return ""
    found = verdict["baselines"]["found"][names[0]]
    return (
        "The judged clips are not like the reference: without asking the model,"
        f" {names[0]} tells them apart with AUC {estimate(found, 'auc')}, corrected p ="
        f" {found['p_adjusted']:.2g}. The false positive rates below do not hold, then."
    )


def threshold_rows(verdict: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return a table of the thresholds: its header and its rows."""
    side = "above" if verdict["member_is"] == "higher" else "below"
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
    for rate, found in verdict["thresholds"].items():
        row = [f"at most {percent(float(rate))}"]
        for key, needed in (("value", "groups"), ("sure", "groups_sure")):
            limit = found[key]
            shown = "–" if limit is None else f"{limit:.4g}"
            called = "–" if limit is None else str(found[f"flagged_{key}"])
            row += [shown, called, str(found[needed])]
        rows.append(row)
    return header, rows
