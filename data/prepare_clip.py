"""One clip, decoded once, as everything a run needs of it: what a decoding process does.

Whatever is wrong with a clip becomes a status and a line, never an exception; what is wrong
with the program becomes the status internal_error, so that no clip is blamed for it.
"""

import hashlib
import io
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vidsme_jax.data.appearance import appearance
from vidsme_jax.data.motion import flow_variance, illumination
from vidsme_jax.data.prepared import PreparedClip, Wanted, bad_clip
from vidsme_jax.data.preprocess import preprocess
from vidsme_jax.data.readers.decoded import Clip, DecodeError, sample_indices
from vidsme_jax.data.readers.policy import read_clip
from vidsme_jax.data.readers.tfds import Example, Source, read_example
from vidsme_jax.records.runs import STRIP_FRAMES

_STRIP_HEIGHT = 54  # of a thumbnail
# No content of a file raises these: code calls what it should not.
_OUR_FAULTS = (TypeError, AttributeError, NameError, ImportError, AssertionError)


def prepare(path: Source, wanted: Wanted) -> PreparedClip:
    """Decode one clip and make of it what is wanted; a clip that cannot be has a status."""
    try:
        if isinstance(path, Example):
            clip = read_example(path, wanted.counts)
        else:
            clip = read_clip(path, wanted.counts, wanted.reader)
        pixels = preprocess(clip.frames, wanted.resize, wanted.crop)
        facts = _facts(clip, wanted.counts) | _bytes(path)
        return PreparedClip(pixels, clip.indices, facts, _strip(clip))
    except FileNotFoundError as error:
        return bad_clip(wanted, "missing_file", str(error))
    except DecodeError as error:
        return bad_clip(wanted, "decode_error", str(error))
    except _OUR_FAULTS as error:
        return bad_clip(wanted, "internal_error", _place(error))
    except Exception as error:  # any clip, however broken, is a row and not the end
        return bad_clip(wanted, "decode_error", repr(error))


def _place(error: Exception) -> str:
    """Return an error of the program with the line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{error!r} at {Path(frame.filename).name}:{frame.lineno}: a fault of vidsme_jax or"
        " of a library's version, not of the clip"
    )


def _facts(clip: Clip, counts: Sequence[int]) -> dict[str, Any]:
    height, width = clip.frames.shape[1:3]
    facts = {
        "status": "ok",
        "error": None,
        "reader": clip.reader,
        "fallback": clip.fallback or None,
        "container": clip.container,
        "codec": clip.codec or None,
        "frames_total": clip.frames_total,
        "fps": clip.fps or None,
        "duration": clip.frames_total / clip.fps if clip.fps else None,
        "width": width,
        "height": height,
        "appearance": appearance(clip.frames),
    }
    hashes = [hashlib.sha256(frame).digest() for frame in clip.frames]
    for n in counts:
        frames = clip.sample(n)
        together = hashlib.sha256(b"".join(hashes[k] for k in clip.places(n)))
        facts[str(n)] = {
            "frame_indices": sample_indices(clip.frames_total, n).tolist(),
            "frame_hash": together.hexdigest()[:16],
            "motion": flow_variance(frames),
            "illumination": illumination(frames),
        }
    return facts


def _bytes(path: Source) -> dict[str, int]:
    """Return the size of a clip's file; an example of a data set has none of its own."""
    return {} if isinstance(path, Example) else {"file_bytes": path.stat().st_size}


def _strip(clip: Clip) -> bytes:
    """Return a few frames side by side as a JPEG."""
    chosen = np.linspace(0, len(clip.frames) - 1, STRIP_FRAMES).round().astype(int)
    height, width = clip.frames.shape[1:3]
    size = (max(1, round(width * _STRIP_HEIGHT / height)), _STRIP_HEIGHT)
    small = [np.asarray(Image.fromarray(clip.frames[n]).resize(size)) for n in chosen]
    out = io.BytesIO()
    Image.fromarray(np.concatenate(small, axis=1)).save(out, "JPEG", quality=80)
    return out.getvalue()
