"""Prepare the rows of all runs of an evaluation once: samples, pairs and facts."""

from dataclasses import dataclass

import pyarrow as pa

from vidsme_jax.evaluation.samples import (
    MEMBER,
    NON_MEMBER,
    PairedSamples,
    Sample,
    by_frames,
    pair,
    read_sample,
)
from vidsme_jax.records import runs
from vidsme_jax.records.runs import distinct_names


@dataclass(frozen=True)
class FrameStudy:
    """The rows of a run at a frame count.

    Attributes:
        frames: number of frames per clip.
        table: all rows of the score table.
        features: rows of features.parquet; None in runs of old versions.
        scored: rows with status ok.
        labelled: rows with status ok and a label.
        paired: `scored` with the control on the same clips; None without a control.
        paired_labelled: `labelled` with the control on the same clips; None without one.
    """

    frames: int
    table: pa.Table
    features: pa.Table | None
    scored: Sample
    labelled: Sample
    paired: PairedSamples | None
    paired_labelled: PairedSamples | None


@dataclass(frozen=True)
class RunStudy:
    """The rows of a run.

    Attributes:
        name: name of the run, different for all runs.
        run: the run as it was read.
        frames: rows by frame count, upwards.
    """

    name: str
    run: runs.Run
    frames: tuple[FrameStudy, ...]

    def at(self, frames: int) -> FrameStudy | None:
        """Return the rows of a frame count; None where there are none."""
        return next((study for study in self.frames if study.frames == frames), None)


@dataclass(frozen=True)
class Study:
    """The rows of all runs of an evaluation.

    Attributes:
        runs: the evaluated runs.
        control: run of the same clips under a model that saw none of them, or None.
        reference: run of other clips that are known to be outside, or None.
    """

    runs: tuple[RunStudy, ...]
    control: RunStudy | None
    reference: RunStudy | None


def make_study(
    targets: list[runs.Run],
    control: runs.Run | None = None,
    reference: runs.Run | None = None,
) -> Study:
    """Prepare the rows of runs.

    Args:
        targets: the runs to evaluate.
        control: run of the same clips under a model that saw none of them.
        reference: run of other clips that are known to be outside.

    Raises:
        InputError: labels other than 1, 0 and none.
    """
    control_study = None if control is None else _study_run(_name(control), control)
    names = distinct_names([_name(run) for run in targets])
    return Study(
        tuple(
            _study_run(name, run, control_study)
            for name, run in zip(names, targets, strict=True)
        ),
        control_study,
        None if reference is None else _study_run(_name(reference), reference),
    )


def _name(run: runs.Run) -> str:
    """Return the last component of a run's path."""
    return run.path.resolve().name


def _study_run(name: str, run: runs.Run, control: RunStudy | None = None) -> RunStudy:
    """Prepare the rows of a run, with those of the control on the same clips."""
    frames = study_table(run.table, run.extra_tables.get("features"), control)
    return RunStudy(name, run, frames)


def study_table(
    table: pa.Table, features: pa.Table | None = None, control: RunStudy | None = None
) -> tuple[FrameStudy, ...]:
    """Prepare the rows of a score table, by frame count, upwards.

    Args:
        table: a score table with at least `id` and `label`.
        features: features.parquet of the same clips.
        control: run of the same clips under another model.
    """
    features_at = {}
    if features is not None and "frames" in features.column_names:
        features_at = {t["frames"][0].as_py(): t for t in by_frames(features)}
    out = []
    for frame_table in by_frames(table):
        scored = read_sample(frame_table)
        labelled = scored.with_label(MEMBER, NON_MEMBER)
        paired = paired_labelled = None
        if control is not None:
            control_frame = control.at(scored.frames)
            other = None if control_frame is None else control_frame.scored
            paired, paired_labelled = pair(scored, other), pair(labelled, other)
        out.append(
            FrameStudy(
                frames=scored.frames,
                table=frame_table,
                features=features_at.get(scored.frames),
                scored=scored,
                labelled=labelled,
                paired=paired,
                paired_labelled=paired_labelled,
            )
        )
    return tuple(out)
