"""`vidsme demo`: write clips, train two models, audit them and report, on one machine.

Clips are split at random into A, B and C; a target is trained on A, a control on C
(`training/trial.py`). Then A and B are audited under both models.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from vidsme_jax.cli.options import OBJECTIVES, settings_from
from vidsme_jax.cli.values import natural

EXAMPLES = """\
examples:
  vidsme demo
  vidsme demo --objective text --seed 1 --out demo-text
order: demo first, to see it all; then score and evaluate with a model of your own
"""


@dataclass(frozen=True)
class DemoSettings:
    """What the demo makes.

    Attributes:
        out: directory of the demo; an interrupted one of the same settings continues.
        seed: seed of clips, split and weights.
        objective: what the models learn, text or text+video.
        clips: number of clips in each third.
        steps: training steps.
    """

    out: Path = Path("vidsme-demo")
    seed: int = 0
    objective: str = "text+video"
    clips: int = 64
    steps: int = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme demo`."""
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        default="vidsme-demo",
        metavar="DIR",
        help="folder for clips, models and report; an interrupted demo goes on there"
        " (default: %(default)s)",
    )
    add(
        "--seed",
        type=natural,
        default="0",
        metavar="N",
        help="of the clips, the split and the weights (default: %(default)s)",
    )
    add(
        "--objective",
        choices=OBJECTIVES,
        default="text+video",
        help="what the models learn to predict: text, the answer; text+video, also the"
        " visual code of the next video position (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> None:
    """Run the demo, and print its table and the report's path."""
    print(demo(settings_from(options, DemoSettings)))


def demo(settings: DemoSettings) -> str:
    """Run the demo; return its table and the report's path as text."""
    from vidsme_jax.evaluation.evaluate import evaluate
    from vidsme_jax.evaluation.settings import EvaluationSettings
    from vidsme_jax.progress import phase
    from vidsme_jax.report.terminal import terminal_table
    from vidsme_jax.report.write import write_report
    from vidsme_jax.runs.score import ScoreSettings, score
    from vidsme_jax.training.trial import FRAMES, Trial, lay_out

    s, out = settings, settings.out
    trial = lay_out(out, Trial(s.seed, s.objective, s.clips, s.steps))
    for name, model in trial.models.items():
        phase("demo", f"score with the {name}")
        score(ScoreSettings(model, trial.data, out / f"run-{name}", (FRAMES,)))
    phase("demo", "evaluate and report")
    report = out / "report"
    runs, control = [out / "run-target"], out / "run-control"
    result = evaluate(runs, control, EvaluationSettings(seed=s.seed))
    write_report(result, report)
    return f"{terminal_table(result)}\nreport: {report / 'report.html'}"
