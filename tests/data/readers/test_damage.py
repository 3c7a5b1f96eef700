"""Damage is a reason, not a frame with smears."""

import numpy as np
import pytest
from zoo import coded, copy_packets, number, write

from vidsme_jax.data.readers import decord as reader_decord
from vidsme_jax.data.readers import pyav as reader_pyav
from vidsme_jax.data.readers.damage import is_damaged, unit_length_size
from vidsme_jax.data.readers.decoded import DecodeError
from vidsme_jax.data.readers.policy import read_clip
from vidsme_jax.data.readers.source import VideoFile

# Codec, options, and whether PyAV's decoder sees a single wrong bit in most places.
FILES = {
    "a.mp4": ("libx264", {"g": 30, "bf": 2, "movflags": "faststart"}, True),
    "a.mkv": ("libx264", {"g": 30, "bf": 2}, True),
    "a.ts": ("libx264", {"g": 30, "format": "mpegts"}, True),
    "h.mp4": ("libx265", {"g": 30, "movflags": "faststart"}, False),
    "v8.webm": ("libvpx", {"g": 30}, False),
    "v9.webm": ("libvpx-vp9", {"g": 30}, False),
    "m.avi": ("mpeg4", {"bf": 0}, False),
}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Films whose packets are large, so that damage lies in pictures."""
    folder = tmp_path_factory.mktemp("noisy")
    noise = np.random.default_rng(0).integers(-40, 40, coded().shape)
    frames = np.clip(coded() + noise, 0, 255).astype(np.uint8)
    for name, (codec, options, _) in FILES.items():
        write(folder / name, frames, codec, **options)
        read_clip(folder / name, [8])
    return folder


def overwrite(source, target, place, new):
    content = bytearray(source.read_bytes())
    at = int(place * len(content))
    content[at : at + len(new)] = new
    target.write_bytes(content)
    return target


@pytest.mark.parametrize("name", FILES)
def test_a_piece_that_was_never_written_is_found(noisy, tmp_path, name):
    """A download has zeros where a piece is missing; the file is as long as it says."""
    for place in (0.3, 0.45, 0.6, 0.75):
        path = overwrite(noisy / name, tmp_path / name, place, bytes(2000))
        for policy in ("auto", "pyav"):
            with pytest.raises(DecodeError, match="damaged|its data end at"):
                read_clip(path, [60], policy)


@pytest.mark.parametrize("name", [n for n in FILES if FILES[n][2]])
def test_pyav_does_not_paint_over_a_wrong_bit(noisy, tmp_path, name):
    """One bit in a picture; other readers return what is smeared from there on."""
    refused = 0
    for place in np.linspace(0.3, 0.8, 8):
        at = int(place * (noisy / name).stat().st_size)
        bit = bytes([(noisy / name).read_bytes()[at] ^ 4])
        path = overwrite(noisy / name, tmp_path / name, place, bit)
        try:
            read_clip(path, [60], "pyav")
        except DecodeError as error:
            assert "damaged" in str(error), error
            refused += 1
    assert refused >= 3


def test_damage_of_the_first_picture_is_not_a_clip_without_it(noisy, tmp_path):
    """The pictures up to the next key frame would be missing, and nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_pyav, "is_damaged", lambda *_: False)
        place = (noisy / "a.mp4").read_bytes().find(b"mdat") / (
            noisy / "a.mp4"
        ).stat().st_size
        path = overwrite(noisy / "a.mp4", tmp_path / "a.mp4", place + 0.01, b"U" * 2000)
        for policy in ("auto", "pyav"):
            with pytest.raises(DecodeError, match="damaged at its start"):
                read_clip(path, [8], policy)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.ts", "libx264", {"format": "mpegts", "bf": 2}),
        ("a.mpg", "mpeg2video", {"rate": 25, "bf": 2}),
        ("a.m2v", "mpeg2video", {"rate": 25, "format": "mpeg2video"}),
        ("a.h264", "libx264", {"rate": 25, "format": "h264"}),
        ("a.gif", "gif", {"pix_fmt": "rgb8", "rate": 10}),
    ],
)
def test_a_recording_may_end_within_a_picture(tmp_path, name, codec, options):
    """Its file announces no length; the half picture is left out, and nothing else."""
    write(tmp_path / name, coded(), codec, **options)
    content, found = (tmp_path / name).read_bytes(), set()
    for share in np.linspace(0.6, 0.9, 16):
        (tmp_path / name).write_bytes(content[: int(share * len(content))])
        clip = read_clip(tmp_path / name, [60])
        shown = [number(frame) for frame in clip.frames]
        assert shown[:-3] == list(range(len(shown) - 3))
        found.add(len(shown))
    assert min(found) > 25 and max(found) < 60 and len(found) > 8


