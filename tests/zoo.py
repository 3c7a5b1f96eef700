"""Files of all the kinds that people hand over, each frame with its number in the picture.

The upper half of a frame is ten stripes, black or white: the bits of its number.
"""

import struct
from fractions import Fraction

import av
import numpy as np
from PIL import Image

BITS = 10
COUNT = 60


def coded(count=COUNT, height=96, width=160):
    """Frames [count height width 3] that say their number, over a moving pattern."""
    y, x = np.mgrid[0:height, 0:width]
    frames = np.empty((count, height, width, 3), np.uint8)
    for n in range(count):
        pattern = 60 + 40 * np.sin((x + 3 * n) / 9) + 20 * np.cos((y - 2 * n) / 7)
        frames[n] = pattern.clip(0, 255)[..., None]
        for bit in range(BITS):
            stripe = slice(bit * width // BITS, (bit + 1) * width // BITS)
            frames[n, : height // 2, stripe] = 235 if n >> bit & 1 else 20
    return frames


def number(frame):
    """Read a frame's number back."""
    height, width = frame.shape[:2]
    out = 0
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        inner = frame[
            height // 8 : 3 * height // 8, left + width // 40 : right - width // 40
        ]
        out |= int(inner.mean() > 127) << bit
    return out


def write(
    path, frames, codec, format=None, pix_fmt="yuv420p", times=None, rate=10, **options
):
    """Encode frames at a rate, or at the given times in milliseconds."""
    muxing = ("movflags", "mpegts_m2ts_mode", "live")
    muxing = {k: options.pop(k) for k in muxing if k in options}
    with av.open(str(path), "w", format=format, options=muxing) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.options = {k: str(v) for k, v in options.items()}
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if not len(frames):
            container.start_encoding()
        for n, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = int(times[n]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def cut(source, target, start):
    """Copy the stream from `start` seconds on, as `ffmpeg -ss START -c copy` does.

    The packets from the key frame before it stay, hidden by an edit list.
    """
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        offset = int(start / stream.time_base)
        old.seek(offset, stream=stream, backward=True)
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
                packet.stream = copy
                new.mux(packet)


def copy_packets(source, target, first):
    """Copy the packets from a number on, be it between two key frames."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        packets = [packet for packet in old.demux(stream) if packet.size][first:]
        start = packets[0].dts
        for packet in packets:
            packet.pts, packet.dts = packet.pts - start, packet.dts - start
            packet.stream = copy
            new.mux(packet)


def rotate(source, target, degrees):
    """Copy an MP4 file and have it shown turned: the matrix of its track header."""
    content = bytearray(source.read_bytes())
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    at = content.find(b"tkhd") + 4 + 4 + 5 * 4 + 2 * 4 + 2 * 4
    content[at : at + len(matrix)] = matrix
    target.write_bytes(content)


def cut_short(source, target, share=0.6):
    """Copy the first part of a file."""
    content = source.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])


def write_zoo(folder):
    """Write all of them into a folder."""
    frames = coded()
    write(folder / "h264.mp4", frames, "libx264", g=30, bf=2)
    write(folder / "h264.mkv", frames, "libx264", g=30, bf=2)
    write(folder / "fast.mp4", frames, "libx264", g=30, movflags="faststart")
    write(folder / "hevc.mp4", frames, "libx265", g=30)
    write(folder / "vp9.webm", frames, "libvpx-vp9", g=30)
    write(folder / "av1.mp4", frames, "libsvtav1", preset=12)
    write(folder / "b-frames.avi", frames, "mpeg4", bf=2, b_strategy=0)
    content = (folder / "b-frames.avi").read_bytes()
    (folder / "latin1.avi").write_bytes(content.replace(b"Lavf", b"Lav\xe9"))
    write(folder / "b-frames.mp4", frames, "mpeg4", bf=2, g=8)
    write(folder / "plain.avi", frames, "mpeg4", bf=0)
    options = {"x265-params": "keyint=12:min-keyint=12:open-gop=1:log-level=none"}
    write(folder / "open.mp4", frames, "libx265", **options)
    write(folder / "open.mkv", frames, "libx265", **options)
    write(folder / "keys.wmv", frames, "wmv2", g=12)
    write(folder / "stream.ts", frames, "libx264", format="mpegts", g=30)
    (folder / "inside.ts").write_bytes((folder / "stream.ts").read_bytes()[50:])
    gaps = np.random.default_rng(0).integers(20, 300, len(frames))
    write(folder / "variable.mp4", frames, "libx264", times=np.cumsum(gaps), bf=2)
    write(folder / "odd.mp4", coded(height=97, width=161), "libx264", pix_fmt="yuv444p")
    write(folder / "ten-bit.mp4", frames, "libx265", pix_fmt="yuv420p10le")
    write(folder / "one.mp4", frames[5:6], "libx264")
    write(folder / "none.mp4", frames[:0], "libx264")
    cut(folder / "h264.mp4", folder / "cut.mp4", 4.5)
    for degrees in (90, 180, 270):
        rotate(folder / "h264.mp4", folder / f"turned-{degrees}.mp4", degrees)
    for name in ("h264.mp4", "fast.mp4", "h264.mkv", "vp9.webm", "plain.avi"):
        cut_short(folder / name, folder / f"short-{name}")
    (folder / "text.mp4").write_text("This is no video.\n" * 100)
    Image.fromarray(frames[0]).save(folder / "image.mp4", "PNG")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "zeros.mp4").write_bytes(b"\0" * 4000)
    (folder / "folder.mp4").mkdir()
