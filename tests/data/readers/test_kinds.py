"""Every kind of video comes back right, or with a line that says why not."""

import re

import numpy as np
import pytest
from kinds import SCREEN, write_kinds
from zoo import COUNT, coded, number, write

from vidsme_jax.data.readers import decord as reader_decord
from vidsme_jax.data.readers import opencv as reader_opencv
from vidsme_jax.data.readers import pyav as reader_pyav
from vidsme_jax.data.readers.decoded import DecodeError
from vidsme_jax.data.readers.policy import read_clip

pytestmark = pytest.mark.slow(25)

ALL = list(range(COUNT))
TRANSPORT = "decord: it may hang on a transport stream"
SEVERAL = "streams of pictures, which only PyAV can tell apart: pip install av"
UNTRUSTED = "decord: its frames are not trusted in the container "
FIELDS = "perhaps its pictures are interlaced, which only PyAV can tell apart"
RISE = "decord: its timestamps do not rise"
BROKEN = "decord: Failed to measure duration/frame-count due to broken metadata."
# Why decord alone refuses it ("" where it does not), then who reads it without PyAV and
# what is said: words beside a reader's name are those of a clip, all others of a refusal.
KINDS = {
    "camcorder.mts": (TRANSPORT, None, SEVERAL),
    "blu-ray.m2ts": (TRANSPORT, None, SEVERAL),
    "dvd.mpg": (UNTRUSTED + "mpeg", None, SEVERAL),
    "dvd.vob": (UNTRUSTED + "mpeg", None, SEVERAL),
    "elementary.m2v": (UNTRUSTED + "mpegvideo", None, FIELDS),
    "fields.mp4": ("", "decord", ""),
    "fields.mkv": ("", "decord", ""),
    "fields.avi": (RISE, None, FIELDS),
    "fields.mxf": (UNTRUSTED + "mxf", None, SEVERAL),
    "screen.webm": ("", "decord", ""),
    "live.webm": (BROKEN, "opencv", BROKEN),
    "screen.mkv": ("", "decord", ""),
    "screen.flv": ("", "decord", ""),
    "screen.ts": (TRANSPORT, None, SEVERAL),
    "screen.mp4": ("", "decord", ""),
    "pieces.mp4": ("", "decord", ""),
    "nominal.webm": ("", "decord", ""),
    "late.mkv": ("", "decord", ""),
    "ntsc.mkv": ("", "decord", ""),
    "vp8.webm": ("", "decord", ""),
    "prores.mov": ("", "decord", ""),
    "phone.3gp": ("", "decord", ""),
    "photo.avi": ("", "decord", ""),
    "old.flv": ("", "decord", ""),
    "old.asf": ("", "decord", ""),
    "vp8.ogv": (UNTRUSTED + "ogg", None, SEVERAL),
    "mpeg1.mpg": (UNTRUSTED + "mpeg", None, SEVERAL),
    "vp9.ivf": (UNTRUSTED + "ivf", "opencv", UNTRUSTED + "ivf"),
    "ffv1.nut": (UNTRUSTED + "nut", None, SEVERAL),
    "raw.y4m": (UNTRUSTED + "y4m", "opencv", UNTRUSTED + "y4m"),
    "pi.h264": (UNTRUSTED + "h264", "opencv", UNTRUSTED + "h264"),
    "raw.hevc": (UNTRUSTED + "hevc", "opencv", UNTRUSTED + "hevc"),
    "remark.h264": (UNTRUSTED + "h264", "opencv", UNTRUSTED + "h264"),
    "raw.m4v": (UNTRUSTED + "m4v", "opencv", UNTRUSTED + "m4v"),
    "real.rm": (UNTRUSTED + "rm", None, SEVERAL),
    "tv.wtv": (UNTRUSTED + "wtv", None, SEVERAL),
    "deep.mkv": ("", "decord", ""),
    "cover-first.mp4": ("", None, SEVERAL),
    "cover-last.mp4": ("", None, SEVERAL),
    "cover-first.mkv": ("", None, SEVERAL),
    "two.mp4": ("decord: which of 2 streams", None, SEVERAL),
    "two.mkv": ("decord: which of 2 streams", None, SEVERAL),
    "two.ts": (TRANSPORT, None, SEVERAL),
    "first.mkv": ("decord: which of 2 streams", None, SEVERAL),
    "sound.mkv": ("", "decord", ""),
    "narrow-8.mp4": ("decord: its frames have 12 channels", "opencv", "12"),
    "narrow-16.mp4": ("decord: its frames have 6 channels", "opencv", "6"),
    "narrow-24.mp4": ("decord: its frames have 4 channels", "opencv", "4"),
    "narrow-48.mp4": ("decord: its frames have 4 channels", "opencv", "4"),
    "still.mp4": ("", "decord", ""),
    "one-fields.mp4": ("", "decord", ""),
    "loop.gif": (UNTRUSTED + "gif", "opencv", UNTRUSTED + "gif"),
}
# Under auto, by PyAV, what there is to say of the choice.
NOTES = {
    **dict.fromkeys(("two.mp4", "two.mkv", "two.ts"), "read stream 1"),
    "first.mkv": "read stream 0",
}
SHOWN = {"first.mkv": [0] * 20, "still.mp4": [9] * COUNT, "one-fields.mp4": [5]}
# Those of the recorder last 22.9 s and the median step of 33 ms.
VARIABLE = COUNT / ((SCREEN[-1] - SCREEN[0]) / 1000 + 0.033)
RATES = {
    "ntsc.mkv": 30000 / 1001,
    # Its muxer lets one frame out at the end.
    "mpeg1.mpg": 25 * 60 / 61,
    **dict.fromkeys(("dvd.mpg", "dvd.vob", "elementary.m2v", "pi.h264", "raw.hevc"), 25),
    **dict.fromkeys(("remark.h264", "raw.m4v"), 25),
    "tv.wtv": 25,
    **dict.fromkeys(("fields.mkv", "fields.avi", "fields.mxf"), 25),
    **dict.fromkeys(("screen.webm", "screen.mkv", "screen.flv", "screen.ts"), VARIABLE),
    **dict.fromkeys(("screen.mp4", "pieces.mp4", "live.webm"), VARIABLE),
}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    write_kinds(folder)
    assert {path.name for path in folder.iterdir()} == {*KINDS}
    return folder


