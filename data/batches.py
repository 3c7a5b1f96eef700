"""Turn prompts and prepared pixels into the fixed-shape arrays that scoring takes.

A whole run has few shapes. The longest prompt decides the largest; a batch of short prompts
takes a smaller shape. Padding is on the right, where a causal model cannot see it. Video
rows come first, then the rows that predict text. The first text row stands at the last
video position again, with a true target.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from vidsme_jax.batch import OWN_ARGMAX, TEXT, Batch, Prompt, VideoShape

PERTURBATIONS = ("reverse", "shuffle", "repeat")
_ROUND = 16  # sequence lengths are rounded up to this, so that few shapes exist
_SHORT = 64  # text tokens of the smallest shape; the next are twice as large


@dataclass(frozen=True)
class Layout:
    """The shapes of a run's batches.

    Attributes:
        video: layout of a clip in the decoder's sequence.
        slices: names of the slices that are scored.
        text_after: number of text tokens after the video that are kept although no slice
            needs them.
        time: positions of the sequence.
        text_rows: scored rows that predict text.
    """

    video: VideoShape
    slices: tuple[str, ...]
    text_after: int
    time: int
    text_rows: int

    @property
    def video_rows(self) -> int:
        """The number of scored rows at embeddings of the video."""
        return self.video.length if "video" in self.slices else 0

    def shorten(self, prompt: Prompt) -> Prompt:
        """Return a prompt without the text that no scored slice depends on."""
        return drop_unscored_text(prompt, self.slices, self.text_after)


def drop_unscored_text(
    prompt: Prompt, slices: Sequence[str], text_after: int = 0
) -> Prompt:
    """Drop the text that no slice depends on, since the model is causal.

    Args:
        prompt: the whole prompt.
        slices: names of the slices that are scored.
        text_after: number of tokens after the video that stay in any case.
    """
    if "response" in slices:
        return prompt
    kept = len(prompt.after) if "instruction" in slices else text_after
    return prompt._replace(after=prompt.after[:kept], answer=())


def make_layout(
    prompts: Sequence[Prompt],
    video: VideoShape,
    slices: Sequence[str],
    text_after: int = 0,
) -> Layout:
    """Return the layout that has room for all prompts; see `Layout` for the arguments."""
    shortened = [drop_unscored_text(prompt, slices, text_after) for prompt in prompts]
    texts = [len(prompt.after) + len(prompt.answer) for prompt in shortened]
    between = [sum(map(len, prompt.gaps)) for prompt in shortened]
    longest = video.length + max(
        len(prompt.before) + gap + text
        for prompt, gap, text in zip(shortened, between, texts, strict=True)
    )
    time = -(-longest // _ROUND) * _ROUND
    # The first text row predicts the token after the video, the second row stands there.
    rows = max(*texts, 2) if text_after else max(texts)
    return Layout(video, tuple(slices), text_after, time, rows)


def smallest_layout(layout: Layout, prompts: Sequence[Prompt]) -> Layout:
    """Return the smallest layout of a run that has room for the prompts of a batch.

    Layouts have room for 64, 128, 256 … text tokens, up to what the longest prompt needs.

    Args:
        layout: layout of the whole run.
        prompts: prompts of the batch.
    """
    shortened = [layout.shorten(prompt) for prompt in prompts]
    longest = max((len(p.after) + len(p.answer) for p in shortened), default=0)
    room = text_room(longest)
    if room >= layout.text_rows:
        return layout
    time = layout.time - (layout.text_rows - room)
    return replace(layout, text_rows=room, time=-(-time // _ROUND) * _ROUND)


def text_room(tokens: int) -> int:
    """Return the text tokens of the smallest layout that has room for so many."""
    return max(_SHORT, 1 << max(0, tokens - 1).bit_length())


def frame_order(
    perturbation: str, video: VideoShape, clip: str
) -> Int[np.ndarray, "frame"]:
    """Return which frame the perturbed clip shows at each place.

    Args:
        perturbation: "reverse"; "shuffle", drawn from the clip's id alone, so that batches
            and reruns do not matter; "repeat", the middle frame all the time. The last two
            move whole units.
        video: layout of the clip: its frames and units.
        clip: id of the clip.
    """
    if perturbation == "reverse":
        return np.arange(video.frames, dtype=np.int32)[::-1]
    units = video.units
    if perturbation == "repeat":
        order = np.full(units, units // 2, np.int32)
    else:
        assert perturbation == "shuffle", perturbation
        seed = int.from_bytes(hashlib.sha256(clip.encode()).digest()[:8], "big")
        order = np.random.default_rng(seed).permutation(units).astype(np.int32)
    within = np.arange(video.unit, dtype=np.int32)
    return (order[:, None] * video.unit + within).reshape(-1)


def make_batch(
    prompts: Sequence[Prompt],
    pixels: UInt8[np.ndarray, "clip frame height width 3"],
    layout: Layout,
    orders: Sequence[Int[np.ndarray, "frame"]] | None = None,
) -> Batch:
    """Return the arrays of a batch, on the host.

    Args:
        prompts: prompts of the clips.
        pixels: sampled frames of the clips, in natural order.
        layout: shapes of the arrays.
        orders: order of the frames in every perturbed clip; reversed by default.
    """
    if orders is None:
        orders = [frame_order("reverse", layout.video, "")] * len(prompts)
    clips = [
        _clip_arrays(layout.shorten(prompt), layout, order)
        for prompt, order in zip(prompts, orders, strict=True)
    ]
    columns: list[Any] = [np.stack(column) for column in zip(*clips, strict=True)]
    return Batch(pixels, *columns)  # type: ignore[arg-type]  # host arrays until put


def _clip_arrays(
    prompt: Prompt, layout: Layout, order: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return a clip's arrays in the order of the fields of `Batch`, without pixels."""
    text, with_video = layout.text_rows, layout.video_rows
    words = np.array([*prompt.after, *prompt.answer], np.int32)
    tokens, source = _sequence(prompt, layout)
    places = np.flatnonzero(source != TEXT)  # of the video's embeddings
    last = places[-1]
    # Padding repeats the last position: some rotary scalings depend on the length.
    length = len(prompt.before) + sum(map(len, prompt.gaps)) + layout.video.length
    length += len(words)
    positions = np.minimum(np.arange(layout.time, dtype=np.int32), length - 1)[None]
    predicting = np.minimum(last + np.arange(text), layout.time - 1)
    targets = np.full(with_video + text, OWN_ARGMAX, np.int32)
    targets[with_video:] = 0
    targets[with_video : with_video + len(words)] = words
    rows = np.concatenate([places[:with_video], predicting]).astype(np.int32)
    return (
        tokens,
        source,
        positions,
        rows,
        targets,
        _masks(prompt, layout),
        order,
        _mirror(layout, order),
    )


