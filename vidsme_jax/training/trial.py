"""A trial: clips of one distribution, dealt at random, and two toy models trained on them.

The clips are dealt into A, B and C. The target learns A, the control C by the same recipe.
Since the deal is random, whatever separates A from B under the target alone is memory of
training; under the control nothing should.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidsme_jax.data.synthetic.shapes import write_clips
from vidsme_jax.errors import InputError
from vidsme_jax.models.toy import write_toy
from vidsme_jax.progress import say
from vidsme_jax.records.files import read_json, write_json
from vidsme_jax.training.fit import Recipe
from vidsme_jax.training.train import TrainSettings, train

FRAMES = 8  # of each clip in training
_MARK = "trial.json"


@dataclass(frozen=True)
class Trial:
    """What decides a trial.

    Attributes:
        seed: of clips, deal and weights.
        objective: what the models learn, text or text+video.
        clips: in each third.
        steps: of training.
        kind: of the clips, of `synthetic.KINDS`.
        attention: over the video, causal or bidirectional.
        frame_order: in training, natural or shuffled.
    """

    seed: int = 0
    objective: str = "text+video"
    clips: int = 64
    steps: int = 400
    kind: str = "shapes"
    attention: str = "causal"
    frame_order: str = "natural"


@dataclass(frozen=True)
class Laid:
    """A trial on disk.

    Attributes:
        data: manifests of A (members of the target) and B (nobody's).
        target: checkpoint trained on A.
        control: checkpoint trained on C.
    """

    data: tuple[Path, Path]
    target: Path
    control: Path

    @property
    def models(self) -> dict[str, str | Path]:
        """The two checkpoints by name."""
        return {"target": self.target, "control": self.control}


def lay_out(out: Path, trial: Trial) -> Laid:
    """Write the clips and train both models; what is there already stays.

    Raises:
        InputError: `out` holds something else.
    """
    _claim(out, trial)
    laid = Laid((out / "A.json", out / "B.json"), out / "target", out / "control")
    if not laid.control.exists():  # the last thing to be made
        say(f"write {3 * trial.clips} clips and a model with random weights")
        records = write_clips(out / "clips", 3 * trial.clips, trial.seed, trial.kind)
        deal(out, records, trial)
        write_start(out, records, trial)
    recipe = Recipe(trial.steps, 8, 2e-3, seed=trial.seed)
    for model, members in ((laid.target, "A"), (laid.control, "C")):
        if model.exists():  # a checkpoint appears whole or not at all
            continue
        say(f"train the {model.name} on {members}")
        settings = TrainSettings(
            out / "random",
            (out / f"{members}.json",),
            model,
            recipe,
            FRAMES,
            trial.objective,
            frame_order=trial.frame_order,
        )
        train(settings)
    return laid


def _claim(out: Path, trial: Trial) -> None:
    """Take a new directory, or go on with an interrupted trial of the same settings."""
    held, mine = out / _MARK, asdict(trial)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not held.is_file() or read_json(held) != mine:
            what = "another trial" if held.is_file() else "other files"
            raise InputError(f"out={out} holds {what}; remove it, or give another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(held, mine)


def deal(out: Path, records: list[dict[str, Any]], trial: Trial) -> None:
    """Write A.json, B.json and C.json, a third each; B's clips are nobody's members."""
    order = np.random.default_rng([trial.seed, 1]).permutation(len(records))
    for n, (name, label) in enumerate((("A", 1), ("B", 0), ("C", 1))):
        part = order[n * trial.clips : (n + 1) * trial.clips]
        rows = [records[i] | {"label": label} for i in part]
        (out / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")


def write_start(out: Path, records: list[dict[str, Any]], trial: Trial) -> None:
    """Write the checkpoint with random weights that both models start from."""
    if (out / "target").exists():  # it was trained from the same one
        return
    texts = [f"{r['question']}\n{r['answer']}" for r in records]
    decoder = {} if trial.attention == "causal" else {"video_attention": trial.attention}
    shutil.rmtree(out / "random", ignore_errors=True)
    write_toy(out / "random", texts, trial.seed, decoder)
