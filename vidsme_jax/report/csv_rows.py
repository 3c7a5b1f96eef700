"""The rows of metrics.csv: every score, number, baseline and part of the clips."""

from collections.abc import Iterator
from typing import Any


def metric_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row for each thing of which a result holds metrics.

    `kind` is score, number (of the clips, without a model), baseline (a classifier without
    the model) or subset (the primary score in a part of the clips).
    """
    rule = result["settings"]["rule"]
    return [
        {"run": run["name"], "frames": data["frames"], **row}
        for run in result["runs"]
        for data in run["frames"]
        for row in _rows(data, rule)
    ]


def _rows(data: dict[str, Any], rule: str) -> Iterator[dict[str, Any]]:
    for kind, held in (("score", data["scores"]), ("number", data["numbers"])):
        for name, found in held.items():
            is_primary = kind == "score" and name == data["primary"]
            head = {"score": name, "kind": kind, "primary": int(is_primary)}
            yield head | _metrics(found, rule)
    for name, found in data["baselines"]["found"].items():
        head = {"score": name, "kind": "baseline", "primary": 0}
        yield head | _estimates(found, "auc") | _tested(found)
    for column, parts in data["subsets"].items():
        for part, found in parts.items():
            head = {"score": data["primary"], "kind": "subset", "primary": 1}
            yield head | {"part": f"{column}: {part}"} | _metrics(found, rule)


def _metrics(found: dict[str, Any], rule: str) -> dict[str, Any]:
    row = _estimates(found, "auc")
    for fpr, value in found["tpr"].items():
        row |= _named(f"tpr_at_{fpr}", value, found["tpr_interval"][fpr])
    row |= {"rule": rule, "fpr_step": found["fpr_step"]}
    names = ("average_precision", "fpr_at_95_tpr", "best_balanced_accuracy", "advantage")
    row |= _estimates(found, *names)
    row |= {key: found[key] for key in ("members", "non_members", "reason")}
    row |= _tested(found)
    if "over_primary" in found:
        row |= _estimates(found, "over_primary")
    row |= {f"published_{k}": v for k, v in found.get("published", {}).items()}
    return row | _control(found.get("control"))


def _tested(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found.get(key) for key in ("p_value", "p_adjusted")}


def _control(control: dict[str, Any] | None) -> dict[str, Any]:
    if control is None:
        return {}
    row = _estimates(control, "auc", "difference")
    for key in ("target_auc", "members", "non_members", "p_value"):
        row[key] = control.get(key)
    for kind, held in control.get("calibrated", {}).items():
        row |= _named(f"calibrated_{kind}_auc", held["auc"], held["auc_interval"])
    return {f"control_{key}": value for key, value in row.items()}


def _estimates(found: dict[str, Any], *names: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in names:
        row |= _named(name, found[name], found[f"{name}_interval"])
    return row


def _named(key: str, value, ends) -> dict[str, Any]:
    return {key: value, f"{key}_low": ends[0], f"{key}_high": ends[1]}
