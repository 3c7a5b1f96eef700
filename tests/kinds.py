"""Kinds of video as cameras, browsers and discs write them, the frame's number in each.

Each kind is a file of `zoo.COUNT` frames unless its entry says which frames it shows.
"""

import io
import struct
from fractions import Fraction

import av
import numpy as np
from av.stream import Disposition
from PIL import Image
from zoo import COUNT, coded, write

FIELDS = {"flags": "+ildct+ilme", "g": 12}
# Seconds between frames as a recorder of the screen has them.
SCREEN = np.cumsum(np.random.default_rng(0).choice([33, 33, 33, 400, 1500], COUNT))


def _box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def _jpeg():
    out = io.BytesIO()
    Image.fromarray(np.full((160, 160, 3), 200, np.uint8)).save(out, "JPEG")
    return out.getvalue()


def add_cover(path, is_first):
    """Put a cover picture into an MP4 file whose tables stand last."""
    data = _box(b"data", struct.pack(">II", 13, 0), _jpeg())
    handler = _box(b"hdlr", bytes(8), b"mdir", bytes(12), b"\0")
    tags = _box(b"ilst", _box(b"covr", data))
    tags = _box(b"udta", _box(b"meta", bytes(4), handler, tags))
    content = path.read_bytes()
    start = content.find(b"moov") - 4
    end, at, inner = len(content), start + 8, []
    while at < end:
        (size,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] != b"udta":
            inner.append(content[at : at + size])
        at += size
    inner.insert(1 if is_first else len(inner), tags)
    path.write_bytes(content[:start] + _box(b"moov", *inner))


def _add(container, codec, height, width, pix_fmt="yuv420p"):
    stream = container.add_stream(codec, rate=10)
    stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
    return stream


def _put(container, stream, frames):
    for image in frames:
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def picture_track(path, frames):
    """Write a track of one picture before that of the film."""
    with av.open(str(path), "w") as container:
        picture = _add(container, "mjpeg", 160, 160, "yuvj420p")
        film = _add(container, "libx264", *frames.shape[1:3])
        _put(container, picture, np.full((1, 160, 160, 3), 200, np.uint8))
        _put(container, film, frames)


def two_films(path, frames, default, format=None):
    """Write a dark preview of 20 frames, then the film; one of them is the default."""
    with av.open(str(path), "w", format=format) as container:
        dark = _add(container, "libx264", 48, 80)
        film = _add(container, "libx264", *frames.shape[1:3])
        flags = [Disposition(0), Disposition.default]
        dark.disposition, film.disposition = flags if default else flags[::-1]
        _put(container, dark, np.zeros((20, 48, 80, 3), np.uint8))
        _put(container, film, frames)


