"""Which K: the mean of the smallest or largest K % of the entropy differences.

    python experiments/aggregates.py --out lab

Once between the same positions, as published, once between the same frames. AUC under the
target (95 % interval) for each seed, its mean, and the mean under the control.
"""

from lab import compare, lab_from_arguments

from vidsme_jax.aggregate import AGGREGATES

AXES = {"families": ("sme", "sme_aligned"), "aggregates": AGGREGATES}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("score",)
    print("\n".join(compare(lab, "aggregates", by, **AXES)))
