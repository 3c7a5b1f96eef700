"""What `vidsme evaluate` refuses: runs, controls and references that answer nothing."""

import numpy as np
import pyarrow as pa

from vidsme_jax import errors
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.facts import read_facts
from vidsme_jax.evaluation.samples import UNLABELLED, labels_of, primary_of
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import RunStudy, Study
from vidsme_jax.evaluation.subsets import check_subsets
from vidsme_jax.progress import say
from vidsme_jax.records import files, runs


def check_run(run_study: RunStudy, study: Study, settings: EvaluationSettings) -> None:
    """Refuse a run of which nothing can be said, and say what is left out.

    Raises:
        InputError: a control or a reference that does not fit the run; columns in
            `settings.by` that make no subsets.
    """
    run = run_study.run
    unread = sorted(path.name for path in run.path.glob("top_*.parquet"))
    if unread:
        say(f"{run.path}: {', '.join(unread)} not evaluated here, vidsme sweep does")
    if settings.by:
        _check_subsets(run_study, settings.by)
    if study.control is not None:
        control = study.control.run
        if control.path.resolve() == run.path.resolve():
            raise InputError(f"control={control.path} is the run itself, expected another")
        _check_common(run_study, control)
        _check_other_model(run, control)
        _check_other_labels(run_study, control)
        _check_other_scores(run_study, control, settings)
    if study.reference is not None:
        _check_alike(run, study.reference.run)


def _check_subsets(run_study: RunStudy, names: tuple[str, ...]) -> None:
    """Refuse columns that are not there, or without a subset that can be evaluated."""
    run = run_study.run
    features = run.extra_tables.get("features", run.table)
    columns = {*run.table.column_names, *features.column_names}
    absent = [name for name in names if name not in columns]
    if absent:
        there = sorted(name for name in columns if name.count(".") != 2)
        raise InputError(
            f"by={absent[0]} is no column of run={run.path}, there are"
            f" {', '.join(there)[:400]}"
        )
    if not {0, 1} <= set(run.table["label"].to_pylist()):
        raise InputError(
            f"by={names[0]} compares members with non-members of a part, but"
            f" run={run.path} has not both label 1 and label 0"
        )
    for frame in run_study.frames:
        sample = frame.labelled
        check_subsets(sample.member, read_facts(frame, sample.ids, names), names)


def check_labels(run: runs.Run, reference: runs.Run | None) -> None:
    """Refuse a run with nothing to compare and nothing to judge.

    Raises:
        InputError: no column of labels, or one class only and no clips to judge.
    """
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
    models = [either.info["settings"].get("model") for either in (run, control)]
    if models[0] is not None and models[0] == models[1]:
        raise InputError(
            f"control={control.path} is a run of the same model as run={run.path}, expected"
            " a model that saw none of the clips"
        )


def _check_other_labels(run_study: RunStudy, control: runs.Run) -> None:
    """Refuse a control with other labels for the same clips."""
    ids = control.table["id"].to_pylist()
    labels = dict(zip(ids, labels_of(control.table).tolist(), strict=True))
    for frame in run_study.frames:
        sample = frame.labelled
        for name, label in zip(sample.ids, sample.label.tolist(), strict=True):
            other = labels.get(name, UNLABELLED)
            if other not in (UNLABELLED, label):
                raise InputError(
                    f"control={control.path} has label={other} for id={name!r}, run="
                    f"{run_study.run.path} has {label}; expected the same labels"
                )


def _check_other_scores(
    run_study: RunStudy, control: runs.Run, settings: EvaluationSettings
) -> None:
    """Refuse a control with the same primary score for all clips."""
    for frame in run_study.frames:
        score, pairs = primary_of(frame.labelled, settings.score), frame.paired_labelled
        if pairs is None or score is None:
            continue
        mine, other = (s.scores.get(score) for s in (pairs.target, pairs.control))
        if mine is None or other is None:
            continue
        if len(set(mine.tolist())) > 1 and np.array_equal(mine, other):
            raise InputError(
                f"control={control.path} has the same {score} as"
                f" run={run_study.run.path} for all {len(mine)} clips, expected the scores"
                " of another model"
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
    kinds = ["scores_from" in either.info for either in (run, reference)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"reference={reference.path} and run={run.path}: one is a table from elsewhere"
            " and one a run of vidsme score, expected two of a kind"
        )
    difference = differs(run, reference, "model")
    if difference:
        raise InputError(
            f"reference={reference.path} was scored otherwise than run={run.path}:"
            f" {difference}; score both alike, with --calibration FILE so that q and r mean"
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
        {key: either.info["settings"].get(key) for key in (*_ALIKE, *more)}
        | {"calibration": _ranges(either)}
        for either in (run, other)
    )
    return errors.shorten(files.settings_differences(there, here), 400)


def _ranges(run: runs.Run) -> object:
    """Return the ranges that q and r were set by; None for scores from elsewhere."""
    path = run.path / "calibration.json"
    return files.read_json(path) if path.is_file() else None


def _check_common(run_study: RunStudy, control: runs.Run) -> None:
    """Refuse a control that shares no clip with the run."""
    run, pairs = run_study.run, [frame.paired for frame in run_study.frames]
    if any(both is not None and both.target.ids for both in pairs):
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
