import numpy as np
import pytest
from tools import bar, numbered, write_av

from vidsme_jax.data import frames
from vidsme_jax.data.frames import DecodeError, read_clip, sample_indices
from vidsme_jax.data.synthetic import write_mp4


def check(clip, count, source):
    """The frames are those asked for: their bars have the right lengths."""
    assert clip.frames_total == len(source)
    wanted = np.linspace(0, len(source) - 1, count, dtype=int)
    for got, n in zip(clip.sample(count), wanted, strict=True):
        assert abs(bar(got) - bar(source[n])) <= 2, n


def test_mp4_written_by_opencv_is_read_by_decord(tmp_path):
    write_mp4(tmp_path / "a.mp4", numbered(20), 10.0)
    clip = read_clip(tmp_path / "a.mp4", [8])
    assert clip.reader == "decord" and clip.fps == pytest.approx(10)
    check(clip, 8, numbered(20))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
def test_common_codecs(tmp_path, codec):
    name = "a.webm" if "vp9" in codec else "a.mp4"
    write_av(tmp_path / name, numbered(24), codec)
    check(read_clip(tmp_path / name, [6]), 6, numbered(24))


def test_avi_with_b_frames_is_not_trusted_to_decord(tmp_path):
    """decord gives wrong frames here without an error; its timestamps show it."""
    write_av(tmp_path / "a.avi", numbered(40), "mpeg4", bf=2, b_strategy=0)
    clip = read_clip(tmp_path / "a.avi", [8])
    assert clip.reader.startswith("opencv (decord's timestamps")
    check(clip, 8, numbered(40))


def test_transport_stream_never_reaches_decord(tmp_path, monkeypatch):
    def hang(*args):
        raise AssertionError("decord was asked to read a transport stream")

    monkeypatch.setattr(frames, "_read_decord", hang)
    write_av(tmp_path / "a.ts", numbered(20), "libx264", format="mpegts", bf=0)
    clip = read_clip(tmp_path / "a.ts", [5])
    assert clip.reader == "opencv (transport stream)"
    check(clip, 5, numbered(20))


def test_both_readers_give_the_same_frames(tmp_path):
    write_av(tmp_path / "a.mp4", numbered(30), "libx264")
    path = tmp_path / "a.mp4"
    ours = frames._read_decord(path, [4, 7])
    theirs = frames._read_opencv(path, [4, 7], "opencv")
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    assert np.abs(ours.frames.astype(int) - theirs.frames).max() <= 2


def test_without_decord_opencv_reads(tmp_path, monkeypatch):
    write_mp4(tmp_path / "a.mp4", numbered(12), 10.0)
    monkeypatch.setattr(frames, "decord", None)
    clip = read_clip(tmp_path / "a.mp4", [4])
    assert clip.reader == "opencv (decord is not installed)"
    check(clip, 4, numbered(12))


def test_short_clips_repeat_frames(tmp_path):
    write_mp4(tmp_path / "a.mp4", numbered(3), 10.0)
    clip = read_clip(tmp_path / "a.mp4", [8])
    assert sample_indices(3, 8).tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert clip.frames.shape[0] == 3 and clip.sample(8).shape[0] == 8
    write_mp4(tmp_path / "one.mp4", numbered(1), 10.0)
    assert read_clip(tmp_path / "one.mp4", [4]).sample(4).shape == (4, 48, 64, 3)


def test_one_decoding_serves_all_counts(tmp_path):
    write_mp4(tmp_path / "a.mp4", numbered(40), 10.0)
    both = read_clip(tmp_path / "a.mp4", [4, 16])
    for count in (4, 16):
        alone = read_clip(tmp_path / "a.mp4", [count]).sample(count)
        np.testing.assert_array_equal(both.sample(count), alone)


@pytest.mark.parametrize("content", [b"", b"not a video\n" * 50, b"\x00" * 4000])
def test_files_that_are_no_video(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DecodeError, match="empty|no frames"):
        read_clip(tmp_path / "a.mp4", [4])


def test_a_file_cut_short_is_said(tmp_path):
    """With the index in front, half of the data still opens: it must not pass as whole."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), dtype=np.uint8)
    write_av(tmp_path / "a.mp4", noise, "libx264", movflags="faststart")
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 4])
    with pytest.raises(DecodeError, match="cut short: .* of the 60 frames"):
        read_clip(tmp_path / "a.mp4", [4])


def test_what_is_no_file(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(DecodeError, match="no regular file"):
        read_clip(tmp_path / "a.mp4", [4])


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.mp4 does not exist"):
        read_clip(tmp_path / "none.mp4", [4])


def test_timestamps_before_zero_are_not_trusted():
    with pytest.raises(DecodeError, match="before zero"):
        frames._check_stamps(np.array([-3.0, -2.9, -2.8]))
    with pytest.raises(DecodeError, match="do not rise"):
        frames._check_stamps(np.array([0.0, 0.2, 0.1]))
    frames._check_stamps(np.array([0.0, 0.1, 0.3]))