def _sequence(prompt: Prompt, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays over positions: the ids of the text, and the video's sources."""
    video, gaps = layout.video, prompt.gaps
    assert len(gaps) in (0, video.units - 1), (len(gaps), video)
    tokens = np.zeros(layout.time, np.int32)
    source = np.full(layout.time, TEXT, np.int32)
    tokens[: len(prompt.before)] = prompt.before
    at, done, span = len(prompt.before), 0, video.tokens_per_unit
    for gap in gaps:
        source[at : at + span] = done + np.arange(span)
        at, done = at + span, done + span
        tokens[at : at + len(gap)] = gap
        at += len(gap)
    rest = video.length - done
    source[at : at + rest] = done + np.arange(rest)
    at += rest
    words = (*prompt.after, *prompt.answer)
    tokens[at : at + len(words)] = words
    return tokens, source


def _masks(prompt: Prompt, layout: Layout) -> Bool[np.ndarray, "slice row"]:
    """Return which rows are in each slice.

    Where text stands between two units, the last row of a unit predicts a token of the
    template. Such a row is in no slice.
    """
    video, with_video = layout.video, layout.video_rows
    place = np.arange(with_video + layout.text_rows) - with_video
    end = len(prompt.after)
    masks = {
        "instruction": (place >= 0) & (place < end),
        "response": (place >= end) & (place < end + len(prompt.answer)),
        "video": place < 0,
    }
    if prompt.gaps and with_video:
        ends = video.tokens_per_unit * np.arange(1, video.units) - 1
        masks["video"][ends] = False
    return np.stack([masks[name] for name in layout.slices])


def _mirror(layout: Layout, order: np.ndarray) -> Int[np.ndarray, "row"]:
    """Return, for each video row, the row of its unit in the perturbed clip.

    A unit that the perturbed clip does not show, with the same frames in any order, points
    at itself. The rows after the last unit point at themselves, too.
    """
    video, with_video = layout.video, layout.video_rows
    mirror = np.arange(with_video + layout.text_rows, dtype=np.int32)
    if with_video:
        framed = with_video - video.tail
        blocks = mirror[:framed].reshape(video.units, video.tokens_per_unit)
        members = np.sort(order.reshape(video.units, video.unit), axis=1)
        unit = members[:, 0] // video.unit
        whole = unit[:, None] * video.unit + np.arange(video.unit)
        intact = np.flatnonzero((members == whole).all(axis=1))
        place = np.arange(video.units)
        present, first = np.unique(unit[intact], return_index=True)
        place[present] = intact[first]
        mirror[:framed] = blocks[place].reshape(-1).copy()
    return mirror
