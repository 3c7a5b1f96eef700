"""Draw all clips in the order of their score, however many they are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vidsme_jax.report.svg import (
    BLUE,
    GREEN,
    HALO,
    ORANGE,
    PURPLE,
    WIDTH,
    Axes,
    cut,
    frame,
    marks,
    round_ticks,
    segment,
    svg_of,
    text_at,
)

# Shape and colour of each class of clips.
STYLES = {
    "members": ("circle", BLUE),
    "non-members": ("square", ORANGE),
    "to judge": ("triangle", GREEN),
    "no label": ("triangle", GREEN),
    "reference": ("diamond", PURPLE),
}
_BINS = 160  # pieces of a lane: more are narrower than two pixels
_SHADES = 4
_TITLED = 200  # clips that are named where the pointer rests on them


@dataclass(frozen=True)
class ClassShares:
    """The class of each clip, the clips in the order of their score.

    Attributes:
        names: keys of `STYLES`.
        of: index of the class of each clip.
    """

    names: tuple[str, ...]
    of: Int[np.ndarray, "clip"]

    def shares(self) -> Float[np.ndarray, "class bin"]:
        """Return the share of each class in each piece of the order."""
        parts = np.array_split(self.of, min(_BINS, len(self.of)))
        rows = [np.bincount(part, minlength=len(self.names)) for part in parts]
        return np.array([row / row.sum() for row in rows]).T


@dataclass(frozen=True)
class RankedClips:
    """All clips of a figure, the most member-like first.

    Attributes:
        values: score of each clip, as in the table.
        names: name of each clip.
        classes: class of each clip.
        is_marked: whether a clip's mark is filled.
    """

    values: Float[np.ndarray, "clip"]
    names: list[str]
    classes: ClassShares
    is_marked: Bool[np.ndarray, "clip"]


def rank_figure(
    title: str,
    label: str,
    clips: RankedClips,
    limits: list[tuple[float, str]],
    ticks: list[tuple[float, str]],
) -> str:
    """Draw the score of every clip over its rank, a lane per class, and limits.

    The lanes below the axes show where the clips of a class stand. A piece of a lane is
    the darker, the more of its clips are of that class.

    Args:
        title: also the accessible name.
        label: name of the score; its side is seen from the order of the ranks.
        clips: at least one.
        limits: scores beyond which clips are called, with their names.
        ticks: scores of the axis on the right, with their p-values; the important first.
    """
    count, values = len(clips.values), clips.values
    ends = [*values.tolist(), *(score for score, _ in limits)]
    room = 0.09 * (max(ends) - min(ends))  # for the name of a limit at the edge
    y_range = (min(ends) - room, max(ends) + room)
    axes = Axes((0.5, count + 0.5), y_range, right=WIDTH - 62, top=46, bottom=290)
    x_ticks = sorted({1, *(int(n) for n in round_ticks(1, count) if n >= 1), count})
    body = frame(axes, [], round_ticks(*axes.y), "", label)
    lane_height, top = 11, axes.bottom + 8
    foot = top + lane_height * len(clips.classes.names)
    for n in _spaced(x_ticks, axes):
        body.append(text_at(axes.at(n, 0)[0], foot + 14, f"{n:g}", "middle", 11))
    body.append(segment(axes.left, axes.bottom, axes.right, axes.bottom, "#777"))
    body += lanes(clips.classes, axes, lane_height)
    for k, name in reversed([*enumerate(clips.classes.names)]):
        body += _class_marks(clips, k, name, axes)
    body += [*_limits(limits, axes), *_p_axis(ticks, axes), *_names(clips.classes)]
    middle = (axes.left + axes.right) / 2
    rank = "rank of the clip, the most member-like first"
    body.append(text_at(middle, foot + 32, rank, "middle"))
    return svg_of(title, foot + 42, body)


def _spaced(ticks, axes: Axes) -> list[int]:
    """Return the ticks of the ranks that stand apart, the first and the last among them."""
    kept = [ticks[-1]]
    for n in ticks[:-1]:
        x = axes.at(n, 0)[0]
        if all(abs(axes.at(other, 0)[0] - x) > 34 for other in kept):
            kept.append(n)
    return kept


def _class_marks(clips: RankedClips, k: int, name: str, axes: Axes) -> Iterator[str]:
    """Draw the marks of a class; of clips within a pixel, only the first."""
    shape, colour = STYLES[name]
    rows = np.flatnonzero(clips.classes.of == k)
    places = [axes.at(n + 1, clips.values[n]) for n in rows.tolist()]
    if len(clips.values) <= _TITLED:
        for n, place in zip(rows.tolist(), places, strict=True):
            words = f"{clips.names[n]}: {clips.values[n]:.4g}, rank {n + 1}"
            yield marks([place], shape, colour, bool(clips.is_marked[n]), words)
        return
    for is_filled in (False, True):
        of_kind = np.flatnonzero(clips.is_marked[rows] == is_filled).tolist()
        apart = {int(places[n][0]): places[n] for n in reversed(of_kind)}
        if apart:
            yield marks(apart.values(), shape, colour, is_filled)


def lanes(
    classes: ClassShares, axes: Axes, width: int, is_vertical: bool = False
) -> Iterator[str]:
    """Draw a lane per class along an axis: where in the order its clips stand."""
    shares = classes.shares()
    start, end = (axes.top, axes.bottom) if is_vertical else (axes.left, axes.right)
    step = (end - start) / shares.shape[1]
    for k, (name, row) in enumerate(zip(classes.names, shares, strict=True)):
        shape, colour = STYLES[name]
        first = axes.left - width * len(classes.names) if is_vertical else axes.bottom + 8
        offset = first + width * k
        middle = offset + (width - 3) / 2
        centre = (middle, start - 9) if is_vertical else (start - 10, middle)
        yield marks([centre], shape, colour, True)
        for shade in range(1, _SHADES + 1):
            drawn = ""
            for n in np.flatnonzero(np.ceil(row * _SHADES) == shade).tolist():
                along, length = start + step * n, step - min(1.0, step / 8)
                x, y = (offset, along) if is_vertical else (along, offset)
                w, h = (width - 3, length) if is_vertical else (length, width - 3)
                drawn += f"M{x:.1f},{y:.1f}h{w:.2f}v{h:.2f}h{-w:.2f}z"
            if drawn:
                opacity = shade / _SHADES
                yield f'<path d="{drawn}" fill="{colour}" fill-opacity="{opacity:g}"/>'


def _limits(limits: list[tuple[float, str]], axes: Axes) -> Iterator[str]:
    """Draw a dashed line at each of two limits, with a name above or below the pair."""
    heights = [(axes.at(1, score)[1], name) for score, name in limits]
    for k, (y, name) in enumerate(sorted(heights)):
        yield segment(axes.left, y, axes.right, y, "#555", 1.3, "6 3")
        yield text_at(axes.right - 4, y + (14 if k else -4), name, "end", 11, HALO)


def _p_axis(ticks: list[tuple[float, str]], axes: Axes) -> Iterator[str]:
    """Draw the axis of p-values on the right; of ticks that touch, only the first."""
    drawn: list[float] = []
    for score, name in ticks:
        y = axes.at(1, score)[1]
        if all(abs(y - other) >= 12 for other in drawn):
            drawn.append(float(y))
            yield segment(axes.right, y, axes.right + 5, y, "#222", 1.5)
            yield text_at(axes.right + 8, y + 4, name, size=11)


def _names(classes: ClassShares) -> Iterator[str]:
    """Draw the name and the mark of each class, with the number of its clips."""
    step = (WIDTH - 20) / max(3, len(classes.names))
    for k, name in enumerate(classes.names):
        shape, colour = STYLES[name]
        count = int(np.sum(classes.of == k))
        x = 24 + k * step
        yield marks([(x, 18)], shape, colour, True)
        yield text_at(x + 9, 22, cut(f"{name} ({count})", int(step / 6)), size=12)
