"""Choose the reader that decodes a clip, and note the faults of readers before it.

    auto       decord with a guard, then PyAV, then OpenCV
    decord     decord with the guard, and nothing else
    pyav       PyAV, in order from start to end
    opencv     OpenCV, in order from start to end
    reference  decord without a guard, as the published code reads; a clip that the guard
               would have refused says so

The guard accepts a file under four conditions. The file is as long as it announces. It is
no transport stream, on which decord hangs. decord's timestamps rise strictly from zero.
decord finds as many frames as the header tells. All policies but `reference` decode in
order, since seeking finds wrong frames in too many files.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vidsme_jax.data.readers import decord as reader_decord
from vidsme_jax.data.readers import opencv as reader_opencv
from vidsme_jax.data.readers import pyav as reader_pyav
from vidsme_jax.data.readers.containers import announced_size, container_of
from vidsme_jax.data.readers.decoded import DamagedFile, DecodedClip, DecodeError
from vidsme_jax.data.readers.opencv import Header
from vidsme_jax.errors import InputError

POLICIES = ("auto", "decord", "pyav", "opencv", "reference")


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


def read_clip(path: Path, counts: Sequence[int], policy: str = "auto") -> DecodedClip:
    """Decode the frames of a clip that all frame counts need.

    Args:
        path: path of the clip.
        counts: numbers of frames to sample.
        policy: name of a policy, of `POLICIES`.

    Raises:
        FileNotFoundError: there is no such file.
        DecodeError: no reader of the policy could decode it.
    """
    container = _check_file(path)
    header = reader_opencv.read_header(path)
    reasons: list[str] = []
    for name in _readers(policy):
        try:
            clip = _read(name, path, counts, container, header, reasons)
        except DamagedFile as error:
            reasons.append(f"{name}: {error}")
            break
        except (DecodeError, ValueError, OSError) as error:
            reasons.append(f"{name}: {error}")
        else:
            return replace(
                clip,
                codec=header.codec,
                container=container,
                fallback="; ".join([*reasons, clip.fallback]).strip("; "),
            )
    raise DecodeError("; ".join(reasons))


def _check_file(path: Path) -> str:
    """Return the container of a file; refuse a file that is no whole video."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not path.is_file():
        raise DecodeError("it is no regular file")
    size = path.stat().st_size
    if size == 0:
        raise DecodeError("the file is empty")
    container = container_of(path)
    if container in ("text", "image"):
        raise DecodeError(f"it is no video: {container}")
    announced = announced_size(path, container)
    if size < announced:
        raise DecodeError(f"cut short: it has {size} of the {announced} bytes it announces")
    return container


def _readers(policy: str) -> tuple[str, ...]:
    if policy == "auto":
        return ("decord", "pyav", "opencv") if reader_pyav.av else ("decord", "opencv")
    return (policy,)


def _read(
    name: str,
    path: Path,
    counts: Sequence[int],
    container: str,
    header: Header,
    reasons: list[str],
) -> DecodedClip:
    if name == "pyav":
        return reader_pyav.read(path, counts, header.frames)
    if name == "opencv":
        # An edit list hides frames that the header counts.
        edited = any("start at zero" in reason for reason in reasons)
        return reader_opencv.read(path, counts, header, 0.5 if edited else 0.9)
    if reader_decord.decord is None:
        raise DecodeError("it is not installed")
    trusting = name == "reference"
    doubt = "it is a transport stream" * (container == "mpegts")
    if doubt and not trusting:
        raise DecodeError("it may hang on a transport stream")
    return reader_decord.read(path, counts, header.frames, trusting, doubt)
