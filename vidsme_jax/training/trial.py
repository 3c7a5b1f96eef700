"""Make a trial: clips of one distribution, split at random, and two toy models.

The clips are split into A, B and C. The target learns A, the control C by the same recipe.
Since the split is random, whatever separates A from B under the target alone is memory of
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
from vidsme_jax.progress import phase
from vidsme_jax.records.files import read_json, write_json
from vidsme_jax.training.fit import Recipe
from vidsme_jax.training.train import TrainSettings, train

FRAMES = 8  # of a clip in training
_MARK = "trial.json"


@dataclass(frozen=True)
class Trial:
    """The settings that decide a trial.

    Attributes:
        seed: seed of clips, split and weights.
        objective: what the models learn, text or text+video.
        clips: number of clips in each third.
        steps: training steps.
        kind: kind of clips, of `shapes.KINDS`.
        attention: attention over the video, causal or bidirectional.
        frame_order: order of the frames in training, natural or shuffled.
    """

    seed: int = 0
    objective: str = "text+video"
    clips: int = 64
    steps: int = 400
    kind: str = "shapes"
    attention: str = "causal"
    frame_order: str = "natural"


@dataclass(frozen=True)
class TrialFiles:
    """The files of a trial.

    Attributes:
        data: manifests of A, the target's members, and of B, which no model has seen.
        target: directory of the checkpoint trained on A.
        control: directory of the checkpoint trained on C.
    """

    data: tuple[Path, Path]
    target: Path
    control: Path

    @property
    def models(self) -> dict[str, str | Path]:
        """Return the two checkpoints by name."""
        return {"target": self.target, "control": self.control}


def lay_out(out: Path, trial: Trial) -> TrialFiles:
    """Write the clips and train both models; files that exist already stay.

    Raises:
        InputError: `out` holds something else.
    """
    _claim(out, trial)
    data = (out / "A.json", out / "B.json")
    files = TrialFiles(data, out / "target", out / "control")
    if not files.control.exists():  # it is made last
        phase("demo", "write the clips", f"{3 * trial.clips}, and random weights")
        records = write_clips(out / "clips", 3 * trial.clips, trial.seed, trial.kind)
        write_thirds(out, records, trial)
        write_start(out, records, trial)
    recipe = Recipe(trial.steps, 8, 2e-3, seed=trial.seed)
    for model, members in ((files.target, "A"), (files.control, "C")):
        if model.exists():  # a checkpoint appears whole or not at all
            continue
        phase("demo", f"train the {model.name}", f"on {members}")
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
    return files


def _claim(out: Path, trial: Trial) -> None:
    """Take a new directory, or continue an interrupted trial of the same settings."""
    mark, settings = out / _MARK, asdict(trial)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not mark.is_file() or read_json(mark) != settings:
            content = "another trial" if mark.is_file() else "other files"
            raise InputError(f"out={out} holds {content}; remove it, or give another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(mark, settings)


def write_thirds(out: Path, records: list[dict[str, Any]], trial: Trial) -> None:
    """Write A.json, B.json and C.json, a random third each; no model learns B."""
    order = np.random.default_rng([trial.seed, 1]).permutation(len(records))
    for n, (name, label) in enumerate((("A", 1), ("B", 0), ("C", 1))):
        third = order[n * trial.clips : (n + 1) * trial.clips]
        rows = [records[i] | {"label": label} for i in third]
        (out / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")


def write_start(out: Path, records: list[dict[str, Any]], trial: Trial) -> None:
    """Write the checkpoint with random weights that both models start from."""
    if (out / "target").exists():  # the control must start from the target's weights
        return
    texts = [f"{r['question']}\n{r['answer']}" for r in records]
    decoder = {} if trial.attention == "causal" else {"video_attention": trial.attention}
    shutil.rmtree(out / "random", ignore_errors=True)
    write_toy(out / "random", texts, trial.seed, decoder)
