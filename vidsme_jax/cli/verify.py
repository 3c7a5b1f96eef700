"""`vidsme verify`: check that a run or a store is whole."""

import argparse
from pathlib import Path

EXAMPLES = """\
example:
  vidsme verify runs/target
order: score, merge where it was in shards, then verify, then evaluate
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme verify`."""
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder of vidsme score or vidsme prepare"
    )


def run(options: argparse.Namespace) -> None:
    """Check a run or a store, and print a line where it is whole."""
    from vidsme_jax.runs.verify import verify

    print(verify(options.run))
