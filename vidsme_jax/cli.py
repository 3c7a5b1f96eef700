"""The `vidsme` command: arguments in, exit code out; each command imports what it needs.

Exit codes: 0 done; 2 wrong input, with one line; 75 interrupted, run the same again.
"""

import argparse
import math
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from vidsme_jax import __version__

INTERRUPTED = 75
_OBJECTIVES = ("text", "text+video")
_FRAME_ORDERS = ("natural", "shuffled")


def entry() -> None:
    """Run the command as a process of its own."""
    code = main()
    if code == INTERRUPTED:
        # Threads may be inside XLA or a decoder, where tearing down under them crashes.
        # Whatever is on disk is whole: leave at once.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = _parser().parse_args(arguments)
    from vidsme_jax.errors import InputError
    from vidsme_jax.progress import stop

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        return given.run(given)
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (InputError, OSError) as error:  # OSError: no permission, no space
        print(f"vidsme {given.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):  # one is enough
            signal.signal(number, signal.SIG_IGN)
        print(f"vidsme {given.command}: interrupted, run it again", file=sys.stderr)
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the words, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vidsme",
        description="Was this video in the training set of a video LLM, and how sure"
        " can one be? Vid-SME (arXiv 2506.03179) and its baselines, in JAX.",
    )
    parser.add_argument("--version", action="version", version=f"vidsme {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_demo,
        _add_train,
        _add_score,
        _add_evaluate,
        _add_sweep,
        _add_models,
        _add_scores,
    ):
        add(commands)
    return parser


def _command(commands, name: str, run, line: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=line, description=line)
    command.set_defaults(run=run)
    return command


def _add_demo(commands) -> None:
    demo = _command(
        commands,
        "demo",
        _run_demo,
        "Write clips, train a small video LLM and a control, audit both and report.",
    )
    add = demo.add_argument
    add("--out", type=Path, default=Path("vidsme-demo"), help="default: %(default)s")
    add("--seed", type=_natural, default=0, help="of clips, split and weights (0)")
    add(
        "--objective",
        choices=_OBJECTIVES,
        default="text+video",
        help="what the models are trained to predict (%(default)s)",
    )


def _add_data(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--model",
        required=True,
        metavar="DIR_OR_HUB_ID",
        help="checkpoint directory, or an id of the Hugging Face hub (owner/name)",
    )
    add(
        "--data",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="manifests (.json, .jsonl, .csv, .parquet), taken as one set",
    )
    add("--root", type=Path, help="folder that video paths start from (the manifest's)")
    add(
        "--label",
        nargs="+",
        type=int,
        choices=(0, 1),
        help="one label a manifest, for lists without: 1 members, 0 non-members",
    )
    add("--out", required=True, type=Path, metavar="DIR", help="where results go")


def _add_train(commands) -> None:
    train = _command(
        commands, "train", _run_train, "Fine-tune a checkpoint on rows with label 1."
    )
    _add_data(train)
    add = train.add_argument
    add("--frames", type=_positive, default=16, help="frames of a clip (%(default)s)")
    add(
        "--objective",
        choices=_OBJECTIVES,
        default="text",
        help="text: the answer; text+video: also the visual code of the next video"
        " position, for tokenizers that have such tokens (%(default)s)",
    )
    add(
        "--frame-order",
        choices=_FRAME_ORDERS,
        default="natural",
        help="shuffled: each time a clip is drawn, its frames come in a new random order,"
        " which the seed decides (%(default)s)",
    )
    add("--steps", type=_positive, default=240, help="optimiser steps (%(default)s)")
    add("--batch", type=_positive, default=8, help="clips a step (%(default)s)")
    add("--learning-rate", type=_rate, default=1e-5, help="its peak (%(default)s)")
    add("--seed", type=_natural, default=0, help="of the order of the clips (0)")


