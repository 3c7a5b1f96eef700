"""Ablation on order: natural alone, reversed alone, or their difference.

    python experiments/directions.py --out lab

The second experiment of the method's description expects that only the difference separates
members from non-members. AUC under the target (95 % interval) for each seed, its mean, and
the mean under the control; members are low in all rows but those of logp.

Found: the natural order alone separates well already (sme_nat .89), the reversed alone
hardly (.57), the difference best among the entropies (.93). The smallest 10 % separate
badly (.62), but the smallest 10 % of the log-likelihood are best of all (.95, difference
.96). On the answer, natural order alone is perfect, and the difference loses most of the
signal. So the difference is not the only score that works: the likelihood of a single order
does as well.
"""

from lab import compare, lab_from_arguments, publish

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
    publish(__file__, compare(lab, "directions", by, **AXES))
