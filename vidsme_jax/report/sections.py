"""The sections of the report, built from a result and the runs behind it."""

import json
from typing import Any

from vidsme_jax.errors import shorten
from vidsme_jax.evaluation import diagnosis
from vidsme_jax.records import runs as run_files
from vidsme_jax.report.charts import primary_figures, shown_units, slice_figures
from vidsme_jax.report.clips import clip_section
from vidsme_jax.report.evidence import evidence_sections, verdict_sections
from vidsme_jax.report.page import Page, Section, Table
from vidsme_jax.report.words import answers as answers_module
from vidsme_jax.report.words import formatting
from vidsme_jax.report.words.answers import Answer, Unit, titled
from vidsme_jax.scores import catalogue

_TITLE = "Membership inference on video clips"
_CAPTIONS = {"published": "As the published code defines them (video slice)"}
_ROWS_SHOWN = 1000  # of the table of all scores; a browser is slow beyond

_METRICS = {
    "auc": "AUC",
    "average_precision": "average precision",
    "best_balanced_accuracy": "balanced accuracy",
    "advantage": "advantage, TPR - FPR",
    "fpr_at_95_tpr": "FPR at 95 % TPR",
}


def build(
    result: dict[str, Any],
    runs: list[run_files.Run],
    control: run_files.Run | None,
) -> Page:
    """Return the report's sections, in the order in which a person needs them."""
    units = answers_module.units(result)
    shown = shown_units(result, runs)
    sections = [
        _answers(units, result),
        *verdict_sections(units),
        _diagnosis(units),
        *_metrics(units, shown, result, control),
        _terms(units),
        *_all(units, result),
        *_settings(result, control),
    ]
    return Page(_TITLE, tuple(sections))


def _metrics(units, shown, result, control) -> list[Section]:
    """What needs both labels, and the clips, which do not."""
    beside = [clip_section(shown)]
    if any(answers_module.has_both(unit.data) for unit in units):
        figures = tuple(primary_figures(shown, result, control))
        beside = [_in_full(units, result, figures), *beside]
        beside.append(_slices(units, result, tuple(slice_figures(shown, result))))
    return beside + evidence_sections(units, result)


def _all(units, result) -> list[Section]:
    if not any(answers_module.has_both(unit.data) for unit in units):
        return []
    return [_search(units), _all_scores(units, result)]


def _terms(units) -> Section:
    """What the names of the scores mean, read off the catalogue."""
    names = [name for unit in units for name in unit.data["scores"]]
    held = {name.split(".")[1] for name in names if catalogue.is_score(name)}
    rows = [
        [name, info.formula, "higher" if info.higher_is_member else "lower"]
        for name, info in catalogue.FAMILY_INFO.items()
        if name in held and not name.endswith("_diff")
    ]
    paragraphs = [
        "A score is named slice.family.aggregate. Slices: video, the model's predictions at"
        " the positions of the video; instruction, where it predicts the text after the"
        " video; response, where it predicts the answer.",
        "Families, per position, with p the predicted distribution and y the true token (on"
        " the video slice the most likely one); X_diff is X with the clip shown forwards"
        " minus X with it shown backwards. S_{q,r} is the Sharma-Mittal entropy, its orders"
        " q and r set by the clip's motion (variance of optical flow) and illumination"
        " (change of brightness).",
        "Aggregates: mean over the positions; min_K and max_K, the mean of the K % smallest"
        " or largest, min_0 being the smallest alone.",
    ]
    if any(map(catalogue.is_published, names)):
        paragraphs.append(
            "published: NAME is what the published code writes as NAME, by its own"
            " definitions, of the video slice; members are expected lower in each."
        )
    table = Table(["family", "per position", "members are expected"], rows)
    return Section("What the names mean", paragraphs=tuple(paragraphs), tables=(table,))


def _answers(units, result) -> Section:
    answers = [answer for unit in units for answer in answers_module.answers(unit, result)]
    return Section("Answer", tuple(answers), (answers_module.CAVEAT,))


def _diagnosis(units) -> Section:
    answers = [
        Answer(unit.title, *diagnosis.summary(unit.data["diagnosis"])) for unit in units
    ]
    note = (
        "Three signs by which the method is known to fail are looked for. They say where"
        " to look, not whether a clip was trained on."
    )
    return Section("Failure signatures", tuple(answers), (note,))


