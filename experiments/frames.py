"""How many frames: 2 to 32, of clips that have 16 and a model trained on 8.

    python experiments/frames.py --out lab

With 32 every frame is shown twice. AUC under the target (95 % interval) for each seed, its
mean, and the mean under the control.

Found: the frame count of training is the one that tells: .93 with 8, but .74 with 2, .65
with 4, .62 with 16 and .54 with 32. The log-likelihood goes the same way. More frames are
not better as such, and an auditor who does not know the count should try several.
"""

from lab import compare, lab_from_arguments, publish

AXES = {
    "frames": (2, 4, 8, 16, 32),
    "families": ("sme", "logp"),
    "aggregates": ("mean", "min_10"),
}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("score", "frames")
    publish(__file__, compare(lab, "frames", by, **AXES))
