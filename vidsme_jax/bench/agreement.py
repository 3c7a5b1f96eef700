"""Whether the contestants of `vidsme bench` compute the same, value by value."""

from typing import Any

import numpy as np

from vidsme_jax.scores.catalogue import TOKEN_FAMILIES

Curves = dict[str, np.ndarray]  # of one clip: values of its scored rows, video rows first


def differences(
    masks: list[np.ndarray], results: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Return how far values are from our own at most, by contestant and family.

    Args:
        masks: of each batch, [clip slice row].
        results: by contestant, what it returned for each batch; `ours` among them.
    """
    mine = _of_ours(masks, results["ours"])
    others = {
        name: _of_torch(found) for name, found in results.items() if "ours" not in name
    }
    others["ours_one"] = _of_one(masks, results["ours_one"])
    return {name: _largest(mine, theirs) for name, theirs in others.items()}


def _of_ours(masks: list[np.ndarray], results: list[Any]) -> list[Curves]:
    return _cut(masks, [found.curves for found in results])


def _of_one(masks: list[np.ndarray], results: list[Any]) -> list[Curves]:
    """Return the statistics of one direction under the names of curves."""
    named = [{_CURVE.get(k, k): v[:, 0] for k, v in found.items()} for found in results]
    return _cut(masks, named)


_CURVE = {"sme": "sme_nat"}


def _cut(masks: list[np.ndarray], results: list[Curves]) -> list[Curves]:
    """Return arrays [clip row] clip by clip, without the rows that are padding."""
    out = []
    for mask, found in zip(masks, results, strict=True):
        for n, scored in enumerate(np.any(mask, axis=1)):
            out.append({name: values[n][scored] for name, values in found.items()})
    return out


def _of_torch(results: list[Any]) -> list[Curves]:
    out = []
    for natural, *other in (ways for found in results for ways in found):
        curves = {k: v for k, v in natural.items() if k in TOKEN_FAMILIES}
        curves["sme_nat"] = natural["sme"]
        for reverse in other:
            curves["sme_rev"] = reverse["sme"]
            curves["sme"] = natural["sme"] - reverse["sme"]
        out.append(curves)
    return out


def _largest(mine: list[Curves], theirs: list[Curves]) -> dict[str, float]:
    """Return the largest difference of each curve; NaN where any value is."""
    out: dict[str, float] = {}
    # The published code scores the first clip, and of its rows the video's only.
    for ours, other in zip(mine, theirs, strict=False):
        for name, values in other.items():
            apart = float(np.max(np.abs(ours[name][: len(values)] - values)))
            out[name] = float(np.maximum(out.get(name, 0.0), apart))
    return out