def test_damage_before_a_segment_or_in_it_is_found(noisy, tmp_path):
    path = overwrite(noisy / "a.mp4", tmp_path / "a.mp4", 0.6, bytes(900))
    for start, end in ((None, 2.0), (4.0, None), (3.0, 4.5)):
        with pytest.raises(DecodeError, match=r"its packet \d\d is damaged"):
            read_clip(VideoFile(path, start, end), [8])


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video"])
def test_a_file_that_begins_between_two_key_frames(tmp_path, codec, suffix, monkeypatch):
    """MPEG-4 decoders make grey smears of the pictures before the first key frame."""
    source, path = tmp_path / f"whole.{suffix}", tmp_path / f"rest.{suffix}"
    write(source, coded(), codec, g=12, bf=0, rate=25)
    copy_packets(source, path, 5)
    for policy in ("auto", "pyav"):
        clip = read_clip(path, [60], policy)
        assert [number(frame) for frame in clip.frames] == list(range(12, 60))
    for policy in ("decord", "opencv"):
        with pytest.raises(DecodeError, match="need a key frame that the file lacks|hang"):
            read_clip(path, [60], policy)
    monkeypatch.setattr(reader_pyav, "av", None)
    for policy in ("auto", "opencv"):
        with pytest.raises(DecodeError, match="that the file lacks|pip install"):
            read_clip(path, [60], policy)


def test_opencv_alone_counts_what_the_header_counts(noisy, tmp_path, monkeypatch):
    monkeypatch.setattr(reader_pyav, "av", None)
    monkeypatch.setattr(reader_decord, "decord", None)
    rest = (noisy / "a.mp4").stat().st_size // 2
    path = overwrite(noisy / "a.mp4", tmp_path / "a.mp4", 0.5, b"\xff" * rest)
    with pytest.raises(DecodeError, match=r"\d\d of the 60 frames in its header"):
        read_clip(path, [8])


def test_what_no_encoder_writes():
    picture = b"\x65" + b"\x88\x84" * 8
    packet = len(picture).to_bytes(4, "big") + picture
    assert not is_damaged(packet + packet, "h264", 4)
    assert not is_damaged(packet + b"\0\0\0", "h264", 4)  # padding
    assert not is_damaged(b"\0\0\0\1" + picture, "h264", 4)  # divided by marks
    end = b"\0\0\0\1\x0a"  # of a sequence, in the last picture's unit
    assert not is_damaged((22).to_bytes(4, "big") + picture + end, "h264", 4)
    assert is_damaged((22).to_bytes(4, "big") + picture + b"\0\0\0\1\x41", "h264", 4)
    assert is_damaged((30).to_bytes(4, "big") + picture + end + picture[:8], "h264", 4)
    beside = b"\x06\x05" + bytes(20)  # a camera's remark, with zeros
    assert not is_damaged(len(beside).to_bytes(4, "big") + beside + packet, "h264", 4)
    for wrong in (
        packet[:-3],
        bytes(len(packet)),
        packet + bytes(40),
        packet.replace(b"\x84\x88", b"\0\0\0", 1),
        packet.replace(b"\x65", b"\xe5"),
    ):
        assert is_damaged(wrong, "h264", 4)
    for codec in ("vp8", "vp9", "mpeg4"):
        assert is_damaged(b"\x10" + bytes(64) + b"\1", codec, 0)
        assert not is_damaged(b"\x10" + bytes(63) + b"\1", codec, 0)
    assert not is_damaged(bytes(900) + b"\1", "mpeg2video", 0)  # stuffing
    assert unit_length_size("h264", b"\1\x64\0\x0a\xff\xe1") == 4
    assert unit_length_size("h264", b"\0\0\0\1\x67") == 0
    assert unit_length_size("hevc", b"\1" + bytes(20) + b"\xfd") == 2
    assert unit_length_size("vp9", None) == 0


def test_a_stream_that_begins_later_does_no_harm(noisy, monkeypatch):
    """PyAV 18 fails behind the last packet if FFmpeg met a stream it had not seen."""

    class Stumbling:
        def __init__(self, file):
            self.file, self.streams = file, file.streams
            self.duration, self.start_time = file.duration, file.start_time

        def demux(self, *streams):
            yield from self.file.demux(*streams)
            raise IndexError("list index out of range")

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

    right, opened = read_clip(noisy / "a.mp4", [8], "pyav"), reader_pyav._open
    monkeypatch.setattr(reader_pyav, "_open", lambda *a: Stumbling(opened(*a)))
    clip = read_clip(noisy / "a.mp4", [8], "pyav")
    np.testing.assert_array_equal(clip.frames, right.frames)
