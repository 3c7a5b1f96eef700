"""The words of the commands that read what others wrote; nothing heavy imported."""

import argparse
from pathlib import Path

from vidsme_jax.cli.values import natural, resamples


def command(commands, name: str, line: str) -> argparse.ArgumentParser:
    """Return the parser of a new command."""
    return commands.add_parser(name, help=line, description=line)


def add_merge(commands) -> None:
    """Add the words of `vidsme merge`."""
    merge = command(
        commands, "merge", "Join the shards of a run, or of a store, into a whole."
    )
    add = merge.add_argument
    add("parts", nargs="+", type=Path, metavar="RUN", help="what --out was; several hosts'")
    add("--out", type=Path, metavar="DIR", help="where the whole goes (the first RUN)")


def add_status(commands) -> None:
    """Add the words of `vidsme status`."""
    status = command(commands, "status", "Say how far a run or a store is.")
    status.add_argument("run", type=Path, metavar="RUN", help="its directory")


def add_verify(commands) -> None:
    """Add the words of `vidsme verify`."""
    verify = command(
        commands, "verify", "Check that a run is whole: rows, duplicates, NaN, settings."
    )
    verify.add_argument("run", type=Path, metavar="RUN", help="its directory")


def add_evaluate(commands) -> None:
    """Add the words of `vidsme evaluate`."""
    evaluate = command(
        commands,
        "evaluate",
        "Turn runs into metrics, verdicts, figures and a report.",
    )
    add = evaluate.add_argument
    add(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="directories of vidsme score, or tables with id, label, score",
    )
    add(
        "--control",
        type=Path,
        metavar="RUN",
        help="the same clips under a model that saw none of them",
    )
    add(
        "--reference",
        type=Path,
        metavar="RUN",
        help="clips known to be outside, from the same source, against which the others are"
        " judged: its rows with label 0, or all if it has no labels (this run's label 0)",
    )
    add(
        "--score",
        metavar="NAME",
        help="the primary score, chosen before looking (video.sme.mean)",
    )
    add(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="evaluate the primary score for each value of a column; may be repeated",
    )
    add("--out", required=True, type=Path, metavar="DIR", help="where the report goes")
    _add_resampling(evaluate)


def _add_resampling(evaluate: argparse.ArgumentParser) -> None:
    add = evaluate.add_argument
    add("--seed", type=natural, default=0, help="of resampling and permutation (0)")
    add(
        "--bootstrap",
        type=resamples,
        default=2000,
        metavar="N",
        help="resamples behind every interval (%(default)s)",
    )
    add(
        "--fpr-rule",
        choices=("<=", "<"),
        default="<=",
        help="whether TPR at 5 %% FPR allows 5 %% itself, or less, as published"
        " (%(default)s)",
    )
    add(
        "--metrics",
        choices=("ours", "ours+published"),
        default="ours",
        help="also by the published code's rules, in columns of their own (%(default)s)",
    )


def add_sweep(commands) -> None:
    """Add the words of `vidsme sweep`."""
    sweep = command(
        commands,
        "sweep",
        "Evaluate a grid of scores with as few passes over the clips as it needs.",
    )
    add = sweep.add_argument
    add("grid", type=Path, metavar="GRID.yaml", help="models, data and the axes")
    add("--out", type=Path, metavar="DIR", help="where results go (the file's own `out`)")
