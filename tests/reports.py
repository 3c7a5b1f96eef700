"""Runs and results that the tests of the report make up."""

import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from vidsme_jax.evaluation.evaluate import evaluate_study
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import make_study
from vidsme_jax.records.runs import Run

SMALL = EvaluationSettings(bootstrap=100, permutations=199)
HOSTILE = '<script>alert("1")</script>|`x`\'" onload=y&\x00\n[a](b)'
SVG = "{http://www.w3.org/2000/svg}"


def jpeg():
    """Six frames side by side, each lighter than the one before."""
    levels = np.repeat(np.arange(20, 200, 30, dtype=np.uint8), 32)
    strip = np.broadcast_to(levels[None, :, None], (32, 6 * 32, 3))
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(strip)).save(out, "JPEG")
    return out.getvalue()


JPEG = jpeg()


def make_run(seed=0, effect=3.0, n=40, frames=(16,), name="run", thumbnail=JPEG, **changed):
    rng = np.random.default_rng(seed)
    total = n * len(frames)
    label = np.arange(total) % 2
    keys = {
        "id": [f"clip-{k % n}" for k in range(total)],
        "frames": [f for f in frames for _ in range(n)],
    }
    table = {
        **keys,
        "group": keys["id"],
        "label": label.tolist(),
        "status": ["ok"] * total,
        "motion": rng.normal(size=total),
        "video.sme.mean": rng.normal(size=total) - effect * label,
        "response.logp.mean": rng.normal(size=total) + effect * label,
    }
    table = {k: v for k, v in (table | changed).items() if v is not None}
    keys["id"] = table["id"]
    # Two positions a frame, and one more; members' third frame differs most.
    curves = [np.r_[rng.normal(0, 0.1, 2 * f), 9.0] for f in keys["frames"]]
    for curve, is_member in zip(curves, label.tolist(), strict=True):
        curve[4:6] -= effect * is_member
    return Run(
        Path(name),
        {"settings": {"model": "tiny", "slices": ["video"]}, "settings_hash": "ab12"},
        pa.table(table),
        pa.table(keys | {"video.sme": pa.array(curves, pa.list_(pa.float32()))}),
        pa.table(keys | {"thumbnail": pa.array([thumbnail] * total, pa.binary())}),
    )


def make_result(*runs, control=None, settings=SMALL):
    return evaluate_study(make_study([*runs], control), settings)


def section(page, title):
    """Return the section of a page that has a title."""
    (chosen,) = [s for s in page.sections if s.title == title]
    return chosen


def sentences(text):
    """Return the sentences of a text: they end with . ! or ? before a space."""
    return re.split(r"(?<=[.!?])\s+", text.strip())


def prose(page):
    """Yield every text of a page that a reader reads as sentences."""
    for part in page.sections:
        yield from part.paragraphs
        yield from (figure.title for figure in part.figures)
        for answer in part.answers:
            yield from (answer.lead, answer.warning, *answer.notes)
        for table in part.tables:
            yield from (table.caption, *table.header)


def long_sentences(*texts):
    """Return the sentences of more than 25 words, with their number of words."""
    pairs = [(len(s.split()), s) for text in texts for s in sentences(text)]
    return [pair for pair in pairs if pair[0] > 25]
