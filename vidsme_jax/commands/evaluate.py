"""`vidsme evaluate`: from finished runs to metrics, figures and a report."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from vidsme_jax import diagnosis, findings, records, report
from vidsme_jax.errors import InputError, check_folder
from vidsme_jax.evaluation import EvaluationSettings, settings_dict
from vidsme_jax.evaluation_table import evaluate_table, pair, samples, with_published
from vidsme_jax.foreign import read_scores
from vidsme_jax.progress import say
from vidsme_jax.report_sections import distinct


def evaluate(
    runs: list[Path],
    out: Path,
    control: Path | None = None,
    settings: EvaluationSettings | None = None,
) -> dict[str, Any]:
    """Evaluate runs, each apart, and write the report into `out`.

    Args:
        runs: directories that `vidsme score` wrote, or tables of scores, see `foreign`.
        out: directory for report.html, report.md, metrics.json, metrics.csv, figures/.
        control: a run of the same clips under a model that saw none of them.
        settings: resamples, permutations, false positive rates, whether to add the
            published code's metrics; defaults where None.

    Returns:
        `settings`, `control` (its name or None) and `runs`: `name`, `path`, `info`
        (run.json) and `frames`, one dict per frame count, see `evaluate_table`; its
        `diagnosis` is that of `diagnosis.diagnose`.

    Raises:
        InputError: no runs, a run that is not finished or has no two labels, a control
            without common clips, an `out` that is a file.
    """
    settings = settings or EvaluationSettings()
    if not runs:
        raise InputError("no run given, expected at least one directory")
    check_folder("out", out)
    read = [_read(path) for path in runs]
    other = None if control is None else _read(control)
    for run in read:
        _check_labels(run)
        unread = sorted(path.name for path in run.path.glob("top_*.parquet"))
        if unread:
            say(f"{run.path}: {', '.join(unread)} not evaluated here, vidsme sweep does")
        if other is not None:
            _check_common(run, other)
    names = distinct([run.path.resolve().name for run in read])
    table = None if other is None else other.table
    result = {
        "settings": settings_dict(settings),
        "control": None if other is None else other.path.resolve().name,
        "runs": [
            {
                "name": name,
                "path": str(run.path),
                "info": run.info,
                "frames": _frames(run, settings, table),
            }
            for name, run in zip(names, read, strict=True)
        ],
    }
    out.mkdir(parents=True, exist_ok=True)
    report.write(out, result, read, other)
    return result


def _read(path: Path) -> records.Run:
    """Read a run's directory, or a table of scores from elsewhere."""
    if path.is_file():
        return read_scores(path)
    return with_published(records.read_run(path))


def _frames(run: records.Run, settings, control) -> list[dict[str, Any]]:
    """The metrics of each frame count, and what they are diagnosed with."""
    frames = evaluate_table(run.table, settings, control)
    asked = run.info["settings"]
    other = asked.get("perturbation") if isinstance(asked, dict) else None
    found = diagnosis.diagnose(run.table, frames, settings, str(other))
    return [
        data | {"diagnosis": entries} for data, entries in zip(frames, found, strict=True)
    ]


def terminal_table(result: dict[str, Any]) -> str:
    """Return the answer and the representative scores as aligned text."""
    lines = []
    for unit in findings.units(result):
        answer = findings.answer(unit, result)
        lines += [answer.title] if answer.title else []
        lines += [answer.lead, *(f"- {note}" for note in answer.notes)]
        lead, texts = diagnosis.summary(unit.data["diagnosis"])
        lines += [lead, *(f"- {text}" for text in texts), ""]
        rows = [_short_header(result)]
        for names in findings.representative_rows(unit).values():
            known = unit.data["scores"]
            rows += [findings.cells(n, known[n], result, digits=2) for n in names]
        blind = unit.data["blind"]
        shown = [name for name in ("motion", "illumination") if name in blind]
        rows += [findings.cells(f"{n} alone", blind[n], result, digits=2) for n in shown]
        lines += [*_aligned(rows), ""]
    return "\n".join([*lines, findings.CAVEAT])


def _short_header(result) -> list[str]:
    """The header of the report's tables, without what makes it wide."""
    return [_short(name) for name in findings.header(result)]


def _short(name: str) -> str:
    if name in findings.PUBLISHED_HEADER:
        return name
    short = {"AUC minus control": "difference", "balanced accuracy": "bal. acc."}
    name = name.split(" (")[0].removesuffix(" FPR")
    return short.get(name, name.replace(" at ", "@").replace(" %", "%"))


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _check_labels(run: records.Run) -> None:
    """Refuse a run in which no two classes can be compared."""
    if "label" not in run.table.column_names:
        raise InputError(f"run={run.path} has no column label, expected 1 and 0 in it")
    count = {k: 0 for k in (1, 0, None)}
    for label in run.table["label"].to_pylist():
        count[label] = count.get(label, 0) + 1
    exists = f"there are {count[1]} members, {count[0]} non-members, {count[None]} without"
    if not count[1] and not count[0]:
        raise InputError(
            f"run={run.path} has no labelled row ({exists} a label); expected label"
            " 1 for members and 0 for non-members"
        )
    if not count[1] or not count[0]:
        raise InputError(
            f"run={run.path} has one class only ({exists} a label); expected both"
            " label 1 and label 0"
        )


def _check_common(run: records.Run, control: records.Run) -> None:
    """Refuse a control that shares no clip with the run."""
    for sample in samples(run.table):
        if sample.ids and pair(sample, control.table)[0].ids:
            return
    raise InputError(
        f"control={control.path} shares no scored clip with run={run.path}, expected"
        f" the same ids and frames; the run has {_examples(run.table)}, the control"
        f" {_examples(control.table)}"
    )


def _examples(table: pa.Table) -> str:
    ids = ", ".join(findings.shorten(i, 20) for i in table["id"].to_pylist()[:2])
    frames = sorted(set(table["frames"].to_pylist()))
    return f"{len(table)} rows (ids {ids}, …; frames {frames})"
