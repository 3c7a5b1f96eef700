"""`vidsme plan`: say what scoring would take, compiled for chips that need not be here."""

import argparse

from vidsme_jax.cli.environment import compile_for_absent_chips
from vidsme_jax.cli.options import add_model, add_placement, settings_from
from vidsme_jax.cli.values import frame_counts, positive, share, token_count

EXAMPLES = """\
examples:
  vidsme plan --model CHECKPOINT --topology v5e:2x4 --frames 16,32
  vidsme plan --model config.json --batch 4
order: plan first, then score on the chips that it names
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme plan`."""
    add_model(parser, "; or a config.json alone")
    add = parser.add_argument
    add(
        "--topology",
        metavar="NAME",
        help="TPU chips, such as v5e:2x4; needs the extra [tpu] (default: the devices of"
        " this machine)",
    )
    add(
        "--frames",
        type=frame_counts,
        default="16",
        metavar="N[,N]",
        help="frames of a clip; a plan for each count (default: %(default)s)",
    )
    add(
        "--batch",
        type=positive,
        metavar="N",
        help="clips of a step, on each replica of the model (default: the most that fit)",
    )
    add(
        "--text",
        type=token_count,
        default="64",
        metavar="TOKENS",
        help="length of prompt and answer together (default: %(default)s)",
    )
    add(
        "--clips",
        type=positive,
        default="10000",
        metavar="N",
        help="clips whose time is projected (default: %(default)s)",
    )
    add(
        "--utilisation",
        type=share,
        default="0.4",
        metavar="SHARE",
        help="share of a chip's peak that is reached, for the projection"
        " (default: %(default)s)",
    )
    add_placement(parser)


def run(options: argparse.Namespace) -> None:
    """Print the plan of each frame count."""
    if options.topology is not None:
        compile_for_absent_chips()
    from vidsme_jax.bench.plan import PlanSettings, plan

    print(plan(settings_from(options, PlanSettings)))
