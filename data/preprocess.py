"""Frames at native resolution to the square of pixels a vision tower was trained on.

The geometry is done here on the host with Pillow and stays uint8; rescaling and
normalising are a table on the device (`models.processor.pixel_levels`). Both together are
bit-equal to the `CLIPImageProcessorPil` and `SiglipImageProcessorPil` of transformers.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def preprocess(
    frames: UInt8[np.ndarray, "frame height width 3"], resize: int | None, crop: int
) -> UInt8[np.ndarray, "frame crop crop 3"]:
    """Bring RGB frames to the square a tower takes.

    Args:
        frames: at native resolution.
        resize: shortest edge after bicubic resizing, the centre is cut out then (CLIP);
            None squeezes the whole frame into the square (SigLIP).
        crop: side of the square.
    """
    if resize is None:
        return np.stack([_bicubic(frame, crop, crop) for frame in frames])
    return np.stack([_centre(_shortest(frame, resize), crop) for frame in frames])


def _shortest(frame: np.ndarray, size: int) -> np.ndarray:
    height, width = frame.shape[:2]
    short, long = min(height, width), max(height, width)
    other = int(size * long / short)  # truncated, as the processors do
    return _bicubic(frame, *((size, other) if width <= height else (other, size)))


def _bicubic(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    image = Image.fromarray(frame)
    return np.asarray(image.resize((width, height), resample=Image.Resampling.BICUBIC))


def _centre(frame: np.ndarray, crop: int) -> np.ndarray:
    """Cut the centre; where the frame is smaller, pad with black as the processors do."""
    height, width = frame.shape[:2]
    tall, wide = max(crop, height), max(crop, width)
    top, left = -((height - tall) // 2), -((width - wide) // 2)
    padded = np.zeros((tall, wide, 3), np.uint8)
    padded[top : top + height, left : left + width] = frame
    y, x = (tall - crop) // 2, (wide - crop) // 2
    return padded[y : y + crop, x : x + crop]