def _add_score(commands) -> None:
    score = _command(
        commands, "score", _run_score, "Score every clip of a manifest; resumable."
    )
    _add_data(score)
    add = score.add_argument
    add(
        "--frames",
        type=_counts,
        default=(16,),
        metavar="N[,N]",
        help="frames of a clip; several give a row each (16)",
    )
    add(
        "--slices",
        type=_slices,
        default=("video", "instruction", "response"),
        metavar="NAME[,NAME]",
        help="of video, instruction, response (all)",
    )
    prompt = score.add_mutually_exclusive_group()
    prompt.add_argument(
        "--system", metavar="TEXT", help="instead of the template's system message"
    )
    prompt.add_argument(
        "--published-prompt",
        choices=("cinepile", "nextqa", "caption"),
        help="a prompt of the published Vid-SME code instead of the model's",
    )
    add(
        "--definition",
        type=_definitions,
        default=("exact",),
        metavar="NAME[,NAME]",
        help="besides exact, from the same pass, each in a table of its own: published"
        " (the published code's numbers), top_1, top_5, top_20 (a black box that shows the"
        " K largest log-probabilities)",
    )
    add(
        "--perturbation",
        choices=("reverse", "shuffle", "repeat"),
        default="reverse",
        help="what natural order is compared with: the frames reversed, in random order,"
        " or the middle one all the time (%(default)s)",
    )
    add(
        "--calibration",
        default="run",
        metavar="run|FILE",
        help="q and r from this run's clips, or from an earlier calibration.json (run)",
    )
    add("--beta1", type=_rate, default=1.0, help="width of the range of q (1)")
    add("--beta2", type=_rate, default=0.1, help="width of the range of r (0.1)")
    _add_running(score)


def _add_running(score: argparse.ArgumentParser) -> None:
    """Add what says how a run is computed rather than what."""
    add = score.add_argument_group("how it runs").add_argument
    add(
        "--parallel",
        choices=("auto", "replicas", "partitioned"),
        default="auto",
        help="a whole model on each device, or one over several (%(default)s)",
    )
    add(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of weights and activations; auto is float32 on CPU, else bfloat16",
    )
    add("--batch", type=_positive, default=8, help="clips a replica and step (8)")
    add(
        "--max-text",
        type=_positive,
        default=2048,
        metavar="TOKENS",
        help="a question and answer of more tokens is a row with status too_long"
        " (%(default)s)",
    )
    add("--keep", choices=("tokens",), help="keep every per-token curve as well")
    add("--workers", type=_positive, help="decoding threads (one per core)")


def _add_evaluate(commands) -> None:
    evaluate = _command(
        commands,
        "evaluate",
        _run_evaluate,
        "Turn labelled runs into metrics, figures and a report.",
    )
    add = evaluate.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="directories of vidsme score")
    add(
        "--control",
        type=Path,
        metavar="RUN",
        help="the same clips under a model that saw none of them",
    )
    add("--out", required=True, type=Path, metavar="DIR", help="where the report goes")
    add("--seed", type=_natural, default=0, help="of resampling and permutation (0)")
    add(
        "--metrics",
        choices=("ours", "ours+published"),
        default="ours",
        help="also by the published code's rules, in columns of their own (%(default)s)",
    )


def _add_sweep(commands) -> None:
    sweep = _command(
        commands,
        "sweep",
        _run_sweep,
        "Evaluate a grid of scores with as few passes over the clips as it needs.",
    )
    add = sweep.add_argument
    add("grid", type=Path, metavar="GRID.yaml", help="models, data and the axes")
    add("--out", type=Path, metavar="DIR", help="where results go (the file's own `out`)")


def _add_models(commands) -> None:
    _command(
        commands,
        "models",
        _run_models,
        "List the models there are ports for, and what is proven of each.",
    )


