"""Add options that several commands take, and make a command's settings from options."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from vidsme_jax.cli.values import clip_seconds, field_names, positive, rate, shard

OBJECTIVES = ("text", "text+video")
Settings = TypeVar("Settings")


def settings_from(
    options: argparse.Namespace, kind: type[Settings], **groups: Any
) -> Settings:
    """Return the settings of a command, each field taken from the option of its name.

    Args:
        options: the options of the command line.
        kind: dataclass of the settings; a field that is no option keeps its default.
        groups: fields that hold settings themselves, made from the same options.
    """
    typed = vars(options)
    names = [field.name for field in fields(kind) if field.name in typed]  # type: ignore[arg-type]
    return kind(**{name: _frozen(typed[name]) for name in names}, **groups)


def _frozen(value: Any) -> Any:
    """Return a tuple for a list, which argparse makes of several values."""
    return tuple(value) if isinstance(value, list) else value


def add_model(parser: argparse.ArgumentParser, also: str = "") -> None:
    """Add the options for the checkpoint that a command reads.

    Args:
        parser: parser of the command.
        also: what is accepted instead of a checkpoint, in words for the help.
    """
    add = parser.add_argument
    add(
        "--model",
        required=True,
        metavar="DIR_OR_HUB_ID",
        help=f"checkpoint directory, or an id of the Hugging Face hub (owner/name){also}",
    )
    add(
        "--adapter",
        type=Path,
        metavar="DIR",
        help="LoRA adapter of PEFT, merged into the checkpoint's weights as they are read"
        " (default: none)",
    )
    add(
        "--ignore-fields",
        type=field_names,
        default="",
        metavar="NAME[,NAME]",
        help="fields of the checkpoint's configs that change nothing, and that its port"
        " would refuse since it does not know them (default: none)",
    )


def add_data(parser: argparse.ArgumentParser, also: str = "") -> None:
    """Add the options for the manifests, and for the folders of clips and results.

    Args:
        parser: parser of the command.
        also: what is accepted instead of manifests, in words for the help.
    """
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help=f"manifests (.json, .jsonl, .csv, .tsv, .parquet), taken as one set{also}",
    )
    add_folders(parser)


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the options for how manifests are read, and for the output folder."""
    add = parser.add_argument
    add(
        "--root",
        type=Path,
        metavar="DIR",
        help="folder that relative video paths start from (default: the manifest's own)",
    )
    add(
        "--label",
        dest="labels",
        nargs="+",
        type=int,
        choices=(0, 1),
        help="one label for each manifest, for lists that have none: 1 members, 0"
        " non-members (default: the labels in the manifests)",
    )
    add(
        "--turns",
        choices=("each", "first", "last"),
        default="each",
        help="turns of a dialogue that are rows; the turns before are shown to the model"
        " with their answers (default: %(default)s)",
    )
    add(
        "--fps",
        type=rate,
        metavar="RATE",
        help="frames per second of clips that are folders of images, where the manifest has"
        " no column fps (default: unknown)",
    )
    add("--out", required=True, type=Path, metavar="DIR", help="folder for the results")


def add_max_text(parser: argparse._ActionsContainer, consequence: str) -> None:
    """Add the option for the longest text of a row.

    Args:
        parser: parser of the command, or a group of its options.
        consequence: what becomes of a longer text, in words for the help.
    """
    parser.add_argument(
        "--max-text",
        type=positive,
        default=2048,
        metavar="TOKENS",
        help=f"a question and answer of more tokens {consequence} (default: %(default)s)",
    )


def add_placement(parser: argparse._ActionsContainer, *others: str) -> None:
    """Add the options for the model's placement on devices, and the type of its weights.

    Args:
        parser: parser of the command, or a group of its options.
        others: further values of `--parallel`; global is the only one.
    """
    more = "; global: one over the devices of all processes" if others else ""
    parser.add_argument(
        "--parallel",
        choices=("auto", "replicas", "partitioned", *others),
        default="auto",
        help="replicas: a whole model on each device; partitioned: one over several"
        f" devices{more}; auto: replicas where the model fits one device"
        " (default: %(default)s)",
    )
    add_dtype(parser)


def add_dtype(parser: argparse._ActionsContainer) -> None:
    """Add the option for the type of weights and activations."""
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="type of weights and activations; auto is float32 on CPU, else bfloat16"
        " (default: %(default)s)",
    )


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """Add the options for how clips are read, and for the shard."""
    add = parser.add_argument_group("how clips are read").add_argument
    add(
        "--reader",
        choices=("auto", "decord", "pyav", "opencv", "reference"),
        default="auto",
        help="auto: PyAV, else decord where its frames can be trusted, else OpenCV (images"
        " have a reader of their own); reference: where decord seeks, whatever comes out,"
        " as the published code does (default: %(default)s)",
    )
    add(
        "--workers",
        type=positive,
        default=argparse.SUPPRESS,
        metavar="N",
        help="processes that decode clips (default: one for each CPU core)",
    )
    add(
        "--clip-timeout",
        type=clip_seconds,
        default="300",
        metavar="SECONDS",
        help="a clip that takes longer is a row with status timeout (default: %(default)s)",
    )
    add(
        "--shards",
        dest="shard",
        type=shard,
        metavar="K/N",
        help="only part K of N of the rows, K from 0 to N-1; auto takes both numbers from"
        " SLURM, SkyPilot or a TPU worker, auto/N takes K also from an indexed job"
        " (default: all rows)",
    )
