"""`vidsme demo`: the whole way, from MP4 files that it writes to a report, on one machine.

192 clips of one distribution are dealt at random into A, B and C. A target is trained on
A, a control on C with the same recipe; A and B are audited under both. Since the deal is
random, whatever separates A from B under the target alone is memory of training.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidsme_jax.commands.evaluate import evaluate, terminal_table
from vidsme_jax.commands.score import ScoreSettings, score
from vidsme_jax.commands.train import TrainRequest, train
from vidsme_jax.data.synthetic import write_clips
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation import EvaluationSettings
from vidsme_jax.models.toy import write_toy
from vidsme_jax.progress import say
from vidsme_jax.records import read_json, write_json
from vidsme_jax.training import TrainSettings

FRAMES = 8
_MARK = "demo.json"


@dataclass(frozen=True)
class DemoSettings:
    """What the demo makes.

    Attributes:
        out: its directory; an interrupted demo of the same settings goes on.
        seed: of clips, deal and weights.
        objective: what the models learn, text or text+video.
        clips: in each third.
        steps: of training.
    """

    out: Path
    seed: int = 0
    objective: str = "text+video"
    clips: int = 64
    steps: int = 400


def demo(settings: DemoSettings) -> str:
    """Run the demo; return the table and the path of the report."""
    out = settings.out
    _claim(settings)
    say(f"1/4 write {3 * settings.clips} clips and a model with random weights")
    records = write_clips(out / "clips", 3 * settings.clips, settings.seed)
    _deal(out, records, settings)
    texts = [f"{r['question']}\n{r['answer']}" for r in records]
    if not (out / "target").exists():  # else it was trained from the same one
        shutil.rmtree(out / "random", ignore_errors=True)
        write_toy(out / "random", texts, settings.seed)
    recipe = TrainSettings(settings.steps, 8, 2e-3, seed=settings.seed)
    for model, members in (("target", "A"), ("control", "C")):
        say(f"{'2' if model == 'target' else '3'}/4 train the {model} on {members}")
        request = TrainRequest(
            out / "random",
            (out / f"{members}.json",),
            out / model,
            recipe,
            FRAMES,
            settings.objective,
        )
        if not request.out.exists():  # a checkpoint appears whole or not at all
            train(request)
    say("4/4 audit A and B under both models")
    data = (out / "A.json", out / "B.json")
    for model in ("target", "control"):
        run = out / f"run-{model}"
        score(ScoreSettings(out / model, data, run, (FRAMES,)))
    report = out / "report"
    settings_of_evaluation = EvaluationSettings(seed=settings.seed)
    result = evaluate(
        [out / "run-target"], report, out / "run-control", settings_of_evaluation
    )
    return f"{terminal_table(result)}\nreport: {report / 'report.html'}"


def _claim(settings: DemoSettings) -> None:
    """Take a new directory, or go on with an interrupted demo of the same settings."""
    out = settings.out
    held, mine = out / _MARK, asdict(settings) | {"out": None}
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not held.is_file() or read_json(held) != mine:
            what = "another demo" if held.is_file() else "other files"
            raise InputError(f"out={out} holds {what}; remove it, or give another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(held, mine)


def _deal(out: Path, records: list[dict[str, Any]], settings: DemoSettings) -> None:
    """Write the manifests of the three thirds; B's clips are nobody's members."""
    order = np.random.default_rng([settings.seed, 1]).permutation(len(records))
    for n, (name, label) in enumerate((("A", 1), ("B", 0), ("C", 1))):
        part = order[n * settings.clips : (n + 1) * settings.clips]
        rows = [records[i] | {"label": label} for i in part]
        (out / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
