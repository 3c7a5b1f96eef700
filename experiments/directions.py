"""Ablation on order: natural alone, reversed alone, or their difference.

    python experiments/directions.py --out lab

The second experiment of the method's description expects that only the difference separates
members from non-members. AUC under the target (95 % interval) for each seed, its mean, and
the mean under the control; members are low in all rows but those of logp.
"""

from lab import compare, lab_from_arguments

AXES = {
    "families": (
        "sme_nat",
        "sme_rev",
        "sme",
        "renyi_one",
        "renyi_one_diff",
        "logp",
        "logp_diff",
    ),
    "aggregates": ("mean", "min_10"),
    "slices": ("video", "response"),
}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("score",)
    print("\n".join(compare(lab, "directions", by, **AXES)))
