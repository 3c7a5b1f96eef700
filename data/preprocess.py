"""Frames at native resolution to the square of pixels a vision tower was trained on.

The geometry is done here on the host with Pillow and stays uint8; rescaling and
normalising are a table on the device (`models.video_llm.pixel_levels`). Both together are
bit-equal to the `CLIPImageProcessorPil` of transformers.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def preprocess(
    frames: UInt8[np.ndarray, "frame height width 3"], size: int, crop: int
) -> UInt8[np.ndarray, "frame crop crop 3"]:
    """Resize the shortest edge to `size`, bicubic, and crop the centre; RGB."""
    return np.stack([_centre(_resize(frame, size), crop) for frame in frames])


def _resize(frame: np.ndarray, size: int) -> np.ndarray:
    height, width = frame.shape[:2]
    short, long = min(height, width), max(height, width)
    other = int(size * long / short)  # truncated, as the processors do
    target = (size, other) if width <= height else (other, size)
    image = Image.fromarray(frame)
    return np.asarray(image.resize(target, resample=Image.Resampling.BICUBIC))


def _centre(frame: np.ndarray, crop: int) -> np.ndarray:
    """Cut the centre; where the frame is smaller, pad with black as the processors do."""
    height, width = frame.shape[:2]
    tall, wide = max(crop, height), max(crop, width)
    top, left = -((height - tall) // 2), -((width - wide) // 2)
    padded = np.zeros((tall, wide, 3), np.uint8)
    padded[top : top + height, left : left + width] = frame
    y, x = (tall - crop) // 2, (wide - crop) // 2
    return padded[y : y + crop, x : x + crop]
