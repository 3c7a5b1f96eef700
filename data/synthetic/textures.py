"""Draw moving patterns that fill the whole frame, unlike shapes on a ground.

A pattern mixes two colours: waves, checks, rings, rays or clouds. It drifts, grows or
turns, while its light stays, rises, falls or pulses. The caption names directions and
light; both change when the clip runs backwards.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

QUESTIONS = (
    "What pattern is shown, and how does it change?",
    "Describe the texture and its motion.",
    "How do the pattern and its light develop?",
)
# A pattern mixes a dark and a light colour, so that it can always be seen.
_DARK = {
    "navy": (20, 30, 95),
    "maroon": (115, 20, 45),
    "teal": (0, 95, 95),
    "brown": (100, 60, 25),
    "olive": (85, 95, 15),
    "violet": (80, 20, 120),
}
_LIGHT = {
    "cream": (250, 235, 200),
    "pink": (250, 160, 195),
    "mint": (160, 245, 200),
    "gold": (240, 195, 60),
    "lavender": (195, 175, 250),
    "silver": (190, 200, 205),
    "salmon": (255, 150, 115),
}
_SIZES = {"fine": (12.0, 16.0), "medium": (22.0, 32.0), "coarse": (44.0, 64.0)}  # pixels
_ARMS = {"fine": 10, "medium": 6, "coarse": 3}  # of rays
_DRIFTS = {  # angle of the direction, y down
    "drift to the right": 0.0,
    "drift downwards": 0.5 * np.pi,
    "drift to the left": np.pi,
    "drift upwards": 1.5 * np.pi,
}
_RING_MOVES = {"expand": 1.0, "shrink": -1.0}
_RAY_MOVES = {"turn clockwise": 1.0, "turn anticlockwise": -1.0}
_PATTERNS = {
    "waves": tuple(_DRIFTS),
    "checks": tuple(_DRIFTS),
    "clouds": tuple(_DRIFTS),
    "rings": tuple(_RING_MOVES),
    "rays": tuple(_RAY_MOVES),
}
_CHANGES = ("keep their light", "brighten", "darken", "pulse slowly", "pulse quickly")
_SIDES = {
    "the right": (1.0, 0.0),
    "the left": (-1.0, 0.0),
    "below": (0.0, 1.0),
    "above": (0.0, -1.0),
}
_WAVES = 24  # in a field of clouds


class Traits(NamedTuple):
    """The traits of a clip that its caption names, in words of the tables above.

    Attributes:
        dark: dark colour of the pattern.
        light: light colour of the pattern.
        size: size of the pattern.
        pattern: form of the pattern, such as waves.
        move: movement of the pattern; every form has its own moves.
        change: change of the light over time.
        side: side from which the light comes.
    """

    dark: str
    light: str
    size: str
    pattern: str
    move: str
    change: str
    side: str

    def caption(self) -> str:
        """Return the caption that a model learns."""
        subject = f"{self.size} {self.dark} and {self.light} {self.pattern}"
        return f"{subject} {self.move} and {self.change}, lit from {self.side}"


class Coordinates(NamedTuple):
    """Place and time of every pixel, in arrays that broadcast to [frame y x].

    Attributes:
        x: pixels from the middle, to the right.
        y: pixels from the middle, downwards.
        time: frames from the start.
    """

    x: Float[np.ndarray, "1 1 width"]
    y: Float[np.ndarray, "1 height 1"]
    time: Float[np.ndarray, "frame 1 1"]


def draw_texture(
    rng: np.random.Generator, frames: int, height: int, width: int
) -> tuple[UInt8[np.ndarray, "frame height width 3"], str]:
    """Return the RGB frames of a random pattern, and its caption."""
    traits = draw_traits(rng)
    return paint(traits, rng, frames, height, width), traits.caption()


def draw_traits(rng: np.random.Generator) -> Traits:
    """Return random traits, all independent but for the pattern and its moves."""
    kinds = (_DARK, _LIGHT, _SIZES, _PATTERNS, _CHANGES, _SIDES)
    dark, light, size, pattern, change, side = (str(rng.choice(list(k))) for k in kinds)
    move = str(rng.choice(_PATTERNS[pattern]))
    return Traits(dark, light, size, pattern, move, change, side)


def paint(
    traits: Traits, rng: np.random.Generator, frames: int, height: int, width: int
) -> UInt8[np.ndarray, "frame height width 3"]:
    """Return RGB frames that have the traits; the generator decides everything else."""
    time, y, x = np.ogrid[:frames, :height, :width]
    place = Coordinates(x - (width - 1) / 2, y - (height - 1) / 2, time.astype(float))
    value = _share_of_light(rng, place, traits)[..., None]
    pair = np.array((_DARK[traits.dark], _LIGHT[traits.light]))
    dark, light = pair + rng.uniform(-20, 20, (2, 3))
    slope = rng.uniform(0.2, 0.45) * np.array(_SIDES[traits.side]) + rng.normal(0, 0.05, 2)
    shade = 1 + slope[0] * place.x / (width / 2) + slope[1] * place.y / (height / 2)
    lit = shade * _brightness(rng, frames, traits.change)[:, None, None]
    mixed = ((1 - value) * dark + value * light) * lit[..., None]
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _share_of_light(
    rng: np.random.Generator, place: Coordinates, traits: Traits
) -> Float[np.ndarray, "frame height width"]:
    """Return the share of the light colour, 0 to 1."""
    # In cycles a frame: below half a cycle even where only every third frame is shown,
    # since faster waves would seem to run backwards.
    pace = rng.uniform(0.05, 0.15)
    length = rng.uniform(*_SIZES[traits.size])
    if traits.pattern in ("rings", "rays"):
        wave = _around(rng, place, traits, length, pace)
    elif traits.pattern == "clouds":
        wave = _clouds(rng, place, length, _towards(rng, traits), pace)
    else:
        wave = _across(rng, place, traits, length, pace)
    return 0.5 + 0.5 * wave


def _towards(rng: np.random.Generator, traits: Traits) -> float:
    """Return the angle of a drift, near that of its name."""
    return float(_DRIFTS[traits.move] + rng.uniform(-0.5, 0.5))


def _around(
    rng: np.random.Generator, place: Coordinates, traits: Traits, length: float, pace: float
) -> Float[np.ndarray, "frame height width"]:
    """Return rings or rays about a random point near the middle, -1 to 1."""
    centre, phase = rng.uniform(-20, 20, 2), rng.uniform(0, 2 * np.pi)
    x, y = place.x - centre[0], place.y - centre[1]
    moved = 2 * np.pi * pace * place.time * (_RING_MOVES | _RAY_MOVES)[traits.move]
    if traits.pattern == "rings":
        return np.sin(2 * np.pi * np.hypot(x, y) / length - moved + phase)
    return np.sin(_ARMS[traits.size] * np.arctan2(y, x) - moved + phase)


def _across(
    rng: np.random.Generator, place: Coordinates, traits: Traits, length: float, pace: float
) -> Float[np.ndarray, "frame height width"]:
    """Return waves or checks, -1 to 1."""
    towards, phase = _towards(rng, traits), rng.uniform(0, 2 * np.pi, 2)
    along = place.x * np.cos(towards) + place.y * np.sin(towards)
    beside = place.y * np.cos(towards) - place.x * np.sin(towards)
    turns, cross = along / length - pace * place.time, 2 * np.pi * beside / length
    if traits.pattern == "checks":
        return np.sin(2 * np.pi * turns + phase[0]) * np.sin(cross + phase[1])
    # Bent, since optical flow along straight stripes is undefined, and comes out huge.
    bend = rng.uniform(0.2, 0.4) * np.sin(cross / 2 + phase[1])
    return np.sin(2 * np.pi * (turns + bend) + phase[0])


def _clouds(
    rng: np.random.Generator, place: Coordinates, length: float, towards: float, pace: float
) -> Float[np.ndarray, "frame height width"]:
    """Return a smooth random field that drifts as a whole, a sum of waves, -1 to 1."""
    directions, phases = rng.uniform(0, 2 * np.pi, (2, _WAVES))
    lengths = length * rng.uniform(0.8, 2.0, _WAVES)
    step = pace * length * place.time  # pixels
    x, y = place.x - step * np.cos(towards), place.y - step * np.sin(towards)
    field = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for direction, phase, wave_length in zip(directions, phases, lengths, strict=True):
        far = x * np.cos(direction) + y * np.sin(direction)
        field += np.sin(2 * np.pi * far / wave_length + phase)
    return np.tanh(field * np.sqrt(2 / _WAVES))


def _brightness(
    rng: np.random.Generator, frames: int, change: str
) -> Float[np.ndarray, "frame"]:
    """Return the factor of every frame's light; it trembles a little in every clip."""
    low, high = rng.uniform(0.3, 0.45), rng.uniform(0.9, 1.0)
    tremble = rng.uniform(0, 0.08) * rng.normal(size=frames)
    if change in ("brighten", "darken"):
        rising = np.linspace(low, high, frames)
        return tremble + (rising if change == "brighten" else rising[::-1])
    if change == "keep their light":
        return tremble + rng.uniform(0.7, 1.0)
    period = rng.uniform(11, 16) if change == "pulse slowly" else rng.uniform(5, 7)
    swing = np.sin(2 * np.pi * np.arange(frames) / period + rng.uniform(0, 2 * np.pi))
    return tremble + 0.5 * (high + low) + 0.5 * (high - low) * swing
