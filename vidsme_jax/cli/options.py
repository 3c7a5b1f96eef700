"""The words of the `vidsme` command: what it takes, checked; nothing heavy imported."""

import argparse
from pathlib import Path
from typing import NoReturn

from vidsme_jax import __version__
from vidsme_jax.cli.options_results import (
    add_evaluate,
    add_merge,
    add_status,
    add_sweep,
    add_verify,
    command,
)
from vidsme_jax.cli.values import (
    definition_names,
    frame_count,
    frame_counts,
    natural,
    positive,
    rate,
    share,
    slice_names,
    token_count,
)

_OBJECTIVES = ("text", "text+video")
_FRAME_ORDERS = ("natural", "shuffled")


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the words, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `command` names the one that was given."""
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
        _add_prepare,
        _add_score,
        add_merge,
        add_status,
        add_verify,
        add_evaluate,
        add_sweep,
        _add_plan,
        _add_bench,
        _add_models,
        _add_scores,
    ):
        add(commands)
    return parser


def _add_demo(commands) -> None:
    demo = command(
        commands,
        "demo",
        "Write clips, train a small video LLM and a control, audit both and report.",
    )
    add = demo.add_argument
    add("--out", type=Path, default=Path("vidsme-demo"), help="default: %(default)s")
    add("--seed", type=natural, default=0, help="of clips, split and weights (0)")
    add(
        "--objective",
        choices=_OBJECTIVES,
        default="text+video",
        help="what the models are trained to predict (%(default)s)",
    )


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        required=True,
        metavar="DIR_OR_HUB_ID",
        help="checkpoint directory, or an id of the Hugging Face hub (owner/name)",
    )


def _add_data(command: argparse.ArgumentParser, more: str = "") -> None:
    command.add_argument(
        "--data",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help=f"manifests (.json, .jsonl, .csv, .parquet), taken as one set{more}",
    )
    _add_folders(command)


def _add_folders(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
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
    train = command(commands, "train", "Fine-tune a checkpoint on rows with label 1.")
    _add_model(train)
    _add_data(train)
    add = train.add_argument
    add("--frames", type=frame_count, default=16, help="frames of a clip (%(default)s)")
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
    add("--steps", type=positive, default=240, help="optimiser steps (%(default)s)")
    add("--batch", type=positive, default=8, help="clips a step (%(default)s)")
    add("--learning-rate", type=rate, default=1e-5, help="its peak (%(default)s)")
    add("--seed", type=natural, default=0, help="of the order of the clips (0)")
    _add_max_text(train, "is refused")


def _add_score(commands) -> None:
    score = command(commands, "score", "Score every clip of a manifest; resumable.")
    _add_model(score)
    _add_data(score, "; or one store of vidsme prepare")
    add = score.add_argument
    add(
        "--frames",
        type=frame_counts,
        default=(16,),
        metavar="N[,N]",
        help="frames of a clip; several give a row each (16)",
    )
    add(
        "--slices",
        type=slice_names,
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
        type=definition_names,
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
    add("--beta1", type=rate, default=1.0, help="width of the range of q (1)")
    add("--beta2", type=rate, default=0.1, help="width of the range of r (0.1)")
    _add_running(score)


def _add_running(score: argparse.ArgumentParser) -> None:
    """Add what says how a run is computed rather than what."""
    group = score.add_argument_group("how it runs")
    _add_placement(group, "global")
    add = group.add_argument
    add("--batch", type=positive, default=8, help="clips a replica and step (8)")
    _add_max_text(group, "is a row with status too_long")
    add("--keep", choices=("tokens",), help="keep every per-token curve as well")
    add("--profile", type=Path, metavar="DIR", help="write a trace of where time goes")
    _add_decoding(score)


def _add_max_text(group, what: str) -> None:
    group.add_argument(
        "--max-text",
        type=positive,
        default=2048,
        metavar="TOKENS",
        help=f"a question and answer of more tokens {what} (%(default)s)",
    )


def _add_placement(group, *others: str) -> None:
    add = group.add_argument
    add(
        "--parallel",
        choices=("auto", "replicas", "partitioned", *others),
        default="auto",
        help="a whole model on each device, or one over several"
        + "; global: over those of all processes" * bool(others)
        + " (%(default)s)",
    )
    _add_dtype(group)


def _add_dtype(group) -> None:
    group.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of weights and activations; auto is float32 on CPU, else bfloat16",
    )


def _add_decoding(command: argparse.ArgumentParser) -> None:
    add = command.add_argument_group("how clips are read").add_argument
    add(
        "--reader",
        choices=("auto", "decord", "pyav", "opencv", "reference"),
        default="auto",
        help="auto: decord where its frames can be trusted, else PyAV, else OpenCV;"
        " reference: where decord seeks, whatever it finds, as the published code (auto)",
    )
    add("--workers", type=positive, help="decoding processes (one per core)")
    add(
        "--clip-timeout",
        type=positive,
        default=300,
        metavar="SECONDS",
        help="a clip that takes longer is a row with status timeout (%(default)s)",
    )
    add(
        "--shards",
        metavar="K/N",
        help="this part of the rows only, K from 0 to N-1; auto takes both from SLURM,"
        " SkyPilot or a TPU worker, auto/N also from an indexed job",
    )


def _add_prepare(commands) -> None:
    prepare = command(
        commands,
        "prepare",
        "Decode every clip of a manifest once, into a store that score reads; resumable.",
    )
    prepare.add_argument(
        "data",
        nargs="+",
        type=Path,
        metavar="MANIFEST",
        help=".json, .jsonl, .csv, .parquet; several are taken as one set",
    )
    _add_model(prepare)
    _add_folders(prepare)
    prepare.add_argument(
        "--frames",
        type=frame_counts,
        default=(2, 4, 8, 16, 32),
        metavar="N[,N]",
        help="frame counts that it can be scored with (2,4,8,16,32)",
    )
    _add_decoding(prepare)


def _add_plan(commands) -> None:
    plan = command(
        commands,
        "plan",
        "Say what scoring would take, compiled for chips that need not be here.",
    )
    add = plan.add_argument
    add(
        "--model",
        required=True,
        metavar="DIR_OR_CONFIG",
        help="checkpoint directory, hub id, or a config.json alone",
    )
    add(
        "--topology",
        metavar="NAME",
        help="TPU chips, such as v5e:2x4, with the extra [tpu] (the devices here)",
    )
    add(
        "--frames",
        type=frame_counts,
        default=(16,),
        metavar="N[,N]",
        help="frames of a clip; a plan each (16)",
    )
    add("--batch", type=positive, help="clips a replica and step (the most that fit)")
    add("--text", type=token_count, default=64, help="tokens of prompt and answer (64)")
    add("--clips", type=positive, default=10_000, help="of the sweep (%(default)s)")
    add(
        "--utilisation",
        type=share,
        default=0.4,
        metavar="SHARE",
        help="of a chip's peak that is reached, for the projection (%(default)s)",
    )
    _add_placement(plan)


def _add_bench(commands) -> None:
    bench = command(
        commands,
        "bench",
        "Measure scoring beside PyTorch on the same random weights and clips.",
    )
    add = bench.add_argument
    add(
        "--size",
        required=True,
        choices=("toy", "medium", "7b"),
        help="of the model: 1, 145 or 7,900 million parameters",
    )
    add("--frames", type=frame_count, default=16, help="of a clip (%(default)s)")
    add("--clips", type=positive, default=2, help="a round (%(default)s)")
    add("--batch", type=positive, help="of them at once (2, or all of fewer)")
    add("--rounds", type=positive, default=5, help="everybody runs once in each (5)")
    _add_dtype(bench)
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep checkpoint, clips and bench.json there (nothing is kept)",
    )


def _add_models(commands) -> None:
    command(
        commands,
        "models",
        "List the models there are ports for, and what is proven of each.",
    )


def _add_scores(commands) -> None:
    command(
        commands,
        "scores",
        "List the scores: formula, slices, side of the members, source.",
    )
