"""Read frames by PyAV, in order from start to end; correct for all files FFmpeg reads.

PyAV also surveys a file's packets before anyone decodes it: which stream of pictures to
read, how many frames it holds and when each is shown. No other file imports av.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from vidsme_jax.data.readers.containers import DEMUXERS, announced_size
from vidsme_jax.data.readers.damage import holds_key, is_damaged, unit_length_size
from vidsme_jax.data.readers.decoded import (
    DamagedFile,
    DecodedClip,
    DecodeError,
    fps_or_zero,
)
from vidsme_jax.data.readers.in_order import read_in_order
from vidsme_jax.data.readers.track import Segment, Track

try:
    import av
except (ImportError, OSError):
    av = None  # type: ignore[assignment]

# A title that is no UTF-8 does not matter. PyAV before 19 stops at it with an error, unless
# an option says to ignore it; PyAV from 19 on ignores it, and has no such option.
_STOPS_AT_TITLES = av is not None and int(av.__version__.split(".")[0]) < 19
_LENIENT: dict[str, Any] = {"metadata_errors": "ignore"} if _STOPS_AT_TITLES else {}
# What OpenCV calls these codecs; others go by their first four letters.
_FOURCC = {
    "mpeg4": "fmp4",
    "mpeg1video": "mpg1",
    "mpeg2video": "mpg2",
    "mjpeg": "mjpg",
    "vp8": "vp80",
    "vp9": "vp90",
    "av1": "av01",
    "dvvideo": "dvsd",
    "prores": "apch",
    "flv": "flv1",
    "msmpeg4": "mp43",
    "vc1": "wvc1",
    "rawvideo": "",  # OpenCV has no name for it
}
_STATES_LENGTH = ("matroska", "flv", "asf", "avi")  # which packets can fall short of


class _Packet(NamedTuple):
    """A packet of pictures: its time in units of its stream, and its size in bytes."""

    pts: int | None
    size: int
    is_key: bool
    is_shown: bool
    is_damaged: bool


_Packets = dict[int, list[_Packet]]  # by the number of their stream


def survey(path: Path, container: str) -> Track:
    """Read the packets of a file and choose its stream of pictures.

    Args:
        path: path of the clip.
        container: kind of the file, a key of `containers.DEMUXERS`.

    Raises:
        DamagedFile: the packets end long before the length that the file states.
        DecodeError: PyAV cannot open the file, or it has no moving pictures.
    """
    try:
        with _open(path, container) as file:
            videos = [s for s in file.streams.video if not _is_cover(s)]
            videos = [s for s in videos if s.codec_context is not None]
            if not videos:
                others = ", only covers or unknown codecs" * bool(file.streams.video)
                raise DecodeError(f"it has no video stream{others}")
            packets, end = _packets(file, videos)
            stream = _choose(file, videos, packets)
            is_open = announced_size(path, container) == 0
            track = _track(container, file, stream, packets, is_open)
            whole = packets[stream.index][: track.whole]
            damaged = [n for n, p in enumerate(whole) if p.is_damaged]
            if damaged:
                raise DamagedFile(f"its packet {damaged[0]} is damaged")
            length = (file.duration or 0) / av.time_base
            start = (file.start_time or 0) / av.time_base
    except av.FFmpegError as error:
        raise DecodeError(error.strerror or type(error).__name__) from error
    longest = float(np.max(np.diff(track.times), initial=0.0))
    if container in _STATES_LENGTH and end + max(0.0, -start) + longest < 0.9 * length:
        raise DamagedFile(f"its data end at {end:.1f} s of {length:.1f} s")
    return track


def _open(path: Path, container: str) -> Any:
    # A path from the root can be no address. The demuxer and the protocol are fixed, too,
    # so that no byte of the file makes FFmpeg open another one.
    options = {"protocol_whitelist": "file"}
    name = str(path.absolute())
    return av.open(name, format=DEMUXERS[container], options=options, **_LENIENT)


def _demux(file: Any, *streams: Any) -> Iterator[Any]:
    """Yield the packets of streams, of all by default.

    Behind the last packet PyAV 18 may stumble over a stream that its first look at the file
    had not found.
    """
    try:
        yield from file.demux(*streams)
    except IndexError:
        return


def _packets(file: Any, videos: list[Any]) -> tuple[_Packets, float]:
    """Return the packets of each stream of pictures, and when the last of all ends."""
    packets: _Packets = {s.index: [] for s in videos}
    codecs = {s.index: s.codec_context for s in videos}
    lengths = {n: unit_length_size(c.name, c.extradata) for n, c in codecs.items()}
    units = {s.index: float(s.time_base or 0) for s in file.streams}  # seconds
    end = 0.0
    for packet in _demux(file):
        if not packet.size:
            continue
        n, is_shown = packet.stream.index, not packet.is_discard
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None:
            end = max(end, (stamp + (packet.duration or 0)) * units.get(n, 0.0))
        if n in packets:
            data = (bytes(packet), codecs[n].name, lengths[n])
            bad = packet.is_corrupt or is_damaged(*data)
            is_key = packet.is_keyframe or holds_key(*data)  # some tables lack the first
            facts = (packet.pts, packet.size, is_key, is_shown, bad)
            packets[n].append(_Packet(*facts))
    return packets, end


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _choose(file: Any, videos: list[Any], packets: _Packets) -> Any:
    """Return the stream that players would show; a track of one picture only if alone."""
    films = [s for s in videos if len(_shown(packets[s.index])) > 1] or videos
    best = file.streams.best("video")
    if best in films:
        return best
    default = [s for s in films if s.disposition & av.stream.Disposition.default] or films
    return max(default, key=lambda s: len(_shown(packets[s.index])))


def _shown(packets: list[_Packet]) -> list[_Packet]:
    """Return packets without those outside an edit list, which others may refer to."""
    return [packet for packet in packets if packet.is_shown]


def _whole(packets: list[_Packet]) -> int:
    """Return how many packets lie before those that the end of the file may have cut.

    That is the last one, and those before it that the demuxer took from the same piece.
    """
    whole = max(0, len(packets) - 1)
    while whole and packets[whole - 1].is_damaged:
        whole -= 1
    return whole


def _track(
    container: str, file: Any, stream: Any, packets: _Packets, is_open: bool
) -> Track:
    keys = [n for n, packet in enumerate(packets[stream.index]) if packet.is_key]
    skipped = keys[0] if keys else 0
    mine = _shown(packets[stream.index][skipped:])
    pts = sorted(p.pts for p in mine if p.pts is not None)
    is_timed = len(pts) == len(mine) and max(Counter(pts).values(), default=2) == 1
    name = stream.codec_context.name
    unit = float(stream.time_base)  # seconds
    between = [p.size for p in mine if not p.is_key]
    return Track(
        container=container,
        index=stream.index,
        is_first=stream.index == file.streams.video[0].index,
        streams=sum(len(_shown(some)) > 1 for some in packets.values()) or 1,
        skipped=skipped,
        packets=len(mine),
        fps=fps_or_zero(float(stream.average_rate or 0)),
        codec=_FOURCC.get(name, name[:4]),
        times=tuple((p - pts[0]) * unit for p in pts if is_timed),
        packet_bytes=int(median(between)) if between else 0,
        whole=_whole(packets[stream.index]) if is_open else len(packets[stream.index]),
    )


def read(path: Path, counts: Sequence[int], track: Track, segment: Segment) -> DecodedClip:
    """Decode the frames that the frame counts need, and rotate them upright.

    Args:
        path: path of the clip.
        counts: numbers of frames to sample.
        track: the stream of pictures, from `survey`.
        segment: the part of the film that the clip is.

    Raises:
        BadSegment: the film has no such part.
        DamagedFile: a picture is damaged, or most of those in the packets are missing.
        DecodeError: PyAV could not read the file.
    """
    try:
        clip = read_in_order(lambda: _frames(path, track), counts, track, segment, "pyav")
    except av.FFmpegError as error:
        raise DecodeError(error.strerror or type(error).__name__) from error
    # A frame may lie in two packets, and a packet may be shown never; not most of them.
    if segment.is_whole and clip.frames_total < 0.45 * track.packets:
        raise DamagedFile(f"it finds {clip.frames_total} frames in {track.packets} packets")
    return clip


def is_interlaced(path: Path, track: Track) -> bool:
    """Return whether the first picture consists of two fields, as of television."""
    try:
        with _open(path, track.container) as file:
            frames = file.decode(file.streams[track.index])
            return bool(getattr(next(frames, None), "interlaced_frame", False))
    except av.FFmpegError:
        return False


def _frames(path: Path, track: Track) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
    """Yield the time of every frame, seconds, and a function that converts it to RGB.

    A recording that announces no length may end in the middle of a picture, which is left
    out then.
    """
    with _open(path, track.container) as file:
        stream, count, n = file.streams[track.index], 0, -1
        converter = av.video.reformatter.VideoReformatter()
        stream.codec_context.thread_count = 1  # clips are decoded in parallel
        # Otherwise a decoder paints over what is damaged, and says nothing.
        stream.codec_context.options = {"err_detect": "explode"}
        for packet in _demux(file, stream):
            n += packet.size > 0
            if packet.size and n < track.skipped:
                continue
            try:
                frames = packet.decode()
            except av.error.PatchWelcomeError:  # the codec has what FFmpeg lacks
                raise
            except av.FFmpegError as error:
                if not count and packet.size and not packet.is_keyframe:
                    continue  # pictures that belong to what was before the file
                if n < track.whole:
                    place = f"after frame {count - 1}" if count else "at its start"
                    reason = error.strerror or type(error).__name__
                    raise DamagedFile(f"damaged {place}: {reason}") from error
                continue
            for frame in frames:
                if not frame.is_corrupt:
                    count += 1
                    yield frame.time, partial(_upright, frame, converter)
                elif n < track.whole:
                    raise DamagedFile(f"frame {count} is damaged")


def _upright(frame: Any, converter: Any) -> np.ndarray:
    """Return a frame as RGB, rotated as the file says; other readers rotate it alone.

    Args:
        frame: a decoded frame.
        converter: that of the file; a new one for each frame takes longer than its work.
    """
    turns = round(frame.rotation / 90)  # counter-clockwise
    return np.rot90(converter.reformat(frame, format="rgb24").to_ndarray(), turns)
