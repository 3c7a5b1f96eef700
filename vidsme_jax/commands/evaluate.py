"""`vidsme evaluate`: from finished runs to metrics, figures and a report."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidsme_jax import diagnosis, findings, records, report, wording
from vidsme_jax.blind_features import Row, feature_rows
from vidsme_jax.errors import InputError, check_folder
from vidsme_jax.evaluation import EvaluationSettings, settings_dict
from vidsme_jax.evaluation_blind import evaluate_blind
from vidsme_jax.evaluation_table import compare_runs, evaluate_table
from vidsme_jax.evaluation_verdict import judge
from vidsme_jax.foreign import read_scores
from vidsme_jax.per_clip import clip_rows
from vidsme_jax.progress import say
from vidsme_jax.report_figures import distinct
from vidsme_jax.samples import (
    Sample,
    labels_of,
    pair,
    primary_of,
    samples,
    with_published,
)
from vidsme_jax.subsets import THIRDS, check_parts, evaluate_subsets


def evaluate(
    runs: list[Path],
    out: Path,
    control: Path | None = None,
    settings: EvaluationSettings | None = None,
    reference: Path | None = None,
) -> dict[str, Any]:
    """Evaluate runs, each apart, and write the report into `out`.

    Args:
        runs: directories that `vidsme score` wrote, or tables of scores, see `foreign`.
        out: directory for report.html, report.md, metrics.json, metrics.csv, clips.csv and
            figures/.
        control: a run of the same clips under a model that saw none of them.
        settings: resamples, permutations, false positive rates, whether to add the
            published code's metrics; defaults where None.
        reference: a run of other clips, known to be outside, against which the runs' clips
            are judged; None takes their own rows with label 0.

    Returns:
        See `make_result`.

    Raises:
        InputError: no runs, a run that is not finished, or has neither two labels nor
            anything to judge, a control without common clips, a reference that was scored
            otherwise, an `out` that is a file.
    """
    settings = settings or EvaluationSettings()
    if not runs:
        raise InputError("no run given, expected at least one directory")
    check_folder("out", out)
    twice = [path for n, path in enumerate(runs) if path in runs[:n]]
    if twice:
        raise InputError(f"run={twice[0]} was given twice, expected each once")
    held = [read(path) for path in runs]
    other, outside = (None if x is None else read(x) for x in (control, reference))
    for run in held:
        _check(run, other, outside, settings)
    result = make_result(held, settings, other, outside)
    out.mkdir(parents=True, exist_ok=True)
    report.write(out, result, held, other)
    return result


def make_result(
    runs: list[records.Run],
    settings: EvaluationSettings,
    control: records.Run | None = None,
    reference: records.Run | None = None,
) -> dict[str, Any]:
    """Evaluate runs that were read and checked.

    Returns:
        `settings`, `control`, `reference` (their names or None) and `runs`: `name`, `path`,
        `info` (run.json) and `frames`, one dict per frame count, see `evaluate_table`,
        with `baselines` (`evaluate_blind`), `subsets` (`evaluate_subsets`), `verdict`
        (`judge`), `clips` (`clip_rows`), `versus_first` (`compare_runs`) and `diagnosis`
        (`diagnosis.diagnose`).
    """
    names = distinct([run.path.resolve().name for run in runs])
    result = {
        "settings": settings_dict(settings),
        "control": None if control is None else control.path.resolve().name,
        "control_differs": "" if control is None else _differs(runs[0], control),
        "reference": None if reference is None else reference.path.resolve().name,
        "runs": [
            {
                "name": name,
                "path": str(run.path),
                "info": run.info,
                "frames": _frames(run, settings, control, reference),
            }
            for name, run in zip(names, runs, strict=True)
        ],
    }
    _compare_with_first(result, runs, settings)
    return result


def read(path: Path) -> records.Run:
    """Read a run's directory, or a table of scores from elsewhere."""
    if path.is_file():
        return read_scores(path)
    return with_published(records.read_run(path))


def _frames(
    run: records.Run,
    settings: EvaluationSettings,
    control: records.Run | None,
    reference: records.Run | None,
) -> list[dict[str, Any]]:
    """The metrics of each frame count, the evidence beside them, and the diagnosis."""
    table = None if control is None else control.table
    frames = evaluate_table(run.table, settings, table)
    asked = run.info["settings"]
    other = asked.get("perturbation") if isinstance(asked, dict) else None
    found = diagnosis.diagnose(run.table, frames, settings, str(other))
    out = []
    for data, sample, entries in zip(frames, samples(run.table), found, strict=True):
        data |= _beside(run, sample, data["primary"], settings)
        data["verdict"] = judge(run, reference, sample.frames, settings)
        data["clips"] = clip_rows(run, table, data)
        out.append(data | {"diagnosis": entries})
    return out


