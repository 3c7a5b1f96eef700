"""`vidsme merge`: join the shards of a run, or of a store, into a whole."""

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  vidsme merge runs/target
  vidsme merge host-a/target host-b/target --out runs/target
order: prepare or score with --shards K/N on each host, then merge, then verify
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme merge`."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folder that --out named when the shards were made; several, where hosts"
        " wrote to folders of their own",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the whole (default: the first RUN)",
    )


def run(options: argparse.Namespace) -> None:
    """Join the shards, and print a line about the whole."""
    from vidsme_jax.runs.merge import merge

    print(merge(options.runs, options.out or options.runs[0]))
