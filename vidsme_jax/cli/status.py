"""`vidsme status`: say how far a run or a store is."""

import argparse
from pathlib import Path

EXAMPLES = """\
example:
  vidsme status runs/target
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme status`."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder of vidsme score or vidsme prepare"
    )


def run(options: argparse.Namespace) -> None:
    """Print a line for the whole run, and for each of its shards."""
    from vidsme_jax.runs.status import status

    print(status(options.run))