def _beside(
    run: records.Run, sample: Sample, name: str | None, settings: EvaluationSettings
) -> dict[str, Any]:
    """What the sample shows without the model, and the primary score in its parts."""
    features = run.others.get("features")

    def look(part: Sample, names: Collection[str] | None = None) -> list[Row]:
        return feature_rows(run.table, features, part.ids, part.frames, names)

    score = None if name is None else sample.scores[name]
    subsets = {}
    if name and sample.member.any() and not sample.member.all():
        rows = look(sample, {*THIRDS, *settings.by})
        subsets = evaluate_subsets(sample, rows, name, settings)
    return {"baselines": evaluate_blind(sample, look, score, settings), "subsets": subsets}


def _compare_with_first(result, runs: list[records.Run], settings) -> None:
    """Add to every frame count but the first how it does against that one."""
    each = [sample for run in runs for sample in samples(run.table)]
    data = [data for run in result["runs"] for data in run["frames"]]
    for sample, entry in zip(each, data, strict=True):
        is_first = sample is each[0]
        entry["versus_first"] = (
            None if is_first else compare_runs(each[0], sample, settings)
        )


def terminal_table(result: dict[str, Any]) -> str:
    """Return the answer and the representative scores as aligned text."""
    lines = []
    for unit in findings.units(result):
        for answer in findings.answers(unit, result):
            lines += [answer.title] if answer.title else []
            lines += [f"WARNING: {answer.warning}"] if answer.warning else []
            lines += [answer.lead, *(f"- {note}" for note in answer.notes)]
        lead, texts = diagnosis.summary(unit.data["diagnosis"])
        lines += [lead, *(f"- {text}" for text in texts), ""]
        if findings.has_both(unit.data):
            lines += [*_aligned(_rows(unit, result)), ""]
    return "\n".join([*lines, findings.CAVEAT])


def _rows(unit: findings.Unit, result) -> list[list[str]]:
    """The representative scores, motion and illumination, as cells."""
    known, numbers = unit.data["scores"], unit.data["numbers"]
    rows = [_short_header(result)]
    for names in findings.representative_rows(unit).values():
        rows += [findings.cells(n, known[n], result, digits=2) for n in names]
    shown = [name for name in ("motion", "illumination") if name in numbers]
    return rows + [
        findings.cells(f"{n} alone", numbers[n], result, digits=2) for n in shown
    ]


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


def _check(
    run: records.Run,
    control: records.Run | None,
    reference: records.Run | None,
    settings: EvaluationSettings,
) -> None:
    """Refuse what nothing can be said of, and say what is left out."""
    _check_labels(run, reference)
    unread = sorted(path.name for path in run.path.glob("top_*.parquet"))
    if unread:
        say(f"{run.path}: {', '.join(unread)} not evaluated here, vidsme sweep does")
    features = run.others.get("features", run.table)
    columns = {*run.table.column_names, *features.column_names}
    absent = [name for name in settings.by if name not in columns]
    if absent:
        held = sorted(name for name in columns if name.count(".") != 2)
        raise InputError(
            f"by={absent[0]} is no column of run={run.path}, there are"
            f" {', '.join(held)[:400]}"
        )
    labels = set(run.table["label"].to_pylist())
    if settings.by and not {0, 1} <= labels:
        raise InputError(
            f"by={settings.by[0]} compares members with non-members of a part, but"
            f" run={run.path} has not both label 1 and label 0"
        )
    for sample in samples(run.table):
        rows = feature_rows(run.table, features, sample.ids, sample.frames, settings.by)
        check_parts(sample.member, rows, settings.by)
    if control is not None:
        if control.path.resolve() == run.path.resolve():
            raise InputError(f"control={control.path} is the run itself, expected another")
        _check_common(run, control)
        _check_other_model(run, control)
        _check_other_values(run, control, settings)
    if reference is not None:
        _check_alike(run, reference)


