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
from jaxtyping import Int, UInt8

from vidsme_jax.batch import OWN_ARGMAX, Batch, Prompt

PERTURBATIONS = ("reverse", "shuffle", "repeat")
_ROUND = 16  # sequence lengths are rounded up to this, so that few shapes exist
_SHORT = 64  # text tokens of the smallest shape; every next shape has twice as many


@dataclass(frozen=True)
class Layout:
    """The shapes of a run's batches.

    Attributes:
        frames: frames of a clip.
        tokens_per_frame: embeddings of a frame.
        tail: embeddings of the video after its last frame.
        slices: names of the scored slices.
        behind: text tokens after the video that are kept though no slice needs them.
        time: positions of the sequence.
        text_rows: scored rows that predict text.
    """

    frames: int
    tokens_per_frame: int
    tail: int
    slices: tuple[str, ...]
    behind: int
    time: int
    text_rows: int

    @property
    def video(self) -> int:
        """Embeddings of a clip."""
        return self.frames * self.tokens_per_frame + self.tail


def drop_unscored_text(prompt: Prompt, slices: Sequence[str], behind: int = 0) -> Prompt:
    """Drop the text on which no slice depends; a causal model does not see it.

    Args:
        prompt: whole.
        slices: names of the scored slices.
        behind: text tokens after the video to keep though no slice needs them.
    """
    if "response" in slices:
        return prompt
    kept = len(prompt.after) if "instruction" in slices else behind
    return Prompt(prompt.before, prompt.after[:kept], ())


def make_layout(
    prompts: Sequence[Prompt],
    frames: int,
    tokens_per_frame: int,
    slices: Sequence[str],
    tail: int = 0,
    behind: int = 0,
) -> Layout:
    """Return the layout that has room for all prompts; see `Layout` for the arguments."""
    video = frames * tokens_per_frame + tail
    shown = [drop_unscored_text(p, slices, behind) for p in prompts]
    texts = [len(p.after) + len(p.answer) for p in shown]
    longest = max(len(p.before) + video + n for p, n in zip(prompts, texts, strict=True))
    time = -(-longest // _ROUND) * _ROUND
    # The first row after the video comes after the row that predicts its token.
    rows = max(*texts, 2) if behind else max(texts)
    return Layout(frames, tokens_per_frame, tail, tuple(slices), behind, time, rows)


def smallest_layout(layout: Layout, prompts: Sequence[Prompt]) -> Layout:
    """Return the smallest layout of a run that has room for the prompts of a batch.

    Layouts have room for 64, 128, 256 … text tokens, up to what the longest prompt needs.

    Args:
        layout: of the whole run.
        prompts: of the batch.
    """
    shown = [drop_unscored_text(p, layout.slices, layout.behind) for p in prompts]
    longest = max((len(p.after) + len(p.answer) for p in shown), default=0)
    room = text_room(longest)
    if room >= layout.text_rows:
        return layout
    time = layout.time - (layout.text_rows - room)
    return replace(layout, text_rows=room, time=-(-time // _ROUND) * _ROUND)


def text_room(tokens: int) -> int:
    """Return the room for text of the smallest layout that takes so many text tokens."""
    return max(_SHORT, 1 << max(0, tokens - 1).bit_length())


def frame_order(perturbation: str, frames: int, clip: str) -> Int[np.ndarray, "frame"]:
    """Return the order in which a perturbed clip shows its frames.

    Args:
        perturbation: reverse; shuffle, drawn from the clip's id alone, so that batches
            and reruns do not matter; repeat, the middle frame all the time.
        frames: number of frames of the clip.
        clip: id of the clip.
    """
    if perturbation == "repeat":
        return np.full(frames, frames // 2, np.int32)
    if perturbation == "shuffle":
        seed = int.from_bytes(hashlib.sha256(clip.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).permutation(frames).astype(np.int32)
    assert perturbation == "reverse", perturbation
    return np.arange(frames, dtype=np.int32)[::-1]


def make_batch(
    prompts: Sequence[Prompt],
    pixels: UInt8[np.ndarray, "clip frame height width 3"],
    layout: Layout,
    orders: Sequence[Int[np.ndarray, "frame"]] | None = None,
) -> Batch:
    """Return the arrays of a batch, on the host.

    Args:
        prompts: of the clips.
        pixels: of the sampled frames.
        layout: the shapes of the arrays.
        orders: of the frames of the perturbed clips; reversed by default.
    """
    if orders is None:
        orders = [frame_order("reverse", layout.frames, "")] * len(prompts)
    shown = [drop_unscored_text(p, layout.slices, layout.behind) for p in prompts]
    clips = [
        _clip_arrays(prompt, layout, order)
        for prompt, order in zip(shown, orders, strict=True)
    ]
    columns: list[Any] = [np.stack(column) for column in zip(*clips, strict=True)]
    return Batch(pixels, *columns)  # type: ignore[arg-type]  # host arrays until put


def _clip_arrays(
    prompt: Prompt, layout: Layout, order: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return the arrays of a clip in the order of `Batch`, the pixels excepted."""
    start, video, text = len(prompt.before), layout.video, layout.text_rows
    tokens = np.zeros(layout.time, np.int32)
    words = np.array([*prompt.after, *prompt.answer], np.int32)
    tokens[:start] = prompt.before
    tokens[start + video : start + video + len(words)] = words
    positions = np.minimum(start + video - 1 + np.arange(text), layout.time - 1)
    targets = np.zeros(text, np.int32)
    targets[: len(words)] = words
    place = np.arange(text)
    masks = {
        "instruction": place < len(prompt.after),
        "response": (place >= len(prompt.after)) & (place < len(words)),
    }
    with_video = video if "video" in layout.slices else 0
    rows = np.concatenate([start + np.arange(with_video), positions])
    masks = {k: np.concatenate([np.zeros(with_video, bool), m]) for k, m in masks.items()}
    masks["video"] = np.arange(len(rows)) < with_video
    return (
        tokens,
        np.array(start, np.int32),
        rows.astype(np.int32),
        np.concatenate([np.full(with_video, OWN_ARGMAX, np.int32), targets]),
        np.stack([masks[name] for name in layout.slices]),
        order,
        _mirror(layout, order, with_video, len(rows)),
        _averaged(layout, with_video, len(rows)),
    )


def _mirror(layout: Layout, order: np.ndarray, with_video: int, rows: int) -> np.ndarray:
    """Return, for every row, its row in the perturbed clip: a video row follows its frame.

    Embeddings after the last frame stay where they are, in any order of the frames.
    """
    mirror = np.arange(rows, dtype=np.int32)
    if with_video:
        framed = with_video - layout.tail
        blocks = mirror[:framed].reshape(layout.frames, layout.tokens_per_frame)
        place = np.arange(layout.frames)  # kept by frames that the perturbed clip lacks
        shown, first = np.unique(order, return_index=True)
        place[shown] = first
        mirror[:framed] = blocks[place].reshape(-1).copy()
    return mirror


def _averaged(layout: Layout, with_video: int, rows: int) -> np.ndarray:
    """Tell the rows of the published sequence score: the video's and the next row."""
    place = np.arange(rows)
    behind = place == with_video + 1  # the row at `with_video` is the last video row again
    return (place < with_video) | (behind & bool(layout.behind and with_video))
