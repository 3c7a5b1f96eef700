"""Prompts and prepared pixels as the fixed-shape arrays that scoring takes.

Few shapes for a whole run: the longest prompt decides the largest, a batch of short ones
takes a smaller. Padding is on the right, where a causal model cannot see. Video rows come
first, then the rows that predict text; the first of these stands at the last video position
again, with a true target.
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
_SHORT = 64  # text tokens of the smallest shape; the next are twice as large each


@dataclass(frozen=True)
class Layout:
    """The shapes of a run's batches.

    Attributes:
        frames: frames of a clip.
        tokens_per_frame: embeddings of a frame.
        tail: embeddings of the video after its last frame.
        slices: which slices are scored.
        behind: text tokens behind the video that are kept though no slice asks for them.
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


def cut(prompt: Prompt, slices: Sequence[str], behind: int = 0) -> Prompt:
    """Drop the text that no asked slice depends on; the model is causal."""
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
    """Return the layout that holds all the given prompts; see `Layout` for the others."""
    video = frames * tokens_per_frame + tail
    shown = [cut(p, slices, behind) for p in prompts]
    texts = [len(p.after) + len(p.answer) for p in shown]
    longest = max(len(p.before) + video + n for p, n in zip(prompts, texts, strict=True))
    time = -(-longest // _ROUND) * _ROUND
    # The row behind the video comes after the one that predicts its token.
    rows = max(*texts, 2) if behind else max(texts)
    return Layout(frames, tokens_per_frame, tail, tuple(slices), behind, time, rows)


def fit(layout: Layout, prompts: Sequence[Prompt]) -> Layout:
    """Return the smallest shape of a run that holds the prompts of one batch.

    Shapes have room for 64, 128, 256 … text tokens, up to what the longest prompt needs.

    Args:
        layout: of the whole run.
        prompts: of the batch.
    """
    shown = [cut(p, layout.slices, layout.behind) for p in prompts]
    longest = max((len(p.after) + len(p.answer) for p in shown), default=0)
    room = text_room(longest)
    if room >= layout.text_rows:
        return layout
    time = layout.time - (layout.text_rows - room)
    return replace(layout, text_rows=room, time=-(-time // _ROUND) * _ROUND)


def text_room(tokens: int) -> int:
    """Return for how many text tokens the shape has room that so many of them take."""
    return max(_SHORT, 1 << max(0, tokens - 1).bit_length())


def frame_order(perturbation: str, frames: int, clip: str) -> Int[np.ndarray, "frame"]:
    """Return which frame the perturbed clip shows at each place.

    Args:
        perturbation: reverse; shuffle, drawn from the clip's id alone, so that batches
            and reruns do not matter; repeat, the middle frame all the time.
        frames: of the clip.
        clip: its id.
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
    """Return the arrays of one batch, on the host; way 1 is reversed unless `orders`."""
    if orders is None:
        orders = [frame_order("reverse", layout.frames, "")] * len(prompts)
    rows = [
        _row_arrays(cut(prompt, layout.slices, layout.behind), layout, order)
        for prompt, order in zip(prompts, orders, strict=True)
    ]
    columns: list[Any] = [np.stack(column) for column in zip(*rows, strict=True)]
    return Batch(pixels, *columns)  # type: ignore[arg-type]  # host arrays until put


def _row_arrays(
    prompt: Prompt, layout: Layout, order: np.ndarray
) -> tuple[np.ndarray, ...]:
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
    """Return, for each video row, the row of its frame in the perturbed clip.

    What follows the last frame follows it in any order.
    """
    mirror = np.arange(rows, dtype=np.int32)
    if with_video:
        framed = with_video - layout.tail
        blocks = mirror[:framed].reshape(layout.frames, layout.tokens_per_frame)
        place = np.arange(layout.frames)  # of a frame that the perturbed clip lacks
        shown, first = np.unique(order, return_index=True)
        place[shown] = first
        mirror[:framed] = blocks[place].reshape(-1).copy()
    return mirror


def _averaged(layout: Layout, with_video: int, rows: int) -> np.ndarray:
    """Return the rows of the published sequence score: the video's and the next one."""
    place = np.arange(rows)
    behind = place == with_video + 1  # the one at `with_video` is the last video row again
    return (place < with_video) | (behind & bool(layout.behind and with_video))
