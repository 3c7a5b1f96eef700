"""Studies and metrics of tables that tests make up."""

from pathlib import Path
from types import SimpleNamespace

from vidsme_jax.evaluation.samples import primary_of
from vidsme_jax.evaluation.score_metrics import (
    count_rows,
    evaluate_columns,
    evaluate_scores,
    search_scores,
)
from vidsme_jax.evaluation.study import make_study
from vidsme_jax.records.runs import Run


def run_of(table):
    """Return a run without curves and thumbnails."""
    empty = table.slice(0, 0)
    return Run(Path("run"), {"settings": {}}, table, empty, empty)


def frame_studies(table, control=None):
    """Return the prepared rows of each frame count of a table."""
    control_run = None if control is None else run_of(control)
    return make_study([run_of(table)], control_run).runs[0].frames


def labelled_rows(table):
    """Return the labelled rows of a table with a single frame count."""
    (study,) = frame_studies(table)
    return study.labelled


def measured(table, settings, control=None):
    """Return the measured metrics of each frame count."""
    return [
        SimpleNamespace(
            frames=study.frames,
            counts=count_rows(study),
            primary=primary_of(study.labelled, settings.score),
            scores=evaluate_scores(study, settings),
            search=search_scores(study.labelled, settings),
            numbers=evaluate_columns(study.labelled, study.labelled.numbers, settings),
        )
        for study in frame_studies(table, control)
    ]
