"""Sanity check: one clip learned by heart, against clips that nobody has seen.

    python experiments/overfit_one.py --out lab --seeds 0 1 2 3 4

The first experiment of the method's description. For each seed a model is trained on a
single clip, and that clip and 32 others are scored. Printed is the clip's place among the
33, 1 being the most member-like, under that model and before training, where the place is
chance; and the share of the seeds in which it comes first, with its exact 95 % interval.

Found: likelihood and entropy of natural order put the learned clip first every time,
on the video and in the answer. The reversal does not: by the mean difference it comes near
the top (7, 2, 2, 1 and 10 of 33), by the smallest differences anywhere. A model that knows
one clip only has not learned what reversed clips look like either.
"""

import json
from pathlib import Path

import pyarrow as pa
from lab import FRAMES, Lab, aligned, lab_from_arguments, publish
from scipy.stats import binomtest

from vidsme_jax.data.synthetic.shapes import write_clips
from vidsme_jax.models.toy import write_toy
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores import catalogue
from vidsme_jax.training.fit import Recipe
from vidsme_jax.training.train import TrainSettings, train

OTHERS = 32
STEPS = 160
SCORES = (
    "video.sme.mean",
    "video.sme.min_0",
    "video.sme.min_10",
    "video.sme_aligned.min_10",
    "video.logp.mean",
    "video.renyi_one.mean",
    "instruction.sme.mean",
    "response.sme.mean",
    "response.logp.mean",
)


def places(folder: Path, seed: int) -> dict[str, dict[str, int]]:
    """Return the member's place by model (trained or random) and score."""
    data = folder / "clips.json"
    if not data.exists():
        records = write_clips(folder / "clips", 1 + OTHERS, seed)
        texts = [f"{r['question']}\n{r['answer']}" for r in records]
        write_toy(folder / "random", texts, seed)
        rows = [r | {"label": int(n == 0)} for n, r in enumerate(records)]
        data.write_text(json.dumps(rows))
    model = folder / "trained"
    if not model.exists():
        recipe = Recipe(STEPS, 1, 2e-3, seed=seed)
        train(
            TrainSettings(folder / "random", (data,), model, recipe, FRAMES, "text+video")
        )
    out = {}
    for name in ("trained", "random"):
        run = folder / f"run-{name}"
        out[name] = _places(score(ScoreSettings(folder / name, (data,), run, (FRAMES,))))
    return out


def _places(table: pa.Table) -> dict[str, int]:
    """Return the member's place among all clips by each score, 1 the most member-like."""
    out = {}
    for name in SCORES:
        member, *others = table[name].to_pylist()  # the member is the first row
        sign = 1 if catalogue.higher_is_member(name) else -1
        out[name] = 1 + sum(sign * other >= sign * member for other in others)
    return out


def run(lab: Lab) -> list[str]:
    """Return the lines of the table."""
    seeds = [places(lab.out / "overfit_one" / str(seed), seed) for seed in lab.seeds]
    lines = [["score", "places", "first", "95 % interval", "before training"]]
    for name in SCORES:
        after, before = ([s[kind][name] for s in seeds] for kind in ("trained", "random"))
        first = binomtest(after.count(1), len(after))
        low, high = first.proportion_ci()
        share = f"{after.count(1)} of {len(after)}"
        trained, random = (" ".join(map(str, ranks)) for ranks in (after, before))
        lines.append([name, trained, share, f"{low:.2f} to {high:.2f}", random])
    return aligned(lines)


if __name__ == "__main__":
    publish(__file__, run(lab_from_arguments(__doc__)))
