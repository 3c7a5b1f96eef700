"""One clip, decoded once, as everything a run needs of it; and batches of them ahead.

Threads are enough here: decord, OpenCV and Pillow release the interpreter's lock while
they work. Whatever is wrong with a clip becomes a status and a line, never an exception.
"""

import io
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vidsme_jax.data.frames import Clip, read_clip, sample_indices
from vidsme_jax.data.manifest import Row
from vidsme_jax.data.preprocess import preprocess
from vidsme_jax.motion import flow_variance, illumination
from vidsme_jax.records import replacing

_STRIP_FRAMES, _STRIP_HEIGHT = 6, 54  # of a thumbnail
_AHEAD = 2  # batches decoded ahead of the one in use


@dataclass(frozen=True)
class Wanted:
    """What to make of each clip.

    Attributes:
        counts: the frame counts.
        resize: see `preprocess`.
        crop: likewise.
    """

    counts: tuple[int, ...]
    resize: int | None
    crop: int


@dataclass(frozen=True)
class PreparedBatch:
    """Clips as the model takes them.

    Attributes:
        pixels: per frame count, uint8 [clip frame crop crop 3]; zeros for a bad clip.
        facts: per clip, what the score table says of it: `status`, `error`, `reader`, …,
            and per frame count, under its number as text, what depends on it.
        thumbnails: per clip, a strip of frames as JPEG; empty for a bad clip.
    """

    pixels: dict[int, UInt8[np.ndarray, "clip frame crop crop 3"]]
    facts: list[dict[str, Any]]
    thumbnails: list[bytes]

    def save(self, path: Path) -> None:
        """Write the batch to one file, atomically."""
        arrays = {f"pixels_{n}": pixels for n, pixels in self.pixels.items()}
        arrays["facts"] = np.frombuffer(json.dumps(self.facts).encode(), np.uint8)
        arrays["lengths"] = np.array([len(t) for t in self.thumbnails], np.int64)
        arrays["thumbnails"] = np.frombuffer(b"".join(self.thumbnails), np.uint8)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path, counts: Sequence[int] | None = None) -> "PreparedBatch":
        """Read a saved batch; of the pixels only the given frame counts."""
        with np.load(path, allow_pickle=False) as file:
            stored = [int(n.removeprefix("pixels_")) for n in file if n.startswith("pix")]
            pixels = {
                n: file[f"pixels_{n}"] for n in stored if counts is None or n in counts
            }
            facts = json.loads(file["facts"].tobytes())
            ends, strip = np.cumsum(file["lengths"]), file["thumbnails"].tobytes()
        starts = [0, *ends[:-1]]
        return cls(pixels, facts, [strip[a:b] for a, b in zip(starts, ends, strict=True)])


def prepare_batches(
    batches: Iterable[list[Row]], wanted: Wanted, workers: int | None = None
) -> Iterator[PreparedBatch]:
    """Yield every batch prepared, in order, decoding a few ahead in parallel.

    Args:
        batches: rows of each batch; a video that a batch names twice is decoded once.
        wanted: what to make of each clip.
        workers: threads; one per core by default.
    """
    pending: deque[list[Future]] = deque()
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            for rows in batches:
                paths = {row.path for row in rows}
                once = {path: pool.submit(_prepare, path, wanted) for path in paths}
                pending.append([once[row.path] for row in rows])
                if len(pending) > _AHEAD:
                    yield _stack([f.result() for f in pending.popleft()], wanted)
            while pending:
                yield _stack([f.result() for f in pending.popleft()], wanted)
        finally:  # an interrupted run does not wait for clips nobody will use
            pool.shutdown(wait=False, cancel_futures=True)


_Parts = tuple[dict[int, np.ndarray], dict[str, Any], bytes]


def _prepare(path: Path, wanted: Wanted) -> _Parts:
    try:
        clip = read_clip(path, wanted.counts)
        samples = {n: clip.sample(n) for n in wanted.counts}
        pixels = {n: preprocess(s, wanted.resize, wanted.crop) for n, s in samples.items()}
        return pixels, _facts(clip, samples), _strip(clip)
    except FileNotFoundError as error:
        return {}, {"status": "missing_file", "error": str(error)}, b""
    except Exception as error:  # any clip, however broken, is a row and not the end
        line = " ".join(str(error).split())[:300]
        text = line if type(error).__name__ == "DecodeError" else f"{error!r:.300}"
        return {}, {"status": "decode_error", "error": text}, b""


def _facts(clip: Clip, samples: dict[int, np.ndarray]) -> dict[str, Any]:
    height, width = clip.frames.shape[1:3]
    facts = {
        "status": "ok",
        "error": None,
        "reader": clip.reader,
        "frames_total": clip.frames_total,
        "fps": clip.fps or None,
        "duration": clip.frames_total / clip.fps if clip.fps else None,
        "width": width,
        "height": height,
    }
    for n, frames in samples.items():
        facts[str(n)] = {
            "frame_indices": sample_indices(clip.frames_total, n).tolist(),
            "motion": flow_variance(frames),
            "illumination": illumination(frames),
        }
    return facts


def _strip(clip: Clip) -> bytes:
    """Return a few frames side by side as a JPEG."""
    chosen = np.linspace(0, len(clip.frames) - 1, _STRIP_FRAMES).round().astype(int)
    height, width = clip.frames.shape[1:3]
    size = (max(1, round(width * _STRIP_HEIGHT / height)), _STRIP_HEIGHT)
    small = [np.asarray(Image.fromarray(clip.frames[n]).resize(size)) for n in chosen]
    out = io.BytesIO()
    Image.fromarray(np.concatenate(small, axis=1)).save(out, "JPEG", quality=80)
    return out.getvalue()


def _stack(clips: list[_Parts], wanted: Wanted) -> PreparedBatch:
    def pixels(n: int) -> np.ndarray:
        blank = np.zeros((n, wanted.crop, wanted.crop, 3), np.uint8)
        return np.stack([parts[0].get(n, blank) for parts in clips])

    return PreparedBatch(
        {n: pixels(n) for n in wanted.counts},
        [parts[1] for parts in clips],
        [parts[2] for parts in clips],
    )
