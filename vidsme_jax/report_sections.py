"""The sections of the report, built from a result and the runs behind it."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from vidsme_jax import diagnosis, figures, findings, records, scores
from vidsme_jax.evaluation import settings_of, tpr_band
from vidsme_jax.evaluation_table import Sample, pair, samples
from vidsme_jax.figures import Curve, Interval
from vidsme_jax.findings import Answer, Unit, shorten
from vidsme_jax.metrics import roc
from vidsme_jax.report_page import Clip, Figure, Page, Section, Table

_TITLE = "Membership inference on video clips"
_CLIPS = 6
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
    runs: list[records.Run],
    control: records.Run | None,
) -> Page:
    """Return the report's sections, in the order in which a person needs them."""
    units = findings.units(result)
    shown = _shown(result, runs)
    sections = [
        _answers(units, result),
        _diagnosis(units),
        _in_full(units, result),
        _slices(units, result),
        _blind(units, result),
        Section("Figures", figures=tuple(_figures(shown, result, control))),
        _clips(shown),
        _terms(units),
        _search(units),
        _all_scores(units, result),
        *_settings(result, control),
    ]
    return Page(_TITLE, tuple(sections))


def _terms(units) -> Section:
    """What the names of the scores mean, read off the catalogue."""
    names = [name for unit in units for name in unit.data["scores"]]
    held = {name.split(".")[1] for name in names if scores.is_score(name)}
    rows = [
        [name, info.formula, "higher" if info.higher_is_member else "lower"]
        for name, info in scores.FAMILY_INFO.items()
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
    if any(map(scores.is_published, names)):
        paragraphs.append(
            "published: NAME is what the published code writes as NAME, by its own"
            " definitions, of the video slice; members are expected lower in each."
        )
    table = Table(["family", "per position", "members are expected"], rows)
    return Section("What the names mean", paragraphs=tuple(paragraphs), tables=(table,))


def _answers(units, result) -> Section:
    answers = tuple(findings.answer(unit, result) for unit in units)
    return Section("Answer", answers, (findings.CAVEAT,))


def _diagnosis(units) -> Section:
    answers = [
        Answer(unit.title, *diagnosis.summary(unit.data["diagnosis"])) for unit in units
    ]
    note = (
        "Three signs by which the method is known to fail are looked for. They say where"
        " to look, not whether a clip was trained on."
    )
    return Section("Failure signatures", tuple(answers), (note,))


def _slices(units, result) -> Section:
    """One table per slice, the runs and frame counts of a score one below the other."""
    by_slice: dict[str, dict[str, list[Unit]]] = {}
    for unit in units:
        for part, names in findings.representative_rows(unit).items():
            for name in names:
                by_slice.setdefault(part, {}).setdefault(name, []).append(unit)
    tables = [
        Table(
            findings.header(result),
            [
                findings.cells(_row_name(name, unit), unit.data["scores"][name], result)
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
    notes = (note, findings.PUBLISHED_RULES)[: 1 + result["settings"]["published"]]
    return Section("Scores by slice", paragraphs=notes, tables=tuple(tables))


def _in_full(units, result) -> Section:
    """Every metric of the primary score."""
    tables = []
    for unit in units:
        name = unit.data["primary"]
        found = unit.data["scores"].get(name)
        if found is None or found["auc"] is None:
            continue
        rows = [
            [title, findings.number(found[key]), findings.span(found[f"{key}_interval"])]
            for key, title in _METRICS.items()
        ]
        rates = found["tpr"].items()
        rows += [
            [
                f"TPR at {findings.percent(float(rate))} FPR",
                findings.number(value),
                findings.span(found["tpr_interval"][rate]),
            ]
            for rate, value in rates
        ]
        around = f"{findings.percent(result['settings']['confidence'])} interval"
        rule = findings.rule_text(result["settings"], found["non_members"])
        caption = _title(f"{name}; {rule}", unit)
        tables.append(Table(["metric", "value", around], rows, caption))
    note = (
        "Intervals resample whole groups. That of the AUC is corrected for bias and"
        " skewness (BCa), or, where all resamples agree, follows from the ranks alone."
        " Those of a TPR that rests on fewer than 10 clips of a kind are Clopper and"
        " Pearson's, at the threshold that these non-members give. The balanced accuracy"
        " and the advantage are those of the best threshold on these very clips."
    )
    none = "The primary score cannot be evaluated."
    paragraphs = (note if tables else none,)
    return Section("The primary score in full", paragraphs=paragraphs, tables=tuple(tables))


def _row_name(name: str, unit: Unit) -> str:
    label = f"{name} (primary)" if name == unit.data["primary"] else name
    return f"{label} · {unit.title}" if unit.title else label


def _blind(units, result) -> Section:
    rows = [
        findings.cells(f"{name} · {unit.title}" if unit.title else name, found, alone)
        for alone in [result | {"control": None}]
        for unit in units
        for name, found in unit.data["blind"].items()
    ]
    note = (
        "These numbers need no model. AUC reads higher = member; 1 - AUC reads it the"
        " other way, so that a value far from 0.5 on either side means that the two"
        " sets differ by themselves."
    )
    table = Table(findings.header(result | {"control": None}, "number"), rows)
    return Section(
        "Without the model: motion, illumination and file data",
        paragraphs=(note,),
        tables=(table,),
    )


def _all_scores(units, result) -> Section:
    rows = [
        findings.cells(_row_name(name, unit), found, result)
        for unit in units
        for name, found in unit.data["scores"].items()
    ]
    note = (
        f"metrics.csv holds every score ({len(rows)} rows). The best of hundreds is no"
        " finding: with nothing to find, some score still comes out well by chance."
    )
    tables = (Table(findings.header(result), rows),) if len(rows) <= _ROWS_SHOWN else ()
    return Section("All scores", (), (note,), tables, folded=True, tables_in_markdown=False)


def _search(units) -> Section:
    """What the best of all scores is worth."""
    texts = tuple(text for unit in units for text in findings.search_texts(unit))
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


@dataclass(frozen=True)
class _Shown:
    """A unit with the run it came from and the start of its figures' names."""

    unit: Unit
    run: records.Run
    slug: str
    last: bool  # the largest frame count of its run


def _shown(result, runs) -> list[_Shown]:
    units = iter(findings.units(result))
    names = distinct([_slug(entry["name"]) for entry in result["runs"]])
    out = []
    for entry, run, name in zip(result["runs"], runs, names, strict=True):
        for data in entry["frames"]:
            last = data is entry["frames"][-1]
            out.append(_Shown(next(units), run, f"{name}-f{data['frames']}", last))
    return out


def distinct(names: list[str]) -> list[str]:
    """Return the names, repeated ones with `-2`, `-3` behind them."""
    out: list[str] = []
    for name in names:
        candidate, k = name, 1
        while candidate in out:
            k += 1
            candidate = f"{name}-{k}"
        out.append(candidate)
    return out


def _slug(name: str) -> str:
    """A name that is safe in a path and a link."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60].strip("-") or "run"


def _figures(shown: list[_Shown], result, control) -> Iterator[Figure]:
    for one in shown:
        held = {s.frames: s for s in samples(one.run.table)}
        sample = held[one.unit.data["frames"]]
        name = one.unit.data["primary"]
        if name and one.unit.data["scores"][name]["auc"] is not None:
            yield _roc(one, sample, name, result, control)
            yield _histogram(one, sample, name)
        for part, names in findings.representative_rows(one.unit).items():
            yield _dots(one, part, names, result)


def _title(text: str, unit: Unit) -> str:
    return f"{text} · {unit.title}" if unit.title else text


def _roc(one: _Shown, sample: Sample, name: str, result, control) -> Figure:
    settings = settings_of(result["settings"])
    curves = [_curve("target", sample, name, settings)]
    if control is not None:
        _, other = pair(sample, control.table)
        found = one.unit.data["scores"][name]["control"]
        if found["auc"] is not None:
            curves.append(_curve("control, dashed", other, name, settings))
    members = one.unit.data["scores"][name]["members"]
    others = one.unit.data["scores"][name]["non_members"]
    around = f"with {findings.percent(settings.confidence)} band, log axes from 1/n"
    title = _title(f"ROC of {name} {around}", one.unit)
    return Figure(
        f"{one.slug}-roc", title, figures.roc_figure(title, curves, members, others)
    )


def _curve(label: str, sample: Sample, name: str, settings) -> Curve:
    values = sample.scores[name]
    low = 1 / max(2, int(np.sum(~sample.member)))
    grid = tuple(np.geomspace(low, 1, 40).tolist())
    band = tpr_band(values, sample.member, sample.unit, grid, settings)
    fpr, tpr, _ = roc(values, sample.member)
    return Curve(label, fpr, tpr, (np.array(grid), *band))


def _histogram(one: _Shown, sample: Sample, name: str) -> Figure:
    up = name == "score" or scores.higher_is_member(name)
    values = sample.scores[name] if up else -sample.scores[name]
    title = _title(f"Values of {name}", one.unit)
    svg = figures.histogram_figure(
        title,
        values[sample.member],
        values[~sample.member],
        f"{name} ({'higher' if up else 'lower'} = more member-like)",
    )
    return Figure(f"{one.slug}-histogram", title, svg)


def _dots(one: _Shown, part: str, names: list[str], result) -> Figure:
    rows = []
    for name in names:
        found = one.unit.data["scores"][name]
        sides = [found] if result["control"] is None else [found, found["control"]]
        rows.append((name, [Interval(s["auc"], *s["auc_interval"]) for s in sides]))
    series = ("target", "control")[: 1 if result["control"] is None else 2]
    kind = "published definitions" if part == "published" else f"slice {part}"
    title = _title(f"AUC of the representative scores, {kind}", one.unit)
    svg = figures.dot_figure(title, rows, series)
    return Figure(f"{one.slug}-auc-{part}", title, svg)


def _clips(shown: list[_Shown]) -> Section:
    """The most member-like clips of each run, at its largest frame count."""
    clips = [clip for one in shown if one.last for clip in _clips_of(one)]
    note = (
        f"The up to {_CLIPS} clips with the most member-like primary score, with their"
        " thumbnails and the per-token curve of sme on the video slice: a look at what"
        " the score reacts to, not a list of findings."
    )
    none = "No clip has a primary score."
    return Section("Clips", paragraphs=(note if clips else none,), clips=tuple(clips))


def _clips_of(one: _Shown) -> Iterator[Clip]:
    name, table = one.unit.data["primary"], one.run.table
    if not name:
        return
    table = table.filter(pc.equal(table["frames"], one.unit.data["frames"]))
    values = np.array([np.nan if v is None else v for v in table[name].to_pylist()])
    up = name == "score" or scores.higher_is_member(name)
    order = np.argsort(-values if up else values, kind="stable")  # NaN comes last
    words = {1: "member", 0: "non-member", None: "unlabelled"}
    for place, k in enumerate(order[:_CLIPS].tolist()):
        if np.isnan(values[k]):
            return
        key, label = table["id"][k].as_py(), table["label"][k].as_py()
        clip = shorten(key, 60)
        curve = _token_curve(one, key, f"{one.slug}-clip-{place + 1}", clip)
        video = _cell(table, one, key, "video")
        text = _title(f"{words[label]}, {name} = {values[k]:.4g}", one.unit)
        text += f"; {shorten(video, 80)}" if video else ""
        yield Clip(clip, text, _thumbnail(one, key), curve)


def _cell(table, one: _Shown, key: str, column: str) -> Any:
    """The value of a row given by id and frames; None where there is none."""
    if column not in table.column_names:
        return None
    same = pc.and_(
        pc.equal(table["id"], key), pc.equal(table["frames"], one.unit.data["frames"])
    )
    found = table.filter(same)[column].to_pylist()
    return found[0] if found else None


def _token_curve(one: _Shown, key: str, name: str, clip: str) -> Figure | None:
    values = _cell(one.run.curves, one, key, "video.sme")
    if not values:
        return None
    title = f"sme along the video tokens of {clip}"
    array = np.array([np.nan if v is None else v for v in values], np.float64)
    svg = figures.line_figure(title, array, "video token", "sme")
    return Figure(name, title, svg)


def _thumbnail(one: _Shown, key: str) -> str:
    data = _cell(one.run.thumbnails, one, key, "thumbnail")
    # Only what a JPEG starts with, and of a size that fits a page.
    if not data or not data.startswith(b"\xff\xd8\xff") or len(data) > 1 << 20:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
