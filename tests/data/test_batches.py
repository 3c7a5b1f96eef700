"""How a clip stands in its sequence: units of frames, text between them, and mirrors."""

import numpy as np
import pytest

from vidsme_jax.batch import OWN_ARGMAX, TEXT, Prompt, VideoShape
from vidsme_jax.data.batches import frame_order, make_batch, make_layout
from vidsme_jax.scores.catalogue import SLICES

PLAIN = VideoShape(frames=4, unit=1, tokens_per_unit=3, tail=1)
PAIRS = VideoShape(frames=6, unit=2, tokens_per_unit=4, tail=0)
PROMPTS = [
    Prompt((1, 2), (3, 4, 5), (6, 7)),
    Prompt((1,), (3,), (6, 7, 8, 9)),
]
GAPPED = [
    Prompt((1, 2), (3, 4, 5), (6, 7), gaps=((11, 12), (13,))),
    Prompt((1,), (3,), (6,), gaps=((11,), ())),
]


def batch_of(prompts, video, slices=SLICES, orders=None):
    pixels = np.zeros((len(prompts), video.frames, 2, 2, 3), np.uint8)
    layout = make_layout(prompts, video, slices)
    return layout, make_batch(prompts, pixels, layout, orders)


@pytest.mark.parametrize(
    ("prompts", "video"), [(PROMPTS, PLAIN), (PROMPTS, PAIRS), (GAPPED, PAIRS)]
)
def test_each_embedding_stands_once_and_the_text_around_it(prompts, video):
    layout, batch = batch_of(prompts, video)
    for n, prompt in enumerate(prompts):
        source, tokens = batch.source[n], batch.tokens[n]
        places = np.flatnonzero(source != TEXT)
        assert source[places].tolist() == list(range(video.length))
        assert batch.rows[n, : layout.video_rows].tolist() == places.tolist()
        text = [*prompt.before, *sum(prompt.gaps, ()), *prompt.after, *prompt.answer]
        end = places[-1] + 1 + len(prompt.after) + len(prompt.answer)
        assert tokens[:end][source[:end] == TEXT].tolist() == text
        assert not tokens[places].any() and not tokens[end:].any()
        first = len(prompt.before)
        assert places[0] == first
        for k, gap in enumerate(prompt.gaps, 1):
            between = places[k * video.tokens_per_unit - 1] + 1
            assert tokens[between : between + len(gap)].tolist() == list(gap)
        # Padding repeats the last position, so that the largest tells the length.
        want = np.minimum(np.arange(layout.time), end - 1)
        assert batch.positions[n, 0].tolist() == want.tolist()
    assert batch.positions.shape == (len(prompts), 1, layout.time)


def test_rows_predict_what_follows_them():
    layout, batch = batch_of(GAPPED, PAIRS)
    for n, prompt in enumerate(GAPPED):
        text = slice(layout.video_rows, None)
        words = (*prompt.after, *prompt.answer)
        assert batch.targets[n, text][: len(words)].tolist() == list(words)
        following = batch.tokens[n][batch.rows[n, text][: len(words)] + 1]
        assert following.tolist() == list(words)
        assert set(batch.targets[n, : layout.video_rows].tolist()) == {OWN_ARGMAX}


def test_the_last_row_of_a_unit_before_text_is_in_no_slice():
    """It predicts a token of the template, nearly certain in either order."""
    layout, batch = batch_of(GAPPED, PAIRS)
    video = batch.masks[:, SLICES.index("video"), : layout.video_rows]
    assert np.flatnonzero(~video[0]).tolist() == [3, 7]
    _, contiguous = batch_of(PROMPTS, PAIRS)
    assert contiguous.masks[:, SLICES.index("video"), : layout.video_rows].all()


def test_a_reversed_clip_of_pairs_mirrors_whole_pairs():
    layout, batch = batch_of(PROMPTS, PAIRS)
    assert batch.order[0].tolist() == [5, 4, 3, 2, 1, 0]
    mirror = batch.mirror[0]
    assert mirror[:12].tolist() == [8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3]
    assert np.array_equal(mirror[mirror], np.arange(len(mirror)))  # an involution
    assert mirror[layout.video_rows :].tolist() == list(
        range(layout.video_rows, len(mirror))
    )


def test_a_pair_that_the_other_order_tears_apart_points_at_itself():
    order = np.int32([1, 2, 3, 0, 4, 5])
    _, batch = batch_of(PROMPTS[:1], PAIRS, orders=[order])
    assert batch.mirror[0, :12].tolist() == list(range(12))


def test_orders_move_whole_pairs():
    for perturbation in ("shuffle", "repeat"):
        order = frame_order(perturbation, PAIRS, "clip").reshape(-1, 2)
        assert (order[:, 0] % 2 == 0).all() and (order[:, 1] == order[:, 0] + 1).all()
    assert frame_order("repeat", PAIRS, "clip").tolist() == [2, 3] * 3


def test_text_between_units_counts_in_the_sequence():
    plain = make_layout(PROMPTS, PAIRS, SLICES)
    long = [p._replace(gaps=((11,) * 40, (12,) * 40)) for p in PROMPTS]
    assert make_layout(long, PAIRS, SLICES).time == plain.time + 80
