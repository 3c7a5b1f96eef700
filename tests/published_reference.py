"""The published code's definitions in plain float64, from its formulas.

p is the softmax of a row over the whole head, c(p) = min(max(p, e), 1 - e) with
e = 1e-10, y the row's largest entry. Written for reading, a block of rows at a time.
"""

import numpy as np

EPSILON = 1e-10
RATIOS = (0, 0.05, 0.1, 0.3, 0.6, 0.9)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def clip(p):
    return np.clip(p, EPSILON, 1 - EPSILON)


def sharma_mittal(c, q, r):
    """Branches in the code's order; each ends with its own epsilon."""
    power = np.sum(c**q, axis=-1)
    floored = np.maximum(power, EPSILON)
    if abs(q - r) < EPSILON:
        return (power - 1) / (1 - q + EPSILON)
    if abs(r - 1) < EPSILON:
        return np.log(floored) / (1 - q + EPSILON)
    exponent = (1 - r) / (1 - q + EPSILON)
    exponent = min(max(exponent, -100.0), 100.0)
    return (floored**exponent - 1) / (1 - r + EPSILON)


def block_values(z):
    """Return the quantities of a block of rows that do not depend on q and r."""
    p = softmax(z)
    top = z.max(axis=-1, keepdims=True)
    log_p = z - top - np.log(np.exp(z - top).sum(axis=-1, keepdims=True))
    c, y = clip(p), np.argmax(z, axis=-1)[:, None]
    c_y, others = np.take_along_axis(c, y, 1)[:, 0], np.arange(z.shape[1]) != y
    rest = np.log(1 - c)
    highest = log_p.max(axis=-1)
    second = np.where(log_p != highest[:, None], log_p, -np.inf).max(axis=-1)

    def modified(beta):
        inside = (1 - c_y) * c_y**beta - (1 - c_y)
        inside += np.sum(np.where(others, c * (1 - c) ** beta, 0), axis=-1)
        return -(inside - np.sum(np.where(others, c, 0), axis=-1)) / beta

    entropy = -(1 - c_y) * np.log(c_y) - np.sum(p * rest, axis=-1)
    return {
        "logp": np.take_along_axis(log_p, y, 1)[:, 0],
        "gap": np.where(np.isfinite(second), highest - second, 0),
        "mod_entropy": entropy + c_y * np.log(1 - c_y),
        "mod_05": modified(0.5),
        "mod_2": modified(1.0),
        "05": np.log(np.sum(np.sqrt(c), axis=-1)) / 0.5,
        "1": -np.sum(p * log_p, axis=-1),
        "2": -np.log(np.sum(c**2, axis=-1)),
        "inf": -highest,
    }


def scores(natural, reverse, pairs):
    """Return all 85 numbers of one clip, for each pair of q and r.

    Args:
        natural: logits of the V video rows and the row behind them.
        reverse: the same of the reversed clip.
        pairs: of q and r.
    """
    blocks = np.array_split(np.arange(len(natural) - 1), -(-len(natural) // 16))
    parts = [block_values(natural[b].astype(np.float64)) for b in blocks]
    curve = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    entropies = np.zeros((len(pairs), 2, len(natural) - 1))
    means = np.zeros((2, natural.shape[1]))
    for way, logits in enumerate((natural, reverse)):
        for b in blocks:
            p = softmax(logits[b].astype(np.float64))
            means[way] += p.sum(axis=0)
            for n, (q, r) in enumerate(pairs):
                entropies[n, way, b] = sharma_mittal(clip(p), q, r)
        means[way] += softmax(logits[-1].astype(np.float64))
    means /= len(natural)
    averages = means / means.sum(axis=-1, keepdims=True)
    out = []
    for (q, r), both in zip(pairs, entropies, strict=True):
        ends = [sharma_mittal(clip(mean), q, r) for mean in averages]
        out.append(named(curve, both[0] - both[1], ends[0] - ends[1]))
    return out


def named(curve, difference, sequence):
    n = len(difference)
    counts = {ratio: max(1, int(n * ratio)) for ratio in (*RATIOS, 1)}
    out = {"ppl": np.exp(-curve["logp"].mean())}
    for ratio in RATIOS:
        lowest = np.sort(curve["logp"])[: counts[ratio]]
        out[f"Min_{ratio * 100}% Prob"] = -lowest.mean()
    out["Modified_entropy"] = curve["mod_entropy"].mean()
    out["Modified_renyi_05"] = curve["mod_05"].mean()
    out["Modified_renyi_2"] = curve["mod_2"].mean()
    out["Max_Prob_Gap"] = -curve["gap"].mean()
    for side in ("Max", "Min"):
        for ratio, k in counts.items():
            for alpha in ("05", "1", "2", "inf"):
                ordered = np.sort(curve[alpha])
                part = ordered[-k:] if side == "Max" else ordered[:k]
                out[f"{side}_{ratio * 100}% renyi_{alpha}"] = part.mean()
    ordered = np.sort(difference)
    out["Max_vetp"], out["Min_vetp"] = ordered[-1], ordered[0]
    out["Mean_vetp"] = difference.mean()
    for ratio, k in counts.items():
        out[f"Max_{ratio * 100}% vetp"] = ordered[-k:].mean()
        out[f"Min_{ratio * 100}% vetp"] = ordered[:k].mean()
    return out | {"sequence_vetp": sequence}
