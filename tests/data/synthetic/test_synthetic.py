"""The clips that we draw ourselves: two kinds that share nothing but their form."""

import hashlib

import numpy as np
import pytest

from vidsme_jax.data.motion import flow_variance
from vidsme_jax.data.readers.policy import read_clip
from vidsme_jax.data.synthetic.shapes import (
    FPS,
    FRAMES,
    HEIGHT,
    KINDS,
    WIDTH,
    draw_clip,
    write_clips,
)
from vidsme_jax.data.synthetic.textures import QUESTIONS, Traits, paint
from vidsme_jax.errors import InputError

# sha256 of the drawn frames, from before there was a second kind: the figures of the
# demo are those of these clips.
SHAPES = ("c7cc9d8781197fa4", "af66ea7059f231c1", "ffe84d8e98e43143")


def drawn(kind, count, seed=0):
    return [draw_clip(rng, kind) for rng in np.random.default_rng(seed).spawn(count)]


def test_shapes_are_what_they_were():
    hashes = [hashlib.sha256(f.tobytes()).hexdigest()[:16] for f, _ in drawn("shapes", 3)]
    assert tuple(hashes) == SHAPES


def test_shapes_are_the_default(tmp_path):
    default = write_clips(tmp_path / "a" / "clips", 2, seed=4)
    named = write_clips(tmp_path / "b" / "clips", 2, seed=4, kind="shapes")
    assert default == named
    for n in range(2):
        first, second = (tmp_path / k / f"clips/clip-00{n}.mp4" for k in "ab")
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_clips_decode_to_what_was_drawn(tmp_path, kind):
    records = write_clips(tmp_path / "clips", 3, seed=0, kind=kind)
    for record, (frames, caption) in zip(records, drawn(kind, 3), strict=True):
        assert record["answer"] == caption and record["question"].strip()
        clip = read_clip(tmp_path / record["video"], [FRAMES])
        assert (clip.frames_total, clip.fps) == (FRAMES, FPS)
        got = clip.sample(FRAMES).astype(int)
        assert frames.shape == (FRAMES, HEIGHT, WIDTH, 3) and frames.dtype == np.uint8
        assert np.abs(got - frames).mean() < 12  # MPEG-4 halves the colours' resolution


def test_textures_fill_the_frame_and_have_words_of_their_own(tmp_path):
    shapes, textures = (write_clips(tmp_path / k, 6, seed=0, kind=k) for k in KINDS)
    for key in ("question", "answer"):
        assert not {r[key] for r in shapes} & {r[key] for r in textures}
    assert {r["question"] for r in textures} <= set(QUESTIONS)
    # A shape covers a part of a plain ground; no part of a texture is plain.
    plain = {k: np.median([edges(f) for f, _ in drawn(k, 24)]) for k in KINDS}
    assert plain["shapes"] < 0.3 < plain["textures"]


def edges(frames):
    """Return the share of pixels whose colour is not that of the next on the right."""
    step = np.abs(np.diff(frames.astype(int), axis=2)).max(-1)
    return float(np.mean(step > 3))


def test_captions_tell_clips_apart():
    captions = [caption for _, caption in drawn("textures", 200)]
    assert len(set(captions)) > 195
    words = " ".join(captions)
    for (
        word
    ) in "waves checks clouds rings rays brighten darken pulse expand clockwise".split():
        assert word in words


def painted(pattern, move, change="keep their light", seed=0):
    """A coarse texture of our choice, as floats."""
    traits = Traits("navy", "cream", "coarse", pattern, move, change, "above")
    rng = np.random.default_rng(seed)
    assert move in traits.caption() and change in traits.caption()
    return paint(traits, rng, FRAMES, HEIGHT, WIDTH).astype(float)


@pytest.mark.parametrize(("change", "sign"), [("brighten", 1), ("darken", -1)])
def test_light_rises_and_falls_as_the_caption_says(change, sign):
    means = painted("rings", "expand", change).mean(axis=(1, 2, 3))
    assert sign * (means[-3:].mean() - means[:3].mean()) > 20


@pytest.mark.parametrize("pattern", ["waves", "checks", "clouds"])
@pytest.mark.parametrize(
    ("move", "shift"),
    [
        ("drift to the right", (0, 1)),
        ("drift to the left", (0, -1)),
        ("drift downwards", (1, 0)),
        ("drift upwards", (-1, 0)),
    ],
)
def test_patterns_drift_where_the_caption_says(pattern, move, shift):
    """A frame moved on is nearer to the next than the frame moved back."""
    gray = painted(pattern, move).mean(-1)
    gray = gray / gray.mean(axis=(1, 2), keepdims=True)

    def distance(by):
        moved = np.roll(gray[:-1], np.array(shift) * by, axis=(1, 2))
        return np.abs(moved - gray[1:])[:, 8:-8, 8:-8].mean()

    assert distance(2) < distance(-2)


@pytest.mark.parametrize(
    ("pattern", "move", "opposite"),
    [("rings", "expand", "shrink"), ("rays", "turn clockwise", "turn anticlockwise")],
)
def test_rings_and_rays_move_about_their_middle(pattern, move, opposite):
    """With everything else equal, a move is its opposite from the same first frame."""
    there, back = (painted(pattern, name) for name in (move, opposite))
    np.testing.assert_array_equal(there[0], back[0])
    assert np.abs(there[1] - back[1]).mean() > 5


def test_motion_has_no_outliers_that_would_flatten_its_range():
    """Flow along straight stripes is undefined and explodes; bent ones have it."""
    motion = [flow_variance(frames[::2]) for frames, _ in drawn("textures", 64)]
    assert max(motion) < 500


def test_a_kind_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="kind='noise', expected one of shapes, textures"):
        write_clips(tmp_path / "clips", 1, seed=0, kind="noise")
    assert not (tmp_path / "clips").exists()
