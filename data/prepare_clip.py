"""Decode a clip and make all that a run needs; decoding processes call this.

Whatever is wrong with a clip becomes a status and a sentence, never an exception. What is
wrong with the program becomes the status internal_error, so that no clip is blamed for it.
"""

import hashlib
import io
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vidsme_jax.data.appearance import appearance
from vidsme_jax.data.motion import flow_variance, illumination
from vidsme_jax.data.prepared import (
    ClipFacts,
    ClipSpec,
    FileFacts,
    FrameFacts,
    PreparedClip,
    bad_clip,
)
from vidsme_jax.data.preprocess import preprocess
from vidsme_jax.data.readers.decoded import (
    BadSegment,
    DecodedClip,
    DecodeError,
    sample_indices,
)
from vidsme_jax.data.readers.images import frames_of
from vidsme_jax.data.readers.policy import read_clip
from vidsme_jax.data.readers.source import VideoFile
from vidsme_jax.data.readers.tfds import Example, Source, read_example
from vidsme_jax.data.stamps import stamp_of
from vidsme_jax.records.runs import strip_frames

_STRIP_HEIGHT = 54  # of a thumbnail, in pixels
# No content of a file raises these; they mean a wrong call in the code.
_OUR_FAULTS = (TypeError, AttributeError, NameError, ImportError, AssertionError)


def prepare_clip(source: Source, spec: ClipSpec) -> PreparedClip:
    """Decode a clip and return its frames and facts; a bad clip gets a status."""
    stamp = stamp_of(source)  # before: what changes meanwhile is noticed later
    clip = _prepare(source, spec)
    return replace(clip, facts=replace(clip.facts, stamp=stamp))


def _prepare(source: Source, spec: ClipSpec) -> PreparedClip:
    try:
        if isinstance(source, Example):
            clip = read_example(source, spec.counts)
        else:
            clip = read_clip(source, spec.counts, spec.reader)
        pixels = preprocess(clip.frames, spec.geometry)
        facts = _clip_facts(clip, source, spec.counts)
        return PreparedClip(pixels, clip.indices, facts, _thumbnail(clip))
    except FileNotFoundError as error:
        return bad_clip(spec, "missing_file", str(error))
    except BadSegment as error:
        return bad_clip(spec, "bad_segment", str(error))
    except DecodeError as error:
        return bad_clip(spec, "decode_error", str(error))
    except _OUR_FAULTS as error:
        return bad_clip(spec, "internal_error", _with_line(error))
    except Exception as error:  # any clip, however broken, is a row and not the end
        return bad_clip(spec, "decode_error", repr(error))


def _with_line(error: Exception) -> str:
    """Return an error of the program with the line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{error!r} at {Path(frame.filename).name}:{frame.lineno}: a fault of vidsme_jax or"
        " of a library's version, not of the clip"
    )


def _clip_facts(clip: DecodedClip, source: Source, counts: Sequence[int]) -> ClipFacts:
    return ClipFacts(
        status="ok",
        reader=clip.reader,
        fallback=clip.fallback or None,
        file=_file_facts(clip, source),
        appearance=tuple(appearance(clip.frames)),
        at=_frame_facts(clip, counts),
    )


def _file_facts(clip: DecodedClip, source: Source) -> FileFacts:
    height, width = clip.frames.shape[1:3]
    return FileFacts(
        container=clip.container,
        codec=clip.codec or None,
        frames_total=clip.frames_total,
        fps=clip.fps or None,
        duration=clip.frames_total / clip.fps if clip.fps else None,
        width=width,
        height=height,
        file_bytes=_file_bytes(source),
    )


def _file_bytes(source: Source) -> int | None:
    """Return the bytes of a clip's file or images; None for a part of a file."""
    if isinstance(source, VideoFile):
        if source.start is not None or source.end is not None:
            return None
        source = source.path
    if isinstance(source, Example):
        return None
    paths = frames_of(source) if source.is_dir() else [source]
    return sum(path.stat().st_size for path in paths)


def _frame_facts(clip: DecodedClip, counts: Sequence[int]) -> dict[int, FrameFacts]:
    """Return the facts of the sampled frames, by frame count."""
    hashes = [hashlib.sha256(frame).digest() for frame in clip.frames]
    out = {}
    for count in counts:
        frames = clip.sample(count)
        joined = hashlib.sha256(b"".join(hashes[n] for n in clip.places(count)))
        out[count] = FrameFacts(
            frame_indices=tuple(sample_indices(clip.frames_total, count).tolist()),
            frame_hash=joined.hexdigest()[:16],
            # The flow between a frame and its copy is not quite 0.
            motion=flow_variance(frames) if clip.frames_total > 1 else 0.0,
            illumination=illumination(frames),
        )
    return out


def _thumbnail(clip: DecodedClip) -> bytes:
    """Return a few frames side by side as a JPEG."""
    chosen = strip_frames(len(clip.frames))
    height, width = clip.frames.shape[1:3]
    size = (max(1, round(width * _STRIP_HEIGHT / height)), _STRIP_HEIGHT)
    small = [np.asarray(Image.fromarray(clip.frames[n]).resize(size)) for n in chosen]
    out = io.BytesIO()
    Image.fromarray(np.concatenate(small, axis=1)).save(out, "JPEG", quality=80)
    return out.getvalue()
