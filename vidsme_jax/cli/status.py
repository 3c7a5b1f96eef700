"""`vidsme status`: say how far a run or a store is."""

import argparse
from pathlib import Path

EXAMPLES = """\
example:
  vidsme status runs/target
order: status at any time after prepare or score has begun
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme status`."""
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder of vidsme score or vidsme prepare"
    )


def run(options: argparse.Namespace) -> None:
    """Print a line for the whole run, and for each of its shards."""
    from vidsme_jax.runs.status import status

    print(status(options.run))
