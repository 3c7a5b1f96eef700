"""Choose the reader that decodes a clip, and note the faults of readers before it.

    auto       PyAV, then decord with a guard, then OpenCV
    decord     decord with the guard, and nothing else
    pyav       PyAV, in order from start to end
    opencv     OpenCV, in order from start to end
    reference  decord without a guard, as the published code reads; a clip that the guard
               would have refused says so

Nobody opens a file whose first bytes are not those of a video, or which is shorter than it
announces. The stream of pictures is chosen once, by PyAV where it is installed.

PyAV comes first since it alone sees what other decoders paint over. A file that it finds
damaged goes to no other reader.

The guard accepts a file under these conditions. It is of a kind that decord reads well, and
has a single stream of moving pictures that begins with a key frame. decord's timestamps
rise strictly from zero. decord finds as many frames as PyAV finds packets, or about as many
as the header says. Its frames have three channels, and are not all equal in a film that
moves. All policies but `reference` decode in order, since seeking finds wrong frames in too
many files.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidsme_jax.data.readers import decord as reader_decord
from vidsme_jax.data.readers import images as reader_images
from vidsme_jax.data.readers import opencv as reader_opencv
from vidsme_jax.data.readers import pyav as reader_pyav
from vidsme_jax.data.readers.containers import DEMUXERS, announced_size, container_of
from vidsme_jax.data.readers.decoded import (
    BadSegment,
    DamagedFile,
    DecodedClip,
    DecodeError,
    fps_or_zero,
)
from vidsme_jax.data.readers.source import VideoFile
from vidsme_jax.data.readers.track import Segment, Track
from vidsme_jax.errors import InputError

POLICIES = ("auto", "decord", "pyav", "opencv", "reference")
_DECORDS = ("mp4", "matroska", "avi", "flv", "asf")  # containers in which decord is tried
_REMEDY = "which only PyAV can tell apart: pip install av"
_NO_KEY = "its first packets need a key frame that the file lacks"
_SEQUENCE = "it may take a name with %d for a sequence of images"
_KINDS = ", ".join(DEMUXERS)


def check_policy(policy: str) -> None:
    """Refuse a policy whose reader is not installed, before anything is decoded.

    Raises:
        InputError: no such policy, or its reader is not installed.
    """
    if policy not in POLICIES:
        raise InputError(f"reader={policy}, there are {', '.join(POLICIES)}")
    if policy == "pyav" and reader_pyav.av is None:
        raise InputError("reader=pyav needs PyAV, which is not installed: pip install av")
    if policy in ("decord", "reference") and reader_decord.decord is None:
        raise InputError(
            f"reader={policy} needs decord, which is not installed (it has wheels for"
            " x86-64 Linux only); there are auto, pyav, opencv"
        )


def read_clip(
    source: Path | VideoFile, counts: Sequence[int], policy: str = "auto"
) -> DecodedClip:
    """Decode the frames of a clip that all frame counts need.

    Args:
        source: path of a video, an image or a folder of images; or one with its segment.
        counts: numbers of frames to sample.
        policy: name of a policy, of `POLICIES`. Images have their own reader.

    Raises:
        FileNotFoundError: there is no such file.
        BadSegment: the film has no such part.
        DecodeError: no reader of the policy could decode it.
    """
    file = source if isinstance(source, VideoFile) else VideoFile(source)
    segment = Segment(
        float(file.start or 0), float(np.inf if file.end is None else file.end)
    )
    segment.check()
    if not file.path.exists():
        raise FileNotFoundError(f"{file.path} does not exist")
    if file.fps is not None and not fps_or_zero(file.fps):
        raise DecodeError(f"fps={file.fps:g}, expected a number above 0")
    if file.path.is_dir():
        return reader_images.read_folder(file.path, counts, segment, file.fps)
    container = _check_file(file.path)
    if container == "image":
        return reader_images.read_image(file.path, segment)
    return _read_video(file.path, counts, container, segment, policy)


def _check_file(path: Path) -> str:
    """Return the container of a file; refuse a file that is no whole video or image."""
    if not path.is_file():
        raise DecodeError("it is no regular file")
    size = path.stat().st_size
    if size == 0:
        raise DecodeError("the file is empty")
    container = container_of(path)
    if container == "image" and path.suffix.lower() in reader_images.SUFFIXES:
        return container
    if container not in DEMUXERS:
        raise DecodeError(f"it is no video: {container}, expected one of {_KINDS}")
    announced = announced_size(path, container)
    if size < announced:
        raise DecodeError(f"cut short: it has {size} of the {announced} bytes it announces")
    return container


def _read_video(
    path: Path, counts: Sequence[int], container: str, segment: Segment, policy: str
) -> DecodedClip:
    if reader_pyav.av:
        track = reader_pyav.survey(path, container)
    else:
        track = reader_opencv.read_header(path, container)
        if track.streams != 1:
            streams = f"{track.streams or 'perhaps several'} streams of pictures"
            raise DecodeError(f"a {container} file with {streams}, {_REMEDY}")
    reasons: list[str] = []
    for name in _readers(policy):
        try:
            clip = _read(name, path, counts, track, segment, reasons)
        except BadSegment:
            raise
        except DamagedFile as error:
            reasons.append(f"{name}: {error}")
            break
        except (DecodeError, ValueError, OSError) as error:
            reasons.append(f"{name}: {error}")
        else:
            choice = f"read stream {track.index}, of {track.streams} with moving pictures"
            choice *= track.streams > 1
            notes = [*reasons, clip.fallback, choice]
            return replace(
                clip,
                codec=track.codec,
                container=container,
                fallback="; ".join(note for note in notes if note),
            )
    raise DecodeError("; ".join(reasons))


def _readers(policy: str) -> tuple[str, ...]:
    if policy == "auto":
        return ("pyav", "decord", "opencv") if reader_pyav.av else ("decord", "opencv")
    return (policy,)


def _read(
    name: str,
    path: Path,
    counts: Sequence[int],
    track: Track,
    segment: Segment,
    reasons: list[str],
) -> DecodedClip:
    if name == "pyav":
        return reader_pyav.read(path, counts, track, segment)
    if name == "opencv":
        return _read_opencv(path, counts, track, segment, reasons)
    if reader_decord.decord is None:
        raise DecodeError("it is not installed")
    trusting = name == "reference"
    doubt = _doubt(track)
    if danger := _danger(path, track) or doubt * (not trusting):
        raise DecodeError(danger)
    clip = reader_decord.read(path, counts, track, segment, trusting, doubt)
    if not trusting and _is_moving(clip, track) and _equal_pairs(clip).all():
        raise DecodeError("it returns equal frames for the packets of a moving film")
    return clip


def _danger(path: Path, track: Track) -> str:
    """Return a reason not to let decord open a file; "" for no reason.

    decord finds out the kind of a file itself, and so might take it for a list of files.
    The kinds that are allowed begin with bytes with which no list can begin.
    """
    if track.container == "mpegts":
        return "it may hang on a transport stream"
    if track.container not in _DECORDS:
        return f"its frames are not trusted in the container {track.container}"
    return _SEQUENCE if _names_images(path) else ""


def _names_images(path: Path) -> bool:
    """Return whether FFmpeg may take a name for those of numbered images."""
    return bool(re.search(r"%\d*d", str(path.absolute())))


def _doubt(track: Track) -> str:
    """Return a reason not to trust decord with a file; "" for no reason."""
    if track.skipped:
        return _NO_KEY
    if track.streams > 1:
        return f"which of {track.streams} streams of pictures it reads cannot be chosen"
    return ""


def _read_opencv(
    path: Path, counts: Sequence[int], track: Track, segment: Segment, reasons: list[str]
) -> DecodedClip:
    if _names_images(path):
        raise DecodeError(_SEQUENCE)
    if track.skipped:
        raise DecodeError(_NO_KEY)
    if not track.is_first:
        raise DecodeError("it reads the first stream of pictures only, another is the clip")
    if reader_pyav.av and reader_pyav.is_interlaced(path, track):
        raise DecodeError("its pictures are interlaced, which only PyAV reads")
    # An edit list hides frames that the header counts.
    edited = any("start at zero" in reason for reason in reasons)
    clip = reader_opencv.read(path, counts, track, segment, 0.5 if edited else 0.9)
    # A frame equal to the one before may be what was left of it in memory.
    repeats = len(clip.frames) == 1 or _equal_pairs(clip).any()
    if repeats and not reader_pyav.av:
        raise DecodeError(f"perhaps its pictures are interlaced, {_REMEDY}")
    if repeats and len(clip.frames) > 1 and _is_moving(clip, track):
        raise DecodeError("it returns a frame twice for the packets of a moving film")
    return clip


def _equal_pairs(clip: DecodedClip) -> np.ndarray:
    """Return whether each frame but the first equals the one before; never empty."""
    pairs = zip(clip.frames[:-1], clip.frames[1:], strict=True)
    equal = [np.array_equal(before, after) for before, after in pairs]
    return np.array(equal or [False])


def _is_moving(clip: DecodedClip, track: Track) -> bool:
    """Return whether a film's packets are larger than those of a still.

    In a still a packet between key frames says "as before" of each block of pixels.
    """
    height, width = clip.frames.shape[1:3]
    return track.packet_bytes > max(64, height * width / 400)
