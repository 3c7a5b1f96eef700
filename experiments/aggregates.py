"""Which K: the mean of the smallest or largest K % of the entropy differences.

    python experiments/aggregates.py --out lab

Once between the same positions, as published, once between the same frames. AUC under the
target (95 % interval) for each seed, its mean, and the mean under the control.

Found: the mean of the smallest K %, the published choice, is the worst: .59 for the minimum
to .73 for 60 %, against .93 for the mean; the largest K % reach .95 to .97. Between the
same frames instead of the same positions the smallest gain .05, the others nothing.
"""

from lab import compare, lab_from_arguments, publish

from vidsme_jax.scores.catalogue import AGGREGATES

AXES = {"families": ("sme", "sme_aligned"), "aggregates": AGGREGATES}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("score",)
    publish(__file__, compare(lab, "aggregates", by, **AXES))
