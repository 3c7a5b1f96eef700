"""The numbers by which blind baselines see frames: what each part reacts to."""

import io

import numpy as np
import pytest
from PIL import Image

from vidsme_jax.data.appearance import appearance

COLOURS, TEXTURE, CHANGE, BLOCKS = slice(0, 30), slice(30, 51), slice(51, 55), 55


@pytest.fixture
def frames(rng):
    """Five smooth frames of 48 by 64 pixels, a little noise on them."""
    light = np.linspace(40, 200, 64)[None, None, :, None]
    noise = 10 * rng.random(size=(5, 48, 64, 3))
    return np.broadcast_to(light + noise, (5, 48, 64, 3)).astype(np.uint8)


def test_a_part_for_each_difference(frames):
    base = np.array(appearance(frames))
    assert base.shape == (56,) and np.isfinite(base).all()
    redder = frames.copy()
    redder[..., 0] = 250
    turned = np.ascontiguousarray(frames.swapaxes(1, 2))
    jumping = frames.copy()
    jumping[2] = 255 - frames[2]
    for other, part in ((redder, COLOURS), (turned, TEXTURE), (jumping, CHANGE)):
        assert np.abs(np.array(appearance(other)) - base)[part].max() > 0.02
    assert appearance(frames) == appearance(frames.copy())


def test_blocks_of_a_coarse_codec_show(frames, rng):
    noisy = (frames + rng.integers(0, 50, frames.shape)).clip(0, 255).astype(np.uint8)
    coarse = []
    for frame in noisy:
        out = io.BytesIO()
        Image.fromarray(frame).save(out, "JPEG", quality=5)
        coarse.append(np.asarray(Image.open(out)))
    assert appearance(np.stack(coarse))[BLOCKS] > 1.5
    assert appearance(noisy)[BLOCKS] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 3, 200, 3), (2, 9, 9, 3)])
def test_small_and_single_frames(shape):
    assert np.isfinite(appearance(np.zeros(shape, np.uint8))).all()
