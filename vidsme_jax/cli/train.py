"""`vidsme train`: fine-tune a checkpoint on known members."""

import argparse

from vidsme_jax.cli.options import (
    OBJECTIVES,
    add_data,
    add_max_text,
    add_model,
    settings_from,
)
from vidsme_jax.cli.values import frame_count, natural, positive, rate

EXAMPLES = """\
examples:
  vidsme train --model CHECKPOINT --data members.json --out models/target
  vidsme train --model CHECKPOINT --data in.json out.json --label 1 0 --frames 8 \\
      --steps 400 --learning-rate 2e-5 --out models/target
order: train, then score the new checkpoint and the one it came from, then evaluate
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme train`."""
    add_model(parser)
    add_data(parser)
    add = parser.add_argument
    add(
        "--frames",
        type=frame_count,
        default="16",
        metavar="N",
        help="frames sampled from a clip (default: %(default)s)",
    )
    add(
        "--objective",
        choices=OBJECTIVES,
        default="text",
        help="what the model learns to predict: text, the answer; text+video, also the"
        " visual code of the next video position, for tokenizers that have such tokens"
        " (default: %(default)s)",
    )
    add(
        "--frame-order",
        choices=("natural", "shuffled"),
        default="natural",
        help="shuffled: each time that a clip is drawn, its frames come in a new random"
        " order, which the seed decides (default: %(default)s)",
    )
    add_max_text(parser, "is refused")
    _add_recipe(parser)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the options for how the model is optimised."""
    add = parser.add_argument_group("how it is optimised").add_argument
    add(
        "--steps",
        type=positive,
        default="240",
        metavar="N",
        help="optimiser steps (default: %(default)s)",
    )
    add(
        "--batch",
        type=positive,
        default="8",
        metavar="N",
        help="clips of a step (default: %(default)s)",
    )
    add(
        "--learning-rate",
        type=rate,
        default="1e-5",
        metavar="RATE",
        help="its peak, after the warm-up (default: %(default)s)",
    )
    add(
        "--seed",
        type=natural,
        default="0",
        metavar="N",
        help="of the order of the clips (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> None:
    """Train, and print the checkpoint's path."""
    from vidsme_jax.data.manifest import ManifestSettings
    from vidsme_jax.training.fit import Recipe
    from vidsme_jax.training.train import TrainSettings, train

    settings = settings_from(
        options,
        TrainSettings,
        recipe=settings_from(options, Recipe),
        manifests=settings_from(options, ManifestSettings),
    )
    train(settings)
    print(f"checkpoint: {options.out}")
