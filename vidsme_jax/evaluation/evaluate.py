"""Evaluate finished runs: what `vidsme evaluate` computes, without its report."""

from functools import partial
from pathlib import Path

from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.blind import evaluate_blind
from vidsme_jax.evaluation.checks import (
    check_labels,
    check_run,
    say_what_is_unseen,
    scoring_differences,
)
from vidsme_jax.evaluation.clips import clip_results
from vidsme_jax.evaluation.diagnosis import diagnose
from vidsme_jax.evaluation.external import read_scores
from vidsme_jax.evaluation.facts import Facts, read_facts
from vidsme_jax.evaluation.features import COLUMNS
from vidsme_jax.evaluation.result import FrameResult, Result, RunResult, ScoreMetrics
from vidsme_jax.evaluation.samples import Sample, primary_of, with_published
from vidsme_jax.evaluation.score_metrics import (
    compare_runs,
    count_rows,
    evaluate_columns,
    evaluate_scores,
    search_scores,
)
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import FrameStudy, RunStudy, Study, make_study
from vidsme_jax.evaluation.subsets import THIRDS, evaluate_subsets
from vidsme_jax.evaluation.verdicts import judge
from vidsme_jax.progress import phase, say
from vidsme_jax.records import runs as run_files
from vidsme_jax.records.files import changed_note, version_note


def evaluate(
    runs: list[Path],
    control: Path | None = None,
    settings: EvaluationSettings | None = None,
    reference: Path | None = None,
) -> Result:
    """Read runs, refuse those that cannot be evaluated, and evaluate each.

    Args:
        runs: directories that `vidsme score` wrote, or tables of scores, see `external`.
        control: run of the same clips under a model that saw none of them.
        settings: settings of the evaluation; defaults where None.
        reference: run of other clips, known to be outside, against which clips are judged;
            for None the rows with label 0 are the reference.

    Raises:
        InputError: no runs, or a run that is not finished. A run with neither two labels
            nor clips to judge. A control without common clips, or a reference that was
            scored otherwise.
    """
    settings = settings or EvaluationSettings()
    if not runs:
        raise InputError("no run given, expected at least one directory")
    repeated = [path for n, path in enumerate(runs) if path in runs[:n]]
    if repeated:
        raise InputError(f"run={repeated[0]} was given twice, expected each once")
    target_runs = [read(path) for path in runs]
    control_run = None if control is None else read(control, "control")
    reference_run = None if reference is None else read(reference, "reference")
    for run in target_runs:
        check_labels(run, reference_run)
    study = make_study(target_runs, control_run, reference_run)
    for run_study in study.runs:
        check_run(run_study, study, settings)
    say_what_is_unseen(study, settings)
    return evaluate_study(study, settings)


def read(path: Path, option: str = "run") -> run_files.Run:
    """Read a run's directory, or a table of scores from elsewhere.

    Args:
        path: of the directory or table.
        option: what named it, for errors.

    Raises:
        InputError: the path does not exist, or holds no finished run and no such table.
    """
    if path.is_file():
        return read_scores(path)
    if not path.exists():
        raise InputError(
            f"{option}={path} does not exist; expected a directory that vidsme score wrote,"
            " or a table of scores (.csv, .parquet, .json, .jsonl)"
        )
    run = run_files.read_run(path, option, run_files.KEYS)
    for note in (version_note, changed_note):
        if line := note(path, run.info):
            say(line)
    return with_published(run)


def evaluate_study(study: Study, settings: EvaluationSettings) -> Result:
    """Return the result of runs that were read and checked."""
    control, reference = study.control, study.reference
    return Result(
        settings=settings,
        control=None if control is None else control.name,
        control_differs=""
        if control is None
        else scoring_differences(study.runs[0].run, control.run),
        reference=None if reference is None else reference.name,
        runs=tuple(_evaluate_run(run, study, settings) for run in study.runs),
        study=study,
    )


def _evaluate_run(run: RunStudy, study: Study, settings: EvaluationSettings) -> RunResult:
    """Return the result of a run, all frame counts included."""
    of_run = run.run.info["settings"]
    perturbation = of_run.get("perturbation") if isinstance(of_run, dict) else None
    frames = tuple(_evaluate_frames(frame, study, settings) for frame in run.frames)
    return RunResult(
        name=run.name,
        path=str(run.run.path),
        perturbation=str(perturbation),
        info=run.run.info,
        frames=frames,
    )


def _evaluate_frames(
    frame: FrameStudy, study: Study, settings: EvaluationSettings
) -> FrameResult:
    """Return the result of a run at a frame count."""
    sample = frame.labelled
    name = primary_of(sample, settings.score)
    phase("evaluate", "measure the scores", _detail(frame))
    scores = evaluate_scores(frame, settings)
    verdict = judge(frame, study.reference, settings)
    first = next(frame for run in study.runs for frame in run.frames)
    return FrameResult(
        frames=frame.frames,
        counts=count_rows(frame),
        primary=name,
        scores=scores,
        search=search_scores(sample, settings),
        numbers=evaluate_columns(sample, sample.numbers, settings),
        baselines=evaluate_blind(
            sample,
            partial(_blind_facts, frame),
            None if name is None else sample.scores[name],
            settings,
        ),
        subsets=_subsets(frame, name, settings),
        verdict=verdict,
        clips=clip_results(frame, name, verdict),
        signatures=diagnose(frame, scores, settings),
        versus_first=None
        if frame is first
        else compare_runs(first.labelled, sample, settings),
    )


def _detail(frame: FrameStudy) -> str:
    """Return what a phase works on; "" for a table, which has no frame count."""
    return f"{frame.frames} frames" if frame.frames else ""


def _blind_facts(frame: FrameStudy, sample: Sample) -> Facts:
    """Return the facts of a sample that the blind baselines read."""
    phase("evaluate", "train blind baselines", _detail(frame))
    return read_facts(frame, sample.ids, COLUMNS)


def _subsets(
    frame: FrameStudy, name: str | None, settings: EvaluationSettings
) -> dict[str, dict[str, ScoreMetrics]]:
    """Return the primary score's metrics in subsets; empty without two classes."""
    sample = frame.labelled
    if not name or not sample.member.any() or sample.member.all():
        return {}
    facts = read_facts(frame, sample.ids, {*THIRDS, *settings.by})
    return evaluate_subsets(sample, facts, name, settings)
