"""Decode a clip and time the steps, in a decoding process of `vidsme bench`.

The bench itself must not decode: decord brings an FFmpeg that disturbs others. So the
readers are imported only where a clip is read.
"""

import time
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vidsme_jax.data.motion import flow_variance, illumination
from vidsme_jax.data.preprocess import FrameGeometry, preprocess


def prepare_timed(
    path: Path, frames: int, geometry: FrameGeometry
) -> tuple[UInt8[np.ndarray, "frame crop crop 3"], float, float]:
    """Return the pixels of a clip, and the seconds of the two steps that make them.

    Args:
        path: path of the clip.
        frames: number of frames to sample.
        geometry: the square of pixels that a frame becomes.

    Returns:
        Pixels; seconds to decode, resize and crop; seconds of optical flow and
        illumination.
    """
    from vidsme_jax.data.readers.policy import read_clip

    start = time.perf_counter()
    clip = read_clip(path, (frames,))
    pixels = preprocess(clip.frames, geometry)[clip.places(frames)]
    decoded = time.perf_counter()
    sampled = clip.sample(frames)
    flow_variance(sampled)
    illumination(sampled)
    return pixels, decoded - start, time.perf_counter() - decoded
