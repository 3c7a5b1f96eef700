"""What `vidsme evaluate` refuses: runs, controls and references that answer nothing."""

from typing import Any

import numpy as np
import pyarrow as pa

from vidsme_jax import errors
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.blind_features import feature_rows
from vidsme_jax.evaluation.samples import labels_of, pair, primary_of, samples
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.subsets import check_parts
from vidsme_jax.progress import say
from vidsme_jax.records import files, runs


def check_run(
    run: runs.Run,
    control: runs.Run | None,
    reference: runs.Run | None,
    settings: EvaluationSettings,
) -> None:
    """Refuse what nothing can be said of, and say what is left out."""
    _check_labels(run, reference)
    unread = sorted(path.name for path in run.path.glob("top_*.parquet"))
    if unread:
        say(f"{run.path}: {', '.join(unread)} not evaluated here, vidsme sweep does")
    if settings.by:
        _check_parts(run, settings.by)
    if control is not None:
        if control.path.resolve() == run.path.resolve():
            raise InputError(f"control={control.path} is the run itself, expected another")
        _check_common(run, control)
        _check_other_model(run, control)
        _check_other_values(run, control, settings)
    if reference is not None:
        _check_alike(run, reference)


def _check_parts(run: runs.Run, names: tuple[str, ...]) -> None:
    """Refuse columns that are not there, or that make no part of which anything is said."""
    features = run.others.get("features", run.table)
    columns = {*run.table.column_names, *features.column_names}
    absent = [name for name in names if name not in columns]
    if absent:
        held = sorted(name for name in columns if name.count(".") != 2)
        raise InputError(
            f"by={absent[0]} is no column of run={run.path}, there are"
            f" {', '.join(held)[:400]}"
        )
    if not {0, 1} <= set(run.table["label"].to_pylist()):
        raise InputError(
            f"by={names[0]} compares members with non-members of a part, but"
            f" run={run.path} has not both label 1 and label 0"
        )
    for sample in samples(run.table):
        rows = feature_rows(run.table, features, sample.ids, sample.frames, names)
        check_parts(sample.member, rows, names)


def _check_labels(run: runs.Run, reference: runs.Run | None) -> None:
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


def _check_other_model(run: runs.Run, control: runs.Run) -> None:
    models = [held.info["settings"].get("model") for held in (run, control)]
    if models[0] is not None and models[0] == models[1]:
        raise InputError(
            f"control={control.path} is a run of the same model as run={run.path}, expected"
            " a model that saw none of the clips"
        )


def _check_other_values(
    run: runs.Run, control: runs.Run, settings: EvaluationSettings
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


def _check_alike(run: runs.Run, reference: runs.Run) -> None:
    """Refuse a reference whose clips were not treated as those of the run were."""
    kinds = ["scores_from" in held.info for held in (run, reference)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"reference={reference.path} and run={run.path}: one is a table from elsewhere"
            " and one a run of vidsme score, expected two of a kind"
        )
    found = differs(run, reference, "model")
    if found:
        raise InputError(
            f"reference={reference.path} was scored otherwise than run={run.path}:"
            f" {found}; score both alike, with --calibration FILE so that q and r mean"
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


def differs(run: runs.Run, other: runs.Run, *more: str) -> str:
    """Say in what another run was scored otherwise, as far as it decides the numbers."""
    here, there = (
        {key: held.info["settings"].get(key) for key in (*_ALIKE, *more)}
        | {"calibration": _ranges(held)}
        for held in (run, other)
    )
    return errors.shorten(files.differences(there, here), 400)


def _ranges(run: runs.Run) -> Any:
    """What q and r were calibrated by; nothing for scores from elsewhere."""
    path = run.path / "calibration.json"
    return files.read_json(path) if path.is_file() else None


def _check_common(run: runs.Run, control: runs.Run) -> None:
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
    ids = ", ".join(errors.shorten(i, 20) for i in table["id"].to_pylist()[:2])
    frames = sorted(set(table["frames"].to_pylist()))
    return f"{len(table)} rows (ids {ids}, …; frames {frames})"
