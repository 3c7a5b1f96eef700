"""Does reversal still tell anything about a model that was not trained on natural order?

    python experiments/training_order.py --out lab --seeds 0 1

causal: as everywhere else. shuffled: each time that a clip is drawn in training its frames
come in a new random order. bidirectional: all positions of the video see each other, so
that the visual code that a position learns to predict can be seen by it, and copied; the
objective text, which has no such code, is the fair comparison there. AUC under the target
(95 % interval) for each seed, its mean, and the mean under the control.
"""

from functools import partial

from lab import Trial, compare, lab_from_arguments

MODELS = {
    "text+video, causal": {},
    "text+video, shuffled": {"frame_order": "shuffled"},
    "text+video, bidirectional": {"attention": "bidirectional"},
    "text, causal": {"objective": "text"},
    "text, bidirectional": {"objective": "text", "attention": "bidirectional"},
}
AXES = {
    "slices": ("video", "response"),
    "families": ("sme", "sme_nat", "logp", "logp_diff"),
}


def trial(changes: dict[str, str], seed: int) -> Trial:
    """Return the trial of a seed with some changes."""
    return Trial(seed, **changes)  # type: ignore[arg-type]


if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    for name, changes in MODELS.items():
        print(f"\n{name}")
        made = partial(trial, changes)
        by = ("score",)
        print("\n".join(compare(lab, "training_order", by, made, **AXES)))
