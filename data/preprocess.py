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
        resize: shortest edge after resizing, before the centre is cut out (CLIP), pixels.
            None squeezes the whole frame into the square (SigLIP).
        crop: side of the square, pixels.
        resample: interpolation of resizing, "bicubic" or "bilinear".
    """

    resize: int | None
    crop: int
    resample: str = "bicubic"


@runtime_checkable
class _HasGeometry(Protocol):
    """An object with the fields of a geometry, such as a model's processor."""

    @property
    def resize(self) -> int | None: ...

    @property
    def crop(self) -> int: ...

    @property
    def resample(self) -> str: ...


def geometry_of(processor: _HasGeometry) -> FrameGeometry:
    """Return the part of a model's image processor that the host needs."""
    return FrameGeometry(processor.resize, processor.crop, processor.resample)


def preprocess(
    frames: UInt8[np.ndarray, "frame height width 3"], geometry: FrameGeometry
) -> UInt8[np.ndarray, "frame crop crop 3"]:
    """Resize and cut RGB frames of native resolution to the square that a tower takes."""
    resize, crop = geometry.resize, geometry.crop
    resample = Image.Resampling[geometry.resample.upper()]
    if resize is None:
        return np.stack([_resized(frame, crop, crop, resample) for frame in frames])
    shortest = [_shortest(frame, resize, resample) for frame in frames]
    return np.stack([_centre(frame, crop) for frame in shortest])


def _shortest(frame: np.ndarray, size: int, resample: Image.Resampling) -> np.ndarray:
    """Resize a frame so that its shortest edge has `size` pixels."""
    height, width = frame.shape[:2]
    short, long = min(height, width), max(height, width)
    other = int(size * long / short)  # truncated, as the processors do
    sides = (size, other) if width <= height else (other, size)
    return _resized(frame, *sides, resample)


def _resized(
    frame: np.ndarray, width: int, height: int, resample: Image.Resampling
) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).resize((width, height), resample=resample))


def _centre(frame: np.ndarray, crop: int) -> np.ndarray:
    """Cut out the centre; pad smaller frames with black, as the processors do."""
    height, width = frame.shape[:2]
    tall, wide = max(crop, height), max(crop, width)
    top, left = -((height - tall) // 2), -((width - wide) // 2)
    padded = np.zeros((tall, wide, 3), np.uint8)
    padded[top : top + height, left : left + width] = frame
    y, x = (tall - crop) // 2, (wide - crop) // 2
    return padded[y : y + crop, x : x + crop]
