"""Train trials, sweep over them and make tables of AUCs, for all experiments.

Everything lies below one folder, `--out`. A trial is trained once and used by all
experiments; a cell that a sweep has computed is not computed again.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidsme_jax import __version__
from vidsme_jax.errors import InputError
from vidsme_jax.records.files import refuse_foreign
from vidsme_jax.sweeps.grid import Grid
from vidsme_jax.sweeps.sweep import sweep
from vidsme_jax.training.trial import FRAMES, Trial, TrialFiles, lay_out

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Lab:
    """Where results go, and the seeds of the trials.

    Attributes:
        out: folder of trials and sweeps.
        seeds: a trial for each.
    """

    out: Path = Path("lab")
    seeds: tuple[int, ...] = (0, 1, 2)


def lab_from_arguments(description: str | None) -> Lab:
    """Read --out and --seeds; end the script with a line where one is wrong."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Lab.out, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(Lab.seeds))
    options = parser.parse_args()
    if min(options.seeds) < 0:
        sys.exit(f"seeds={options.seeds}, expected whole numbers from 0 on")
    try:
        refuse_foreign(options.out, "trials")
    except InputError as error:
        sys.exit(str(error))
    return Lab(options.out, tuple(dict.fromkeys(options.seeds)))


def publish(script: str, lines: Iterable[str]) -> None:
    """Print lines as they come, then write them to results/NAME.txt.

    Args:
        script: `__file__` of the running script, which gives the NAME.
        lines: lines to print. An interrupted script leaves the file as it was.
    """
    path = Path(script).resolve()
    command = shlex.join(["python", str(path.relative_to(ROOT)), *sys.argv[1:]])
    printed = [f"Printed by version {__version__}: {command}", ""]
    for line in lines:
        print(line, flush=True)
        printed.append(line)
    text = "\n".join(printed).rstrip() + "\n"
    (ROOT / "experiments" / "results" / f"{path.stem}.txt").write_text(text)


def trained(lab: Lab, trial: Trial) -> TrialFiles:
    """Return the files of a trial; make those that are missing."""
    return lay_out(lab.out / "trials" / name_of(trial), trial)


def name_of(trial: Trial) -> str:
    """Return a trial's name: the values that differ from the defaults, and its seed."""
    default = asdict(Trial())
    changed = [f"{v}" for k, v in asdict(trial).items() if k != "seed" and v != default[k]]
    return "-".join([*changed, str(trial.seed)])


def swept(lab: Lab, name: str, trial: Trial, **axes: Any) -> list[dict[str, Any]]:
    """Return the rows of a sweep over the clips and both models of a trial.

    Args:
        lab: where results go.
        name: name of the experiment.
        trial: the trial, whose clips and models are swept.
        axes: fields of `Grid`, others than models, data and out.
    """
    files = trained(lab, trial)
    out = lab.out / name / name_of(trial)
    axes = {"models": files.models, "data": files.data, "frames": (FRAMES,)} | axes
    return sweep(Grid(out=out, **axes)).to_pylist()


def compare(
    lab: Lab,
    name: str,
    by: tuple[str, ...],
    trial: Callable[[int], Trial] = Trial,
    metric: str = "auc",
    **axes: Any,
) -> list[str]:
    """Return the lines of a table: a row per value of some axes, a column per seed.

    Args:
        lab: where results go, and the seeds.
        name: name of the experiment.
        by: axes of the grid whose values are rows.
        trial: makes the trial of a seed.
        metric: column of the sweep's table that has an interval.
        axes: fields of `Grid`, see `swept`.
    """
    tables = [swept(lab, name, trial(seed), **axes) for seed in lab.seeds]
    rows: dict[tuple[Any, ...], list[dict[str, dict[str, Any]]]] = {}
    for n, table in enumerate(tables):
        for row in table:
            key = tuple(row[axis] for axis in by)
            by_seed = rows.setdefault(key, [{} for _ in tables])
            by_seed[n][row["model"]] = row
    head = [*by, *(f"seed {seed}" for seed in lab.seeds), "mean", "control"]
    lines = [head]
    for key, seeds in rows.items():
        cells = [cell_text(models["target"], metric) for models in seeds]
        means = [
            mean_text([m[model][metric] for m in seeds]) for model in ("target", "control")
        ]
        lines.append([*("–" if v is None else str(v) for v in key), *cells, *means])
    return aligned(lines)


def cell_text(row: dict[str, Any], metric: str) -> str:
    """Return a metric with its interval, as `.92 .87-.96`."""
    if row[metric] is None:
        return "–"
    low, high = (_short(row[f"{metric}_{end}"]) for end in ("low", "high"))
    return _short(row[metric]) + (f" {low}-{high}" if low != high else "")


def mean_text(values: list[float | None]) -> str:
    """Return the mean of the values but None, as `.92`; a dash if there are none."""
    present = [v for v in values if v is not None]
    return _short(sum(present) / len(present)) if present else "–"


def _short(value: float) -> str:
    """Return a share with two decimals and no zero before the point."""
    return "1.0" if value >= 0.995 else f"{value:.2f}".removeprefix("0")


def aligned(rows: list[list[str]]) -> list[str]:
    """Return rows of cells as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