def _check_labels(run: records.Run, reference: records.Run | None) -> None:
    """Refuse a run with nothing to compare and nothing to judge."""
    if "label" not in run.table.column_names:
        raise InputError(f"run={run.path} has no column label, expected 1 and 0 in it")
    count = {k: 0 for k in (1, 0, None)}
    for label in run.table["label"].to_pylist():
        count[label] = count.get(label, 0) + 1
    if count[None] or (count[1] and (count[0] or reference is not None)):
        return
    raise InputError(
        f"run={run.path} has one class only (there are {count[1]} members, {count[0]}"
        " non-members, none without a label); expected both label 1 and label 0, or clips"
        " to judge: rows without a label, or --reference with clips known to be outside"
    )


def _check_other_model(run: records.Run, control: records.Run) -> None:
    models = [held.info["settings"].get("model") for held in (run, control)]
    if models[0] is not None and models[0] == models[1]:
        raise InputError(
            f"control={control.path} is a run of the same model as run={run.path}, expected"
            " a model that saw none of the clips"
        )


def _check_other_values(
    run: records.Run, control: records.Run, settings: EvaluationSettings
) -> None:
    """Refuse a control with other labels for the same clips, or with the same scores."""
    held = dict(zip(control.table["id"].to_pylist(), labels_of(control.table), strict=True))
    for sample in samples(run.table):
        for name, member in zip(sample.ids, sample.member, strict=True):
            label = held.get(name, -1)
            if label >= 0 and label != member:
                raise InputError(
                    f"control={control.path} has label={label} for id={name!r}, run="
                    f"{run.path} has {int(member)}; expected the same labels"
                )
        score = primary_of(sample, settings.score)
        mine, other = (part.scores.get(str(score)) for part in pair(sample, control.table))
        if mine is None or other is None:
            continue
        if len(set(mine.tolist())) > 1 and np.array_equal(mine, other):
            raise InputError(
                f"control={control.path} has the same {score} as run={run.path} for all"
                f" {len(mine)} clips, expected the scores of another model"
            )


# Of a run's settings, what makes the scores of two runs comparable.
_ALIKE = (
    "perturbation",
    "prompt",
    "template",
    "dtype",
    "beta1",
    "beta2",
    "reader",
)


def _check_alike(run: records.Run, reference: records.Run) -> None:
    """Refuse a reference whose clips were not treated as those of the run were."""
    kinds = ["scores_from" in held.info for held in (run, reference)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"reference={reference.path} and run={run.path}: one is a table from elsewhere"
            " and one a run of vidsme score, expected two of a kind"
        )
    differs = _differs(run, reference, "model")
    if differs:
        raise InputError(
            f"reference={reference.path} was scored otherwise than run={run.path}:"
            f" {differs}; score both alike, with --calibration FILE so that q and r mean"
            " the same, or in one manifest"
        )
    if set(reference.table["label"].to_pylist()) == {1}:
        raise InputError(
            f"reference={reference.path} has members only, expected clips known to be"
            " outside: label 0, or no labels at all"
        )
    counts = set(run.table["frames"].to_pylist())
    if not counts & set(reference.table["frames"].to_pylist()):
        raise InputError(
            f"reference={reference.path} has none of the frame counts {sorted(counts)} of"
            f" run={run.path}"
        )


def _differs(run: records.Run, other: records.Run, *more: str) -> str:
    """Say in what another run was scored otherwise, as far as it decides the numbers."""
    here, there = (
        {key: held.info["settings"].get(key) for key in (*_ALIKE, *more)}
        | {"calibration": _ranges(held)}
        for held in (run, other)
    )
    return wording.shorten(records.differences(there, here), 400)


def _ranges(run: records.Run) -> Any:
    """What q and r were calibrated by; nothing for scores from elsewhere."""
    path = run.path / "calibration.json"
    return records.read_json(path) if path.is_file() else None


def _check_common(run: records.Run, control: records.Run) -> None:
    """Refuse a control that shares no clip with the run."""
    for sample in samples(run.table, labelled=False):
        if sample.ids and pair(sample, control.table)[0].ids:
            return
    raise InputError(
        f"control={control.path} shares no scored clip with run={run.path}, expected"
        f" the same ids and frames; the run has {_examples(run.table)}, the control"
        f" {_examples(control.table)}"
    )


def _examples(table: pa.Table) -> str:
    ids = ", ".join(wording.shorten(i, 20) for i in table["id"].to_pylist()[:2])
    frames = sorted(set(table["frames"].to_pylist()))
    return f"{len(table)} rows (ids {ids}, …; frames {frames})"
