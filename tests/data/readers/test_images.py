"""A folder of images is a clip, an image a clip of one frame."""

import numpy as np
import pytest
from PIL import Image
from zoo import coded, number, write

from vidsme_jax.data.prepare_clip import prepare_clip
from vidsme_jax.data.prepared import ClipSpec
from vidsme_jax.data.preprocess import FrameGeometry
from vidsme_jax.data.readers.decoded import BadSegment, DecodeError
from vidsme_jax.data.readers.policy import POLICIES, read_clip
from vidsme_jax.data.readers.source import VideoFile

COUNT = 24
SPEC = ClipSpec((4, 8), FrameGeometry(24, 24))


def write_frames(folder, form="frame{}.png", count=COUNT, **options):
    folder.mkdir(exist_ok=True)
    for n, frame in enumerate(coded(count)):
        Image.fromarray(frame).save(folder / form.format(n), **options)
    return folder


@pytest.mark.parametrize(
    "form",
    ["frame{}.png", "{}.jpg", "v1_{}.JPEG", "{:05d}.webp", "a{}b.bmp", "f-{}.tif"],
)
def test_images_come_in_natural_order(tmp_path, form):
    folder = write_frames(tmp_path / "clip", form)
    for name in (".DS_Store", "boxes.json", "notes.txt", "Thumbs.db"):
        (folder / name).write_text("beside")
    for policy in POLICIES:
        clip = read_clip(folder, [4, COUNT], policy)
        assert [number(frame) for frame in clip.sample(COUNT)] == list(range(COUNT))
        assert clip.indices.tolist() == list(range(COUNT))
    assert (clip.reader, clip.container) == ("images", "images")
    kinds = {"jpg": "jpeg", "JPEG": "jpeg", "tif": "tiff"}
    assert clip.codec == kinds.get(form.split(".")[1], form.split(".")[1])
    assert (clip.fps, clip.frames_total, clip.fallback) == (0.0, COUNT, "")


def test_fps_gives_a_folder_its_duration_and_segments(tmp_path):
    folder = write_frames(tmp_path / "clip")
    facts = prepare_clip(VideoFile(folder, fps=8.0), SPEC).facts
    assert facts.status == "ok" and facts.file.fps == 8 and facts.file.duration == 3.0
    assert facts.file.file_bytes == sum(p.stat().st_size for p in folder.iterdir())
    without = prepare_clip(folder, SPEC).facts
    assert without.at == facts.at and without.file.duration is None
    clip = read_clip(VideoFile(folder, 0.5, 2.0, 8.0), [12])
    assert [number(frame) for frame in clip.frames] == list(range(4, 16))
    assert (clip.frames_total, clip.fps) == (12, 8.0)
    for fps in (0.0, -5.0, float("nan"), float("inf")):
        with pytest.raises(DecodeError, match=f"fps={fps:g}, expected a number above 0"):
            read_clip(VideoFile(folder, fps=fps), [4])
    for start, end, fps, words in (
        (0.5, 2.0, None, "a part of a folder of images needs fps"),
        (3.0, None, 8.0, r"start=3 lies behind the film: the film has 0 to 3.000 s"),
        (2.0, 1.0, 8.0, "start=2 is not before end=1"),
    ):
        with pytest.raises(BadSegment, match=words):
            read_clip(VideoFile(folder, start, end, fps), [4])


def test_a_folder_equals_the_film_of_its_frames(tmp_path):
    folder = write_frames(tmp_path / "clip")
    write(tmp_path / "clip.mkv", coded(COUNT), "ffv1", pix_fmt="bgr0")
    by_folder = prepare_clip(VideoFile(folder, fps=10.0), SPEC)
    by_film = prepare_clip(tmp_path / "clip.mkv", SPEC)
    assert by_folder.facts.at == by_film.facts.at
    assert by_folder.facts.file.duration == by_film.facts.file.duration
    np.testing.assert_array_equal(by_folder.frames, by_film.frames)


