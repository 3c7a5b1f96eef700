"""Describe frames by a few numbers, without any model, for the blind baselines.

The numbers tell colour, texture and change. If they alone tell members from non-members,
the two sets of clips differ, and any score may tell them apart for that reason.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

_FRAMES, _SIDE = 8, 96  # number of frames that are measured, and their side in pixels
_DIGITS = 6
_ANGLES = 8
_LEVELS = 8  # bins of each colour's histogram
_BLOCK = 8  # pixels of the blocks that most codecs work in


def appearance(frames: UInt8[np.ndarray, "frame height width 3"]) -> list[float]:
    """Return 56 numbers: colours, brightness, edges and their directions, change, blocks.

    Args:
        frames: RGB, at native resolution.
    """
    chosen = np.linspace(0, len(frames) - 1, min(_FRAMES, len(frames))).astype(int)
    native = [Image.fromarray(frames[n]) for n in chosen]
    small = np.stack([np.asarray(image.resize((_SIDE, _SIDE))) for image in native]) / 255.0
    grey = small.mean(axis=-1)
    blocks = [_blockiness(np.asarray(image.convert("L"), np.float64)) for image in native]
    numbers = (_colours(small), _texture(grey), _change(grey), [np.mean(blocks)])
    return [float(f"{x:.{_DIGITS}g}") for x in np.concatenate(numbers)]


def _colours(small) -> Float[np.ndarray, "30"]:
    """Return the histogram, mean and standard deviation of the three channels."""
    counts = [
        np.histogram(small[..., c], _LEVELS, (0, 1))[0] / small[..., c].size
        for c in range(3)
    ]
    pixels = small.reshape(-1, 3)
    return np.concatenate([*counts, pixels.mean(axis=0), pixels.std(axis=0)])


def _texture(grey) -> Float[np.ndarray, "21"]:
    """Return directions and strength of edges, fineness of detail, and brightness."""
    down, across = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(down, across)
    angle = np.arctan2(down, across) % np.pi
    directions = np.histogram(angle, _ANGLES, (0, np.pi), weights=strength)[0]
    directions = directions / max(directions.sum(), 1e-12)
    strong = np.quantile(strength, (0.25, 0.5, 0.75, 0.9, 0.99))
    fine = [np.abs(np.diff(grey[:, ::n, ::n], n=2, axis=2)).mean() for n in (1, 2, 4)]
    light = np.quantile(grey, (0.05, 0.25, 0.5, 0.75, 0.95))
    return np.concatenate([directions, strong, fine, light])


def _change(grey) -> Float[np.ndarray, "4"]:
    """Return how much consecutive frames differ, and how evenly; zeros for one frame."""
    if len(grey) < 2:
        return np.zeros(4)
    steps = np.abs(np.diff(grey, axis=0)).mean(axis=(1, 2))
    light = grey.mean(axis=(1, 2))
    return np.array([steps.mean(), steps.std(), steps.max(), light.std()])


def _blockiness(grey) -> float:
    """Return the ratio of the mean step at edges of a codec's blocks to that inside."""
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=0)
    edges = np.arange(len(steps)) % _BLOCK == _BLOCK - 1
    if not edges.any() or edges.all():
        return 1.0
    return float((steps[edges].mean() + 0.1) / (steps[~edges].mean() + 0.1))
