"""The report's figures as inline SVG: no fonts, scripts or network of their own.

Every series has a colour and a dash, a marker or a label of its own, so that a print in
grey says the same.
"""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.report.svg import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    WIDTH,
    Axes,
    Number,
    band,
    cut,
    decades,
    frame,
    legend,
    line,
    round_ticks,
    segment,
    svg_of,
    text_at,
    unbroken,
)


@dataclass(frozen=True)
class Curve:
    """A ROC curve, with the interval of its TPR at some FPRs or none.

    Attributes:
        name: shown in the legend.
        fpr: false positive rates of the steps, upwards.
        tpr: true positive rates of the steps.
        band: FPRs, lower ends, upper ends; or None.
    """

    name: str
    fpr: Float[np.ndarray, "step"]
    tpr: Float[np.ndarray, "step"]
    band: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


def roc_figure(title: str, curves: list[Curve], members: int, non_members: int) -> str:
    """Return a log-log ROC; the axes start at 1/n, where one clip more decides.

    Args:
        title: also the accessible name.
        curves: at most three.
        members: number of members; the lowest TPR shown is one of them.
        non_members: number of non-members; the lowest FPR shown is one of them.
    """
    low_x, low_y = 1 / max(2, non_members), 1 / max(2, members)
    axes = Axes((low_x, 1), (low_y, 1), bottom=300, log=True)
    diagonal = [(x, x) for x in np.geomspace(max(low_x, low_y), 1, 30)]
    body = [
        *frame(axes, decades(low_x), decades(low_y), "false positive rate", "TPR"),
        line(axes, diagonal, "#777", "2 4"),
    ]
    styles = ((BLUE, ""), (ORANGE, "7 4"), (GREEN, "1 3"))
    names = []
    for curve, (colour, dash) in zip(curves, styles, strict=False):
        if curve.band:
            body.append(band(axes, curve.band, colour))
        body.append(line(axes, _steps(curve), colour, dash, 2))
        names.append((curve.name, colour))
    return svg_of(title, 350, [*body, *legend(names)])