def check_frames(clip, name):
    shown = SHOWN.get(name, ALL)
    frames = clip.sample(8)
    if name.startswith("narrow"):
        frames = np.rot90(frames, -1, axes=(1, 2))
    picked = [shown[n] for n in np.linspace(0, len(shown) - 1, 8, dtype=int)]
    assert [number(frame) for frame in frames] == picked
    assert clip.frames_total == len(shown)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_by_itself(kinds, name):
    clip = read_clip(kinds / name, [8])
    check_frames(clip, name)
    note = f"{NOTES[name]}, of 2 with moving pictures" if name in NOTES else ""
    assert (clip.reader, clip.fallback) == ("pyav", note)
    assert clip.container and (clip.codec or name == "raw.y4m")
    assert clip.fps == pytest.approx(RATES.get(name, 10), rel=0.002)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_or_refused_without_pyav(kinds, name, monkeypatch):
    with_pyav = read_clip(kinds / name, [8])
    monkeypatch.setattr(reader_pyav, "av", None)
    _, reader, words = KINDS[name]
    if reader is None:
        with pytest.raises(DecodeError, match=re.escape(words)):
            read_clip(kinds / name, [8])
        return
    clip = read_clip(kinds / name, [8])
    check_frames(clip, name)
    assert clip.reader == reader and words in clip.fallback
    assert clip.fps == pytest.approx(with_pyav.fps, rel=0.002)
    assert (clip.codec, clip.container) == (with_pyav.codec, with_pyav.container)


@pytest.mark.parametrize("policy", ["pyav", "opencv", "decord"])
@pytest.mark.parametrize("name", KINDS)
def test_a_reader_alone_is_right_or_says_why_not(kinds, name, policy):
    try:
        clip = read_clip(kinds / name, [8], policy)
    except DecodeError as error:
        assert policy != "pyav" and str(error).startswith(f"{policy}: ")
        assert policy == "opencv" or KINDS[name][0] in str(error) and KINDS[name][0]
        return
    assert policy != "decord" or not KINDS[name][0]
    check_frames(clip, name)
    assert clip.fps == pytest.approx(RATES.get(name, 10), rel=0.03)


def test_opencv_refuses_all_that_is_interlaced(kinds):
    names = [name for name in KINDS if "fields" in name]
    for name in (*names, "camcorder.mts", "blu-ray.m2ts", "dvd.mpg", "elementary.m2v"):
        with pytest.raises(DecodeError, match="interlaced, which only PyAV reads"):
            read_clip(kinds / name, [8], "opencv")


def test_left_over_frames_of_a_moving_film_are_not_taken(tmp_path, monkeypatch):
    """As if a reader could not convert a picture: it returns what its memory last held."""
    noise = np.random.default_rng(0).integers(-40, 40, coded().shape)
    frames = np.clip(coded() + noise, 0, 255).astype(np.uint8)
    write(tmp_path / "a.mp4", frames, "libx264", g=30)
    write(tmp_path / "still.mp4", np.repeat(frames[:1], COUNT, axis=0), "libx264", g=30)
    right = reader_decord.read, reader_opencv.read

    def stuck(read, places):
        def broken(*arguments):
            clip = read(*arguments)
            for place in places:
                clip.frames[place] = clip.frames[place - 1]
            return clip

        return broken

    monkeypatch.setattr(reader_decord, "read", stuck(right[0], range(1, 8)))
    monkeypatch.setattr(reader_opencv, "read", stuck(right[1], [4]))
    with pytest.raises(DecodeError, match="decord: it returns equal frames"):
        read_clip(tmp_path / "a.mp4", [8], "decord")
    with pytest.raises(DecodeError, match="opencv: it returns a frame twice"):
        read_clip(tmp_path / "a.mp4", [8], "opencv")
    for policy in ("decord", "opencv"):
        assert read_clip(tmp_path / "still.mp4", [8], policy).frames_total == COUNT
    monkeypatch.setattr(reader_pyav, "av", None)
    with pytest.raises(DecodeError, match=FIELDS):
        read_clip(tmp_path / "a.mp4", [8], "opencv")
