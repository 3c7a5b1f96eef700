"""Show the clips with the most member-like primary score."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from vidsme_jax.errors import shorten
from vidsme_jax.evaluation.result import ClipResult
from vidsme_jax.records import runs
from vidsme_jax.report import figures
from vidsme_jax.report.charts import ChartContext
from vidsme_jax.report.page import ClipCard, Figure, Section
from vidsme_jax.report.words.answers import titled
from vidsme_jax.scores import catalogue

_CLIPS, _CURVES = 12, 6  # clips shown, and those of them with a curve
_LABELS = {1: "member", 0: "non-member", None: "unlabelled"}
_JPEG = b"\xff\xd8\xff"
_LARGEST = 1 << 20  # bytes of a thumbnail


def clip_section(contexts: list[ChartContext]) -> Section:
    """Return the section of the most member-like clips of each run.

    A run shows those of its largest frame count.
    """
    cards = [card for context in contexts if context.last for card in _cards(context)]
    note = (
        f"The up to {_CLIPS} clips with the most member-like primary score, as the model"
        " saw them forwards and backwards: a look at what the score reacts to, not a list"
        f" of findings. For the first {_CURVES}, the curve of sme along the clip (natural"
        " less reversed, at the same position): thin for each position, thick for the mean"
        " of each frame. clips.csv lists every clip."
    )
    no_clips = "No clip has a primary score."
    return Section("Clips", paragraphs=(note if cards else no_clips,), clips=tuple(cards))


def _cards(context: ChartContext) -> Iterator[ClipCard]:
    """Yield the most member-like clips of a frame count."""
    clips = [clip for clip in context.report.frame.clips if clip.value is not None]
    for rank, clip in enumerate(clips[:_CLIPS]):
        facts = _row(context.study.table, context, clip.id)
        curve = None
        if rank < _CURVES:
            name = f"{context.slug}-clip-{rank + 1}"
            curve = _curve(context, clip.id, name, facts)
        text, strips = _text(context, clip, facts), _strips(context, clip.id)
        yield ClipCard(shorten(clip.id, 60), text, strips, curve)


def _text(context: ChartContext, clip: ClipResult, facts: dict[str, Any]) -> str:
    """Return the line of text below a clip: label, scores, p-values, file."""
    values = [f"{_LABELS[clip.label]}, {context.report.frame.primary} = {clip.value:.4g}"]
    control, verdict = clip.control, clip.verdict
    for value, words in (
        (control and control.score, "under the control"),
        (control and control.difference, "more member-like than that by"),
        (verdict and verdict.p_value, "p"),
        (verdict and verdict.q_value, "corrected p"),
    ):
        if value is not None:
            values.append(f"{words} {value:.3g}")
    text = titled(", ".join(values), context.report)
    video = facts.get("video")
    return f"{text}; {shorten(video, 80)}" if video else text


def _row(table: pa.Table, context: ChartContext, clip_id: str) -> dict[str, Any]:
    """Return the row of a clip at the frame count; empty where there is none."""
    same = pc.and_(
        pc.equal(table["id"], clip_id), pc.equal(table["frames"], context.study.frames)
    )
    rows = table.filter(same).to_pylist()
    return rows[0] if rows else {}


def _curve(
    context: ChartContext, clip_id: str, name: str, facts: dict[str, Any]
) -> Figure | None:
    """Draw the curve of sme along a clip; None where the run has no curve."""
    values = _row(context.run.curves, context, clip_id).get("video.sme")
    if not values:
        return None
    title = f"sme along {shorten(clip_id, 60)}"
    array = np.array([np.nan if v is None else v for v in values], np.float64)
    frames = context.study.frames
    is_higher = catalogue.higher_is_member("sme")
    svg = figures.time_figure(title, array, frames, _seconds(facts, frames), is_higher)
    return Figure(name, title, svg)


def _seconds(facts: dict[str, Any], frames: int) -> list[float] | None:
    """Return the time of each frame in seconds; None where it is unknown."""
    indices, rate = facts.get("frame_indices"), facts.get("fps")
    if not indices or not rate or len(indices) != frames:
        return None
    return [index / rate for index in indices]


def _strips(context: ChartContext, clip_id: str) -> tuple[tuple[str, str], ...]:
    """Return the names and data URIs of a clip's strips of frames."""
    data = _row(context.run.thumbnails, context, clip_id).get("thumbnail")
    # Only data that begins like a JPEG, and of a size that fits a page.
    if not data or not data.startswith(_JPEG) or len(data) > _LARGEST:
        return ()
    strips = [("natural", data)]
    settings = context.run.info["settings"]
    if isinstance(settings, dict) and settings.get("perturbation", "reverse") == "reverse":
        backwards = _reversed(data)
        strips += [("reversed", backwards)] if backwards else []
    return tuple(
        (name, "data:image/jpeg;base64," + base64.b64encode(jpeg).decode())
        for name, jpeg in strips
    )


def _reversed(data: bytes) -> bytes | None:
    """Return a strip with its frames in opposite order; None if it is no strip."""
    try:
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    if pixels.shape[1] % runs.STRIP_FRAMES:
        return None
    frames = np.split(pixels, runs.STRIP_FRAMES, axis=1)
    out = io.BytesIO()
    Image.fromarray(np.concatenate(frames[::-1], axis=1)).save(out, "JPEG", quality=80)
    return out.getvalue()
