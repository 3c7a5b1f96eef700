"""What people call from Python: one function for each command, with the same settings.

    import vidsme_jax as vj
    run = vj.score("CHECKPOINT", "manifest.json", out="runs/target", frames=16)
    result = vj.evaluate(run, control="runs/control")
    result.primary.auc, result.verdict
    result.write("report")

Further settings are those of the command, under the names of the fields of its settings.
Everything on disk is as the command would leave it, so that both go on with each other's
work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidsme_jax.api.settings import make_settings
from vidsme_jax.data.store.store import Store
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation import evaluate as evaluation
from vidsme_jax.evaluation.result import (
    FrameResult,
    NoVerdict,
    Result,
    ScoreMetrics,
    Verdict,
)
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.models import find_port
from vidsme_jax.models.port import Port
from vidsme_jax.records.runs import Run, read_run
from vidsme_jax.report.metrics_json import metrics_json
from vidsme_jax.report.page import Figure
from vidsme_jax.report.sections import build
from vidsme_jax.report.terminal import terminal_table
from vidsme_jax.report.write import write_report
from vidsme_jax.runs import prepare as preparing
from vidsme_jax.runs import score as scoring
from vidsme_jax.runs.settings import ScoreSettings
from vidsme_jax.scores import catalogue
from vidsme_jax.sweeps import sweep as sweeping
from vidsme_jax.sweeps.grid import grid_from, read_grid
from vidsme_jax.training import train as training

Location = str | Path


@dataclass(frozen=True, repr=False)
class Audit(Result):
    """The result of `evaluate`, which can be shown and written.

    Every number is in `runs`; the properties are those of the first run at its first frame
    count, which is all there is for one run of one frame count.
    """

    @property
    def first(self) -> FrameResult:
        """What was measured of the first run at its first frame count."""
        return self.runs[0].frames[0]

    @property
    def primary(self) -> ScoreMetrics:
        """The metrics of the score that was chosen before looking.

        Where labels are missing they are None, and `reason` says why.

        Raises:
            InputError: a run without that score.
        """
        name = self.first.primary
        if name is None:
            raise InputError(
                f"score={self.settings.score or catalogue.PRIMARY} is not in"
                f" run={self.runs[0].name}, there are {', '.join(self.first.scores)}"
            )
        return self.first.scores[name]

    @property
    def verdict(self) -> Verdict | NoVerdict | None:
        """What the primary score says of clips of unknown use; None without such clips."""
        return self.first.verdict

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures of the report; a notebook shows each as a picture."""
        sections = build(self).sections
        return tuple(figure for section in sections for figure in section.figures)

    def write(self, out: Location) -> Path:
        """Write report.html, report.md, metrics.json, metrics.csv, clips.csv and figures.

        Args:
            out: folder, made where missing.

        Returns:
            The path of report.html.
        """
        write_report(self, Path(out))
        return Path(out) / "report.html"

    def to_json(self) -> dict[str, Any]:
        """Return the content of metrics.json."""
        return metrics_json(self)

    def __str__(self) -> str:
        return terminal_table(self)

    __repr__ = __str__


def score(
    model: Location,
    data: Store | Location | Sequence[Location],
    out: Location,
    **settings: Any,
) -> Run:
    """Score every clip of a manifest under a model; resumable.

    Args:
        model: checkpoint directory or hub id.
        data: one or several manifests, or one store of `prepare`.
        out: directory of the run; a finished one is read, an unfinished one goes on.
        settings: further fields of `ScoreSettings` and of its `Decoding`, such as `frames`,
            `definitions` or `workers`; a single value may stand for a tuple of one.

    Returns:
        The finished run: its table, run.json, curves and thumbnails.

    Raises:
        InputError: wrong input, or not one clip that could be read.
        TypeError: a setting that does not exist.
    """
    source = data.path if isinstance(data, Store) else data
    request = make_settings(ScoreSettings, settings, model=model, data=source, out=out)
    scoring.score(request)
    shard, out = request.shard, request.out.resolve()
    return read_run(shard.directory(out) if shard else out)