def with_sound(path, frames, seconds):
    """Write a film and a sound that is longer than it."""
    with av.open(str(path), "w") as container:
        film = _add(container, "libx264", *frames.shape[1:3])
        sound = container.add_stream("aac", rate=8000)
        for n in range(int(seconds * 8000) // 1024):
            silence = np.zeros((1, 1024), np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, n * 1024
            frame.time_base = Fraction(1, 8000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
        _put(container, film, frames)


def write_kinds(folder):
    """Write a file of every kind into a folder."""
    frames = coded()
    h264, mpeg2 = ("libx264",), ("mpeg2video",)
    progressive = {"x264-params": "tff=1:interlaced=1"} | FIELDS
    for name, (codec, *_), more in (
        # Fields of television.
        ("camcorder.mts", h264, progressive | {"format": "mpegts"}),
        ("blu-ray.m2ts", h264, progressive | {"format": "mpegts", "mpegts_m2ts_mode": "1"}),
        ("dvd.mpg", mpeg2, FIELDS | {"bf": 2, "rate": 25}),
        ("dvd.vob", mpeg2, FIELDS | {"bf": 2, "rate": 25, "format": "vob"}),
        ("elementary.m2v", mpeg2, FIELDS | {"rate": 25, "format": "mpeg2video"}),
        ("fields.mp4", h264, progressive),
        ("fields.mkv", mpeg2, FIELDS | {"rate": 25}),
        ("fields.avi", mpeg2, FIELDS | {"rate": 25}),
        ("fields.mxf", mpeg2, FIELDS | {"rate": 25}),
        # Rates that vary, in containers that do not count frames.
        ("screen.webm", ("libvpx",), {"times": SCREEN, "rate": 30}),
        ("live.webm", ("libvpx",), {"times": SCREEN, "rate": 30, "live": "1"}),
        ("screen.mkv", h264, {"times": SCREEN, "rate": 30}),
        ("screen.flv", h264, {"times": SCREEN, "rate": 30}),
        ("screen.ts", h264, {"times": SCREEN, "rate": 30, "format": "mpegts"}),
        ("screen.mp4", h264, {"times": SCREEN, "rate": 30}),
        ("pieces.mp4", h264, {"times": SCREEN, "movflags": "frag_keyframe+empty_moov"}),
        ("nominal.webm", ("libvpx",), {"times": np.arange(COUNT) * 100, "rate": 1000}),
        ("late.mkv", h264, {"times": 5000 + np.arange(COUNT) * 100}),
        ("ntsc.mkv", h264, {"rate": Fraction(30000, 1001), "bf": 2}),
        # Containers and codecs.
        (
            "vp8.webm",
            ("libvpx",),
            {"auto-alt-ref": 1, "lag-in-frames": 16, "deadline": "good"},
        ),
        ("prores.mov", ("prores_ks",), {"pix_fmt": "yuv422p10le"}),
        ("phone.3gp", ("mpeg4",), {}),
        ("photo.avi", ("mjpeg",), {"pix_fmt": "yuvj420p"}),
        ("old.flv", ("flv",), {}),
        ("old.asf", ("msmpeg4",), {}),
        ("vp8.ogv", ("libvpx",), {"format": "ogg"}),
        ("mpeg1.mpg", ("mpeg1video",), {"rate": 25}),
        ("vp9.ivf", ("libvpx-vp9",), {}),
        ("ffv1.nut", ("ffv1",), {}),
        ("raw.y4m", ("wrapped_avframe",), {"format": "yuv4mpegpipe"}),
        ("pi.h264", h264, {"format": "h264", "rate": 25, "bf": 0}),
        ("raw.hevc", ("libx265",), {"format": "hevc", "rate": 25}),
        ("raw.m4v", ("mpeg4",), {"format": "m4v", "rate": 25}),
        ("real.rm", ("rv10",), {}),
        ("tv.wtv", mpeg2, {"rate": 25}),
        ("deep.mkv", h264, {"pix_fmt": "yuv422p10le"}),
    ):
        write(folder / name, frames, codec, **more)
    remark = b"\0\0\0\1\x06\x05\x14" + b"no settings at all. " + b"\x80"
    (folder / "remark.h264").write_bytes(remark + (folder / "pi.h264").read_bytes())
    write(folder / "film.mp4", frames, "libx264", g=30)
    for name, is_first in (("cover-first.mp4", True), ("cover-last.mp4", False)):
        (folder / name).write_bytes((folder / "film.mp4").read_bytes())
        add_cover(folder / name, is_first)
    (folder / "film.mp4").unlink()
    picture_track(folder / "cover-first.mkv", frames)
    two_films(folder / "two.mp4", frames, 1)
    two_films(folder / "two.mkv", frames, 1)
    two_films(folder / "two.ts", frames, 1, "mpegts")
    two_films(folder / "first.mkv", frames, 0)
    with_sound(folder / "sound.mkv", frames, 15)
    for width in (8, 16, 24, 48):
        narrow = np.rot90(coded(height=width), axes=(1, 2))
        write(folder / f"narrow-{width}.mp4", np.ascontiguousarray(narrow), "libx264")
    write(folder / "still.mp4", np.repeat(frames[9:10], COUNT, axis=0), "libx264")
    write(folder / "one-fields.mp4", frames[5:6], "libx264", **progressive)
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(
        folder / "loop.gif", save_all=True, append_images=pictures[1:], duration=100
    )
