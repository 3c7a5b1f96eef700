"""What a result says, in words and in table rows: for the report and for the terminal.

A result is what `commands/evaluate.py` returns: `settings`, `control` (a name or None)
and `runs`, each with `name`, `info` and the list `frames` of `evaluate_table`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vidsme_jax.errors import shorten
from vidsme_jax.report.words.blind import blind_texts
from vidsme_jax.report.words.formatting import (
    counted,
    estimate,
    listed,
    number,
    percent,
    side_of,
)
from vidsme_jax.report.words.verdicts import verdict_texts
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.metrics import FEW_GROUPS, allowed_false

# Chosen before anything was measured, one to three per kind of score; the best of all
# the columns would be found by chance.
_REPRESENTATIVES = (
    "sme.mean",
    "sme.min_10",
    "logp.mean",
    "logp.min_10",
    "renyi_one.mean",
    "renyi_two.mean",
    "gap.mean",
    "minkpp.min_10",
    "renyi_one_diff.mean",
    "logp_diff.mean",
)
REPRESENTATIVES = {
    "video": (*_REPRESENTATIVES, "sme_aligned.min_10"),
    "instruction": _REPRESENTATIVES,
    "response": _REPRESENTATIVES,
}
# Of the scores that the published code itself writes, where a run holds them.
_PUBLISHED = (
    "ppl",
    "Min_10.0% Prob",
    "Max_100% renyi_1",
    "Max_Prob_Gap",
    "Modified_entropy",
    "Min_0% vetp",
    "Min_10.0% vetp",
    "Mean_vetp",
    "sequence_vetp",
)
PUBLISHED_HEADER = (
    "AUC (published)",
    "accuracy (published)",
    "TPR below 5 % FPR (published)",
)
PUBLISHED_RULES = (
    "The columns called published follow the rules of the published code: infinite scores"
    " become the largest or smallest finite one; accuracy is the balanced accuracy at the"
    " threshold that is best on these very clips; TPR below 5 % FPR is read at the last"
    " vertex of the ROC whose FPR is strictly below 5 %, after the vertices between equal"
    " steps were dropped. The columns before them are those of this report."
)
CAVEAT = (
    "Scores that separate are evidence consistent with training use, not proof of it: they"
    " also differ between sets of clips for other reasons."
)


@dataclass(frozen=True)
class Unit:
    """One run at one frame count.

    Attributes:
        run: the run's name.
        title: tells it from the other units; empty where there is only one.
        data: its dict from `evaluate_table`.
    """

    run: str
    title: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """An answer in a sentence, and what limits it.

    Attributes:
        title: where there are several.
        lead: the answer.
        notes: behind it.
        warning: ahead of it, where it should not be believed.
    """

    title: str
    lead: str
    notes: tuple[str, ...]
    warning: str = ""


def units(result: dict[str, Any]) -> list[Unit]:
    """Return every run and frame count of a result, in order."""
    pairs = [(run["name"], data) for run in result["runs"] for data in run["frames"]]
    return [
        Unit(run, _unit_title(run, data) * (len(pairs) > 1), data) for run, data in pairs
    ]


def _unit_title(run: str, data: dict[str, Any]) -> str:
    frames = f", {data['frames']} frames" if data["frames"] else ""  # 0: from elsewhere
    return shorten(run, 60) + frames


def titled(text: str, unit: Unit) -> str:
    """Return a title, with what tells its unit from the others."""
    return f"{text} · {unit.title}" if unit.title else text


def answers(unit: Unit, result: dict[str, Any]) -> list[Answer]:
    """Return what one unit says of the two sets, and of clips of unknown use."""
    out = [answer(unit, result)] if has_both(unit.data) else []
    verdict = unit.data["verdict"]
    if verdict is not None:
        title = f"{unit.title}: clips to judge" if unit.title else "Clips to judge"
        texts = verdict_texts(verdict, result["settings"], result["reference"])
        out.append(Answer(title, *texts))
    return out


def has_both(data: dict[str, Any]) -> bool:
    """Tell whether members and non-members can be compared, or should have been."""
    return min(data["counts"]["evaluated"].values()) > 0 or data["verdict"] is None


def answer(unit: Unit, result: dict[str, Any]) -> Answer:
    """Return the answer about the primary score of one unit in plain words."""
    name = unit.data["primary"]
    found = unit.data["scores"][name] if name else None
    notes = []
    if found and found["auc"] is not None:
        notes += _control_notes(found, result)
        notes += _step_notes(found, result["settings"])
    notes += [_left_out(unit.data, found), *_group_notes(unit.data)]
    warning, notes_on_blind = blind_texts(unit.data["baselines"], result["settings"])
    notes += notes_on_blind
    lead = _lead(name, found, unit.data, result)
    return Answer(unit.title, lead, tuple(notes), warning)


def representative_rows(unit: Unit) -> dict[str, list[str]]:
    """Return, by slice, the names of the representative scores that the unit holds.

    The published code's own scores stand under `published`.
    """
    if unit.data["primary"] == "score":
        return {"score": ["score"]}
    held = {
        part: [f"{part}.{name}" for name in names]
        for part, names in REPRESENTATIVES.items()
    }
    held["published"] = [catalogue.PUBLISHED + name for name in _PUBLISHED]
    known = unit.data["scores"] if has_both(unit.data) else {}
    return {
        part: kept
        for part, names in held.items()
        if (kept := [name for name in names if name in known])
    }


def search_texts(unit: Unit) -> list[str]:
    """Return what chance and a choice on half of the groups say of the best score."""
    held = {
        name: found
        for name, found in unit.data["scores"].items()
        if found["auc"] is not None
    }
    if len(held) < 2:
        return []
    start = f"{unit.title}: of" if unit.title else "Of"
    name = max(held, key=lambda name: held[name]["auc"])
    least = min(held, key=lambda name: held[name]["p_adjusted"])
    texts = [
        f"{start} {len(held)} scores, {name} has the largest AUC,"
        f" {number(held[name]['auc'])}. Corrected for their number, the smallest p-value"
        f" is {held[least]['p_adjusted']:.2g}, of {least} (the largest of all scores under"
        " permuted labels, each in its standard deviations)."
    ]
    found = unit.data["search"]
    if found is None:
        return texts
    low, high = (number(end) for end in found["auc_held_out_range"])
    return [
        *texts,
        f"Chosen on one half of the groups, the best score has AUC"
        f" {number(found['auc_seen'])} there and {number(found['auc_held_out'])} on the"
        f" other half ({low} to {high} in nine of ten of {found['splits']} random splits):"
        f" choosing flatters by {number(found['optimism'])}. Chosen most often, in"
        f" {percent(round(found['chosen_share'], 3))} of the splits: {found['chosen']}.",
    ]


def header(result: dict[str, Any], first: str = "score") -> list[str]:
    """Return the column names that `cells` fills."""
    settings = result["settings"]
    around = f"({percent(settings['confidence'])} interval)"
    names = [first, f"AUC {around}", "balanced accuracy (best threshold)"]
    names += [f"TPR at {percent(fpr)} FPR" for fpr in settings["fprs"]]
    names += PUBLISHED_HEADER if settings["published"] else ()
    if result["control"] is None:
        return names
    return [*names, f"control AUC {around}", f"AUC minus control {around}"]


def cells(
    name: str, metrics: dict[str, Any], result: dict[str, Any], digits: int = 3
) -> list[str]:
    """Return one table row: what `header` names."""
    best, fprs = metrics["best_balanced_accuracy"], result["settings"]["fprs"]
    row = [name, estimate(metrics, "auc", digits), number(best, digits)]
    row += [number(metrics["tpr"][f"{fpr:g}"], digits) for fpr in fprs]
    row += [number(value, digits) for value in metrics.get("published", {}).values()]
    if result["control"] is None:
        return row
    control = metrics.get("control")
    if control is None:  # blind numbers are the same for every model
        return [*row, "–", "–"]
    return [*row, *(estimate(control, key, digits) for key in ("auc", "difference"))]


def _lead(name, found, data, result) -> str:
    if name is None:
        return (
            f"The primary score {catalogue.PRIMARY} is not in this run, which was scored"
            " without the video slice: there is no primary answer, and everything below"
            " is secondary."
        )
    if found["auc"] is None:
        return f"The primary score {name} cannot be evaluated: {found['reason']}."
    where = {"in": "contains", "above": "lies above", "below": "lies below"}
    side = side_of(found["auc_interval"])
    low, high = map(number, found["auc_interval"])
    called = "The score" if name == "score" else f"The primary score {name}"
    return (
        f"{called} {_verdict(found, side, result)}: AUC"
        f" {number(found['auc'])}, {percent(result['settings']['confidence'])} interval"
        f" {low} to {high}, which {where[side]} 0.5; permutation p ="
        f" {found['p_value']:.2g}; {counted(found['members'], 'member')},"
        f" {counted(found['non_members'], 'non-member')}."
    )


def _verdict(found, side, result) -> str:
    small = found["p_value"] <= 1 - result["settings"]["confidence"] + 1e-12
    if side == "below":
        return "does not separate members as expected (it ranks non-members higher)"
    if (side == "above") != small:
        return (
            "does not clearly separate members from non-members (interval and"
            " permutation test disagree)"
        )
    if not small:
        return "does not separate members from non-members"
    ends = found.get("control", {}).get("difference_interval", (None, None))
    if ends[0] is not None and side_of(ends, 0.0) != "above":
        return "separates members from non-members, but not clearly more than the control's"
    return "separates members from non-members"


def _control_notes(found, result) -> list[str]:
    name, control = result["control"], found.get("control")
    if control is None:
        return [
            "No control run was given, so a difference between the two sets of clips"
            " cannot be told apart from an effect of training."
        ]
    both = _both({"member": control["members"], "non_member": control["non_members"]})
    if control["auc"] is None:
        return [f"The control {shorten(name, 60)} cannot be compared: {control['reason']}."]
    notes = [
        f"Control run {shorten(name, 60)}: AUC {estimate(control, 'auc')}; target minus"
        f" control {estimate(control, 'difference')}, on the {both} that both scored."
    ]
    if result["control_differs"]:
        notes.append(f"The control was scored otherwise: {result['control_differs']}.")
    if side_of(control["auc_interval"]) != "in":
        notes.append(
            "The control, which should have seen none of these clips, tells the two"
            " sets apart too: this is evidence of a difference between the sets rather"
            " than of training."
        )
    if side_of(control["difference_interval"], 0.0) != "above":
        notes.append("The target does not exceed the control beyond the interval.")
    return notes


def rule_text(settings: dict[str, Any], negatives: int) -> str:
    """Return how rates are read off, for so many non-members."""
    return (
        f"TPR is read off the step ROC where FPR {settings['rule']} t; the finest step of"
        f" FPR is 1/{negatives}"
    )


def _step_notes(found, settings) -> list[str]:
    n = found["non_members"]
    rule, fprs = settings["rule"], settings["fprs"]
    allowed = allowed_false(tuple(fprs), np.array([float(n)]), rule)
    coarse = [
        percent(fpr) for fpr, most in zip(fprs, allowed, strict=True) if fpr and not most
    ]
    text = rule_text(settings, n)
    if rule == "<" and 0 in fprs:
        text += "; no FPR is below 0, so that TPR at 0 % is 0"
    if coarse:
        text += f"; TPR at {listed(coarse)} is the TPR at zero false positives"
    return [text + "."]


def _left_out(data, found) -> str:
    bad = {name: 0 for name in ("member", "non_member")}
    kinds = []
    for status, by_label in data["counts"]["status"].items():
        if status != "ok" and any(by_label[name] for name in bad):
            kinds.append(shorten(status, 30))
            for name in bad:
                bad[name] += by_label[name]
    parts = []
    if kinds:
        parts.append(f"{_both(bad)} with status {', '.join(kinds)}")
    nan = {"member": 0, "non_member": 0}
    if found:
        ok = data["counts"]["evaluated"]
        nan = {k: ok[k] - found[f"{k}s"] for k in nan}
    if any(nan.values()):
        parts.append(f"{_both(nan)} without a value of the primary score (NaN)")
    if data["counts"]["unlabelled"]:
        judged = data["verdict"] is not None and not data["verdict"]["reason"]
        rows = counted(data["counts"]["unlabelled"], "row")
        parts.append(f"{rows} without a label{', judged below' if judged else ''}")
    return f"Left out: {'; '.join(parts)}." if parts else "No row was left out."


def _both(count: dict[str, int]) -> str:
    members, others = count["member"], count["non_member"]
    return f"{counted(members, 'member')} and {counted(others, 'non-member')}"


def _group_notes(data) -> list[str]:
    rows, groups = data["counts"]["evaluated"], data["counts"]["evaluated_groups"]
    notes = []
    if rows != groups:
        mine, theirs = (counted(groups[k], f"{k.replace('_', '-')} group") for k in groups)
        notes.append(
            f"The rows come from {mine} and {theirs} (videos), which are resampled and"
            " permuted whole."
        )
    if min(groups.values()) < FEW_GROUPS:
        notes.append(
            f"A class has fewer than {FEW_GROUPS} groups: its interval is unreliable."
        )
    mixed = data["counts"]["groups_with_both_labels"]
    if mixed:
        are = "stands" if mixed == 1 else "stand"
        notes.append(
            f"{counted(mixed, 'group')} {are} under both labels; check the manifest."
        )
    return notes
