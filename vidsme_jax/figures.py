"""The report's figures as inline SVG: no fonts, scripts or network of their own.

Colours are Okabe and Ito's, told apart by colour-blind readers; every series also has a
dash, a marker or a label of its own, so that a print in grey says the same. All text
goes through `html.escape`.
"""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, GRID = "#222", "#ddd"
_Number = int | float | np.number
_WIDTH = 460  # near its natural size on a phone and in a two-column page


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


@dataclass(frozen=True)
class Interval:
    """A number with its interval; None where it does not exist."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class _Axes:
    """A plot area in pixels and the data range shown in it; `log` for both axes."""

    x: tuple[_Number, _Number]
    y: tuple[_Number, _Number]
    left: _Number = 56
    right: _Number = _WIDTH - 14
    top: _Number = 40
    bottom: _Number = 260
    log: bool = False

    def _place(self, value, ends, pixels) -> _Number:
        low, high = ends
        value = min(max(value, low), high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return pixels[0] + share * (pixels[1] - pixels[0])

    def at(self, x: _Number, y: _Number) -> tuple[_Number, _Number]:
        """Return the pixel of a data point, moved into the plot area if outside."""
        return (
            self._place(x, self.x, (self.left, self.right)),
            self._place(y, self.y, (self.bottom, self.top)),
        )

    def path(self, points) -> str:
        """Return the pixels of data points as SVG coordinates."""
        return " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y in points)


def roc_figure(title: str, curves: list[Curve], members: int, non_members: int) -> str:
    """Return a log-log ROC; the axes start at 1/n, where one clip more decides.

    Args:
        title: also the accessible name.
        curves: at most three.
        members: number of members; the lowest TPR shown is one of them.
        non_members: number of non-members, likewise for the FPR.
    """
    low_x, low_y = 1 / max(2, non_members), 1 / max(2, members)
    axes = _Axes((low_x, 1), (low_y, 1), bottom=300, log=True)
    diagonal = [(x, x) for x in np.geomspace(max(low_x, low_y), 1, 30)]
    body = [
        *_frame(axes, _decades(low_x), _decades(low_y), "false positive rate", "TPR"),
        _line(axes, diagonal, "#777", "2 4"),
    ]
    styles = ((BLUE, ""), (ORANGE, "7 4"), (GREEN, "1 3"))
    names = []
    for curve, (colour, dash) in zip(curves, styles, strict=False):
        if curve.band:
            body.append(_band(axes, curve.band, colour))
        body.append(_line(axes, _steps(curve), colour, dash, 2))
        names.append((curve.name, colour))
    return _svg(title, 350, [*body, *_legend(names)])


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
        return _svg(title, 80, [_text(_WIDTH / 2, 60, "no finite value", "middle")])
    edges = _edges(both)
    counts = [np.histogram(side, edges)[0] for side in sides]
    top = max(1, *(int(c.max()) for c in counts))
    axes = _Axes((edges[0], edges[-1]), (0, top))
    ticks = sorted({0, top // 2, top})
    body = _frame(axes, _round_ticks(edges[0], edges[-1]), ticks, label, "clips")
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
    return _svg(title, 310, [*body, *_legend(names)])


def dot_figure(
    title: str, rows: list[tuple[str, list[Interval]]], series: tuple[str, ...]
) -> str:
    """Return one line per row with an AUC and its interval for each series.

    Args:
        title: also the accessible name.
        rows: label and one interval per series.
        series: their names; the first is drawn as a circle, the second as a square.
    """
    step = 16 * len(series) + 10
    bottom = 46 + step * len(rows)
    axes = _Axes((0, 1), (0, 1), left=196, top=46, bottom=bottom)
    body = _frame(axes, [0, 0.25, 0.5, 0.75, 1], [], "AUC", "")
    body.append(_line(axes, [(0.5, 0), (0.5, 1)], "#777", "4 3", 1.5))
    for k, (label, values) in enumerate(rows):
        middle = 46 + step * (k + 0.5)
        body.append(_text(188, middle + 4, _cut(label, 32), "end", 11))
        for j, value in enumerate(values):
            body += _dot(axes, value, middle + 14 * (j - (len(values) - 1) / 2), j)
    marks = zip(series, (BLUE, ORANGE), ("circle", "square"), strict=False)
    names = [(f"{name} ({mark})", colour) for name, colour, mark in marks]
    return _svg(title, bottom + 50, [*body, *_legend(names)])


def line_figure(
    title: str, values: Float[np.ndarray, "token"], x_label: str, y_label: str
) -> str:
    """Return a curve over tokens; above 300 tokens each point is the mean of a run.

    Values that are not finite leave a gap.
    """
    width = max(1, math.ceil(len(values) / 300))
    runs = [values[k : k + width] for k in range(0, len(values), width)]
    points = np.array([float(np.mean(run)) for run in runs])
    shown = points[np.isfinite(points)]
    if len(shown) == 0:
        return _svg(title, 80, [_text(_WIDTH / 2, 60, "no finite value", "middle")])
    low, high = min(0.0, shown.min()), max(0.0, shown.max())
    axes = _Axes((0, max(1, len(values) - 1)), (low, high), top=30, bottom=130)
    if width > 1:
        x_label += f", means of {width}"
    body = _frame(axes, _round_ticks(*axes.x), _round_ticks(low, high), x_label, y_label)
    body.append(_line(axes, [(0, 0), (axes.x[1], 0)], "#777", "4 3"))
    places = np.arange(len(points)) * width
    body += [_line(axes, part, BLUE, "", 1.5) for part in _unbroken(places, points)]
    return _svg(title, 180, body)


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
    values: list[list[Interval | None]],
) -> str:
    """Return AUCs with their intervals over an axis, one line per series.

    Args:
        title: also the accessible name.
        note: what is held fixed, below the title.
        labels: names of the axis and of what the series differ in.
        names: of the places along it, and of at most five series.
        values: for each series, one per place; None leaves a gap.
    """
    places, series = names
    head, top = _head(title, note)
    named = [(name, style[0]) for name, style in zip(series, _STYLES, strict=False) if name]
    legend = _legend(named, top + 4, labels[1]) if named else []
    top += 32 if named else 8
    axes = _Axes((-0.5, len(places) - 0.5), (0, 1), top=top, bottom=top + 228)
    body = [*head, *legend, *_frame(axes, [], [0, 0.25, 0.5, 0.75, 1], labels[0], "AUC")]
    for n, name in enumerate(places):
        body.append(_text(axes.at(n, 0)[0], axes.bottom + 16, _cut(name, 14), "middle", 11))
    body.append(_line(axes, [(-0.5, 0.5), (len(places) - 0.5, 0.5)], "#777", "4 3", 1.5))
    shift = 0.06  # apart, so that intervals do not hide each other
    for k, (row, (colour, dash)) in enumerate(zip(values, _STYLES, strict=False)):
        offset = shift * (k - (len(series) - 1) / 2)
        known = [(n + offset, v) for n, v in enumerate(row) if v and v.value is not None]
        body.append(_line(axes, [(x, v.value) for x, v in known], colour, dash, 2))
        for x, v in known:
            if v.low is not None and v.high is not None:
                body.append(_line(axes, [(x, v.low), (x, v.high)], colour, "", 1.2))
    return _svg(f"{title} ({note})", axes.bottom + 46, body)


def heat_figure(
    title: str,
    note: str,
    labels: tuple[str, str],
    names: tuple[list[str], list[str]],
    values: list[list[Interval | None]],
) -> str:
    """Return a grid of AUCs: blue above one half, orange below, the number in each cell.

    Args:
        title: also the accessible name.
        note: what is held fixed, below the title.
        labels: names of the axis across and the axis down.
        names: of the columns and of the rows.
        values: for each row, one per column; None leaves an empty cell.
    """
    across, down = names
    body, top = _head(title, note)
    body.append(_text(14, top + 12, f"down: {labels[1]}; across: {labels[0]}", size=11))
    left, top, right = 150, top + 44, _WIDTH - 14
    width, height = (right - left) / max(1, len(across)), 24
    bottom = top + height * len(down)
    for n, name in enumerate(across):
        middle = left + width * (n + 0.5)
        body.append(
            _text(middle, top - 8, _cut(name, max(3, int(width / 6))), "middle", 10)
        )
    for m, name in enumerate(down):
        y = top + height * m
        body.append(_text(left - 8, y + 16, _cut(name, 24), "end", 10))
        for n, value in enumerate(values[m]):
            body += _heat_cell(left + width * n, y, width, height, value)
    return _svg(f"{title} ({note})", bottom + 16, body)


def _head(title: str, note: str) -> tuple[list[str], int]:
    """Draw the title and, below it, the note in as many lines as it needs."""
    lines = textwrap.wrap(note, 78)
    body = [_text(14, 22, title, size=13)]
    body += [_text(14, 40 + 15 * n, line, size=11) for n, line in enumerate(lines)]
    return body, 30 + 15 * len(lines)


def _heat_cell(x, y, width, height, value: Interval | None) -> Iterator[str]:
    auc = value.value if value else None
    share = 0.0 if auc is None else min(1.0, 2 * abs(auc - 0.5))
    colour = BLUE if auc is not None and auc >= 0.5 else ORANGE
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    yield f'<rect {box} fill="{colour}" fill-opacity="{0.75 * share:.2f}" stroke="#fff"/>'
    text = "–" if auc is None else f"{auc:.2f}"
    size = 11 if width > 28 else 8
    yield _text(x + width / 2, y + height / 2 + 4, text, "middle", size)


def _svg(title: str, height: _Number, body: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img"'
        f' viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" height="{height:.0f}"'
        f' font-family="system-ui, sans-serif"><title>{_safe(title)}</title>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(body)}</svg>'
    )


def _safe(text: str) -> str:
    """Escape; control characters, which XML cannot hold, become spaces."""
    return escape("".join(c if c.isprintable() else " " for c in text))


def _text(x, y, text, anchor="start", size=12, turn="") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{INK}"'
        f' text-anchor="{anchor}"{turn}>{_safe(str(text))}</text>'
    )


def _line(axes, points, colour, dash="", width=1.0) -> str:
    return (
        f'<polyline points="{axes.path(points)}" fill="none" stroke="{colour}"'
        f' stroke-width="{width}" stroke-dasharray="{dash}"/>'
    )


def _band(axes, band, colour) -> str:
    grid, low, high = band
    around = [
        *zip(grid, high, strict=True),
        *zip(grid[::-1], low[::-1], strict=True),
    ]
    return f'<polygon points="{axes.path(around)}" fill="{colour}" opacity="0.15"/>'


def _frame(axes: _Axes, x_ticks, y_ticks, x_label: str, y_label: str) -> list[str]:
    """Draw grid, tick labels and axis names."""
    body = []
    for tick in x_ticks:
        x = axes.at(tick, axes.y[0])[0]
        body.append(_rule(x, axes.top, x, axes.bottom))
        body.append(_text(x, axes.bottom + 16, _tick(tick), "middle", 11))
    for tick in y_ticks:
        y = axes.at(axes.x[0], tick)[1]
        body.append(_rule(axes.left, y, axes.right, y))
        body.append(_text(axes.left - 6, y + 4, _tick(tick), "end", 11))
    middle = (axes.left + axes.right) / 2
    body.append(_text(middle, axes.bottom + 36, x_label, "middle"))
    y = (axes.top + axes.bottom) / 2
    if y_label:
        turn = f' transform="rotate(-90 14 {y:.1f})"'
        body.append(_text(14, y, y_label, "middle", 12, turn))
    return body


def _rule(x1, y1, x2, y2, colour=GRID, width=1.0) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}" stroke-width="{width}"/>'
    )


def _legend(names: list[tuple[str, str]], top: _Number = 13, what: str = "") -> list[str]:
    """Draw names in a row, each behind a block of its colour; before them, of what."""
    start = 56 + 7 * len(what)
    body, step = [_text(56, top + 10, what)] * bool(what), (_WIDTH - start) / len(names)
    for k, (name, colour) in enumerate(names):
        x = start + k * step
        body.append(f'<rect x="{x:.1f}" y="{top}" width="12" height="12" fill="{colour}"/>')
        body.append(_text(x + 18, top + 10, _cut(name, int(step / 7)), size=12))
    return body


def _dot(axes: _Axes, value: Interval, y: _Number, kind: int) -> Iterator[str]:
    if value.value is None:
        yield _text(axes.left + 6, y + 4, "no value", size=11)
        return
    colour = (BLUE, ORANGE)[kind]
    x = axes.at(value.value, 0)[0]
    if value.low is not None and value.high is not None:
        low, high = axes.at(value.low, 0)[0], axes.at(value.high, 0)[0]
        yield _rule(low, y, high, y, colour, 2)
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


def _decades(low: _Number) -> list[float]:
    """Ticks of a logarithmic axis from `low` to 1: both ends and the powers of ten."""
    powers = [10.0**-k for k in range(8)]
    return [float(low), *sorted(p for p in powers if p > 1.5 * low)]


def _tick(value: _Number) -> str:
    return f"{value:g}" if abs(float(value)) >= 1000 else f"{value:.3g}"


def _round_ticks(low: _Number, high: _Number) -> list[_Number]:
    """A few multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / 3))
    fits = (k * power for k in (5, 2) if (high - low) / (k * power) >= 3)
    step = next(fits, power)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _edges(values: np.ndarray) -> np.ndarray:
    """Twenty-odd bins; a constant gets one of width 1."""
    low, high = float(values.min()), float(values.max())
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, min(24, max(8, int(np.sqrt(len(values)) * 2))) + 1)


def _unbroken(x: np.ndarray, y: np.ndarray) -> Iterator[list[tuple[float, float]]]:
    """Yield the runs of finite points."""
    run: list[tuple[float, float]] = []
    for a, b in zip(x, y, strict=True):
        if np.isfinite(b):
            run.append((a, b))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