def histogram_figure(
    title: str,
    members: Float[np.ndarray, "member"],
    non_members: Float[np.ndarray, "non_member"],
    label: str,
) -> str:
    """Return two overlaid histograms over the same bins; finite values only."""
    sides = [x[np.isfinite(x)] for x in (members, non_members)]
    both = np.concatenate(sides)
    if len(both) == 0:
        return svg_of(title, 80, [text_at(WIDTH / 2, 60, "no finite value", "middle")])
    edges = _edges(both)
    counts = [np.histogram(side, edges)[0] for side in sides]
    top = max(1, *(int(c.max()) for c in counts))
    axes = Axes((edges[0], edges[-1]), (0, top))
    ticks = sorted({0, top // 2, top})
    body = frame(axes, round_ticks(edges[0], edges[-1]), ticks, label, "clips")
    styles = ((BLUE, ""), (ORANGE, "6 3"))
    for count, (colour, dash) in zip(counts, styles, strict=True):
        outline = [(edges[0], 0)]
        for k, height in enumerate(count):
            outline += [(edges[k], height), (edges[k + 1], height)]
        points = axes.path([*outline, (edges[-1], 0)])
        body.append(
            f'<polygon points="{points}" fill="{colour}" fill-opacity="0.25"'
            f' stroke="{colour}" stroke-width="1.5" stroke-dasharray="{dash}"/>'
        )
    names = [
        (f"{name} ({len(side)})", colour)
        for name, side, (colour, _) in zip(
            ("members, solid", "non-members, dashed"), sides, styles, strict=True
        )
    ]
    return svg_of(title, 310, [*body, *legend(names)])


def dot_figure(
    title: str, rows: list[tuple[str, list[Estimate]]], series: tuple[str, ...]
) -> str:
    """Return one line per row with an AUC and its interval for each series.

    Args:
        title: also the accessible name.
        rows: label and one interval per series.
        series: their names; the first is drawn as a circle, the second as a square.
    """
    step = 16 * len(series) + 10
    bottom = 46 + step * len(rows)
    axes = Axes((0, 1), (0, 1), left=196, top=46, bottom=bottom)
    body = frame(axes, [0, 0.25, 0.5, 0.75, 1], [], "AUC", "")
    body.append(line(axes, [(0.5, 0), (0.5, 1)], "#777", "4 3", 1.5))
    for k, (label, values) in enumerate(rows):
        middle = 46 + step * (k + 0.5)
        body.append(text_at(188, middle + 4, cut(label, 32), "end", 11))
        for j, value in enumerate(values):
            body += _dot(axes, value, middle + 14 * (j - (len(values) - 1) / 2), j)
    marks = zip(series, (BLUE, ORANGE), ("circle", "square"), strict=False)
    names = [(f"{name} ({mark})", colour) for name, colour, mark in marks]
    return svg_of(title, bottom + 50, [*body, *legend(names)])


def time_figure(
    title: str,
    values: Float[np.ndarray, "token"],
    frames: int,
    seconds: list[float] | None,
    high: bool,
) -> str:
    """Return a curve along a clip: thin for each position, thick for each frame's mean.

    Args:
        title: also the accessible name.
        values: of the positions, as many for each frame, perhaps a few after the last.
        frames: of the clip.
        seconds: when each is shown; None counts frames.
        high: whether high values are member-like; the most member-like frame is marked.
    """
    size = len(values) // frames
    finite = values[np.isfinite(values)]
    if not size or not len(finite):
        return svg_of(title, 80, [text_at(WIDTH / 2, 60, "no finite value", "middle")])
    means = np.array([np.mean(x) for x in np.split(values[: size * frames], frames)])
    axes = Axes((0, frames), (min(0.0, finite.min()), max(0.0, finite.max())), top=34)
    names = [f"{n + 1}" if seconds is None else f"{seconds[n]:.3g}" for n in range(frames)]
    axis = "frame" if seconds is None else "time in seconds"
    body = frame(axes, [], round_ticks(*axes.y), axis, "sme")
    shown = range(0, frames, math.ceil(frames / 8))
    body += [
        text_at(axes.at(n + 0.5, 0)[0], axes.bottom + 16, names[n], "middle", 11)
        for n in shown
    ]
    body.append(line(axes, [(0, 0), (frames, 0)], "#777", "4 3"))
    places = (np.arange(len(values)) + 0.5) / size
    body += [line(axes, part, "#8ab8d8", "", 0.7) for part in unbroken(places, values)]
    steps = np.repeat(means, 2)
    edges = np.repeat(np.arange(frames + 1.0), 2)[1:-1]
    body += [line(axes, part, BLUE, "", 2.5) for part in unbroken(edges, steps)]
    if np.isfinite(means).any():
        best = int((np.nanargmax if high else np.nanargmin)(means))
        x = axes.at(best + 0.5, 0)[0]
        body.append(segment(x, axes.top, x, axes.bottom, ORANGE, 1.5))
        place = f"frame {names[best]}" if seconds is None else f"{names[best]} s"
        body.append(text_at(WIDTH - 14, 22, f"most member-like at {place}", "end", 11))
    return svg_of(title, axes.bottom + 50, body)


# Of up to five series; told apart without colour, too.
_STYLES = (
    (BLUE, ""),
    (ORANGE, "7 4"),
    (GREEN, "1 3"),
    (PURPLE, "9 3 2 3"),
    (INK, "3 3"),
)


def series_figure(
    title: str,
    note: str,
    labels: tuple[str, str],
    names: tuple[list[str], list[str]],
    values: list[list[Estimate | None]],
) -> str:
    """Return AUCs with their intervals over an axis, one line per series.

    Args:
        title: also the accessible name.
        note: what is fixed, below the title.
        labels: names of the axis and of what the series differ in.
        names: of the places along it, and of at most five series.
        values: for each series, one per place; None leaves a gap.
    """
    places, series = names
    head, top = _head(title, note)
    named = [(name, style[0]) for name, style in zip(series, _STYLES, strict=False) if name]
    names_row = legend(named, top + 4, labels[1]) if named else []
    top += 32 if named else 8
    axes = Axes((-0.5, len(places) - 0.5), (0, 1), top=top, bottom=top + 228)
    body = [*head, *names_row, *frame(axes, [], [0, 0.25, 0.5, 0.75, 1], labels[0], "AUC")]
    for n, name in enumerate(places):
        body.append(
            text_at(axes.at(n, 0)[0], axes.bottom + 16, cut(name, 14), "middle", 11)
        )
    body.append(line(axes, [(-0.5, 0.5), (len(places) - 0.5, 0.5)], "#777", "4 3", 1.5))
    shift = 0.06  # apart, so that intervals do not hide each other
    for k, (row, (colour, dash)) in enumerate(zip(values, _STYLES, strict=False)):
        offset = shift * (k - (len(series) - 1) / 2)
        points = [(n + offset, v) for n, v in enumerate(row) if v and v.value is not None]
        body.append(line(axes, [(x, v.value) for x, v in points], colour, dash, 2))
        for x, v in points:
            if v.low is not None and v.high is not None:
                body.append(line(axes, [(x, v.low), (x, v.high)], colour, "", 1.2))
    return svg_of(f"{title} ({note})", axes.bottom + 46, body)


def heat_figure(
    title: str,
    note: str,
    labels: tuple[str, str],
    names: tuple[list[str], list[str]],
    values: list[list[Estimate | None]],
) -> str:
    """Return a grid of AUCs: blue above one half, orange below, the number in each cell.

    Args:
        title: also the accessible name.
        note: what is fixed, below the title.
        labels: names of the axis across and the axis down.
        names: of the columns and of the rows.
        values: for each row, one per column; None leaves an empty cell.
    """
    across, down = names
    body, top = _head(title, note)
    body.append(text_at(14, top + 12, f"down: {labels[1]}; across: {labels[0]}", size=11))
    left, top, right = 150, top + 44, WIDTH - 14
    width, height = (right - left) / max(1, len(across)), 24
    bottom = top + height * len(down)
    for n, name in enumerate(across):
        middle = left + width * (n + 0.5)
        body.append(
            text_at(middle, top - 8, cut(name, max(3, int(width / 6))), "middle", 10)
        )
    for m, name in enumerate(down):
        y = top + height * m
        body.append(text_at(left - 8, y + 16, cut(name, 24), "end", 10))
        for n, value in enumerate(values[m]):
            body += _heat_cell(left + width * n, y, width, height, value)
    return svg_of(f"{title} ({note})", bottom + 16, body)


def _head(title: str, note: str) -> tuple[list[str], int]:
    """Draw the title and, below it, the note in as many lines as it needs."""
    lines = textwrap.wrap(note, 78)
    body = [text_at(14, 22, title, size=13)]
    body += [text_at(14, 40 + 15 * n, line, size=11) for n, line in enumerate(lines)]
    return body, 30 + 15 * len(lines)


def _heat_cell(x, y, width, height, value: Estimate | None) -> Iterator[str]:
    auc = value.value if value else None
    share = 0.0 if auc is None else min(1.0, 2 * abs(auc - 0.5))
    colour = BLUE if auc is not None and auc >= 0.5 else ORANGE
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    yield f'<rect {box} fill="{colour}" fill-opacity="{0.75 * share:.2f}" stroke="#fff"/>'
    text = "–" if auc is None else f"{auc:.2f}"
    size = 11 if width > 28 else 8
    yield text_at(x + width / 2, y + height / 2 + 4, text, "middle", size)


def _dot(axes: Axes, value: Estimate, y: Number, kind: int) -> Iterator[str]:
    if value.value is None:
        yield text_at(axes.left + 6, y + 4, "no value", size=11)
        return
    colour = (BLUE, ORANGE)[kind]
    x = axes.at(value.value, 0)[0]
    if value.low is not None and value.high is not None:
        low, high = axes.at(value.low, 0)[0], axes.at(value.high, 0)[0]
        yield segment(low, y, high, y, colour, 2)
    if kind == 0:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'
    else:
        corner = f'x="{x - 4:.1f}" y="{y - 4:.1f}"'
        yield f'<rect {corner} width="8" height="8" fill="{colour}"/>'


def _steps(curve: Curve) -> Iterator[tuple[float, float]]:
    """Corners of the step ROC: right, then up; ties are not interpolated either."""
    before = curve.tpr[0]
    for x, y in zip(curve.fpr, curve.tpr, strict=True):
        yield x, before
        yield x, y
        before = y


def _edges(values: np.ndarray) -> np.ndarray:
    """Twenty-odd bins; a constant gets one of width 1."""
    low, high = float(values.min()), float(values.max())
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, min(24, max(8, int(np.sqrt(len(values)) * 2))) + 1)
