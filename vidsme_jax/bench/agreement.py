"""Compare what the contestants of `vidsme bench` compute, value by value."""

from typing import Any

import numpy as np

from vidsme_jax.batch import NATURAL
from vidsme_jax.scores.catalogue import TOKEN_FAMILIES

Curves = dict[str, np.ndarray]  # by family, values of scored rows, the video's first


def differences(
    masks: list[np.ndarray], results: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Return the largest distance from our own values, by contestant and family.

    Args:
        masks: the mask of each batch [clip slice row].
        results: by contestant, its results for each batch; `ours` is among them.
    """
    ours = _both_ways(masks, results["ours"])
    others = {
        name: _from_torch(batches)
        for name, batches in results.items()
        if name not in ("ours", "ours_one")
    }
    others["ours_one"] = _one_way(masks, results["ours_one"])
    return {name: _largest(ours, theirs) for name, theirs in others.items()}


def _both_ways(masks: list[np.ndarray], results: list[Any]) -> list[Curves]:
    """Return our curves of both directions, clip by clip."""
    return _by_clip(masks, [batch.curves for batch in results])


def _one_way(masks: list[np.ndarray], results: list[Any]) -> list[Curves]:
    """Return our statistics of one direction, clip by clip, by the names of curves."""
    named = [
        {_CURVE.get(k, k): v[:, NATURAL] for k, v in batch.items()} for batch in results
    ]
    return _by_clip(masks, named)


_CURVE = {"sme": "sme_nat"}


def _by_clip(masks: list[np.ndarray], batches: list[Curves]) -> list[Curves]:
    """Return arrays [clip row] clip by clip, without the rows that are padding."""
    out = []
    for mask, curves in zip(masks, batches, strict=True):
        for n, scored in enumerate(np.any(mask, axis=1)):
            out.append({name: values[n][scored] for name, values in curves.items()})
    return out


def _from_torch(results: list[Any]) -> list[Curves]:
    """Return PyTorch's values, clip by clip, by the names of curves."""
    out = []
    for natural, *other in (ways for batch in results for ways in batch):
        curves = {k: v for k, v in natural.items() if k in TOKEN_FAMILIES}
        curves["sme_nat"] = natural["sme"]
        for reverse in other:
            curves["sme_rev"] = reverse["sme"]
            curves["sme"] = natural["sme"] - reverse["sme"]
        out.append(curves)
    return out


def _largest(ours: list[Curves], theirs: list[Curves]) -> dict[str, float]:
    """Return the largest difference of each curve; NaN where any value is."""
    out: dict[str, float] = {}
    # The published code scores the first clip, and of its rows the video's only.
    for our_curves, their_curves in zip(ours, theirs, strict=False):
        for name, values in their_curves.items():
            apart = float(np.max(np.abs(our_curves[name][: len(values)] - values)))
            out[name] = float(np.maximum(out.get(name, 0.0), apart))
    return out
