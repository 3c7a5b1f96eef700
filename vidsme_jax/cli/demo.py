"""`vidsme demo`: the whole way, from MP4 files that it writes to a report, on one machine.

A trial (`trial.py`) is laid out: clips dealt at random into A, B and C, a target trained
on A, a control on C. Then A and B are audited under both models.
"""

from dataclasses import dataclass
from pathlib import Path

from vidsme_jax.evaluation.evaluate import evaluate
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.progress import say
from vidsme_jax.report.terminal import terminal_table
from vidsme_jax.report.write import write_report
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.training.trial import FRAMES, Trial, lay_out

__all__ = ["FRAMES", "DemoSettings", "demo"]


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
    s, out = settings, settings.out
    laid = lay_out(out, Trial(s.seed, s.objective, s.clips, s.steps))
    say("audit A and B under both models")
    for name, model in laid.models.items():
        score(ScoreSettings(model, laid.data, out / f"run-{name}", (FRAMES,)))
    report = out / "report"
    runs = [out / "run-target"]
    result = evaluate(runs, out / "run-control", EvaluationSettings(seed=s.seed))
    write_report(result, report)
    return f"{terminal_table(result)}\nreport: {report / 'report.html'}"
