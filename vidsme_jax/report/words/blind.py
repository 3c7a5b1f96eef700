"""What the blind baselines say of two sets of clips, in words."""

from typing import Any

from vidsme_jax.report.words.formatting import estimate, number, percent, side_of


def telling(blind: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Return the baselines that tell the sets apart, the best first."""
    chance = 1 - settings["confidence"] + 1e-12
    names = [name for name, f in blind["found"].items() if f["p_adjusted"] <= chance]
    return sorted(names, key=lambda name: -blind["found"][name]["auc"])


def as_good(blind: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Return those of them that the primary score does not clearly exceed."""
    found = blind["found"]
    return [
        name
        for name in telling(blind, settings)
        if "difference" not in found[name]
        or found[name]["difference"] is None
        or side_of(found[name]["difference_interval"], 0.0) != "above"
    ]


def blind_texts(blind: dict[str, Any], settings: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the warning that comes first, or none, and what is noted besides."""
    if blind["reason"]:
        return "", [f"No blind baseline could be run: {blind['reason']}."]
    names, best = telling(blind, settings), as_good(blind, settings)
    if best:
        return _warning(best, blind["found"]), []
    if names:
        found = blind["found"][names[0]]
        return "", [
            f"The two sets differ without the model, too: {names[0]} tells them apart with"
            f" AUC {estimate(found, 'auc')}. The primary score exceeds that by"
            f" {estimate(found, 'difference')}."
        ]
    return "", [none_tells(blind, "the two sets")]


def _warning(names: list[str], found: dict[str, Any]) -> str:
    first = found[names[0]]
    text = (
        "The two sets of clips differ by more than training: without asking the model,"
        f" {names[0]} tells them apart with AUC {estimate(first, 'auc')}, corrected p ="
        f" {first['p_adjusted']:.2g}"
    )
    if len(names) > 1:
        text += f", and so do {', '.join(names[1:])}"
    if first.get("difference") is None:
        return text + ". Scores may follow that difference."
    return (
        text + ". The primary score is not clearly better (its AUC less that one's is"
        f" {estimate(first, 'difference')}), so that it is no evidence of training here."
    )


def none_tells(blind: dict[str, Any], what: str) -> str:
    """Say that no baseline tells them apart, or that there are too few clips to know."""
    found = blind["found"]
    least = min(found, key=lambda name: found[name]["p_adjusted"])
    text = (
        f"None of {len(found)} blind baselines, which do not ask the model, is sure to tell"
        f" {what} apart: the smallest corrected p is {found[least]['p_adjusted']:.2g}, of"
        f" {least} with AUC {number(found[least]['auc'])}."
    )
    best = max(found, key=lambda name: found[name]["auc"])
    less = found[best].get("difference")
    if side_of(found[best]["auc_interval"]) != "above" or less is None or less > 0:
        return text
    return (
        f"{text} That is no clean bill: {best} has AUC {number(found[best]['auc'])}, no"
        " less than the primary score, and there are too few clips to tell this from"
        " chance."
    )


def blind_header(settings: dict[str, Any]) -> list[str]:
    """Return the column names that `blind_cells` fills."""
    around = f"({percent(settings['confidence'])} interval)"
    return [
        "baseline",
        f"AUC {around}",
        "p",
        "p corrected",
        f"AUC of the primary score less this one {around}",
    ]


def blind_cells(name: str, found: dict[str, Any]) -> list[str]:
    """Return one table row: what `blind_header` names."""
    less = estimate(found, "difference") if "difference" in found else "–"
    tested = (f"{found[key]:.2g}" for key in ("p_value", "p_adjusted"))
    return [name, estimate(found, "auc"), *tested, less]
