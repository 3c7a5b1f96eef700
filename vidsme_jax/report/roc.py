"""Draw ROC curves on log axes: one score with its band, or all methods together."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vidsme_jax.report.svg import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    WIDTH,
    Axes,
    band,
    cut,
    decades,
    frame,
    legend,
    line,
    segment,
    svg_of,
    text_at,
)


@dataclass(frozen=True)
class Curve:
    """A ROC curve, with or without the interval of its TPR at some FPRs.

    Attributes:
        name: shown in the legend.
        fpr: false positive rates of the steps, upwards.
        tpr: true positive rates of the steps.
        band: FPRs, lower ends and upper ends of the interval; or None.
        kind: index of the group of curves that share a colour; None for the primary one.
    """

    name: str
    fpr: Float[np.ndarray, "step"]
    tpr: Float[np.ndarray, "step"]
    band: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    kind: int | None = None


def roc_figure(title: str, curves: list[Curve], members: int, non_members: int) -> str:
    """Draw a log-log ROC whose axes start at 1/n, which is a single clip.

    Args:
        title: also the accessible name.
        curves: at most three.
        members: number of members; the lowest TPR shown is a single member.
        non_members: number of non-members; the lowest FPR shown is a single non-member.
    """
    axes, body = _axes(members, non_members, 40)
    styles = ((BLUE, ""), (ORANGE, "7 4"), (GREEN, "1 3"))
    names = []
    for curve, (colour, dash) in zip(curves, styles, strict=False):
        if curve.band:
            body.append(band(axes, curve.band, colour))
        body.append(line(axes, _steps(curve), colour, dash, 2))
        names.append((curve.name, colour))
    return svg_of(title, axes.bottom + 50, [*body, *legend(names)])


_PRIMARY = (BLUE, "", 3.0)  # colour, dash and width
_COLOURS = ("#56B4E9", ORANGE, GREEN, PURPLE)  # by kind
_DASHES = ("", "7 3", "2 2", "9 3 2 3", "4 2", "1 4")  # in turn within a kind


def methods_figure(title: str, curves: list[Curve], members: int, non_members: int) -> str:
    """Draw the log-log ROC of many scores; the primary one is thick and drawn last.

    The list of names stands below the axes, in the order of the curves. Each name has the
    colour and the dash of its curve.

    Args:
        title: also the accessible name.
        curves: in the order of the list.
        members: number of members; the lowest TPR shown is a single member.
        non_members: number of non-members; the lowest FPR shown is a single non-member.
    """
    axes, body = _axes(members, non_members, 14)
    styles = _styles(curves)
    for curve, style in sorted(
        zip(curves, styles, strict=True), key=lambda pair: pair[0].kind is None
    ):
        body.append(line(axes, _steps(curve), *style, title=curve.name))
    entries = [*zip((curve.name for curve in curves), styles, strict=True)]
    entries.append(("chance", ("#777", "2 4", 1.0)))
    top, rows = axes.bottom + 56, -(-len(entries) // 2)
    for n, (name, style) in enumerate(entries):
        column, row = divmod(n, rows)
        body += _entry(8 + column * WIDTH / 2, top + 15 * row, name, style)
    return svg_of(title, top + 15 * rows, body)


def _styles(curves: list[Curve]) -> list[tuple[str, str, float]]:
    """Return colour, dash and width of each curve."""
    styles, drawn = [], Counter[int]()
    for curve in curves:
        if curve.kind is None:
            styles.append(_PRIMARY)
            continue
        colour = _COLOURS[curve.kind % len(_COLOURS)]
        turn, n = divmod(drawn[curve.kind], len(_DASHES))
        styles.append((colour, _DASHES[n], (1.1, 2.0)[turn % 2]))
        drawn[curve.kind] += 1
    return styles


def _entry(x, y, name: str, style: tuple[str, str, float]) -> Iterator[str]:
    """Draw a name of the list below a figure, after a piece of its line."""
    colour, dash, width = style
    yield segment(x, y - 4, x + 26, y - 4, colour, width, dash)
    yield text_at(x + 32, y, cut(name, 36), size=10)


def _axes(members: int, non_members: int, top: int) -> tuple[Axes, list[str]]:
    """Return log axes that start at a single clip, drawn with the line of chance."""
    low_x, low_y = 1 / max(2, non_members), 1 / max(2, members)
    axes = Axes((low_x, 1), (low_y, 1), top=top, bottom=top + 260, log=True)
    diagonal = [(x, x) for x in np.geomspace(max(low_x, low_y), 1, 30)]
    names = ("false positive rate (from one non-member)", "TPR")
    body = frame(axes, decades(low_x), decades(low_y), *names)
    return axes, [*body, line(axes, diagonal, "#777", "2 4")]


def _steps(curve: Curve) -> Iterator[tuple[float, float]]:
    """Yield the corners of a step ROC: right, then up, also for ties."""
    before = curve.tpr[0]
    for x, y in zip(curve.fpr, curve.tpr, strict=True):
        yield x, before
        yield x, y
        before = y
