"""Three signs by which the reversal score is known to fail, looked for in a run.

    flat      natural and reversed order give almost the same entropy
    inverted  the reversed clip is the more certain one for members
    still     scores that need no order separate, the reversal score does not

They say where to look, not whether a clip was trained on. Looked for on the video slice,
or on the first other slice that a run holds. Source of the three: notes on arXiv 2506.03179
("flat distribution", "inverted signal", "corpus mismatch"); the thresholds are ours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vidsme_jax.evaluation.samples import Sample, samples
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.report.words.formatting import estimate, percent
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.intervals import percentile
from vidsme_jax.stats.metrics import FEW_GROUPS
from vidsme_jax.stats.resampling import bootstrap_weights

# Of the clip's mean entropy. bfloat16 keeps 8 significant bits, 0.4 %: two entropies of
# one distribution can differ by that much, so that 1 % is no more than rounding explains.
FLAT_SHARE = 0.01
# Of the clips: a few that do not move are nothing wrong with a run.
FLAT_CLIPS = 0.05
# Square pixels: flow that varies by a tenth of a pixel is what noise and coding leave.
STILL_MOTION = 0.01
# Natural order only; fixed in advance, so that two looks are taken and no more.
STILL_SCORES = ("logp.min_10", "renyi_one.mean")

TITLES = {
    "one_frame": "one frame has no order",
    "flat": "flat difference",
    "inverted": "inverted signal",
    "still": "still-image scores succeed where the reversal fails",
}


@dataclass(frozen=True)
class _Words:
    """How the other order of a clip is called: the clip, the act, what it changes."""

    clip: str
    act: str
    ignored: str


_WORDS = {
    "reverse": _Words("reversed", "reversal", "the order of the frames"),
    "shuffle": _Words(
        "shuffled", "shuffling", "the order of the frames (or the shuffle kept it)"
    ),
    "repeat": _Words("one-frame", "repeating one frame", "what the other frames show"),
}


@dataclass(frozen=True)
class _Case:
    """One frame count: its rows, its metrics, the slice looked at."""

    every: Sample  # all ok rows, labelled or not
    known: Sample  # those with a label
    data: dict[str, Any]
    part: str
    settings: EvaluationSettings
    words: _Words

    @property
    def score(self) -> str:
        """The reversal score of the slice: the primary one on the video slice."""
        return f"{self.part}.sme.mean"


def diagnose(
    table: pa.Table,
    evaluated: list[dict[str, Any]],
    settings: EvaluationSettings,
    perturbation: str = "reverse",
) -> list[list[dict[str, Any]]]:
    """Look for the three signs in every frame count of a score table.

    Args:
        table: the score table.
        evaluated: what `evaluate_table` made of it, with or without a control.
        settings: resamples, confidence and seed of the interval of the entropy.
        perturbation: what the clips were compared with, for the words.

    Returns:
        Per frame count, upwards, a list of JSON-able dicts: `kind` (flat, inverted,
        still; one_frame; unchecked, with the `sign` that could not be looked for; none),
        `text`, a sentence for people, and the numbers behind it.
    """
    words = _WORDS.get(perturbation, _WORDS["reverse"])
    rows = zip(samples(table, labelled=False), samples(table), evaluated, strict=True)
    return [_one(*row, settings, words) for row in rows]


def summary(found: list[dict[str, Any]]) -> tuple[str, tuple[str, ...]]:
    """Return a one-line answer and the sentences below it, for report and terminal."""
    none = [entry["text"] for entry in found if entry["kind"] == "none"]
    texts = tuple(entry["text"] for entry in found if entry["kind"] != "none")
    kinds = dict.fromkeys(entry["kind"] for entry in found)
    named = [TITLES[kind] for kind in kinds if kind in TITLES]
    if named:
        return f"Failure signatures: {', '.join(named)}.", texts
    return (none or ["The failure signatures could not be looked for."])[0], texts


def _one(every, known, data, settings, words) -> list[dict[str, Any]]:
    """All findings of one frame count, or the line that there are none."""
    if every.frames == 1:
        text = (
            "One frame has no order: the natural and the"
            f" {words.clip} clip are the same, and their difference says nothing here."
        )
        return [{"kind": "one_frame", "text": text, "frames": 1}]
    held = [s for s in catalogue.SLICES if f"{s}.sme.mean" in every.scores]
    if not held:
        text = "The three failure signatures concern the score sme, which this table lacks."
        return [_unchecked("all", text)]
    case = _Case(every, known, data, held[0], settings, words)
    found = [*_flat(case), *_inverted(case), *_still(case)]
    missing = {entry["sign"] for entry in found if entry["kind"] == "unchecked"}
    if len(missing) == 3 or any(entry["kind"] != "unchecked" for entry in found):
        return found
    return [{"kind": "none", "text": _none(case, missing)}, *found]


def _none(case: _Case, missing: set[str]) -> str:
    which = "None of the three failure signatures was found"
    if missing:
        which = f"No failure signature was found, but {len(missing)} of the three could"
        which += " not be looked for"
    return f"{which} (slice {case.part})."


def _unchecked(sign: str, text: str) -> dict[str, Any]:
    return {"kind": "unchecked", "sign": sign, "text": text}


def _flat(case: _Case) -> list[dict[str, Any]]:
    """Clips in which the largest difference at any position is next to nothing.

    Said where they are 5 % of the clips or more.
    """
    held, part = case.every.scores, case.part
    names = [f"{part}.{n}" for n in ("sme.min_0", "sme.max_0", "sme_nat.mean")]
    lacking = [name for name in names if name not in held]
    if lacking:
        text = f"Flat differences were not looked for: there is no column {lacking[0]}."
        return [_unchecked("flat", text)]
    low, high, natural = (np.abs(held[name]) for name in names)
    known = np.isfinite(low + high + natural)
    if not known.any():
        text = "Flat differences were not looked for: no clip with status ok has a value."
        return [_unchecked("flat", text)]
    flat = known & (np.maximum(low, high) <= FLAT_SHARE * natural)  # 0 of 0 is flat
    if np.sum(flat) < max(1, FLAT_CLIPS * np.sum(known)):
        return []
    motion = case.every.numbers.get("motion", np.full(len(flat), np.nan))
    numbers = {"slice": part, **_flat_counts(flat, known, motion[flat])}
    return [{"kind": "flat", "text": _flat_text(numbers, case), **numbers}]


def _flat_counts(flat, known, motion) -> dict[str, Any]:
    count = {
        "flat": flat,
        "clips": known,
        "without_value": ~known,
        "not_moving": motion < STILL_MOTION,
        "moving": motion >= STILL_MOTION,
        "motion_unknown": np.isnan(motion),
    }
    return {
        **{name: int(np.sum(rows)) for name, rows in count.items()},
        "strong": bool(2 * np.sum(flat) > np.sum(known)),
        "share": FLAT_SHARE,
        "motion_below": STILL_MOTION,
    }


def _flat_text(counts: dict[str, Any], case: _Case) -> str:
    words, strong = case.words, counts["strong"]
    parts = [
        f"{'Strong warning, flat difference' if strong else 'Flat difference'}: in"
        f" {counts['flat']} of {counts['clips']} clips with status ok, the {words.clip}"
        f" order changes the entropy on the {case.part} slice by at most"
        f" {percent(FLAT_SHARE)} of its mean at any position."
    ]
    if counts["not_moving"]:
        parts.append(
            f"Without motion (variance of the optical flow below {STILL_MOTION:g} square"
            f" pixels): {counts['not_moving']}; {words.act} changes nothing there."
        )
    if counts["moving"]:
        parts.append(
            f"With motion: {counts['moving']}; the model ignores {words.ignored} there."
        )
    if counts["motion_unknown"]:
        parts.append(f"Of unknown motion: {counts['motion_unknown']}.")
    if counts["without_value"]:
        parts.append(f"Beside them, without a value: {counts['without_value']}.")
    if strong:
        parts.append(
            "The flat ones are more than half: a score that rests on the difference has"
            " little to go by."
        )
    return " ".join(parts)


def _inverted(case: _Case) -> list[dict[str, Any]]:
    """Members whose other order is the more certain one, and an AUC below one half."""
    return [*_members_above_zero(case), *_auc_below_half(case)]


def _members_above_zero(case: _Case) -> list[dict[str, Any]]:
    values, sample = -case.known.scores[case.score], case.known  # as in the table again
    rows = sample.member & np.isfinite(values)
    units = np.unique(sample.unit[rows])
    if len(units) < 2:
        why = (
            f"{len(units)} groups of members have a finite {case.score}, expected at least"
            " 2"
            if len(sample.ids)
            else "no row with a label was scored"
        )
        text = f"An inverted signal was not looked for: {why}."
        return [_unchecked("inverted", text)]
    asked = case.settings
    given = (sample.member[rows], sample.unit[rows], asked.bootstrap, asked.seed)
    weights = bootstrap_weights(*given)
    draws = values[rows] @ weights / np.sum(weights, axis=0)
    low, high = map(float, percentile(draws, asked.confidence))
    mean = float(np.mean(values[rows]))
    if not low > 0:
        return []
    around = f"{percent(case.settings.confidence)} interval {low:.3g} to {high:.3g}"
    text = (
        f"Inverted signal: for members the {case.words.clip} clip has the lower entropy."
        f" Over {int(np.sum(rows))} members the mean of {case.score}, natural minus"
        f" {case.words.clip}, is {mean:.3g} ({around}), wholly above 0, where it"
        " should lie below. Check how frames are sampled and aligned, for example whether"
        " they were handed over in the wrong order."
    )
    if len(units) < FEW_GROUPS:
        text += f" The interval rests on {len(units)} groups only and is unreliable."
    numbers = {
        "score": case.score,
        "mean": mean,
        "mean_interval": [low, high],
        "members": int(np.sum(rows)),
        "groups": len(units),
    }
    return [{"kind": "inverted", "text": text, **numbers}]


def _auc_below_half(case: _Case) -> list[dict[str, Any]]:
    found = case.data["scores"][case.score]
    if found["auc"] is None or not found["auc_interval"][1] < 0.5:
        return []
    text = (
        f"Inverted signal: {case.score} separates in the wrong direction, its AUC is"
        f" {estimate(found, 'auc')}, wholly below 0.5. Check the labels, and how frames"
        " are sampled and aligned."
    )
    numbers = {key: found[key] for key in ("auc", "auc_interval")}
    return [{"kind": "inverted", "text": text, "score": case.score, **numbers}]


def _still(case: _Case) -> list[dict[str, Any]]:
    """Scores of the natural order alone that separate where the reversal does not."""
    held, own = case.data["scores"], case.data["scores"][case.score]
    names = [f"{case.part}.{name}" for name in STILL_SCORES]
    looked = [n for n in names if n in held and held[n]["auc"] is not None]
    if own["auc"] is None or not looked:
        lacking = case.score if own["auc"] is None else " and ".join(names)
        text = (
            "Still-image scores were not compared with the reversal: there is no AUC of"
            f" {lacking}."
        )
        return [_unchecked("still", text)]
    telling = [name for name in looked if held[name]["auc_interval"][0] > 0.5]
    if own["auc_interval"][0] > 0.5 or not telling:
        return []
    shown = {name: _both_aucs(held[name]) for name in (case.score, *looked)}
    return [
        {
            "kind": "still",
            "text": _still_text(case, telling, len(looked)),
            "score": case.score,
            "above": telling,
            "looked_at": shown,
        }
    ]


def _both_aucs(found: dict[str, Any]) -> dict[str, Any]:
    """The AUC of a score and, where there is a control, the control's."""
    keys = ("auc", "auc_interval")
    out = {key: found[key] for key in keys}
    if "control" in found:
        out |= {f"control_{key}": found["control"][key] for key in keys}
    return out