def _slices(units, result, figures) -> Section:
    """One table per slice, the runs and frame counts of a score one below the other."""
    by_slice: dict[str, dict[str, list[Unit]]] = {}
    for unit in units:
        for part, names in answers_module.representative_rows(unit).items():
            for name in names:
                by_slice.setdefault(part, {}).setdefault(name, []).append(unit)
    tables = [
        Table(
            answers_module.header(result),
            [
                answers_module.cells(
                    _row_name(name, unit), unit.data["scores"][name], result
                )
                for name, held in rows.items()
                for unit in held
            ],
            _CAPTIONS.get(part, f"Slice: {part}"),
        )
        for part, rows in by_slice.items()
    ]
    note = (
        "The scores shown were chosen in advance. Each is turned so that, by its"
        " definition, members should score higher: AUC 1 is perfect separation, 0.5 is"
        " none. TPR at t is the largest true positive rate at a false positive rate"
        f" {result['settings']['rule']} t, read off the step ROC."
    )
    notes = (note, answers_module.PUBLISHED_RULES)[: 1 + result["settings"]["published"]]
    return Section("Scores by slice", (), notes, tuple(tables), figures)


def _in_full(units, result, figures) -> Section:
    """Every metric of the primary score."""
    tables = []
    for unit in units:
        name = unit.data["primary"]
        found = unit.data["scores"].get(name)
        if found is None or found["auc"] is None:
            continue
        rows = [
            [
                title,
                formatting.number(found[key]),
                formatting.span(found[f"{key}_interval"]),
            ]
            for key, title in _METRICS.items()
        ]
        rates = found["tpr"].items()
        rows += [
            [
                f"TPR at {formatting.percent(float(rate))} FPR",
                formatting.number(value),
                formatting.span(found["tpr_interval"][rate]),
            ]
            for rate, value in rates
        ]
        around = f"{formatting.percent(result['settings']['confidence'])} interval"
        rule = answers_module.rule_text(result["settings"], found["non_members"])
        caption = titled(f"{name}; {rule}", unit)
        tables.append(Table(["metric", "value", around], rows, caption))
    note = (
        "Intervals resample whole groups. That of the AUC is corrected for bias and"
        " skewness (BCa), or, above 0.98 and below 0.02, follows from the ranks alone."
        " Those of a TPR that rests on fewer than 10 clips of a kind are Clopper and"
        " Pearson's, at the threshold that these non-members give. The balanced accuracy"
        " and the advantage are those of the best threshold on these very clips."
    )
    none = "The primary score cannot be evaluated."
    paragraphs = (note if tables else none,)
    return Section("The primary score in full", (), paragraphs, tuple(tables), figures)


def _row_name(name: str, unit: Unit) -> str:
    label = f"{name} (primary)" if name == unit.data["primary"] else name
    return f"{label} · {unit.title}" if unit.title else label


def _all_scores(units, result) -> Section:
    rows = [
        answers_module.cells(_row_name(name, unit), found, result)
        for unit in units
        for name, found in unit.data["scores"].items()
        if answers_module.has_both(unit.data)
    ]
    note = (
        f"metrics.csv holds every score ({len(rows)} rows). The best of hundreds is no"
        " finding: with nothing to find, some score still comes out well by chance."
    )
    tables = (
        (Table(answers_module.header(result), rows),) if len(rows) <= _ROWS_SHOWN else ()
    )
    return Section("All scores", (), (note,), tables, folded=True, tables_in_markdown=False)


def _search(units) -> Section:
    """What the best of all scores is worth."""
    texts = tuple(text for unit in units for text in answers_module.search_texts(unit))
    note = (
        "The primary score was fixed in advance. Whoever looks for the best of all scores"
        " instead finds one that separates, also where there is nothing to find."
    )
    return Section("The best of all scores", paragraphs=(note, *texts))


def _settings(result, control) -> list[Section]:
    """The settings of the evaluation and everything in each run.json."""
    named = [(run["name"], run["info"]) for run in result["runs"]]
    if control is not None:
        named.append((f"control {result['control']}", control.info))
    tables = [Table(["setting", "value"], _flat(result["settings"]), "Evaluation")]
    tables += [
        Table(["setting", "value"], _flat(info), f"Run {shorten(name, 60)}")
        for name, info in named
    ]
    return [Section("Settings and versions", tables=tuple(tables), folded=True)]


def _flat(value: Any, key: str = "") -> list[list[str]]:
    """One row per leaf of nested dicts, `a.b.c` and its JSON."""
    if isinstance(value, dict) and value:
        return [
            row
            for name, inner in value.items()
            for row in _flat(inner, f"{key}.{name}" if key else str(name))
        ]
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return [[shorten(key, 80), shorten(text, 200)]]
