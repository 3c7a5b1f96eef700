"""`vidsme sweep`: evaluate a grid of scores with as few passes as it needs."""

import argparse
from pathlib import Path

EXAMPLES = """\
example:
  vidsme sweep grid.yaml --out sweeps/first
order: score and evaluate at one setting, then sweep over many

a grid.yaml:
  models: {target: models/target, control: models/control}
  data: [clips.json]
  frames: [8, 16]
  families: [sme, logp]
  aggregates: [mean, min_10]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme sweep`."""
    parser.add_argument(
        "grid",
        type=Path,
        metavar="GRID.yaml",
        help="models, data, the axes of the grid, and options of score for all of them",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: `out` in the file, else the file's name"
        " without its ending)",
    )


def run(options: argparse.Namespace) -> None:
    """Compute the cells of the grid, and print how many there are."""
    from vidsme_jax.sweeps.grid import read_grid
    from vidsme_jax.sweeps.sweep import sweep

    grid = read_grid(options.grid, options.out)
    table = sweep(grid)
    figures = grid.out / "figures"
    drawn = f"; figures in {figures}" if any(figures.glob("*.svg")) else ""
    print(f"{grid.out}/sweep.csv: {table.num_rows} cells of this grid{drawn}")
