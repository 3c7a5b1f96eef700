"""`vidsme sweep`: evaluate a grid of scores with as few passes over the clips as it needs.

    OUT/sweep.json       the clips and models that the cells were made from
    OUT/runs/…           a run of `vidsme score` per pass, resumable
    OUT/sweep.parquet    the tidy table, a row per cell; OUT/sweep.csv the same
    OUT/figures/*.svg    a figure per pair of swept axes

Cells that differ only in what is computed after the model has run share a pass. A cell in
the table is finished: the same command skips it, and a grown grid computes what is new.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidsme_jax.data.manifest import ManifestSettings
from vidsme_jax.data.rows import Row
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.checkpoints.files import weight_files
from vidsme_jax.models.checkpoints.hub import find_checkpoint
from vidsme_jax.models.placement import resolve_dtype
from vidsme_jax.progress import phase, say
from vidsme_jax.records import files as record_files
from vidsme_jax.records.csv_tables import write_csv
from vidsme_jax.records.runs import is_finished
from vidsme_jax.runs.changes import changed_since_finished
from vidsme_jax.runs.identity import rows_digest
from vidsme_jax.runs.job import read_data
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores.orders import EntropyOrders
from vidsme_jax.sweeps.cells import AXES, Cell, Pass, evaluate_cells
from vidsme_jax.sweeps.figures import write_figures
from vidsme_jax.sweeps.grid import Grid


def sweep(grid: Grid) -> pa.Table:
    """Compute the cells that are not finished; return the table of the grid's cells.

    Clips are identified by the manifests, as in `vidsme score`. Where a file changed under
    its name after a pass, a line says so, and the run of that pass notes it.

    Raises:
        InputError: wrong input; a manifest or a model changed since the first cells.
    """
    # `auto` would be another type on another machine, under the same name in the table.
    dtypes = tuple(dict.fromkeys(resolve_dtype(dtype) for dtype in grid.dtypes))
    grid = replace(grid, dtypes=dtypes)
    cells = grid.cells()
    if not cells:
        raise InputError(
            f"the grid has no cell: none of families={list(grid.families)} with"
            f" aggregates={list(grid.aggregates)} exists for slices={list(grid.slices)}"
            f" under definitions={list(grid.definitions)}"
        )
    with record_files.locked(grid.out, "sweep.json"):
        finished = _read_table(grid.out)
        _note_changed(grid, _claim(grid, bool(finished)))
        missing = [cell for cell in cells if cell.key not in finished]
        say(f"{len(cells)} cells, {len(cells) - len(missing)} finished")
        passes = dict.fromkeys(cell.run for cell in missing)
        for n, run in enumerate(passes, 1):
            of_run = [cell for cell in missing if cell.run == run]
            work = f"{run.model}, {run.dtype}, {run.perturbation}"
            phase("sweep", "score and evaluate", f"pass {n} of {len(passes)}: {work}")
            rows = evaluate_cells(of_run, _score(grid, run, of_run), grid.evaluation)
            finished |= {cell.key: row for cell, row in zip(of_run, rows, strict=True)}
            write_csv(grid.out / "sweep.csv", list(finished.values()))
        table = pa.Table.from_pylist([finished[cell.key] for cell in cells])
        phase("sweep", "write the figures")
        write_figures(grid.out / "figures", table)
    return table


def _score(grid: Grid, run: Pass, cells: list[Cell]) -> Callable[[str], pa.Table | None]:
    """Score the clips as the cells of a pass need; return a reader of the run's tables."""
    variants = list(dict.fromkeys(c.orders for c in cells if c.orders))
    adaptive = [v for v in variants if v == EntropyOrders(v.beta1, v.beta2)]
    first = adaptive[0] if adaptive else EntropyOrders()
    # A calibration file brings its own betas, so that the run's first orders are others.
    scored = None if "calibration" in grid.shared else first
    settings = ScoreSettings(
        model=grid.models[run.model],
        adapter=grid.adapters.get(run.model),
        data=grid.data,
        out=Path(),
        frames=tuple(dict.fromkeys(c.frames for c in cells)),
        slices=_in_order(grid.slices, {c.slice for c in cells}),
        definitions=_in_order(grid.definitions, {c.definition for c in cells}),
        variants=tuple(v for v in variants or [first] if v != scored),
        perturbation=run.perturbation,
        dtype=run.dtype,
        beta1=first.beta1,
        beta2=first.beta2,
        **grid.shared,
    )
    # How many processes decode changes no number.
    deciding = {k: v for k, v in vars(settings).items() if k != "decoding"}
    digest = record_files.digest(json.loads(json.dumps(deciding, default=repr)))
    out = grid.out / "runs" / f"{run.model}-{run.dtype}-{run.perturbation}-{digest[:8]}"
    score(replace(settings, out=out))

    def read(name: str) -> pa.Table | None:
        path = out / f"{name}.parquet"
        return record_files.read_table(path) if path.exists() else None

    return read


