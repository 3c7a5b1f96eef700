"""What to compare natural order with: reversal, a random order, or one frame repeated.

    python experiments/perturbations.py --out lab

AUC under the target (95 % interval) for each seed, its mean, and the mean under the
control.

Found: a random order is as good as reversal (.94 and .93); one frame repeated is worse
(.82). For the smallest 10 % of the log-likelihood the three are the same.
"""

from lab import compare, lab_from_arguments, publish

AXES = {
    "perturbations": ("reverse", "shuffle", "repeat"),
    "families": ("sme", "logp_diff", "sme_rev"),
    "aggregates": ("mean", "min_10"),
}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("score", "perturbation")
    publish(__file__, compare(lab, "perturbations", by, **AXES))
