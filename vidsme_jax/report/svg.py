"""Draw axes, lines, texts and legends as SVG.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart. All
text goes through `html.escape`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import numpy as np

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, GRID = "#222", "#ddd"
Number = int | float | np.number
WIDTH = 460  # near its natural size on a phone and in a two-column page


@dataclass(frozen=True)
class Axes:
    """A plot area and the data range that it shows.

    Attributes:
        x: lowest and highest value along the horizontal axis.
        y: lowest and highest value along the vertical axis.
        left: left edge, pixels.
        right: right edge, pixels.
        top: upper edge, pixels.
        bottom: lower edge, pixels.
        log: whether both axes are logarithmic.
    """

    x: tuple[Number, Number]
    y: tuple[Number, Number]
    left: Number = 56
    right: Number = WIDTH - 14
    top: Number = 40
    bottom: Number = 260
    log: bool = False

    def _pixel(self, value, ends, pixels) -> Number:
        """Return the pixel of a value along an axis."""
        low, high = ends
        value = min(max(value, low), high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return pixels[0] + share * (pixels[1] - pixels[0])

    def at(self, x: Number, y: Number) -> tuple[Number, Number]:
        """Return the pixels of a data point; a point outside is moved to the edge."""
        return (
            self._pixel(x, self.x, (self.left, self.right)),
            self._pixel(y, self.y, (self.bottom, self.top)),
        )

    def path(self, points) -> str:
        """Return the pixels of data points as SVG coordinates."""
        return " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y in points)


def svg_of(title: str, height: Number, body: list[str]) -> str:
    """Return a drawing of some height, with its title as accessible name."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img"'
        f' viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
        f' font-family="system-ui, sans-serif"><title>{_safe(title)}</title>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(body)}</svg>'
    )


def _safe(text: str) -> str:
    """Escape a text; control characters, which XML forbids, become spaces."""
    return escape("".join(c if c.isprintable() else " " for c in text))


HALO = ' paint-order="stroke" stroke="#fff" stroke-width="3"'  # of a text over marks


def text_at(x, y, text, anchor="start", size=12, attributes="") -> str:
    """Draw a text, with further attributes such as its turn or `HALO`."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{INK}"'
        f' text-anchor="{anchor}"{attributes}>{_safe(str(text))}</text>'
    )


def line(axes, points, colour, dash="", width=1.0, title="") -> str:
    """Draw a line through data points; a title is shown where the pointer rests on it.

    Points nearer than half a pixel to the one before are left out, so that ten thousand
    clips make no larger file than a hundred.
    """
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in _apart(axes, points))
    shape = (
        f'<polyline points="{drawn}" fill="none" stroke="{colour}"'
        f' stroke-width="{width}" stroke-dasharray="{dash}"'
    )
    return f"{shape}><title>{_safe(title)}</title></polyline>" if title else f"{shape}/>"


def _apart(axes: Axes, points) -> list[tuple[Number, Number]]:
    """Return the pixels of data points that lie apart, and of the last one."""
    places = [axes.at(x, y) for x, y in points]
    apart = places[:1]
    for x, y in places[1:]:
        if max(abs(x - apart[-1][0]), abs(y - apart[-1][1])) >= 0.5:
            apart.append((x, y))
    return apart if apart[-1:] == places[-1:] else [*apart, places[-1]]


# Marks of a class, which differ without colour, too; drawn around their place.
SHAPES = {
    "circle": "m-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0",
    "square": "m-3,-3h6v6h-6z",
    "triangle": "m0,-4l4,7h-8z",
    "diamond": "m0,-4l4,4l-4,4l-4,-4z",
}


def marks(places, shape: str, colour: str, is_filled: bool, title: str = "") -> str:
    """Draw a mark at each place, in pixels, as a single element."""
    drawn = "".join(f"M{x:.1f},{y:.1f}{SHAPES[shape]}" for x, y in places)
    inside = f'fill="{colour}" fill-opacity="0.8"' if is_filled else 'fill="#fff"'
    path = f'<path d="{drawn}" {inside} stroke="{colour}" stroke-width="1.2"'
    return f"{path}><title>{_safe(title)}</title></path>" if title else f"{path}/>"


def band(axes, ends, colour) -> str:
    """Draw the area between two curves over a grid."""
    grid, low, high = ends
    outline = [
        *zip(grid, high, strict=True),
        *zip(grid[::-1], low[::-1], strict=True),
    ]
    return f'<polygon points="{axes.path(outline)}" fill="{colour}" opacity="0.15"/>'


def frame(axes: Axes, x_ticks, y_ticks, x_label: str, y_label: str) -> list[str]:
    """Draw grid, tick labels and axis names."""
    body = []
    for tick in x_ticks:
        x = axes.at(tick, axes.y[0])[0]
        body.append(segment(x, axes.top, x, axes.bottom))
        body.append(text_at(x, axes.bottom + 16, tick_text(tick), "middle", 11))
    for tick in y_ticks:
        y = axes.at(axes.x[0], tick)[1]
        body.append(segment(axes.left, y, axes.right, y))
        body.append(text_at(axes.left - 6, y + 4, tick_text(tick), "end", 11))
    middle = (axes.left + axes.right) / 2
    body.append(text_at(middle, axes.bottom + 36, x_label, "middle"))
    y = (axes.top + axes.bottom) / 2
    if y_label:
        turn = f' transform="rotate(-90 14 {y:.1f})"'
        body.append(text_at(14, y, y_label, "middle", 12, turn))
    return body


def segment(x1, y1, x2, y2, colour=GRID, width=1.0, dash="") -> str:
    """Draw a straight line, in pixels."""
    broken = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}" stroke-width="{width}"{broken}/>'
    )


def legend(names: list[tuple[str, str]], top: Number = 13, title: str = "") -> list[str]:
    """Draw a title and names in a row, each name after a square of its colour."""
    start = 56 + 7 * len(title)
    body, step = [text_at(56, top + 10, title)] * bool(title), (WIDTH - start) / len(names)
    for k, (name, colour) in enumerate(names):
        x = start + k * step
        body.append(f'<rect x="{x:.1f}" y="{top}" width="12" height="12" fill="{colour}"/>')
        body.append(text_at(x + 18, top + 10, cut(name, int(step / 7)), size=12))
    return body


def decades(low: Number) -> list[float]:
    """Return ticks of a logarithmic axis from `low` to 1: ends and powers of ten."""
    powers = [10.0**-k for k in range(8)]
    return [float(low), *sorted(p for p in powers if p > 1.5 * low)]


def tick_text(value: Number) -> str:
    """Return the label of a tick."""
    return f"{value:g}" if abs(float(value)) >= 1000 else f"{value:.3g}"


def round_ticks(low: Number, high: Number) -> list[Number]:
    """Return a few ticks: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / 3))
    fits = (k * power for k in (5, 2) if (high - low) / (k * power) >= 3)
    step = next(fits, power)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def unbroken(x: np.ndarray, y: np.ndarray) -> Iterator[list[tuple[float, float]]]:
    """Yield the stretches of a curve without a missing value."""
    points: list[tuple[float, float]] = []
    for a, b in zip(x, y, strict=True):
        if np.isfinite(b):
            points.append((a, b))
        elif points:
            yield points
            points = []
    if points:
        yield points


def cut(text: str, length: int) -> str:
    """Return a text cut to at most `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"