def _in_order(names: tuple[str, ...], chosen: set[str]) -> tuple[str, ...]:
    """Return the chosen names in the order of all names."""
    return tuple(name for name in names if name in chosen)


def _note_changed(grid: Grid, rows: Sequence[Row]) -> None:
    """Say and note which clips changed after an earlier pass had read them."""
    noted = []
    for run in sorted((grid.out / "runs").glob("*")):
        if rows and is_finished(run) and (changed := changed_since_finished(run, rows)):
            notes = [clip.to_json() for clip in changed]
            record_files.note_changed(run, notes)
            noted += notes
    if noted:
        say(record_files.changed_note(grid.out, {"changed": noted}))


def _claim(grid: Grid, finished: bool) -> list[Row]:
    """Note clips and models in sweep.json; refuse others where a cell is finished.

    Returns:
        The rows whose clips are read from files; none of a store.

    Raises:
        InputError: cells of other clips or models; a data set without both labels.
    """
    shared = grid.shared
    rows, store = read_data(grid.data, shared.get("manifests", ManifestSettings()))
    labels = {row.label for row in rows}
    if not labels >= {0, 1}:
        raise InputError(
            f"data={', '.join(map(str, grid.data))} has rows with labels"
            f" {sorted(map(str, labels))}, expected members (1) and non-members (0)"
        )
    current: dict[str, Any] = {"data": rows_digest(rows), "shared": _shared(grid)}
    current["evaluation"] = repr(grid.evaluation)
    path = grid.out / "sweep.json"
    noted = record_files.read_json(path) if finished else current | {"models": {}}
    if not isinstance(noted, dict) or not isinstance(noted.get("models"), dict):
        raise InputError(f"{path} is none of ours; give another out, or remove it")
    for name, value in current.items():
        if noted.get(name) != value:
            raise InputError(
                f"out={grid.out} holds cells of other {name}: {noted.get(name)} there,"
                f" {value} here; give another out, or remove it"
            )
    models: dict[str, Any] = dict(noted["models"])
    for name in grid.models:
        models[name] = _identify_model(grid, name, models.get(name))
    record_files.write_json(path, current | {"models": models})
    return [] if store else rows


def _shared(grid: Grid) -> dict[str, Any]:
    """Return the shared settings that decide numbers, a calibration by its content."""
    out = {k: v for k, v in grid.shared.items() if k not in ("manifests", "decoding")}
    if "calibration" in out:
        out["calibration"] = record_files.digest(record_files.read_json(out["calibration"]))
    return json.loads(json.dumps(out))


def _identify_model(grid: Grid, name: str, noted: Any) -> dict[str, Any]:
    """Return file facts and fingerprint of a model; refuse another than noted.

    Its bytes are read only where name, size or time of a file changed.
    """
    directory, adapter = find_checkpoint(str(grid.models[name])), grid.adapters.get(name)
    paths = [directory, *_files(directory)]
    if adapter is not None and adapter.is_dir():
        paths += [adapter, *(p for p in adapter.iterdir() if p.is_file())]
    files = record_files.digest([_file_facts(path) for path in paths])
    if noted and noted["files"] == files:
        return noted
    ignored = grid.shared.get("ignore_fields", ())
    fingerprint = open_port(directory, adapter, ignored).fingerprint()
    if noted and noted["fingerprint"] != fingerprint:
        raise InputError(
            f"out={grid.out} holds cells of another checkpoint as {name}: fingerprint"
            f" {noted['fingerprint']} there, {fingerprint} here; give another name or out"
        )
    return {"files": files, "fingerprint": fingerprint}


def _files(directory: Path) -> list[Path]:
    """Return the files of a checkpoint that decide its numbers."""
    small = [p for p in directory.iterdir() if p.suffix in (".json", ".jinja", ".txt")]
    return sorted([*small, *weight_files(directory)])


def _file_facts(path: Path) -> list[Any]:
    """Return the place of a folder, or the name, size and time of a file."""
    if path.is_dir():
        return [str(path.resolve())]
    return [path.name, path.stat().st_size, path.stat().st_mtime_ns]


def _read_table(out: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows of the finished cells by the cells' keys."""
    path = out / "sweep.parquet"
    if not path.exists():
        return {}
    rows = record_files.read_table(path).to_pylist()
    lacking = [name for name in AXES if rows and name not in rows[0]]
    if lacking:
        raise InputError(f"{path} has no {lacking[0]}: no vidsme command wrote it")
    return {tuple(row[name] for name in AXES): row for row in rows}
