"""Draw the report's figures as inline SVG, without fonts, scripts or network.

Each series has a colour and also its dash, marker or label, so that a print in grey shows
the same.
"""

import math
import textwrap
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from vidsme_jax.evaluation.values import Estimate
from vidsme_jax.report.difference_map import frame_means
from vidsme_jax.report.svg import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    WIDTH,
    Axes,
    Number,
    cut,
    frame,
    legend,
    line,
    round_ticks,
    segment,
    svg_of,
    text_at,
    unbroken,
)


def histogram_figure(
    title: str,
    members: Float[np.ndarray, "member"],
    non_members: Float[np.ndarray, "non_member"],
    label: str,
) -> str:
    """Draw two overlaid histograms over the same bins; finite values only."""
    classes = [x[np.isfinite(x)] for x in (members, non_members)]
    values = np.concatenate(classes)
    if len(values) == 0:
        return svg_of(title, 80, [text_at(WIDTH / 2, 60, "no finite value", "middle")])
    edges = _edges(values)
    counts = [np.histogram(x, edges)[0] for x in classes]
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
        (f"{name} ({len(x)})", colour)
        for name, x, (colour, _) in zip(
            ("members, solid", "non-members, dashed"), classes, styles, strict=True
        )
    ]
    return svg_of(title, 310, [*body, *legend(names)])


def dot_figure(
    title: str, rows: list[tuple[str, list[Estimate]]], series: tuple[str, ...]
) -> str:
    """Draw a row per score, with an AUC and its interval for each series.

    Args:
        title: also the accessible name.
        rows: label of each row, and an estimate per series.
        series: names of the series; the first is drawn as a circle, the second as a square.
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
    """Draw a curve along a clip: thin by position, thick for the mean of each frame.

    Args:
        title: also the accessible name.
        values: value of each position: equally many for each frame, then perhaps a few.
        frames: number of frames of the clip.
        seconds: time of each frame; with None the axis counts frames.
        high: whether high values are member-like; the most member-like frame is marked.
    """
    size = len(values) // frames
    finite = values[np.isfinite(values)]
    if not size or not len(finite):
        return svg_of(title, 80, [text_at(WIDTH / 2, 60, "no finite value", "middle")])
    means = frame_means(values, frames)
    axes = Axes((0, frames), (min(0.0, finite.min()), max(0.0, finite.max())), top=34)
    names = [f"{n + 1}" if seconds is None else f"{seconds[n]:.3g}" for n in range(frames)]
    axis = "frame" if seconds is None else "time in seconds"
    body = frame(axes, [], round_ticks(*axes.y), axis, "sme")
    labelled = range(0, frames, math.ceil(frames / 8))
    body += [
        text_at(axes.at(n + 0.5, 0)[0], axes.bottom + 16, names[n], "middle", 11)
        for n in labelled
    ]
    body.append(line(axes, [(0, 0), (frames, 0)], "#777", "4 3"))
    at = (np.arange(len(values)) + 0.5) / size
    body += [line(axes, points, "#8ab8d8", "", 0.7) for points in unbroken(at, values)]
    steps = np.repeat(means, 2)
    edges = np.repeat(np.arange(frames + 1.0), 2)[1:-1]
    body += [line(axes, points, BLUE, "", 2.5) for points in unbroken(edges, steps)]
    if np.isfinite(means).any():
        best = int((np.nanargmax if high else np.nanargmin)(means))
        x = axes.at(best + 0.5, 0)[0]
        body.append(segment(x, axes.top, x, axes.bottom, ORANGE, 1.5))
        when = f"frame {names[best]}" if seconds is None else f"{names[best]} s"
        body.append(text_at(WIDTH - 14, 22, f"most member-like at {when}", "end", 11))
    return svg_of(title, axes.bottom + 50, body)


# Colours and dashes of up to five series, which differ without colour, too.
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
    """Draw AUCs with their intervals over an axis, a line per series.

    Args:
        title: also the accessible name.
        note: what is fixed, below the title.
        labels: names of the axis, and of the setting in which the series differ.
        names: names of the positions on the axis, and of at most five series.
        values: an estimate per position for each series; None leaves a gap.
    """
    positions, series = names
    head, top = _head(title, note)
    named = [(name, style[0]) for name, style in zip(series, _STYLES, strict=False) if name]
    names_row = legend(named, top + 4, labels[1]) if named else []
    top += 32 if named else 8
    axes = Axes((-0.5, len(positions) - 0.5), (0, 1), top=top, bottom=top + 228)
    body = [*head, *names_row, *frame(axes, [], [0, 0.25, 0.5, 0.75, 1], labels[0], "AUC")]
    for n, name in enumerate(positions):
        body.append(
            text_at(axes.at(n, 0)[0], axes.bottom + 16, cut(name, 14), "middle", 11)
        )
    body.append(line(axes, [(-0.5, 0.5), (len(positions) - 0.5, 0.5)], "#777", "4 3", 1.5))
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
    """Draw a grid of AUCs as numbers on blue above one half and on orange below.

    Args:
        title: also the accessible name.
        note: what is fixed, below the title.
        labels: names of the axis across and the axis down.
        names: names of the columns, and of the rows.
        values: an estimate per column for each row; None leaves an empty cell.
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
    """Draw a cell of a grid, the darker the farther its AUC is from one half."""
    auc = value.value if value else None
    share = 0.0 if auc is None else min(1.0, 2 * abs(auc - 0.5))
    colour = BLUE if auc is not None and auc >= 0.5 else ORANGE
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    yield f'<rect {box} fill="{colour}" fill-opacity="{0.75 * share:.2f}" stroke="#fff"/>'
    text = "–" if auc is None else f"{auc:.2f}"
    size = 11 if width > 28 else 8
    yield text_at(x + width / 2, y + height / 2 + 4, text, "middle", size)


def _dot(axes: Axes, value: Estimate, y: Number, series: int) -> Iterator[str]:
    """Draw an AUC with its interval, with the marker of the series of this number."""
    if value.value is None:
        yield text_at(axes.left + 6, y + 4, "no value", size=11)
        return
    colour = (BLUE, ORANGE)[series]
    x = axes.at(value.value, 0)[0]
    if value.low is not None and value.high is not None:
        low, high = axes.at(value.low, 0)[0], axes.at(value.high, 0)[0]
        yield segment(low, y, high, y, colour, 2)
    if series == 0:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'
    else:
        corner = f'x="{x - 4:.1f}" y="{y - 4:.1f}"'
        yield f'<rect {corner} width="8" height="8" fill="{colour}"/>'


def _edges(values: np.ndarray) -> np.ndarray:
    """Return the edges of 8 to 24 bins; a constant has one bin of width 1."""
    low, high = float(values.min()), float(values.max())
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, min(24, max(8, int(np.sqrt(len(values)) * 2))) + 1)
