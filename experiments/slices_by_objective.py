"""Where does memory show? The demo over several seeds and both training objectives.

    python experiments/slices_by_objective.py --out slices --seeds 0 1 2

For each seed: new clips, a new deal into thirds, new weights, a target and a control; then
the AUC of a few scores, fixed in advance, under the target and under the control.

It printed (2 CPU cores, about 80 s a cell):

    objective   score                     seed 0            seed 1            seed 2
    text        video.sme.mean            0.43 (0.52)       0.44 (0.49)       0.56 (0.49)
    text        video.sme_aligned.min_10  0.43 (0.48)       0.47 (0.56)       0.68 (0.48)
    text        instruction.sme.mean      0.41 (0.47)       0.54 (0.54)       0.58 (0.46)
    text        response.sme.mean         0.77 (0.58)       0.70 (0.53)       0.70 (0.49)
    text        response.logp.mean        1.00 (0.38)       1.00 (0.58)       1.00 (0.49)
    text+video  video.sme.mean            0.91 (0.50)       0.92 (0.45)       0.96 (0.40)
    text+video  video.sme_aligned.min_10  0.62 (0.50)       0.67 (0.52)       0.73 (0.54)
    text+video  instruction.sme.mean      0.59 (0.49)       0.45 (0.33)       0.45 (0.53)
    text+video  response.sme.mean         0.71 (0.61)       0.72 (0.51)       0.69 (0.43)
    text+video  response.logp.mean        1.00 (0.50)       1.00 (0.57)       1.00 (0.47)
    AUC under the target (under the control)
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from vidsme_jax.cli.demo import DemoSettings, demo

SCORES = (
    "video.sme.mean",
    "video.sme_aligned.min_10",
    "instruction.sme.mean",
    "response.sme.mean",
    "response.logp.mean",
)


@dataclass(frozen=True)
class Settings:
    """Of the experiment: where to, which seeds, and the demo's objectives."""

    out: Path
    seeds: tuple[int, ...]
    objectives: tuple[str, ...] = ("text", "text+video")


def run(settings: Settings) -> list[str]:
    """Run every cell that is not on disk yet; return the lines of the table."""
    lines = [
        f"{'objective':12}{'score':26}" + "".join(f"seed {s:<13}" for s in settings.seeds)
    ]
    for objective in settings.objectives:
        found = [_cell(settings.out, objective, seed) for seed in settings.seeds]
        for score in SCORES:
            cells = (f"{c[score][0]:.2f} ({c[score][1]:.2f})" for c in found)
            lines.append(f"{objective:12}{score:26}" + "".join(f"{c:18}" for c in cells))
    return [*(line.rstrip() for line in lines), "AUC under the target (under the control)"]


def _cell(out: Path, objective: str, seed: int) -> dict[str, tuple[float, float]]:
    """Return each score's AUC under target and control, from one demo."""
    folder = out / f"{objective}-{seed}"
    metrics = folder / "report" / "metrics.json"
    if not metrics.exists():
        demo(DemoSettings(folder, seed, objective))
    scores = json.loads(metrics.read_text())["runs"][0]["frames"][0]["scores"]
    return {name: (scores[name]["auc"], scores[name]["control"]["auc"]) for name in SCORES}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("slices"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    print("\n".join(run(Settings(given.out, tuple(given.seeds)))))
