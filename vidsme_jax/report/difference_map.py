"""Draw which frames change the entropy when the clip is reversed, over all clips.

Blue is the side on which members are expected, orange the other, white no difference.
Colour-blind readers can tell the two apart.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vidsme_jax.report.images import map_uri
from vidsme_jax.report.ranking import ClassShares, lanes
from vidsme_jax.report.svg import (
    BLUE,
    ORANGE,
    Axes,
    Number,
    segment,
    svg_of,
    text_at,
    tick_text,
)

_MISSING = "#999999"
_LEVELS = 20  # shades on each side of white
ROWS = 160  # more clips than this share the rows of a map


@dataclass(frozen=True)
class ColourScale:
    """The colours of differences.

    Attributes:
        limit: the difference from which on a colour is full.
        is_higher: whether members are expected at high values, which are then blue.
    """

    limit: float
    is_higher: bool

    def shade(self, values: Float[np.ndarray, "*n"]) -> np.ndarray:
        """Return the index of the shade of each value; a missing one has the last."""
        share = np.clip(np.nan_to_num(values / self.limit), -1, 1)
        share = share if self.is_higher else -share
        shades = np.rint(_LEVELS * share).astype(int) + _LEVELS
        return np.where(np.isnan(values), 2 * _LEVELS + 1, shades)

    def colour(self, value: float) -> str:
        """Return the colour of a value as `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*PALETTE[self.shade(np.array(value))])


def scale_of(values: Float[np.ndarray, "*n"], is_higher: bool) -> ColourScale:
    """Return colours that are full at the 98th percentile of the absolute differences."""
    sizes = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(sizes, 98)) if len(sizes) else 0.0
    return ColourScale(limit if limit > 0 else 1.0, is_higher)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)], float)


def _palette() -> np.ndarray:
    """Return the shades from orange over white to blue, then the colour of no value."""
    white = np.full(3, 255.0)
    steps = np.arange(1, _LEVELS + 1)[:, None] / _LEVELS
    sides = [white + steps * (_rgb(end) - white) for end in (ORANGE, BLUE)]
    rows = [sides[0][::-1], white[None], sides[1], _rgb(_MISSING)[None]]
    return np.rint(np.concatenate(rows)).astype(np.uint8)


PALETTE = _palette()


def ink_on(colour: str) -> str:
    """Return black or white, whichever is read better on a colour."""
    linear = (_rgb(colour) / 255) ** 2.2
    return "#000" if linear @ np.array([0.2126, 0.7152, 0.0722]) > 0.18 else "#fff"


def frame_means(
    values: Float[np.ndarray, "token"], frames: int
) -> Float[np.ndarray, "frame"]:
    """Return the mean of a curve over the positions of each frame.

    Args:
        values: value of each position: equally many for each frame, then perhaps a few.
        frames: number of frames of the clip.

    Returns:
        NaN for each frame where there are fewer positions than frames.
    """
    size = len(values) // frames
    if not size:
        return np.full(frames, np.nan)
    return np.array([np.mean(part) for part in np.split(values[: size * frames], frames)])


def binned(
    values: Float[np.ndarray, "clip frame"], rows: int = ROWS
) -> Float[np.ndarray, "row frame"]:
    """Return at most so many rows: means over clips that are neighbours in their order."""
    parts = np.array_split(values, min(rows, len(values)))
    return np.stack([_mean(part) for part in parts])


def _mean(rows: np.ndarray) -> np.ndarray:
    """Return the mean of the rows that have values."""
    there = np.isfinite(rows)
    count = there.sum(axis=0)
    total = np.where(there, rows, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def difference_figure(
    title: str,
    values: Float[np.ndarray, "clip frame"],
    classes: ClassShares,
    is_higher: bool,
) -> str:
    """Draw the difference of each frame of each clip as a map of colours.

    Args:
        title: also the accessible name.
        values: mean difference of each frame; clips in the order of their score.
        classes: which class each clip is of.
        is_higher: whether members are expected at high differences.
    """
    shown = binned(values)
    rows, frames = shown.shape
    scale = scale_of(values, is_higher)  # of single clips, as below their strips
    height = min(320, max(60, 14 * rows))
    lane_width = 14
    left = 62 + lane_width * len(classes.names)  # room for the clips' numbers
    axes = Axes((0, frames), (rows, 0), left=left, top=34, bottom=34 + height)
    across, down = -(-(axes.right - left) // frames), -(-height // rows)
    uri = map_uri(scale.shade(shown), PALETTE, (int(down), int(across)))
    box = f'x="{left}" y="34" width="{axes.right - left}" height="{height}"'
    body = [
        f'<image {box} preserveAspectRatio="none" href="{uri}"/>',
        f'<rect {box} fill="none" stroke="#777"/>',
        *lanes(classes, axes, lane_width, is_vertical=True),
        *_numbers(axes, len(values), frames),
        *_legend(scale, axes),
    ]
    return svg_of(title, axes.bottom + 82, body)


def _numbers(axes: Axes, clips: int, frames: int) -> list[str]:
    """Draw the numbers of clips and of frames beside a map."""
    y = (axes.top + axes.bottom) / 2
    turn = f' transform="rotate(-90 14 {y:.1f})"'
    step = -(-frames // 8)
    return [
        text_at(14, y, "clips, by rank", "middle", 12, turn),
        text_at(56, axes.top + 10, "1", "end", 11),
        *[text_at(56, axes.bottom, clips, "end", 11)] * (clips > 1),
        *(
            text_at(axes.at(n + 0.5, 0)[0], axes.bottom + 15, n + 1, "middle", 11)
            for n in range(0, frames, step)
        ),
        text_at((axes.left + axes.right) / 2, axes.bottom + 32, "frame", "middle"),
    ]


def _legend(scale: ColourScale, axes: Axes) -> list[str]:
    """Draw the colours with the differences that they stand for."""
    y, width = axes.bottom + 46, 4
    left: Number = (axes.left + axes.right - width * (2 * _LEVELS + 1)) / 2
    body = []
    ends = np.linspace(-scale.limit, scale.limit, 2 * _LEVELS + 1)
    for n, value in enumerate(ends):
        x = left + width * n
        colour = scale.colour(float(value))
        body.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="4.5" height="12" fill="{colour}"/>'
        )
    middle, right = left + width * (_LEVELS + 0.5), left + width * len(ends)
    body.append(segment(middle, y, middle, y + 16, "#777"))
    sides = ("members expected", "non-members expected")
    low, high = sides[::-1] if scale.is_higher else sides
    body += [
        text_at(left - 5, y + 10, tick_text(-scale.limit), "end", 11),
        text_at(right + 5, y + 10, f"+{tick_text(scale.limit)}", "start", 11),
        text_at(middle - 8, y + 28, f"← {low}", "end", 11),
        text_at(middle, y + 28, "0", "middle", 11),
        text_at(middle + 8, y + 28, f"{high} →", "start", 11),
    ]
    return body
