"""Decode a file from its start and keep the frames of a clip that are sampled."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from vidsme_jax.data.readers.decoded import DecodedClip, DecodeError, union_indices
from vidsme_jax.data.readers.track import Segment, Track, clip_rate, film_end

# Starts the file, and yields for each frame its time in seconds (None for unknown) and a
# function that converts it to RGB.
Frames = Callable[[], Iterator[tuple[float | None, Callable[[], np.ndarray]]]]


@dataclass
class _Pass:
    """What a pass through a file met.

    Attributes:
        times: times of the frames before the segment's end, seconds from the first.
        reached_end: whether it came to the end of the file, and not of the segment.
        kept: frames that were wanted.
        rises: whether every frame had a time, later than the one before.
    """

    times: list[float] = field(default_factory=list)
    reached_end: bool = True
    kept: list[np.ndarray] = field(default_factory=list)
    rises: bool = True


def read_in_order(
    frames: Frames, counts: Sequence[int], track: Track, segment: Segment, reader: str
) -> DecodedClip:
    """Decode a file from its start, converting only the frames that the counts need.

    Which frames are sampled depends on how many there are, which only the end of the clip
    tells for certain. Where the guess was wrong, the file is read a second time. Where the
    frames have no times that rise, they are shown at the rate of the header.

    Args:
        frames: starts the file and yields its frames.
        counts: numbers of frames to sample.
        track: the stream of pictures.
        segment: the part of the film that the clip is.
        reader: name of the reader.

    Raises:
        BadSegment: the film has no such part.
        DecodeError: no frames, frames of several sizes, or another number at every read.
    """
    guess, has_times = _guess(track, segment), True
    for _ in range(3):
        first, stop = guess
        positions = first + union_indices(stop - first, counts) if stop > first else _NONE
        done = _read(frames, positions, segment, track.fps, has_times)
        if not done.times:
            raise DecodeError("it finds no frames")
        if not done.rises and has_times and not segment.is_whole:
            if not track.fps:
                raise DecodeError("its frames have no times, and the file has no rate")
            has_times = False
            continue
        times = np.array(done.times)
        film = film_end(times, track.fps) if done.reached_end else np.inf
        part = (0, len(times)) if segment.is_whole else segment.range_in(times, film)
        if part == guess:
            return _clip(done, positions - first, part, track.fps, reader)
        guess = part
    raise DecodeError("it finds another number of frames each time")


_NONE: Int[np.ndarray, "0"] = np.zeros(0, int)


def _guess(track: Track, segment: Segment) -> tuple[int, int]:
    """Return which frames most likely lie in the segment, by the packets of the stream."""
    if segment.is_whole or not track.packets:
        return 0, track.packets
    times = np.array(track.times)
    if not len(times) and track.fps:
        times = np.arange(track.packets) / track.fps
    return segment.range_in(times, film_end(times, track.fps)) if len(times) else (0, 0)


def _read(
    frames: Frames, positions: np.ndarray, segment: Segment, fps: float, has_times: bool
) -> _Pass:
    done, start, step = _Pass(), None, 1 / fps if fps else 0.0
    for n, (seconds, convert) in enumerate(frames()):
        if not has_times or seconds is None:
            done.rises = False
            time = n * step
        else:
            start = seconds if start is None else start
            time = seconds - start
        if done.times and time <= done.times[-1]:
            done.rises = False
        if not segment.is_whole and segment.is_over(time):
            done.reached_end = False
            break
        if len(done.kept) < len(positions) and n == positions[len(done.kept)]:
            done.kept.append(convert())
        done.times.append(time)
    return done


def _clip(
    done: _Pass,
    indices: np.ndarray,
    part: tuple[int, int],
    fps: float,
    reader: str,
) -> DecodedClip:
    if len({frame.shape for frame in done.kept}) > 1:
        raise DecodeError("its frames are of different sizes")
    first, stop = part
    times = np.array(done.times[first:stop] if done.rises else [])
    fps = clip_rate(times, fps)
    return DecodedClip(np.stack(done.kept), indices, stop - first, fps, reader)
