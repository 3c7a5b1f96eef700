"""Compute the statistics of a run on PyTorch's tensors, for `vidsme bench`.

They come in two forms: over many rows at once by textbook formulas, and row by row in
float64, as the published code computes them. PyTorch is not imported here: the tensors
bring their own methods.
"""

from typing import Any

import numpy as np

_SMALLEST = 1e-10  # the published clip of probabilities
_LEAST = 2**-24  # of 1 - p in float32


def statistics(z, target, q: float, r: float) -> dict[str, Any]:
    """Return the families of `catalogue.TOKEN_FAMILIES` and `sme`, by textbook formulas.

    Args:
        z: logits [row vocab], float32.
        target: token of each row [row]; below 0 the row's own argmax.
        q: Sharma-Mittal order, not 1.
        r: Sharma-Mittal degree, not 1.
    """
    log_p = z.log_softmax(dim=-1)
    p, two = log_p.exp(), log_p.topk(2, dim=-1)
    y = target.where(target >= 0, two.indices[:, 0])
    log_y = log_p.gather(1, y[:, None])[:, 0]
    mean, square = _dot(p, log_p), _dot(p, p)
    away = log_p - mean[:, None]  # in two steps: float32 has no digits left for one
    entropy = (q * log_p).logsumexp(dim=-1) / (1 - q)
    return {
        "sme": ((1 - r) * entropy).expm1() / (1 - r),
        "logp": log_y,
        "gap": two.values[:, 0] - two.values[:, 1],
        "renyi_half": 2 * (log_p / 2).logsumexp(dim=-1),
        "renyi_one": -mean,
        "renyi_two": -square.log(),
        "renyi_inf": -two.values[:, 0],
        "minkpp": (log_y - mean) / _dot(p * away, away).clamp(min=1e-12).sqrt(),
    } | _modified(p, log_y, square)


def _modified(p, log_y, square) -> dict[str, Any]:
    """Return the modified entropies: sums over all tokens, less the target's own term."""
    left, p_y = 1 - p, log_y.exp()
    stay = 1 - p_y
    rest = _dot(p, left.clamp(min=_LEAST).log()) - p_y * stay.clamp(min=_LEAST).log()
    root = _dot(p, left.sqrt() - 1) - p_y * (stay.sqrt() - 1)
    return {
        "mod_entropy": -stay * log_y - rest,
        "mod_renyi_half": -2 * (stay * (p_y.sqrt() - 1) + root),
        "mod_renyi_two": stay**2 + square - p_y**2,
    }


def _dot(a, b):
    """Return the dot product of each pair of rows, without an array of products."""
    return (a[:, None] @ b[:, :, None])[:, 0, 0]


def row_loop(z, ids: list[int], q: float, r: float, baselines: bool):
    """Return the published values of each row, one row at a time in float64.

    Args:
        z: logits [row vocab].
        ids: the likeliest token of each row.
        q: Sharma-Mittal order.
        r: Sharma-Mittal degree.
        baselines: whether the other families are computed, too, as for the natural
            direction.

    Source: the published code of arXiv 2506.03179; written from its formulas.
    """
    values = []
    for row, y in zip(z, ids, strict=True):
        p = row.double().softmax(dim=-1)
        c = p.clamp(_SMALLEST, 1 - _SMALLEST)
        entropy = {"sme": _entropy(c, q, r)}
        values.append(entropy | (_baselines(row, p, c, y) if baselines else {}))
    return {name: np.array([v[name] for v in values], np.float32) for name in values[0]}


def _entropy(c, q: float, r: float) -> float:
    """Return the published Sharma-Mittal entropy of clipped probabilities."""
    power = (c**q).sum().clamp(min=_SMALLEST)
    exponent = min(max((1 - r) / (1 - q + _SMALLEST), -100.0), 100.0)
    return ((power**exponent - 1) / (1 - r + _SMALLEST)).item()


def _baselines(row, p, c, y: int) -> dict[str, float]:
    """Return the published values of the other families for a row and its target y."""
    log_p = row.double().log_softmax(dim=-1)
    highest = log_p.max()
    c_y, rest = c[y], (1 - c).log()
    entropy = -(1 - c_y) * c_y.log() - (p * rest).sum() + c_y * rest[y]
    values = {
        "logp": log_p[y],
        "gap": highest - log_p[log_p != highest].max(),
        "mod_entropy": entropy,
        "mod_renyi_half": _modified_renyi(c, y, 0.5),
        "mod_renyi_two": _modified_renyi(c, y, 1.0),
        "renyi_half": 2 * (c**0.5).sum().log(),
        "renyi_one": -(p * log_p).sum(),
        "renyi_two": -(c**2).sum().log(),
        "renyi_inf": -highest,
    }
    return {name: value.item() for name, value in values.items()}


def _modified_renyi(c, y: int, beta: float):
    """Return the published modified Rényi entropy of clipped probabilities."""
    others = c.clone()
    others[y] = 0
    inside = (1 - c[y]) * c[y] ** beta - (1 - c[y])
    inside += (others * (1 - others) ** beta).sum() - others.sum()
    return -inside / beta