def _still_text(case: _Case, telling: list[str], looked: int) -> str:
    held, act = case.data["scores"], case.words.act
    needs = "needs" if len(telling) == 1 else "need"
    text = (
        f"Still-image scores succeed where the {act} fails: the interval of {case.score}"
        f" does not lie above 0.5 (AUC {estimate(held[case.score], 'auc')}), but that of"
        f" {_listed(telling, held)} does, which {needs} no order. Either the model"
        f" remembers content and {act} does not bring it out, or the two sets differ by"
        " themselves."
        f" {_control_text(case, telling)}"
    )
    if looked == 1:
        return text
    chance = percent(round(1 - case.settings.confidence, 6))
    return text + (
        " Two such scores, chosen in advance, were looked at: with nothing to find, one of"
        f" them lies above 0.5 by chance in up to {chance} of runs."
    )


def _control_text(case: _Case, telling: list[str]) -> str:
    """What the control says about the scores that separate."""
    held = {name: case.data["scores"][name].get("control") for name in telling}
    found = {name: entry for name, entry in held.items() if entry}
    if not found:
        return "A control run would tell the two apart; none was given."
    if any(entry["auc"] is None for entry in found.values()):
        return "The control has no AUC to compare with."
    shifted = [name for name, entry in found.items() if entry["auc_interval"][0] > 0.5]
    if shifted:
        return (
            f"Under the control {_listed(shifted, found)} lies above 0.5 as well: this is"
            " rather a shift between the sets."
        )
    return (
        f"Under the control {_listed(telling, found)} does not lie above 0.5: it shows no"
        " such difference between the sets."
    )


def _listed(names: list[str], metrics: dict[str, Any]) -> str:
    """Names with their AUCs in a row."""
    return " and ".join(f"{n} (AUC {estimate(metrics[n], 'auc')})" for n in names)
