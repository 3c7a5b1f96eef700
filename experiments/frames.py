"""How many frames: 2 to 32, of clips that have 16 and a model trained on 8.

    python experiments/frames.py --out lab

With 32 every frame is shown twice. AUC under the target (95 % interval) for each seed, its
mean, and the mean under the control.
"""

from lab import compare, lab_from_arguments

AXES = {
    "frames": (2, 4, 8, 16, 32),
    "families": ("sme", "logp"),
    "aggregates": ("mean", "min_10"),
}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("score", "frames")
    print("\n".join(compare(lab, "frames", by, **AXES)))
