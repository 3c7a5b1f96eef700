"""The rows of all runs of an evaluation, made ready once: samples, pairs, known facts."""

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
    """The rows of a run at one frame count.

    Attributes:
        frames: frames per clip.
        table: all rows of the score table.
        features: what is known of the clips besides scores; None in runs of old versions.
        scored: the rows with status ok.
        labelled: those of them with a label.
        paired: `scored` and the control on the same clips; None without a control.
        paired_labelled: `labelled` and the control on the same clips.
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
    """A run, its name among the others, and its frame counts, upwards."""

    name: str
    run: runs.Run
    frames: tuple[FrameStudy, ...]

    def at(self, frames: int) -> FrameStudy | None:
        """Return the rows of a frame count; None where there are none."""
        return next((study for study in self.frames if study.frames == frames), None)


@dataclass(frozen=True)
class Study:
    """What an evaluation looks at.

    Attributes:
        runs: each is evaluated apart.
        control: the same clips under a model that saw none of them, or None.
        reference: other clips that are known to be outside, or None.
    """

    runs: tuple[RunStudy, ...]
    control: RunStudy | None
    reference: RunStudy | None


def make_study(
    evaluated: list[runs.Run],
    control: runs.Run | None = None,
    reference: runs.Run | None = None,
) -> Study:
    """Make the rows of runs ready.

    Raises:
        InputError: labels other than 1, 0 and none.
    """
    beside = None if control is None else _study_run(_name(control), control)
    names = distinct_names([_name(run) for run in evaluated])
    return Study(
        tuple(
            _study_run(name, run, beside)
            for name, run in zip(names, evaluated, strict=True)
        ),
        beside,
        None if reference is None else _study_run(_name(reference), reference),
    )


def _name(run: runs.Run) -> str:
    return run.path.resolve().name


def _study_run(name: str, run: runs.Run, control: RunStudy | None = None) -> RunStudy:
    frames = study_table(run.table, run.extra_tables.get("features"), control)
    return RunStudy(name, run, frames)


def study_table(
    table: pa.Table, features: pa.Table | None = None, control: RunStudy | None = None
) -> tuple[FrameStudy, ...]:
    """Make the rows of a score table ready, each frame count apart, upwards.

    Args:
        table: a score table; `id` and `label` must exist.
        features: what is known of the same clips besides scores.
        control: the same clips under another model.
    """
    features_at = {}
    if features is not None and "frames" in features.column_names:
        features_at = {part["frames"][0].as_py(): part for part in by_frames(features)}
    out = []
    for part in by_frames(table):
        scored = read_sample(part)
        labelled = scored.with_label(MEMBER, NON_MEMBER)
        paired = paired_labelled = None
        if control is not None:
            beside = control.at(scored.frames)
            other = None if beside is None else beside.scored
            paired, paired_labelled = pair(scored, other), pair(labelled, other)
        frames = scored.frames
        facts = features_at.get(frames)
        out.append(
            FrameStudy(frames, part, facts, scored, labelled, paired, paired_labelled)
        )
    return tuple(out)
