"""The widths beta1 and beta2 of the ranges of q and r, exact and as published.

    python experiments/betas.py --out lab

beta1 = beta2 = 0 is q = r = 1, where the published code computes nothing (its first branch
divides rounding by 1e-10). AUC of the mean difference under the target (95 % interval) for
each seed, its mean, and the mean under the control. The sweeps below --out have figures.

Found: it hardly matters: every cell of the exact definition lies between .92 and .93. As
published the same, but for beta1 = 0: there q = 1 for all clips, and all scores are equal.
"""

from lab import compare, lab_from_arguments, publish

AXES = {
    "beta1": (0.0, 0.25, 0.5, 0.75, 1.0),
    "beta2": (0.0, 0.05, 0.1, 0.2, 0.5),
    "definitions": ("exact", "published"),
}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("definition", "beta1", "beta2")
    publish(__file__, compare(lab, "betas", by, **AXES))
