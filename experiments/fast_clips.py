"""Parameter sensitivity on clips with much motion: fixed q = 2, r = 1 against adaptive.

    python experiments/fast_clips.py --out lab

The third experiment of the method's description expects the adaptive orders to have the
higher TPR at 5 % FPR there. "fast" are the clips above the median of motion, half of them.
AUC, then TPR at 5 % FPR, under the target (95 % interval) for each seed, the mean, and the
mean under the control.
"""

from lab import compare, lab_from_arguments

from vidsme_jax.motion import OrderRule

AXES = {
    "orders": (OrderRule(q=2.0, r=1.0), OrderRule(q=1.0, r=1.0)),
    "clips": ("all", "slow", "fast"),
}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("clips", "q_rule", "r_rule")
    for metric in ("auc", "tpr_at_0.05"):
        print(f"\n{metric}")
        print("\n".join(compare(lab, "fast_clips", by, metric=metric, **AXES)))