def _add_scores(commands) -> None:
    _command(
        commands,
        "scores",
        _run_scores,
        "List the scores: formula, slices, side of the members, source.",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number from 0 on")
    return value


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(_positive(part) for part in text.split(","))
    if len(set(counts)) < len(counts):
        raise argparse.ArgumentTypeError(f"{text!r} names a frame count twice")
    return counts


def _slices(text: str) -> tuple[str, ...]:
    from vidsme_jax.scores import SLICES

    asked = text.split(",")
    if not set(asked) <= set(SLICES):
        raise argparse.ArgumentTypeError(f"{text!r}: there are {', '.join(SLICES)}")
    return tuple(name for name in SLICES if name in asked)


def _definitions(text: str) -> tuple[str, ...]:
    from vidsme_jax.scores import DEFINITIONS

    asked = text.split(",")
    if not set(asked) <= set(DEFINITIONS):
        raise argparse.ArgumentTypeError(f"{text!r}: there are {', '.join(DEFINITIONS)}")
    return tuple(name for name in DEFINITIONS if name in ("exact", *asked))


def _run_demo(given: argparse.Namespace) -> int:
    from vidsme_jax.commands.demo import DemoSettings, demo

    print(demo(DemoSettings(given.out, given.seed, given.objective)))
    return 0


def _run_train(given: argparse.Namespace) -> int:
    from vidsme_jax.commands.train import TrainRequest, train
    from vidsme_jax.training import TrainSettings

    recipe = TrainSettings(given.steps, given.batch, given.learning_rate, seed=given.seed)
    train(
        TrainRequest(
            model=given.model,
            data=tuple(given.data),
            out=given.out,
            recipe=recipe,
            frames=given.frames,
            objective=given.objective,
            root=given.root,
            labels=given.label and tuple(given.label),
            frame_order=given.frame_order,
        )
    )
    print(f"checkpoint: {given.out}")
    return 0


def _run_score(given: argparse.Namespace) -> int:
    from vidsme_jax.commands.score import ScoreSettings, score

    table = score(
        ScoreSettings(
            model=given.model,
            data=tuple(given.data),
            out=given.out,
            frames=given.frames,
            slices=given.slices,
            root=given.root,
            labels=given.label and tuple(given.label),
            system=given.system,
            published_prompt=given.published_prompt,
            definitions=given.definition,
            perturbation=given.perturbation,
            dtype=given.dtype,
            parallel=given.parallel,
            batch=given.batch,
            calibration=None if given.calibration == "run" else Path(given.calibration),
            beta1=given.beta1,
            beta2=given.beta2,
            max_text=given.max_text,
            keep_tokens=given.keep == "tokens",
            workers=given.workers,
        )
    )
    status = table["status"].to_pylist()
    counts = ", ".join(f"{status.count(s)} {s}" for s in sorted(set(status)))
    print(f"{given.out}/scores.parquet: {table.num_rows} rows ({counts})")
    return 0


def _run_evaluate(given: argparse.Namespace) -> int:
    from vidsme_jax.commands.evaluate import evaluate, terminal_table
    from vidsme_jax.evaluation import EvaluationSettings

    settings = EvaluationSettings(
        seed=given.seed, published=given.metrics == "ours+published"
    )
    result = evaluate(given.runs, given.out, given.control, settings)
    print(terminal_table(result))
    print(f"report: {given.out / 'report.html'}")
    return 0


def _run_sweep(given: argparse.Namespace) -> int:
    from vidsme_jax.commands.grid import read_grid
    from vidsme_jax.commands.sweep import sweep

    grid = read_grid(given.grid, given.out)
    table = sweep(grid)
    figures = grid.out / "figures"
    drawn = f"; figures in {figures}" if any(figures.glob("*.svg")) else ""
    print(f"{grid.out}/sweep.csv: {table.num_rows} cells of this grid{drawn}")
    return 0


def _run_models(given: argparse.Namespace) -> int:
    from vidsme_jax.commands.models import models_table

    print(models_table())
    return 0


def _run_scores(given: argparse.Namespace) -> int:
    from vidsme_jax.commands.scores import scores_table

    print(scores_table())
    return 0
