"""Refuse runs, controls and references that cannot be evaluated."""

from collections import Counter

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
from vidsme_jax.scores import catalogue


def check_run(run_study: RunStudy, study: Study, settings: EvaluationSettings) -> None:
    """Refuse a run that cannot be evaluated, and print which of its tables are unused.

    Raises:
        InputError: a control or a reference that does not fit the run; columns in
            `settings.by` that make no subsets.
    """
    run = run_study.run
    unused = sorted(path.name for path in run.path.glob("top_*.parquet"))
    if unused:
        say(f"{run.path}: {', '.join(unused)} not evaluated here, vidsme sweep does")
    _check_rows_once(run)
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
        _check_reference(run, study.reference.run, settings)


def say_what_is_unseen(study: Study, settings: EvaluationSettings) -> None:
    """Say that the primary score does not see a training on the answers of these rows."""
    primary = settings.score or catalogue.PRIMARY
    if not primary.startswith("video."):
        return
    for run_study in study.runs:
        table = run_study.run.table
        if primary in table.column_names and "answer" in table.column_names:
            if any(table["answer"].to_pylist()):
                say(f"{run_study.run.path}: {catalogue.ANSWERS_UNSEEN}")


def _check_rows_once(run: runs.Run) -> None:
    """Refuse a run that holds a clip and frame count twice."""
    counts = Counter(runs.row_keys(run.table))
    doubled = [key for key, count in counts.items() if count > 1]
    if doubled:
        clip, frames = doubled[0]
        raise InputError(
            f"run={run.path} holds id={clip!r} with {frames} frames {counts[doubled[0]]}"
            f" times ({len(doubled)} such rows), expected once; vidsme verify says more"
        )


def _check_subsets(run_study: RunStudy, names: tuple[str, ...]) -> None:
    """Refuse columns that are missing, or that make no subset with both classes."""
    run = run_study.run
    features = run.extra_tables.get("features", run.table)
    columns = {*run.table.column_names, *features.column_names}
    absent = [name for name in names if name not in columns]
    if absent:
        present = sorted(name for name in columns if name.count(".") != 2)
        raise InputError(
            f"by={absent[0]} is no column of run={run.path}, there are"
            f" {', '.join(present)[:400]}"
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
    """Refuse a run with neither two classes to compare nor clips to judge.

    Raises:
        InputError: no column of labels, or a single class and no clips to judge.
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
    """Refuse a control that is a run of the same model."""
    models = [x.info["settings"].get("model") for x in (run, control)]
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
            control_label = labels.get(name, UNLABELLED)
            if control_label not in (UNLABELLED, label):
                raise InputError(
                    f"control={control.path} has label={control_label} for id={name!r},"
                    f" run={run_study.run.path} has {label}; expected the same labels"
                )


def _check_other_scores(
    run_study: RunStudy, control: runs.Run, settings: EvaluationSettings
) -> None:
    """Refuse a control with the same primary score for all clips."""
    for frame in run_study.frames:
        score, pairs = primary_of(frame.labelled, settings.score), frame.paired_labelled
        if pairs is None or score is None:
            continue
        target, other = (s.scores.get(score) for s in (pairs.target, pairs.control))
        if target is None or other is None:
            continue
        if len(set(target.tolist())) > 1 and np.array_equal(target, other):
            raise InputError(
                f"control={control.path} has the same {score} as"
                f" run={run_study.run.path} for all {len(target)} clips, expected the"
                " scores of another model"
            )


# Settings that must agree for the scores of two runs to be comparable.
_COMPARED = (
    "perturbation",
    "prompt",
    "template",
    "dtype",
    "beta1",
    "beta2",
    "reader",
)


def _check_reference(
    run: runs.Run, reference: runs.Run, settings: EvaluationSettings
) -> None:
    """Refuse a reference that was scored with other settings or holds no outside clips."""
    is_external = ["scores_from" in x.info for x in (run, reference)]
    if is_external[0] != is_external[1]:
        raise InputError(
            f"reference={reference.path} and run={run.path}: one is a table from elsewhere"
            " and one a run of vidsme score, expected two of a kind"
        )
    differences = scoring_differences(run, reference, "model", score=settings.score)
    if differences:
        raise InputError(
            f"reference={reference.path} was scored otherwise than run={run.path}:"
            f" {differences}; score both alike, with --calibration FILE so that q and r"
            " mean the same, or in one manifest"
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


def scoring_differences(
    run: runs.Run, other: runs.Run, *more: str, score: str | None = None
) -> str:
    """Return a text of the settings that make another run's scores not comparable.

    Args:
        run: a run.
        other: the run that is compared with it.
        more: names of further settings to compare.
        score: name of the primary score; None for that of the method. Of most families
            the calibration, which sets q and r, changes nothing.
    """
    name = score or catalogue.PRIMARY
    # The published code's scores may depend on q and r, too.
    is_swept = (
        not catalogue.is_score(name) or name.split(".")[1] in catalogue.SWEPT_FAMILIES
    )
    names = (*_COMPARED, *more)
    if not is_swept:
        names = tuple(name for name in names if name not in ("beta1", "beta2"))
    here, there = (
        {key: x.info["settings"].get(key) for key in names}
        | ({"calibration": _calibration(x)} if is_swept else {})
        for x in (run, other)
    )
    return errors.shorten(files.settings_differences(there, here), 400)


def _calibration(run: runs.Run) -> object:
    """Return the content of calibration.json; None for scores from elsewhere."""
    path = run.path / "calibration.json"
    return files.read_json(path) if path.is_file() else None


def _check_common(run_study: RunStudy, control: runs.Run) -> None:
    """Refuse a control that shares no clip with the run."""
    run, pairs = run_study.run, [frame.paired for frame in run_study.frames]
    if any(pair is not None and pair.target.ids for pair in pairs):
        return
    raise InputError(
        f"control={control.path} shares no scored clip with run={run.path}, expected"
        f" the same ids and frames; the run has {_examples(run.table)}, the control"
        f" {_examples(control.table)}"
    )


def _examples(table: pa.Table) -> str:
    """Return the size, the first ids and the frame counts of a table, for an error."""
    ids = ", ".join(errors.shorten(i, 20) for i in table["id"].to_pylist()[:2])
    frames = sorted(set(table["frames"].to_pylist()))
    return f"{len(table)} rows (ids {ids}, …; frames {frames})"
