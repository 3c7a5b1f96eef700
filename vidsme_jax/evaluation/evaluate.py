"""`vidsme evaluate`: from finished runs to metrics, figures and a report."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from vidsme_jax.errors import InputError
from vidsme_jax.evaluation import diagnosis
from vidsme_jax.evaluation.blind import evaluate_blind
from vidsme_jax.evaluation.blind_features import Row, feature_rows
from vidsme_jax.evaluation.checks import check_run, differs
from vidsme_jax.evaluation.clips import clip_rows
from vidsme_jax.evaluation.external import read_scores
from vidsme_jax.evaluation.samples import Sample, samples, with_published
from vidsme_jax.evaluation.score_metrics import compare_runs, evaluate_table
from vidsme_jax.evaluation.settings import EvaluationSettings, settings_dict
from vidsme_jax.evaluation.subsets import THIRDS, evaluate_subsets
from vidsme_jax.evaluation.verdicts import judge
from vidsme_jax.records import runs as run_files
from vidsme_jax.records.files import check_folder
from vidsme_jax.records.runs import distinct
from vidsme_jax.report import write


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
        check_run(run, other, outside, settings)
    result = make_result(held, settings, other, outside)
    out.mkdir(parents=True, exist_ok=True)
    write.write(out, result, held, other)
    return result


def make_result(
    runs: list[run_files.Run],
    settings: EvaluationSettings,
    control: run_files.Run | None = None,
    reference: run_files.Run | None = None,
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
        "control_differs": "" if control is None else differs(runs[0], control),
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


def read(path: Path) -> run_files.Run:
    """Read a run's directory, or a table of scores from elsewhere."""
    if path.is_file():
        return read_scores(path)
    if not path.exists():
        raise InputError(
            f"run={path} does not exist; expected a directory that vidsme score wrote, or a"
            " table of scores (.csv, .parquet, .json, .jsonl)"
        )
    return with_published(run_files.read_run(path))


def _frames(
    run: run_files.Run,
    settings: EvaluationSettings,
    control: run_files.Run | None,
    reference: run_files.Run | None,
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
    run: run_files.Run, sample: Sample, name: str | None, settings: EvaluationSettings
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


def _compare_with_first(result, runs: list[run_files.Run], settings) -> None:
    """Add to every frame count but the first how it does against that one."""
    each = [sample for run in runs for sample in samples(run.table)]
    data = [data for run in result["runs"] for data in run["frames"]]
    for sample, entry in zip(each, data, strict=True):
        is_first = sample is each[0]
        entry["versus_first"] = (
            None if is_first else compare_runs(each[0], sample, settings)
        )
