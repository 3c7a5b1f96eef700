"""Say in words which failure signatures a run shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.signatures import (
    FlatDifference,
    InvertedAuc,
    InvertedMean,
    NoSignature,
    OneFrame,
    Signature,
    StillImages,
    UncheckedSign,
)
from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.report.words.formatting import percent, with_interval
from vidsme_jax.stats.metrics import FEW_GROUPS

_TITLES: dict[type, str] = {
    OneFrame: "one frame has no order",
    FlatDifference: "flat difference",
    InvertedMean: "inverted signal",
    InvertedAuc: "inverted signal",
    StillImages: "still-image scores succeed where the reversal fails",
}


@dataclass(frozen=True)
class _OtherOrder:
    """The words for a clip in another order.

    Attributes:
        clip: adjective of the clip.
        act: noun for making the clip.
        ignored: what a model ignores that does not react to it.
    """

    clip: str
    act: str
    ignored: str


_REVERSE = _OtherOrder("reversed", "reversal", "the order of the frames")
_ORDERS = {
    "reverse": _REVERSE,
    "shuffle": _OtherOrder(
        "shuffled", "shuffling", "the order of the frames (or the shuffle kept it)"
    ),
    "repeat": _OtherOrder("one-frame", "repeating one frame", "what the other frames show"),
}


def signature_texts(
    signatures: Sequence[Signature], perturbation: str, settings: EvaluationSettings
) -> list[str]:
    """Return a text for each signature.

    Args:
        signatures: signatures of a run at a frame count.
        perturbation: order that the natural one was compared with; `reverse` if unknown.
        settings: settings of the evaluation.
    """
    order = _ORDERS.get(perturbation, _REVERSE)
    return [_text(signature, order, settings) for signature in signatures]


def summary(
    signatures: Sequence[Signature], texts: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Return an answer of one line, and the texts below it.

    Args:
        signatures: signatures of a run at a frame count.
        texts: their `signature_texts`.
    """
    pairs = [*zip(signatures, texts, strict=True)]
    absent = [text for signature, text in pairs if isinstance(signature, NoSignature)]
    rest = tuple(
        text for signature, text in pairs if not isinstance(signature, NoSignature)
    )
    kinds = (type(signature) for signature in signatures)
    titles = list(dict.fromkeys(_TITLES[kind] for kind in kinds if kind in _TITLES))
    if titles:
        return f"Failure signatures: {', '.join(titles)}.", rest
    return (absent or ["The failure signatures could not be looked for."])[0], rest


def _text(signature: Signature, order: _OtherOrder, settings: EvaluationSettings) -> str:
    """Return the text of a signature."""
    match signature:
        case OneFrame():
            return (
                f"One frame has no order: the natural and the {order.clip} clip are the"
                " same, and their difference says nothing here."
            )
        case NoSignature():
            return _none(signature)
        case UncheckedSign():
            return _unchecked(signature)
        case FlatDifference():
            return _flat(signature, order)
        case InvertedMean():
            return _inverted_mean(signature, order, settings)
        case InvertedAuc():
            return (
                f"Inverted signal: {signature.score} separates in the wrong direction, its"
                f" AUC is {with_interval(signature.auc)}, wholly below 0.5. Check the"
                " labels, and how frames are sampled and aligned."
            )
        case StillImages():
            return _still(signature, order, settings)


def _none(signature: NoSignature) -> str:
    """Return the text for no signature."""
    text = "None of the three failure signatures was found"
    if signature.unchecked:
        text = (
            f"No failure signature was found, but {signature.unchecked} of the three could"
            " not be looked for"
        )
    return f"{text} (slice {signature.slice}). They are signs of faults, not of training."


def _unchecked(signature: UncheckedSign) -> str:
    """Return the text for a signature that could not be looked for."""
    sign, missing, groups = signature.sign, signature.missing, signature.groups
    if sign == "flat":
        why = "no clip with status ok has a value"
        if missing:
            why = f"there is no column {missing[0]}"
        return f"Flat differences were not looked for: {why}."
    if sign == "inverted":
        why = "no row with a label was scored"
        if groups is not None:
            why = (
                f"{groups} groups of members have a finite {missing[0]}, expected at least"
                " 2"
            )
        return f"An inverted signal was not looked for: {why}."
    if sign == "still":
        return (
            "Still-image scores were not compared with the reversal: there is no AUC of"
            f" {' and '.join(missing)}."
        )
    return "The three failure signatures concern the score sme, which this table lacks."


