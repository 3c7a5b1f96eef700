import cv2
import numpy as np
import pytest

from vidsme_jax.data.motion import flow_variance, illumination


def gray(frame):
    """The weights of ITU-R 601 in the fixed point that OpenCV uses."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def textured(rng, height=120, width=160):
    noise = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 5)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)


def test_motion_matches_a_plain_transcription(rng):
    frames = np.stack([np.roll(textured(rng), 2 * n, axis=1) for n in range(4)])
    want = []
    for a, b in zip(frames[:-1], frames[1:], strict=True):
        flow = cv2.calcOpticalFlowFarneback(
            gray(a), gray(b), None, 0.5, 3, 15, 3, 5, 1.2, 0
        ).astype(np.float64)
        want.append(np.mean((flow - flow.mean()) ** 2))
    assert flow_variance(frames) == pytest.approx(np.mean(want), rel=1e-5)


def test_a_known_movement_has_its_known_variance(rng):
    """The upper half moves k pixels: a quarter of all components is k, the rest 0."""
    still = textured(rng)
    for k in (1, 2, 4):
        frames = np.repeat(still[None], 4, axis=0).copy()
        for n in range(4):
            frames[n, :60] = np.roll(still[:60], k * n, axis=1)
        # Flow is smoothed over the edge and lost where the picture wraps.
        assert flow_variance(frames) == pytest.approx(k**2 * 3 / 16, rel=0.35)
    assert flow_variance(np.repeat(still[None], 3, axis=0)) < 1e-3


def test_one_frame_has_no_motion_and_no_flicker(rng):
    assert flow_variance(textured(rng)[None]) == 0
    assert illumination(textured(rng)[None]) == 0


def test_illumination_is_the_population_deviation_of_mean_gray(rng):
    frames = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (10, 30, 80)])
    assert illumination(frames) == pytest.approx(np.std([10, 30, 80]))
