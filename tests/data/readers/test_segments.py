"""A segment is what the cut file would be, whichever reader reads it."""

import numpy as np
import pytest
from kinds import SCREEN
from zoo import COUNT, coded, number, write

from vidsme_jax.data.prepare_clip import prepare_clip
from vidsme_jax.data.prepared import ClipSpec
from vidsme_jax.data.preprocess import FrameGeometry
from vidsme_jax.data.readers import decord as reader_decord
from vidsme_jax.data.readers import pyav as reader_pyav
from vidsme_jax.data.readers.decoded import BadSegment, DecodeError
from vidsme_jax.data.readers.policy import read_clip
from vidsme_jax.data.readers.source import VideoFile

SPEC = ClipSpec((4, 16), FrameGeometry(24, 24))
LOSSLESS = {"qp": 0, "preset": "ultrafast"}
EVEN = np.arange(COUNT) * 100  # milliseconds
FILMS = {
    "film.mp4": (EVEN, {"bf": 2, "g": 12}),
    "film.mkv": (EVEN, {"bf": 2, "g": 12}),
    "film.ts": (EVEN, {"format": "mpegts", "bf": 2}),
    "late.mkv": (EVEN + 5000, {}),
    "screen.mkv": (SCREEN, {}),
    "screen.mp4": (SCREEN, {}),
    "screen.flv": (SCREEN, {}),
}
# First frame inside, first one behind: the segment and the cut file hold those between.
CUTS = ((0, 21), (13, 40), (40, COUNT))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for name, (times, options) in FILMS.items():
        write(folder / name, coded(), "libx264", times=times, **LOSSLESS | options)
        for first, stop in CUTS:
            some = times[first:stop]
            path = folder / f"{first}-{name}"
            write(path, coded()[first:stop], "libx264", times=some, **LOSSLESS | options)
    write(folder / "plain.avi", coded(), "mpeg4", bf=2, b_strategy=0)
    write(folder / "pi.h264", coded(), "libx264", format="h264", rate=25, bf=0)
    return folder


def seconds(times, n):
    return float(times[n] - times[0]) / 1000 if n < len(times) else None


@pytest.mark.parametrize("policy", ["auto", "pyav", "opencv", "decord"])
@pytest.mark.parametrize("name", FILMS)
def test_a_segment_is_the_cut_file(films, name, policy):
    times = FILMS[name][0]
    for first, stop in CUTS:
        file = VideoFile(films / name, seconds(times, first), seconds(times, stop))
        if policy == "decord" and name == "film.ts":
            with pytest.raises(DecodeError, match="it may hang"):
                read_clip(file, [4, 7], policy)
            continue
        part = read_clip(file, [4, 7], policy)
        cut = read_clip(films / f"{first}-{name}", [4, 7], policy)
        np.testing.assert_array_equal(part.frames, cut.frames)
        np.testing.assert_array_equal(part.indices, cut.indices)
        picked = first + np.linspace(0, stop - first - 1, 7, dtype=int)
        assert [number(frame) for frame in part.sample(7)] == picked.tolist()
        assert part.frames_total == cut.frames_total == stop - first
        # A header may count how long the last frame is shown: within half a frame.
        exact = 0.5 / (stop - first) if name == "screen.mp4" else 1e-4
        assert part.fps == pytest.approx(cut.fps, rel=exact)
        assert (part.reader, part.container) == (cut.reader, cut.container)


def test_all_that_is_measured_is_that_of_the_cut_file(films):
    """Motion, duration, illumination, colours, hashes and the thumbnail."""
    part = prepare_clip(VideoFile(films / "film.mp4", 1.3, 4.0), SPEC)
    cut = prepare_clip(films / "13-film.mp4", SPEC)
    assert part.facts.at == cut.facts.at and part.thumbnail == cut.thumbnail
    assert part.facts.appearance == cut.facts.appearance
    assert part.facts.file.duration == cut.facts.file.duration == pytest.approx(2.7)
    np.testing.assert_array_equal(part.frames, cut.frames)
    np.testing.assert_array_equal(part.indices, cut.indices)
    # Its bytes are unknown: those of the file are not the segment's.
    assert part.facts.file.file_bytes is None and cut.facts.file.file_bytes


