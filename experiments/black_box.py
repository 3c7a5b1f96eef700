"""How much is lost if only the k largest log-probabilities are known, as from an API.

    python experiments/black_box.py --out lab

exact knows all of them; top_k spreads what it does not know evenly over the other tokens.
AUC under the target (95 % interval) for each seed, its mean, and the mean under the
control.

Found: with this vocabulary of 460 nothing is lost: the largest log-probability alone gives
the AUC of all of them on the video slice, and .69 for .71 on the answer. With its own
argmax as target, Min-K%++ points the other way on the video slice.
"""

from lab import compare, lab_from_arguments, publish

AXES = {
    "slices": ("video", "response"),
    "definitions": ("exact", "top_20", "top_5", "top_1"),
    "families": ("sme", "logp", "renyi_one", "minkpp"),
    "aggregates": ("mean",),
}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("score", "definition")
    publish(__file__, compare(lab, "black_box", by, **AXES))
