"""Resize and cut frames to the square of pixels that a vision tower was trained on.

The host does this with Pillow, and frames stay uint8. The device rescales and normalises
by a table (`models.processor.pixel_levels`). Both together are bit-equal to
the `CLIPImageProcessorPil` and `SiglipImageProcessorPil` of transformers.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image


@dataclass(frozen=True)
class FrameGeometry:
    """The square of pixels that a frame becomes.

    Attributes:
        resize: shortest edge after bicubic resizing, before the centre is cut out (CLIP),
            pixels. None squeezes the whole frame into the square (SigLIP).
        crop: side of the square, pixels.
    """

    resize: int | None
    crop: int


@runtime_checkable
class _HasGeometry(Protocol):
    """An object with the two sizes of a geometry, such as a model's processor."""

    @property
    def resize(self) -> int | None: ...

    @property
    def crop(self) -> int: ...


def geometry_of(processor: _HasGeometry) -> FrameGeometry:
    """Return the sizes of a model's image processor, which the host needs."""
    return FrameGeometry(processor.resize, processor.crop)


def preprocess(
    frames: UInt8[np.ndarray, "frame height width 3"], geometry: FrameGeometry
) -> UInt8[np.ndarray, "frame crop crop 3"]:
    """Resize and cut RGB frames of native resolution to the square that a tower takes."""
    resize, crop = geometry.resize, geometry.crop
    if resize is None:
        return np.stack([_bicubic(frame, crop, crop) for frame in frames])
    return np.stack([_centre(_shortest(frame, resize), crop) for frame in frames])


def _shortest(frame: np.ndarray, size: int) -> np.ndarray:
    """Resize a frame so that its shortest edge has `size` pixels."""
    height, width = frame.shape[:2]
    short, long = min(height, width), max(height, width)
    other = int(size * long / short)  # truncated, as the processors do
    return _bicubic(frame, *((size, other) if width <= height else (other, size)))


def _bicubic(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    image = Image.fromarray(frame)
    return np.asarray(image.resize((width, height), resample=Image.Resampling.BICUBIC))


def _centre(frame: np.ndarray, crop: int) -> np.ndarray:
    """Cut out the centre; pad smaller frames with black, as the processors do."""
    height, width = frame.shape[:2]
    tall, wide = max(crop, height), max(crop, width)
    top, left = -((height - tall) // 2), -((width - wide) // 2)
    padded = np.zeros((tall, wide, 3), np.uint8)
    padded[top : top + height, left : left + width] = frame
    y, x = (tall - crop) // 2, (wide - crop) // 2
    return padded[y : y + crop, x : x + crop]
