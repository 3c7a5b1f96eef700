"""What to compare natural order with: reversal, a random order, or one frame repeated.

    python experiments/perturbations.py --out lab

AUC under the target (95 % interval) for each seed, its mean, and the mean under the
control.
"""

from lab import compare, lab_from_arguments

AXES = {
    "perturbations": ("reverse", "shuffle", "repeat"),
    "families": ("sme", "logp_diff", "sme_rev"),
    "aggregates": ("mean", "min_10"),
}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("score", "perturbation")
    print("\n".join(compare(lab, "perturbations", by, **AXES)))