def evaluate(
    runs: Run | Location | Sequence[Run | Location],
    control: Run | Location | None = None,
    reference: Run | Location | None = None,
    **settings: Any,
) -> Audit:
    """Turn runs, or tables of scores from elsewhere, into metrics and verdicts.

    Args:
        runs: one or several finished runs, or tables with the columns id, label and score.
        control: a run of the same clips under a model that saw none of them.
        reference: clips known to be outside, against which the others are judged.
        settings: fields of `EvaluationSettings`, such as `score`, `bootstrap` or `by`.

    Raises:
        InputError: a run that is not finished or says nothing; see `evaluation.evaluate`.
        TypeError: a setting that does not exist.
    """
    several = [runs] if isinstance(runs, Run | str | Path) else runs
    paths = [_path(run) for run in several]
    beside = None if control is None else _path(control)
    outside = None if reference is None else _path(reference)
    request = make_settings(EvaluationSettings, settings)
    result = evaluation.evaluate(paths, beside, request, outside)
    return Audit(**vars(result))


def train(
    model: Location, data: Location | Sequence[Location], out: Location, **settings: Any
) -> Path:
    """Fine-tune a checkpoint on the rows with label 1; return the new checkpoint.

    Args:
        model: checkpoint to start from, directory or hub id.
        data: one or several manifests.
        out: directory of the new checkpoint; it must not exist.
        settings: further fields of `TrainSettings` and of its `Recipe`, such as `frames`,
            `objective`, `steps` or `learning_rate`.

    Raises:
        InputError: wrong input, a clip that cannot be read, a loss that diverges.
        TypeError: a setting that does not exist.
    """
    needed = {"model": model, "data": data, "out": out}
    request = make_settings(training.TrainSettings, settings, **needed)
    training.train(request)
    return request.out


def prepare(
    model: Location, data: Location | Sequence[Location], out: Location, **settings: Any
) -> Store:
    """Decode every clip of a manifest once, into a store that `score` reads; resumable.

    Args:
        model: checkpoint whose processor decides the pixels; its weights are not read.
        data: one or several manifests.
        out: directory of the store; `score(model, out, …)` takes it as its data.
        settings: further fields of `PrepareSettings`, such as `frames` or `reader`.

    Raises:
        InputError: wrong input, or not one clip that could be read.
        TypeError: a setting that does not exist.
    """
    request = make_settings(
        preparing.PrepareSettings, settings, model=model, data=data, out=out
    )
    return preparing.prepare(request)


def sweep(grid: Location | Mapping[str, Any], out: Location | None = None) -> pa.Table:
    """Evaluate a grid of scores with as few passes over the clips as it needs; resumable.

    Args:
        grid: a YAML file, or its content as a mapping, whose paths start from here.
        out: where results go; instead of the grid's own `out`. Without either, the file's
            name less its ending, and the folder `grid` for a mapping.

    Returns:
        A row per cell: its axes, AUC, TPRs and their intervals.

    Raises:
        InputError: an unknown key, a value that no cell can have, wrong input.
    """
    folder = None if out is None else Path(out)
    if isinstance(grid, Mapping):
        return sweeping.sweep(grid_from(_plain(grid), Path("grid"), folder))
    return sweeping.sweep(read_grid(Path(grid), folder))


def open_model(
    model: Location,
    adapter: Location | None = None,
    ignore_fields: str | Sequence[str] = (),
) -> Port:
    """Read a checkpoint with the port of its architecture; its weights are not loaded yet.

    Args:
        model: checkpoint directory or hub id.
        adapter: folder of a LoRA adapter of PEFT, which is merged while they are loaded.
        ignore_fields: fields of its configs that are ignored where its port lacks them.

    Raises:
        InputError: no checkpoint, an architecture without a port, or an adapter that does
            not fit.
    """
    names = [ignore_fields] if isinstance(ignore_fields, str) else ignore_fields
    return find_port(model, None if adapter is None else Path(adapter), tuple(names))


def _path(run: Run | Location) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


def _plain(value: Any) -> Any:
    """Return a mapping as a YAML file would hold it: paths as texts, tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