def spoil(folder, kind):
    path = folder / "frame3.png"
    if kind == "size":
        Image.new("RGB", (96, 96)).save(path)
    elif kind == "turned":  # its pixels are those of the others, the picture is not
        path.unlink()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(coded(1)[0]).save(folder / "frame3.jpg", exif=exif)
    elif kind == "film":
        (folder / "clip.mp4").write_bytes(b"")
    elif kind == "inner":
        (folder / "masks").mkdir()
    elif kind == "twice":
        Image.new("RGB", (160, 96)).save(folder / "frame3.jpg")
    elif kind == "short":
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "text":
        path.write_text("#EXTM3U\n")
    elif kind == "empty":
        for other in folder.iterdir():
            other.unlink()
    elif kind == "deep":
        Image.fromarray(np.zeros((96, 160), np.uint16)).save(path)
    elif kind == "clear":
        Image.new("RGBA", (160, 96), (9, 9, 9, 90)).save(path)
    elif kind == "animated":
        path.unlink()
        both = [Image.new("RGB", (160, 96), colour) for colour in ("red", "blue")]
        both[0].save(folder / "frame3.webp", save_all=True, append_images=both[1:])
    elif kind == "link":
        path.rename(folder.parent / "outside.png")
        path.symlink_to(folder.parent / "outside.png")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("size", r"its images have 2 sizes \(23 of 160 x 96, 1 of 96 x 96\)"),
        ("turned", r"its images have 2 sizes \(23 of 160 x 96, 1 of 96 x 160\)"),
        ("film", "the folder holds 'clip.mp4', no image, beside its frames"),
        ("inner", "the folder holds 'masks', a folder, beside its frames"),
        ("twice", "the folder has 2 images of the name 'frame3'"),
        ("short", "frame3.png: image file is truncated"),
        ("text", "frame3.png: it is no image"),
        ("empty", r"the folder has no images \(.jpg, .jpeg, .png"),
        ("deep", "frame3.png has pixels of mode I;16, expected 8 bits"),
        ("clear", "frame3.png is transparent in places"),
        ("animated", "frame3.webp holds 2 pictures, expected one"),
        ("link", "'frame3.png' is a link that leaves the folder"),
    ],
)
def test_a_folder_that_is_no_clip_is_a_row(tmp_path, kind, words):
    folder = write_frames(tmp_path / "clip")
    spoil(folder, kind)
    with pytest.raises(DecodeError, match=words):
        read_clip(folder, [COUNT])
    facts = prepare_clip(folder, ClipSpec((COUNT,), FrameGeometry(24, 24))).facts
    assert facts.status == "decode_error" and "\n" not in facts.error


def test_links_inside_the_folder_are_followed(tmp_path):
    folder = write_frames(tmp_path / "clip")
    (folder / "frame24.png").symlink_to(folder / "frame0.png")
    (tmp_path / "link").symlink_to(folder)
    clip = read_clip(tmp_path / "link", [25])
    assert [number(frame) for frame in clip.frames] == [*range(24), 0]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "LA", "1"])
def test_an_image_is_a_clip_of_one_frame(tmp_path, mode):
    path = tmp_path / f"a.{'jpg' if mode == 'CMYK' else 'png'}"
    Image.fromarray(coded(6)[5]).convert(mode).save(path)
    for policy in POLICIES:
        clip = read_clip(path, [8], policy)
        assert number(clip.frames[0]) == 5 and clip.sample(8).shape == (8, 96, 160, 3)
    assert (clip.frames_total, clip.fps, clip.reader) == (1, 0.0, "images")
    assert (clip.container, clip.codec) == ("image", "jpeg" if mode == "CMYK" else "png")
    facts = prepare_clip(path, SPEC).facts
    assert facts.status == "ok" and facts.at[4].motion == facts.at[4].illumination == 0
    assert facts.file.duration is None and facts.file.file_bytes == path.stat().st_size
    with pytest.raises(BadSegment, match="an image has no start and end"):
        read_clip(VideoFile(path, 0.0, 1.0), [4])


def test_images_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn to the right
    left = np.ascontiguousarray(np.rot90(coded(6)[5]))
    Image.fromarray(left).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert number(read_clip(tmp_path / "a.jpg", [1]).frames[0]) == 5


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(30), "a.png: "),
        ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(300), "a.jpg: "),
        ("a.heic", b"\0\0\0\x18ftypheic" + bytes(30), "it is no video: image"),
        ("a.png", b"\0\0\0\x18ftypavif" + bytes(30), "a.png: it is no image"),
        ("a.mp4", b"\x89PNG\r\n\x1a\n" + bytes(30), "it is no video: image"),
    ],
)
def test_what_is_no_image_has_a_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DecodeError, match=words):
        read_clip(tmp_path / name, [4])


def test_a_stream_of_pictures_is_no_image(tmp_path):
    """Motion JPEG without a container: an image's reader would take the first picture."""
    with (tmp_path / "a.jpg").open("wb") as file:
        for frame in coded(3):
            Image.fromarray(frame).save(file, "JPEG")
    with pytest.raises(DecodeError, match="a.jpg holds 3 pictures, expected one"):
        read_clip(tmp_path / "a.jpg", [4])
