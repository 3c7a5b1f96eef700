"""One clip, decoded and measured step by step, for `vidsme bench`: in a decoding process.

Never in the process that asks: decord brings an FFmpeg of its own, which disturbs others.
"""

import time
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vidsme_jax.data.motion import flow_variance, illumination
from vidsme_jax.data.preprocess import preprocess
from vidsme_jax.data.readers.policy import read_clip


def prepare_timed(
    path: Path, frames: int, resize: int | None, crop: int
) -> tuple[UInt8[np.ndarray, "frame crop crop 3"], float, float]:
    """Return the pixels of a clip, and the seconds of the two steps that make them.

    Args:
        path: of the clip.
        frames: to sample.
        resize: shortest edge, None for the square itself.
        crop: side of the square.

    Returns:
        Pixels; seconds to decode, resize and cut; seconds of optical flow and illumination.
    """
    start = time.perf_counter()
    clip = read_clip(path, (frames,))
    pixels = preprocess(clip.frames, resize, crop)[clip.places(frames)]
    decoded = time.perf_counter()
    shown = clip.sample(frames)
    flow_variance(shown)
    illumination(shown)
    return pixels, decoded - start, time.perf_counter() - decoded