def _flat(signature: FlatDifference, order: _OtherOrder) -> str:
    """Return the text for flat differences."""
    start = "Strong warning, flat difference" if signature.strong else "Flat difference"
    sentences = [
        f"{start}: in {signature.flat} of {signature.clips} clips the {order.clip} order"
        f" changes the {signature.slice} slice's entropy by at most"
        f" {percent(signature.share)} anywhere."
    ]
    if signature.not_moving:
        sentences.append(
            "Without motion (variance of the optical flow below"
            f" {signature.motion_below:g} square pixels): {signature.not_moving};"
            f" {order.act} changes nothing there."
        )
    if signature.moving:
        sentences.append(
            f"With motion: {signature.moving}; the model ignores {order.ignored} there."
        )
    if signature.motion_unknown:
        sentences.append(f"Of unknown motion: {signature.motion_unknown}.")
    if signature.without_value:
        sentences.append(f"Beside them, without a value: {signature.without_value}.")
    if signature.strong:
        sentences.append(
            "The flat ones are more than half: a score that rests on the difference has"
            " little to go by."
        )
    return " ".join(sentences)


def _inverted_mean(
    signature: InvertedMean, order: _OtherOrder, settings: EvaluationSettings
) -> str:
    """Return the text for members whose mean difference is above zero."""
    mean = signature.mean
    interval = f"{percent(settings.confidence)} interval {mean.low:.3g} to {mean.high:.3g}"
    text = (
        f"Inverted signal: for members the {order.clip} clip has the lower entropy. Over"
        f" {signature.members} members the mean of {signature.score}, natural minus"
        f" {order.clip}, is {mean.value:.3g} ({interval}). That is wholly above 0, and"
        " should lie below. Check how frames are sampled and aligned, for example whether"
        " they were handed over in the wrong order."
    )
    if signature.groups < FEW_GROUPS:
        text += f" The interval rests on {signature.groups} groups only."
    return text


def _still(signature: StillImages, order: _OtherOrder, settings: EvaluationSettings) -> str:
    """Return the text for still-image scores that separate."""
    aucs = {name: pair.target for name, pair in signature.looked_at.items()}
    needs = "needs" if len(signature.above) == 1 else "need"
    text = (
        f"Still-image scores succeed where the {order.act} fails. The interval of"
        f" {signature.score} does not lie above 0.5 (AUC"
        f" {with_interval(aucs[signature.score])}). That of"
        f" {_with_aucs(signature.above, aucs)} does, which {needs} no order. Either the"
        f" model remembers content and {order.act} does not bring it out, or the two sets"
        f" differ by themselves. {_control(signature)}"
    )
    if len(aucs) == 2:  # the reversal score and one other
        return text
    chance = percent(round(1 - settings.confidence, 6))
    return text + (
        " Two such scores, chosen in advance, were looked at. With nothing to find, one of"
        f" them lies above 0.5 by chance in up to {chance} of runs."
    )


def _control(signature: StillImages) -> str:
    """Return a sentence on the same scores under the control."""
    controls = {name: signature.looked_at[name].control for name in signature.above}
    aucs = {name: auc for name, auc in controls.items() if auc is not None}
    if not aucs:
        return "A control run would tell the two apart; none was given."
    if any(auc.value is None for auc in aucs.values()):
        return "The control has no AUC to compare with."
    shifted = [n for n, auc in aucs.items() if auc.low is not None and auc.low > 0.5]
    if shifted:
        return (
            f"Under the control {_with_aucs(shifted, aucs)} lies above 0.5 as well: this is"
            " rather a shift between the sets."
        )
    return (
        f"Under the control {_with_aucs(signature.above, aucs)} does not lie above 0.5: it"
        " shows no such difference between the sets."
    )


def _with_aucs(names: Sequence[str], aucs: dict[str, Estimate]) -> str:
    """Return names of scores with their AUCs, joined by `and`."""
    return " and ".join(f"{name} (AUC {with_interval(aucs[name])})" for name in names)
