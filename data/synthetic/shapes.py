"""Write short MP4 clips with captions: moving shapes, as in the demo, or textures.

All clips are drawn independently from the same distribution. So a random split is fair:
nothing but training can tell the halves apart.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vidsme_jax.data.opencv import cv2
from vidsme_jax.data.synthetic import textures
from vidsme_jax.errors import InputError

KINDS = ("shapes", "textures")
HEIGHT, WIDTH, FRAMES, FPS = 64, 80, 16, 8.0
_COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 190, 60),
    "blue": (50, 80, 230),
    "yellow": (230, 210, 50),
    "purple": (150, 60, 190),
    "white": (240, 240, 240),
    "orange": (240, 140, 30),
    "black": (20, 20, 20),
}
_SHAPES = ("circle", "square", "triangle")
_DIRECTIONS = {
    "right": (1.0, 0.0),
    "left": (-1.0, 0.0),
    "down": (0.0, 1.0),
    "up": (0.0, -1.0),
}
_QUESTIONS = (
    "What moves in this video?",
    "Describe the shapes and where they go.",
    "What happens in the clip?",
)


def write_clips(
    folder: Path, count: int, seed: int, kind: str = "shapes"
) -> list[dict[str, Any]]:
    """Write random clips and return their records for a manifest.

    Args:
        folder: folder for clip-000.mp4 and so on.
        count: number of clips.
        seed: seed of everything random in the clips.
        kind: kind of the clips, a name of `KINDS`.

    Raises:
        InputError: a kind that does not exist.
        OSError: OpenCV could not write a file.
    """
    if kind not in KINDS:
        raise InputError(f"{kind=}, expected one of {', '.join(KINDS)}")
    folder.mkdir(parents=True, exist_ok=True)
    questions = _QUESTIONS if kind == "shapes" else textures.QUESTIONS
    records = []
    for n, rng in enumerate(np.random.default_rng(seed).spawn(count)):
        frames, caption = draw_clip(rng, kind)
        path = folder / f"clip-{n:03d}.mp4"
        write_mp4(path, frames, FPS)
        question = questions[rng.integers(len(questions))]
        video = f"{folder.name}/{path.name}"
        records.append({"video": video, "question": question, "answer": caption})
    return records


def write_mp4(
    path: Path, frames: UInt8[np.ndarray, "frame height width 3"], fps: float
) -> None:
    """Write RGB frames as MPEG-4 video.

    Args:
        path: path of the file.
        frames: frames of the clip, in order.
        fps: frames per second.

    Raises:
        OSError: OpenCV could not write the file.
    """
    size = (frames.shape[2], frames.shape[1])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write {path}")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def draw_clip(
    rng: np.random.Generator, kind: str
) -> tuple[UInt8[np.ndarray, "frame height width 3"], str]:
    """Return the RGB frames of a random clip, and its caption; `kind` is of `KINDS`."""
    if kind == "textures":
        return textures.draw_texture(rng, FRAMES, HEIGHT, WIDTH)
    return _draw_shapes(rng)


def _draw_shapes(
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "frame height width 3"], str]:
    names = rng.permutation(list(_COLOURS))
    ground = str(names[0])
    movers = [_mover(rng, str(name)) for name in names[1 : 2 + rng.integers(1, 3)]]
    flicker = rng.uniform(0, 30) * rng.normal(size=FRAMES)
    slope = rng.uniform(-0.6, 0.6, 2)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    shade = slope[0] * (y - HEIGHT / 2) + slope[1] * (x - WIDTH / 2)
    frames = []
    for n in range(FRAMES):
        frame = (
            np.array(_COLOURS[ground], np.float32)[None, None]
            + shade.astype(np.float32)[..., None]
        )
        frame = np.ascontiguousarray(frame)
        for mover in movers:
            _draw(frame, mover, n)
        frames.append(np.clip(frame + flicker[n], 0, 255).astype(np.uint8))
    scenes = [f"a {m['colour']} {m['shape']} moves {m['direction']}" for m in movers]
    return np.stack(frames), f"{' and '.join(scenes)} over {ground} ground"


def _mover(rng: np.random.Generator, colour: str) -> dict[str, Any]:
    direction = str(rng.choice(list(_DIRECTIONS)))
    speed = rng.uniform(1.5, 6.0)  # pixels a frame
    return {
        "colour": colour,
        "shape": str(rng.choice(_SHAPES)),
        "direction": direction,
        "start": rng.uniform((0, 0), (WIDTH, HEIGHT)),
        "step": speed * np.array(_DIRECTIONS[direction]) + rng.normal(0, 0.5, 2),
        "radius": int(rng.integers(6, 14)),
    }


def _draw(frame: np.ndarray, mover: dict[str, Any], n: int) -> None:
    """Draw a shape where it is in frame n; it leaves at an edge and enters opposite."""
    x, y = (mover["start"] + n * mover["step"]) % (WIDTH, HEIGHT)
    x, y, radius = int(x), int(y), mover["radius"]
    colour = tuple(map(float, _COLOURS[mover["colour"]]))
    if mover["shape"] == "circle":
        cv2.circle(frame, (x, y), radius, colour, -1)
        return
    if mover["shape"] == "square":
        corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    else:
        corners = [(0, -1), (1, 1), (-1, 1)]
    points = np.array([(x + a * radius, y + b * radius) for a, b in corners], np.int32)
    cv2.fillPoly(frame, [points], colour)
