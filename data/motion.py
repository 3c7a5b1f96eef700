"""Measure motion and illumination of frames, which decide the orders q and r."""

import numpy as np
from jaxtyping import UInt8

from vidsme_jax.data.opencv import cv2

# pyr_scale, levels, winsize, iterations, poly_n, poly_sigma, flags: as published.
_FARNEBACK = (0.5, 3, 15, 3, 5, 1.2, 0)


def flow_variance(frames: UInt8[np.ndarray, "frame height width 3"]) -> float:
    """Return the mean over consecutive frames of the variance of the optical flow.

    Population variance over all pixels and both components together, in square pixels of
    the frames; 0 for fewer than two frames. Source: arXiv 2506.03179.
    """
    if len(frames) < 2:
        return 0.0
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    variances = [  # one flow alive at a time: at 720p each takes 7 MB
        # OpenCV's stubs forget that the initial flow may be None.
        np.var(cv2.calcOpticalFlowFarneback(before, after, None, *_FARNEBACK))  # type: ignore[call-overload]
        for before, after in zip(gray[:-1], gray[1:], strict=True)
    ]
    return float(np.mean(variances))


def illumination(frames: UInt8[np.ndarray, "frame height width 3"]) -> float:
    """Return the population standard deviation over frames of the mean gray level (0-255).

    Source: arXiv 2506.03179, where it is called brightness variance.
    """
    means = [np.mean(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in frames]
    return float(np.std(means))
