"""Show the clips with the most member-like primary score."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from vidsme_jax.errors import shorten
from vidsme_jax.evaluation.result import ClipResult
from vidsme_jax.records import runs
from vidsme_jax.report import figures
from vidsme_jax.report.charts import ChartContext
from vidsme_jax.report.difference_map import ColourScale, ink_on, scale_of
from vidsme_jax.report.images import is_strip, jpeg_uri, reversed_strip
from vidsme_jax.report.page import ClipCard, Figure, FrameMark, Section
from vidsme_jax.report.words.answers import titled
from vidsme_jax.scores import catalogue

_CLIPS, _CURVES = 12, 6  # clips shown, and those of them with a curve
_LABELS = {1: "member", 0: "non-member", None: "unlabelled"}


def clip_section(contexts: list[ChartContext]) -> Section:
    """Return the section of the most member-like clips of each run.

    A run shows those of its largest frame count.
    """
    shown = [context for context in contexts if context.last]
    cards = [card for context in shown for card in _cards(context)]
    notes = [_NOTE if cards else "No clip has a primary score."]
    notes += [_STRIPS] * any(card.strips for card in cards)
    notes += [_MARKS] * any(card.marks for card in cards)
    notes += [_CURVE] * any(card.curve for card in cards)
    return Section("Clips", paragraphs=tuple(notes), clips=tuple(cards))


_NOTE = (
    f"These are the clips with the most member-like primary score, at most {_CLIPS} of a"
    " run. They show what the score reacts to and are no list of findings. clips.csv lists"
    " every clip."
)
_STRIPS = (
    "Frames are shown as the model saw them: in their natural order, and reversed where the"
    " other order was the reversed one."
)
_MARKS = (
    "Below the natural frames stand the number of each shown frame and its mean ΔS. The"
    " colours are as in the map of all clips: blue is the side on which members are"
    " expected."
)
_CURVE = (
    f"The first {_CURVES} have the curve of sme along the clip: the natural order less the"
    " other, at the same position. It is thin for each position and thick for the mean of"
    " each frame."
)


def _cards(context: ChartContext) -> Iterator[ClipCard]:
    """Yield the most member-like clips of a frame count."""
    clips = [clip for clip in context.report.frame.clips if clip.value is not None]
    means = [*context.differences.values()]
    is_higher = catalogue.higher_is_member("sme")
    scale = scale_of(np.array(means), is_higher)
    for rank, clip in enumerate(clips[:_CLIPS]):
        facts = _row(context.study.table, context, clip.id)
        curve = None
        if rank < _CURVES:
            name = f"{context.slug}-clip-{rank + 1}"
            curve = _curve(context, clip.id, name, facts)
        strips = _strips(context, clip.id)
        has_marks = bool(strips) and clip.id in context.differences
        yield ClipCard(
            title=context.titles[clip.id],
            id=shorten(clip.id, 60) if facts.get("video") else "",
            text=_text(context, clip),
            strips=strips,
            marks=_marks(context.differences[clip.id], scale) if has_marks else (),
            curve=curve,
        )


def _marks(means: Float[np.ndarray, "frame"], scale: ColourScale) -> tuple[FrameMark, ...]:
    """Return a mark for each frame of a clip's strip, with its mean difference."""
    out = []
    for frame in runs.strip_frames(len(means)):
        value = float(means[frame])
        colour = scale.colour(value)
        number = f"{value:+.2g}" if np.isfinite(value) else "–"
        out.append(FrameMark(f"{frame + 1}: {number}", colour, ink_on(colour)))
    return tuple(out)


def _text(context: ChartContext, clip: ClipResult) -> str:
    """Return the line of text below a clip: label, scores and p-values."""
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
    return titled(", ".join(values), context.report)


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
    title = f"sme along {context.titles[clip_id]}"
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
    data: bytes = _row(context.run.thumbnails, context, clip_id).get("thumbnail") or b""
    if not is_strip(data):
        return ()
    strips = [("natural", data)]
    settings = context.run.info["settings"]
    if isinstance(settings, dict) and settings.get("perturbation", "reverse") == "reverse":
        backwards = reversed_strip(data)
        strips += [("reversed", backwards)] if backwards else []
    return tuple((name, jpeg_uri(jpeg)) for name, jpeg in strips)