def test_times_are_those_of_pictures_and_round_by_half_a_millisecond(films):
    """29.97 frames a second have times that no decimal number hits."""
    for name in ("film.mp4", "film.mkv", "film.ts"):
        for start, end, expected in (
            (1.3004, 1.7004, [13, 14, 15, 16]),
            (1.301, 1.7, [14, 15, 16]),
            (1.25, 1.6, [13, 14, 15]),
            (None, 0.2, [0, 1]),
            (5.8, None, [58, 59]),
            (5.8, 6.9, [58, 59]),  # rounded up by the list
            (0.0, 6.0, list(range(COUNT))),
        ):
            clip = read_clip(VideoFile(films / name, start, end), [COUNT])
            assert [number(frame) for frame in clip.frames] == expected, (name, start, end)


@pytest.mark.parametrize("name", ["plain.avi", "pi.h264"])
def test_frames_without_times_are_shown_at_the_rate_of_the_header(films, name):
    rate = 25 if name == "pi.h264" else 10
    for policy in ("auto", "pyav", "opencv"):
        clip = read_clip(VideoFile(films / name, 13 / rate, 40 / rate), [8], policy)
        expected = 13 + np.linspace(0, 26, 8, dtype=int)
        assert [number(frame) for frame in clip.sample(8)] == expected.tolist()
        assert (clip.frames_total, clip.fps) == (27, rate)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "screen.mkv", "screen.flv"])
def test_segments_without_pyav(films, name, monkeypatch):
    times = FILMS[name][0]
    file = VideoFile(films / name, seconds(times, 13), seconds(times, 40))
    right = read_clip(file, [8])
    monkeypatch.setattr(reader_pyav, "av", None)
    by_decord = read_clip(file, [8])
    monkeypatch.setattr(reader_decord, "decord", None)
    by_opencv = read_clip(file, [8])
    for clip in (by_decord, by_opencv):
        assert np.abs(clip.frames.astype(int) - right.frames).max() <= 2
        assert (clip.frames_total, clip.fps) == (27, pytest.approx(right.fps))


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (4.0, 2.0, "start=4 is not before end=2"),
        (2.0, 2.0, "start=2 is not before end=2"),
        (None, 0.0, "start=0 is not before end=0"),
        (-1.0, 2.0, "start=-1 lies before the film, expected 0 or more"),
        (6.0, None, "start=6 lies behind the film: the film has 0 to 6.000 s"),
        (90.0, 95.0, "start=90 lies behind the film: the film has 0 to 6.000 s"),
        (float("nan"), 2.0, "start=nan and end=2 are no times"),
        (2.0, 7.5, "end=7.5 lies behind the film: the film has 0 to 6.000 s"),
        (5.95, 6.0, "no frame lies between start=5.95 and end=6"),
        (5.95, None, "no frame lies between start=5.95 and the film's end"),
        (2.01, 2.09, "no frame lies between start=2.01 and end=2.09"),
    ],
)
@pytest.mark.parametrize("has_pyav", [True, False])
def test_a_segment_that_is_none_is_a_row(films, start, end, words, has_pyav, monkeypatch):
    if not has_pyav:
        monkeypatch.setattr(reader_pyav, "av", None)
    for policy in ("auto", "opencv"):
        file = VideoFile(films / "film.mp4", start, end)
        with pytest.raises(BadSegment, match=words.replace(".", r"\.")):
            read_clip(file, [4], policy)
    facts = prepare_clip(file, SPEC).facts
    assert (facts.status, facts.error) == ("bad_segment", words)


def test_reference_seeks_inside_the_segment(films):
    clip = read_clip(VideoFile(films / "film.mp4", 1.3, 4.0), [4], "reference")
    assert clip.reader == "decord" and clip.frames_total == 27
    assert [number(frame) for frame in clip.frames] == [13, 21, 30, 39]
