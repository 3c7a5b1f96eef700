"""The clips of the report: those that the primary score finds most member-like."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from vidsme_jax.errors import shorten
from vidsme_jax.evaluation.samples import higher_is_member
from vidsme_jax.records import runs
from vidsme_jax.report import figures
from vidsme_jax.report.charts import Shown
from vidsme_jax.report.page import Clip, Figure, Section
from vidsme_jax.report.words.answers import titled

_CLIPS, _CURVES = 12, 6  # shown, and of them with a curve
_LABELS = {1: "member", 0: "non-member", None: "unlabelled"}
_JPEG = b"\xff\xd8\xff"
_LARGEST = 1 << 20  # bytes of a thumbnail


def clip_section(shown: list[Shown]) -> Section:
    """Return the most member-like clips of each run, at its largest frame count."""
    clips = [clip for one in shown if one.last for clip in _clips(one)]
    note = (
        f"The up to {_CLIPS} clips with the most member-like primary score, as the model"
        " saw them forwards and backwards: a look at what the score reacts to, not a list"
        f" of findings. For the first {_CURVES}, the curve of sme along the clip (natural"
        " less reversed, at the same position): thin for each position, thick for the mean"
        " of each frame. clips.csv lists every clip."
    )
    none = "No clip has a primary score."
    return Section("Clips", paragraphs=(note if clips else none,), clips=tuple(clips))


def _clips(one: Shown) -> Iterator[Clip]:
    name = one.unit.data["primary"]
    held = [row for row in one.unit.data["clips"] if row["value"] is not None]
    for place, row in enumerate(held[:_CLIPS]):
        key = row["id"]
        facts = _row(one.run.table, one, key)
        curve = None
        if place < _CURVES:
            curve = _curve(one, key, f"{one.slug}-clip-{place + 1}", facts)
        strips = _strips(one, key)
        yield Clip(shorten(key, 60), _text(one, name, row, facts), strips, curve)


def _text(one: Shown, name: str, row: dict[str, Any], facts: dict[str, Any]) -> str:
    parts = [f"{_LABELS[row['label']]}, {name} = {row['value']:.4g}"]
    for key, words in (
        ("control", "under the control"),
        ("difference", "more member-like than that by"),
        ("p_value", "p"),
        ("q_value", "corrected p"),
    ):
        if row.get(key) is not None:
            parts.append(f"{words} {row[key]:.3g}")
    text = titled(", ".join(parts), one.unit)
    video = facts.get("video")
    return f"{text}; {shorten(video, 80)}" if video else text


def _row(table: pa.Table, one: Shown, key: str) -> dict[str, Any]:
    """Return the row of an id at this frame count; empty where there is none."""
    same = pc.and_(
        pc.equal(table["id"], key), pc.equal(table["frames"], one.unit.data["frames"])
    )
    found = table.filter(same).to_pylist()
    return found[0] if found else {}


def _curve(one: Shown, key: str, name: str, facts: dict[str, Any]) -> Figure | None:
    values = _row(one.run.curves, one, key).get("video.sme")
    if not values:
        return None
    title = f"sme along {shorten(key, 60)}"
    array = np.array([np.nan if v is None else v for v in values], np.float64)
    frames = one.unit.data["frames"]
    svg = figures.time_figure(
        title, array, frames, _seconds(facts, frames), higher_is_member("video.sme.mean")
    )
    return Figure(name, title, svg)


def _seconds(facts: dict[str, Any], frames: int) -> list[float] | None:
    """Return when each frame is shown; None where the clip does not say."""
    places, rate = facts.get("frame_indices"), facts.get("fps")
    if not places or not rate or len(places) != frames:
        return None
    return [place / rate for place in places]


def _strips(one: Shown, key: str) -> tuple[tuple[str, str], ...]:
    """Return the strips of frames as data URIs, each with its name."""
    data = _row(one.run.thumbnails, one, key).get("thumbnail")
    # Only what a JPEG starts with, and of a size that fits a page.
    if not data or not data.startswith(_JPEG) or len(data) > _LARGEST:
        return ()
    strips = [("natural", data)]
    asked = one.run.info["settings"]
    if isinstance(asked, dict) and asked.get("perturbation", "reverse") == "reverse":
        backwards = _reversed(data)
        strips += [("reversed", backwards)] if backwards else []
    return tuple(
        (name, "data:image/jpeg;base64," + base64.b64encode(jpeg).decode())
        for name, jpeg in strips
    )


def _reversed(data: bytes) -> bytes | None:
    """Return a strip with its frames in opposite order; None for what is none."""
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
