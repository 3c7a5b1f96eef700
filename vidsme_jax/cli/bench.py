"""`vidsme bench`: measure scoring beside PyTorch."""

import argparse
from pathlib import Path

from vidsme_jax.cli.environment import share_device
from vidsme_jax.cli.options import add_dtype, settings_from
from vidsme_jax.cli.values import frame_count, positive

EXAMPLES = """\
examples:
  vidsme bench --size toy
  vidsme bench --size medium --frames 16 --clips 4 --batch 2 --out bench-medium
order: bench stands alone; it makes its own clips and weights
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme bench`."""
    add = parser.add_argument
    add(
        "--size",
        required=True,
        choices=("toy", "medium", "7b"),
        help="size of the model: 1, 145 or 7,900 million parameters",
    )
    add(
        "--frames",
        type=frame_count,
        default="16",
        metavar="N",
        help="frames of a clip (default: %(default)s)",
    )
    add(
        "--clips",
        type=positive,
        default="2",
        metavar="N",
        help="clips of a round (default: %(default)s)",
    )
    add(
        "--batch",
        type=positive,
        metavar="N",
        help="clips at once, a divisor of --clips (default: 2, or all of fewer)",
    )
    add(
        "--rounds",
        type=positive,
        default="5",
        metavar="N",
        help="rounds, in each of which every program runs once (default: %(default)s)",
    )
    add_dtype(parser)
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder that keeps checkpoint, clips and bench.json (default: nothing is"
        " kept)",
    )


def run(options: argparse.Namespace) -> None:
    """Measure, and print the table."""
    share_device()
    from vidsme_jax.bench.bench import BenchSettings, bench

    print(bench(settings_from(options, BenchSettings)))
