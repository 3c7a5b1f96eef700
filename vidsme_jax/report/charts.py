"""The figures of the report, one set for each run and frame count."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidsme_jax.evaluation.estimates import tpr_band
from vidsme_jax.evaluation.samples import Sample, higher_is_member, pair, samples
from vidsme_jax.evaluation.settings import settings_of
from vidsme_jax.records import runs as run_files
from vidsme_jax.records.runs import distinct
from vidsme_jax.report import figures
from vidsme_jax.report.figures import Curve, Interval
from vidsme_jax.report.page import Figure
from vidsme_jax.report.words import answers, formatting
from vidsme_jax.report.words.answers import Unit, titled
from vidsme_jax.stats.metrics import roc


@dataclass(frozen=True)
class Shown:
    """A unit with the run it came from and the start of its figures' names."""

    unit: Unit
    run: run_files.Run
    slug: str
    last: bool  # the largest frame count of its run


def shown_units(result: dict[str, Any], runs: list[run_files.Run]) -> list[Shown]:
    """Return every run and frame count of a result with the run behind it."""
    units = iter(answers.units(result))
    names = distinct([_slug(entry["name"]) for entry in result["runs"]])
    out = []
    for entry, run, name in zip(result["runs"], runs, names, strict=True):
        for data in entry["frames"]:
            last = data is entry["frames"][-1]
            out.append(Shown(next(units), run, f"{name}-f{data['frames']}", last))
    return out


def _slug(name: str) -> str:
    """A name that is safe in a path and a link."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60].strip("-") or "run"


def primary_figures(
    shown: list[Shown], result: dict[str, Any], control: run_files.Run | None
) -> Iterator[Figure]:
    """Yield the ROC and the distributions of every unit's primary score."""
    for one in shown:
        held = {s.frames: s for s in samples(one.run.table)}
        sample = held[one.unit.data["frames"]]
        name = one.unit.data["primary"]
        if name and one.unit.data["scores"][name]["auc"] is not None:
            yield _roc(one, sample, name, result, control)
            yield _histogram(one, sample, name)


def slice_figures(shown: list[Shown], result: dict[str, Any]) -> Iterator[Figure]:
    """Yield the AUCs of every unit's representative scores, by slice."""
    for one in shown:
        if min(one.unit.data["counts"]["evaluated"].values()):
            for part, names in answers.representative_rows(one.unit).items():
                yield _dots(one, part, names, result)


def _roc(one: Shown, sample: Sample, name: str, result, control) -> Figure:
    settings = settings_of(result["settings"])
    curves = [_curve("target", sample, name, settings)]
    if control is not None:
        _, other = pair(sample, control.table)
        found = one.unit.data["scores"][name]["control"]
        if found["auc"] is not None:
            curves.append(_curve("control, dashed", other, name, settings))
    members = one.unit.data["scores"][name]["members"]
    others = one.unit.data["scores"][name]["non_members"]
    around = f"with {formatting.percent(settings.confidence)} band, log axes from 1/n"
    title = titled(f"ROC of {name} {around}", one.unit)
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


def _histogram(one: Shown, sample: Sample, name: str) -> Figure:
    up = higher_is_member(name)
    values = sample.scores[name] if up else -sample.scores[name]
    title = titled(f"Values of {name}", one.unit)
    svg = figures.histogram_figure(
        title,
        values[sample.member],
        values[~sample.member],
        f"{name} ({'higher' if up else 'lower'} = more member-like)",
    )
    return Figure(f"{one.slug}-histogram", title, svg)


def _dots(one: Shown, part: str, names: list[str], result) -> Figure:
    rows = []
    for name in names:
        found = one.unit.data["scores"][name]
        sides = [found] if result["control"] is None else [found, found["control"]]
        rows.append((name, [Interval(s["auc"], *s["auc_interval"]) for s in sides]))
    series = ("target", "control")[: 1 if result["control"] is None else 2]
    kind = "published definitions" if part == "published" else f"slice {part}"
    title = titled(f"AUC of the representative scores, {kind}", one.unit)
    svg = figures.dot_figure(title, rows, series)
    return Figure(f"{one.slug}-auc-{part}", title, svg)
