"""Every kind of file comes back with the right frames, or with a reason why not."""

import struct

import numpy as np
import pytest
from zoo import COUNT, coded, cut, cut_short, number, write, write_zoo

from vidsme_jax.data.readers import decord as reader_decord
from vidsme_jax.data.readers import policy as policy_module
from vidsme_jax.data.readers import pyav as reader_pyav
from vidsme_jax.data.readers.containers import announced_size, container_of
from vidsme_jax.data.readers.decoded import DecodeError, sample_indices
from vidsme_jax.data.readers.policy import check_policy, read_clip
from vidsme_jax.errors import InputError

ALL = list(range(COUNT))
# Why decord alone refuses it ("" where it does not), and which frames it holds.
READ = {
    "h264.mp4": ("", ALL),
    "h264.mkv": ("", ALL),
    "fast.mp4": ("", ALL),
    "hevc.mp4": ("", ALL),
    "vp9.webm": ("", ALL),
    "av1.mp4": ("decord: ", ALL),
    "b-frames.avi": ("decord: its timestamps do not rise", ALL),
    "latin1.avi": ("decord: its timestamps do not rise", ALL),
    "b-frames.mp4": ("", ALL),
    "plain.avi": ("", ALL),
    "open.mp4": ("", ALL),
    "open.mkv": ("", ALL),
    "keys.wmv": ("", ALL),
    "inside.ts": ("decord: it may hang on a transport stream", ALL),
    "stream.ts": ("decord: it may hang on a transport stream", ALL),
    "variable.mp4": ("", ALL),
    "odd.mp4": ("", ALL),
    "ten-bit.mp4": ("", ALL),
    "one.mp4": ("", [5]),
    "cut.mp4": ("decord: its timestamps do not start at zero", ALL[45:]),
    "turned-90.mp4": ("", ALL),
    "turned-180.mp4": ("", ALL),
    "turned-270.mp4": ("", ALL),
}
REFUSED = {
    "none.mp4": "finds no frames|no video stream",
    "short-h264.mp4": r"cut short: it has \d+ of the \d+ bytes it announces",
    "short-fast.mp4": r"cut short: it has \d+ of the \d+ bytes it announces",
    "short-h264.mkv": r"cut short: it has \d+ of the \d+ bytes it announces",
    "short-vp9.webm": r"cut short: it has \d+ of the \d+ bytes it announces",
    "short-plain.avi": r"cut short: it has \d+ of the \d+ bytes it announces",
    "text.mp4": "it is no video: text",
    "image.mp4": "it is no video: image",
    "zeros.mp4": "it is no video: unknown, expected one of mp4, matroska",
    "empty.mp4": "the file is empty",
    "folder.mp4": "the folder has no images",
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    write_zoo(folder)
    assert {path.name for path in folder.iterdir()} == {*READ, *REFUSED}
    return folder


def numbers(clip, name, count):
    turns = {"turned-90.mp4": 1, "turned-180.mp4": 2, "turned-270.mp4": 3}.get(name, 0)
    return [number(np.rot90(frame, turns)) for frame in clip.sample(count)]


def picked(numbers, count):
    return [numbers[n] for n in np.linspace(0, len(numbers) - 1, count, dtype=int)]


@pytest.mark.parametrize("name", READ)
def test_right_frames(zoo, name):
    shown = READ[name][1]
    clip = read_clip(zoo / name, [4, 8])
    assert (clip.reader, clip.frames_total, clip.fallback) == ("pyav", len(shown), "")
    for count in (4, 8):
        assert numbers(clip, name, count) == picked(shown, count)
    assert clip.codec and clip.container == container_of(zoo / name)


@pytest.mark.parametrize("policy", ["pyav", "opencv", "decord"])
@pytest.mark.parametrize("name", READ)
def test_right_frames_or_a_reason_from_the_others(zoo, name, policy):
    """Rotation too; OpenCV has no AV1."""
    if policy == "opencv" and name == "av1.mp4":
        with pytest.raises(DecodeError, match="no frames"):
            read_clip(zoo / name, [8], policy)
        return
    if policy == "decord" and READ[name][0]:
        with pytest.raises(DecodeError, match=READ[name][0]):
            read_clip(zoo / name, [8], policy)
        return
    clip = read_clip(zoo / name, [8], policy)
    assert (clip.reader, clip.fallback) == (policy, "")
    assert numbers(clip, name, 8) == picked(READ[name][1], 8)


@pytest.mark.parametrize("policy", ["auto", "pyav", "opencv", "decord"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_video_has_a_reason(zoo, name, policy):
    expected = REFUSED[name] if policy == "auto" else ".+"
    with pytest.raises(DecodeError, match=expected):
        read_clip(zoo / name, [4], policy)


def test_reference_keeps_the_wrong_frames_and_says_so(zoo):
    """What the published code sees: here not one frame of the first half is right."""
    clip = read_clip(zoo / "b-frames.avi", [8], "reference")
    assert clip.reader == "decord"
    assert clip.fallback == "kept, though its timestamps do not rise"
    assert numbers(clip, "b-frames.avi", 8) != picked(ALL, 8)
    assert read_clip(zoo / "h264.mp4", [8], "reference").fallback == ""
    with pytest.raises(DecodeError, match="reference: it may hang on a transport stream"):
        read_clip(zoo / "inside.ts", [8], "reference")


@pytest.mark.parametrize("name", ["b-frames.mp4", "open.mp4", "open.mkv"])
def test_reference_seeks_and_says_where_that_finds_other_frames(zoo, name):
    """Its timestamps give nothing away; only reading in order does."""
    clip = read_clip(zoo / name, [16], "reference")
    right = read_clip(zoo / name, [16], "decord")
    assert right.reader == "decord" and right.fallback == ""
    assert clip.fallback.startswith("kept, though it seeks to other frames in ")
    assert numbers(right, name, 16) == picked(ALL, 16) != numbers(clip, name, 16)


def test_most_of_a_stream_lost_is_not_a_shorter_clip(zoo, tmp_path):
    """Matroska goes on behind damage as if nothing were missing."""
    content = bytearray((zoo / "h264.mkv").read_bytes())
    content[len(content) // 5 : -200] = bytes(len(content) - len(content) // 5 - 200)
    (tmp_path / "a.mkv").write_bytes(content)
    with pytest.raises(DecodeError, match=r"its data end at \d.\d s of 6.0 s"):
        read_clip(tmp_path / "a.mkv", [4])


def test_readers_agree_to_the_pixel(zoo):
    for name in ("h264.mp4", "turned-90.mp4", "plain.avi"):
        clips = [read_clip(zoo / name, [4, 7], p) for p in ("decord", "pyav", "opencv")]
        for clip in clips[1:]:
            np.testing.assert_array_equal(clip.indices, clips[0].indices)
            assert np.abs(clip.frames.astype(int) - clips[0].frames).max() <= 2


def test_without_decord_and_pyav_opencv_reads(zoo, monkeypatch):
    monkeypatch.setattr(reader_decord, "decord", None)
    monkeypatch.setattr(reader_pyav, "av", None)
    clip = read_clip(zoo / "b-frames.avi", [8])
    assert (clip.reader, clip.fallback) == ("opencv", "decord: it is not installed")
    assert numbers(clip, "b-frames.avi", 8) == picked(ALL, 8)
    for policy in ("decord", "reference", "pyav"):
        with pytest.raises(InputError, match=f"reader={policy} needs .*not installed"):
            check_policy(policy)
    with pytest.raises(InputError, match="reader=ffmpeg, there are auto, decord"):
        check_policy("ffmpeg")


def test_opencv_reads_behind_an_edit_list_that_decord_has_seen(zoo, monkeypatch):
    monkeypatch.setattr(reader_pyav, "av", None)
    write(zoo.parent / "long.mp4", coded(), "libx264", g=60, bf=2)
    clip = read_clip(zoo.parent / "long.mp4", [4])
    assert clip.reader == "decord"
    cut(zoo.parent / "long.mp4", zoo.parent / "cut.mp4", 1.5)
    clip = read_clip(zoo.parent / "cut.mp4", [4])
    assert clip.reader == "opencv" and "start at zero" in clip.fallback
    assert numbers(clip, "cut.mp4", 4) == picked(ALL[15:], 4)


def test_an_edit_list_that_begins_between_two_key_frames(zoo, tmp_path):
    """The key frame is hidden, the pictures up to the next one are not."""
    write(tmp_path / "long.mp4", coded(), "libx264", g=12, bf=2)
    cut(tmp_path / "long.mp4", tmp_path / "cut.mp4", 1.5)
    for policy in ("auto", "pyav", "opencv"):
        clip = read_clip(tmp_path / "cut.mp4", [60], policy)
        assert numbers(clip, "cut.mp4", 45) == ALL[15:] and clip.frames_total == 45


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_table_of_key_frames_that_lacks_the_first(tmp_path, codec):
    """The first picture says itself that it needs no other one."""
    write(tmp_path / "a.mp4", coded(), codec, g=12, bf=2, **{"x265-params": "keyint=12"})
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    at = content.find(b"stss") + 8  # number of key frames, then the number of each
    (keys,) = struct.unpack(">I", content[at : at + 4])
    assert keys > 3 and content[at + 4 : at + 8] == b"\0\0\0\1"
    content[at : at + 4] = struct.pack(">I", keys - 1)
    del content[at + 4 : at + 8]
    content[at + 4 * keys : at + 4 * keys] = bytes(4)  # behind the table
    (tmp_path / "a.mp4").write_bytes(content)
    for policy in ("auto", "pyav", "opencv"):
        clip = read_clip(tmp_path / "a.mp4", [60], policy)
        assert numbers(clip, "a.mp4", 60) == ALL


def test_an_edit_list_that_hides_a_single_frame(zoo, tmp_path):
    """decord shows it: its timestamps are right, and its count is off by no more than 1."""
    content = bytearray((zoo / "b-frames.mp4").read_bytes())
    at = content.find(b"elst") + 12  # the first edit's length, in milliseconds
    content[at : at + 4] = struct.pack(">I", 5900)
    (tmp_path / "a.mp4").write_bytes(content)
    for policy in ("auto", "pyav", "opencv"):
        clip = read_clip(tmp_path / "a.mp4", [60], policy)
        assert numbers(clip, "a.mp4", 59) == ALL[:-1] and clip.frames_total == 59
    with pytest.raises(DecodeError, match="finds 60 frames where the header has 59"):
        read_clip(tmp_path / "a.mp4", [60], "decord")


def test_a_short_transport_stream_gives_the_frames_it_has(zoo, tmp_path):
    """It does not say how long it is; what is there is read in order."""
    cut_short(zoo / "stream.ts", tmp_path / "a.ts", 0.5)
    clip = read_clip(tmp_path / "a.ts", [4])
    assert clip.reader == "pyav" and 10 < clip.frames_total < COUNT
    shown = numbers(clip, "a.ts", 4)
    assert shown[0] == 0 and sorted(shown) == shown


def test_short_clips_repeat_frames(zoo):
    clip = read_clip(zoo / "one.mp4", [8])
    assert sample_indices(3, 8).tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert clip.frames.shape[0] == 1 and clip.sample(8).shape == (8, 96, 160, 3)


def test_one_decoding_serves_all_counts(zoo):
    for policy in ("decord", "pyav", "opencv"):
        both = read_clip(zoo / "h264.mp4", [4, 16], policy)
        for count in (4, 16):
            alone = read_clip(zoo / "h264.mp4", [count], policy).sample(count)
            np.testing.assert_array_equal(both.sample(count), alone)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.mp4 does not exist"):
        read_clip(tmp_path / "none.mp4", [4])


def test_the_guard():
    rising = np.arange(20) / 10
    assert reader_decord._doubt(rising, 20) == reader_decord._doubt(rising, 0) == ""
    assert "do not rise" in reader_decord._doubt(np.array([0.0, 0.2, 0.1]), 0)
    assert "do not rise" in reader_decord._doubt(np.array([0.0, np.nan]), 0)
    assert "start at zero" in reader_decord._doubt(rising - 3, 0)
    assert "start at zero" in reader_decord._doubt(rising + 3, 0)
    assert "20 frames where the header has 40" in reader_decord._doubt(rising, 40)
    assert policy_module.POLICIES[0] == "auto"


def test_containers(tmp_path, zoo):
    sizes = {name: (zoo / name).stat().st_size for name in READ}
    for name, size in sizes.items():
        kind = container_of(zoo / name)
        assert announced_size(zoo / name, kind) in (
            (0,) if kind in ("mpegts", "asf") else (size,)
        )
    units = (b"\x67d", "h264"), (b"\x06\5", "h264"), (b"\x46\1P", "hevc")
    layer = b"\0\0\0\1\x20"
    units += (b"\xb0\1\0\0\1\xb5", "m4v"), (layer, "m4v"), (b"\xb3\x14", "mpegvideo")
    for unit, kind in units:
        for mark in (b"\0\0\1", b"\0\0\0\1")[: 1 + (kind in ("h264", "hevc"))]:
            (tmp_path / "a").write_bytes(mark + unit + bytes(900))
            assert container_of(tmp_path / "a") == kind
    for content, kind in (
        (b"\x1f\7\0\xbf" + bytes(900), "dv"),
        (b"\x47", "text"),
        (b"\1\2\3" * 900, "unknown"),
        (b"", "text"),
    ):
        (tmp_path / "a").write_bytes(content)
        assert container_of(tmp_path / "a") == kind
    live = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"\0" * 20
    (tmp_path / "b").write_bytes(live)
    assert container_of(tmp_path / "b") == "matroska"
    assert announced_size(tmp_path / "b", "matroska") == 0
    for content in (b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67"):
        (tmp_path / "c").write_bytes(content)
        announced_size(tmp_path / "c", "matroska")
