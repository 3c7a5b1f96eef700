"""Plain float64 transcriptions of the formulas, kept far from how the package does it."""

import numpy as np


def softmax(z):
    e = np.exp(np.asarray(z, np.float64) - np.max(z))
    return e / e.sum()


def renyi(z, q):
    """log(sum p^q) / (1 - q), from gaps to the largest entry so that float64 suffices."""
    z = np.asarray(z, np.float64)
    top = int(np.argmax(z))
    d = np.delete(z - z[top], top)
    d = d[np.isfinite(d)]
    norm = np.log1p(np.exp(d).sum())
    log_p = d - norm
    if q == np.inf:
        return norm
    if q == 1:
        return -(np.exp(log_p) * log_p).sum() + np.exp(-norm) * norm
    # sum p^q - 1 = sum p (p^(q-1) - 1), term by term
    excess = (np.exp(log_p) * np.expm1((q - 1) * log_p)).sum()
    excess += np.exp(-norm) * np.expm1(-(q - 1) * norm)
    return np.log1p(excess) / (1 - q)


def sharma_mittal(z, q, r):
    return squash(renyi(z, q), r)


def squash(h, r):
    """Sharma-Mittal of degree r, from Rényi's entropy."""
    return h if r == 1 else np.expm1((1 - r) * h) / (1 - r)


def families(z, y):
    """Return the catalogue's families of one row, from probabilities."""
    p = softmax(z)
    lp = np.log(p)
    others = np.arange(len(p)) != y
    ranked = np.sort(lp)
    mu = (p * lp).sum()
    sigma = np.sqrt((p * (lp - mu) ** 2).sum())

    def modified(beta):
        inner = (1 - p[y]) * p[y] ** beta - (1 - p[y])
        inner += (p[others] * (1 - p[others]) ** beta - p[others]).sum()
        return -inner / beta

    return {
        "logp": lp[y],
        "gap": ranked[-1] - ranked[-2],
        "renyi_half": np.log((p**0.5).sum()) / 0.5,
        "renyi_one": -(p * lp).sum(),
        "renyi_two": -np.log((p**2).sum()),
        "renyi_inf": -lp.max(),
        "mod_entropy": -(1 - p[y]) * lp[y] - (p[others] * np.log(1 - p[others])).sum(),
        "mod_renyi_half": modified(0.5),
        "mod_renyi_two": modified(1.0),
        "minkpp": (lp[y] - mu) / sigma if sigma >= 1e-6 else 0.0,
    }


def rows(vocab, rng):
    """Return named rows: flat, normal, Zipf, and peaked with gaps of up to 60 nats."""
    ranks = np.log(np.arange(1, vocab + 1))
    out = {
        "flat": np.zeros(vocab),
        "normal": rng.normal(0, 2, vocab),
        "zipf 1": rng.permutation(-ranks),
        "zipf 1.5": rng.permutation(-1.5 * ranks),
    }
    for gap in (1, 5, 10, 20, 30, 40, 60):
        z = rng.normal(0, 1, vocab)
        z[vocab // 3] = z.max() + gap
        out[f"gap {gap}"] = z
        lone = np.full(vocab, -200.0)
        lone[[5, 9]] = 0, -gap
        out[f"pair {gap}"] = lone
    return {name: np.float32(z) for name, z in out.items()}
