"""Recognise the kind of a clip's file by its bytes, and whether the file is whole.

The list of kinds is short on purpose. FFmpeg would open playlists and lists of files as
well, which name further files. So a file that is not on the list never reaches a decoder.
Names of files play no part.

MP4 boxes, Matroska segments and RIFF chunks announce their lengths. A file that ends before
its announced end was cut short, even if a decoder reads it without an error.
"""

import re
from pathlib import Path

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_CLUSTER = b"\x1f\x43\xb6\x75"  # of Matroska: the first one ends the headers
_TS_SYNC = 0x47  # the first byte of every packet of a transport stream
_PACKETS = 5  # in a row, to be sure
_IMAGES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
_STILL_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"jxl ")
_MP4_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"wide", b"skip")
# The first bytes of kinds that need no second look.
_STARTS = {
    "flv": (b"FLV\x01",),
    "asf": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",),
    "ogg": (b"OggS\0",),
    "mpeg": (b"\0\0\1\xba",),
    "mpegvideo": (b"\0\0\1\xb3",),
    "mxf": (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02",),
    "gif": (b"GIF87a", b"GIF89a"),
    "y4m": (b"YUV4MPEG2 ",),
    "ivf": (b"DKIF\0\0",),
    "nut": (b"nut/multimedia container\0",),
    "rm": (b".RMF\0\0",),
    "dv": (b"\x1f\x07\0\x3f", b"\x1f\x07\0\xbf"),
    "wtv": (b"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e\x00\x07\xe9\x5e\xad\x8d",),
}
# Raw streams: the unit that begins one, behind a mark of three or four bytes. In H.264 and
# HEVC it holds parameters, a remark (x264 writes its settings first) or an access unit; in
# MPEG-4 a sequence, or an object with its layer.
_UNITS = {
    "m4v": rb"\xb0.\0\0\x01\xb5|[\0-\x1f]\0\0\x01[\x20-\x2f]",  # before those below
    "hevc": rb"[\x40\x42\x46\x4e]\x01",
    "h264": rb"[\x27\x47\x67\x06\x09]",
}
# FFmpeg's name of the one demuxer that may open a kind.
DEMUXERS = {
    "mp4": "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska": "matroska,webm",
    "mpegts": "mpegts",
    "avi": "avi",
    "y4m": "yuv4mpegpipe",
    **{name: name for name in (*_STARTS, *_UNITS) if name != "y4m"},
}
_VIDEO_IN_ASF = b"\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b"
_STREAM_IN_ASF = b"\x91\x07\xdc\xb7\xb7\xa9\xcf\x11\x8e\xe6\x00\xc0\x0c\x20\x53\x65"
# What a stream of pictures, or a cover, looks like in a file's headers.
_PICTURES = {
    "mp4": rb"hdlr.{8}vide|covr.{4}data",
    "matroska": rb"\x83\x81\x01",  # a track whose type is 1
    "avi": rb"strh.{4}vids",
    "asf": re.escape(_STREAM_IN_ASF) + b".{8}" + re.escape(_VIDEO_IN_ASF),
}
# Hold one stream of pictures.
_SINGLE = ("flv", "gif", "y4m", "ivf", "h264", "hevc", "m4v", "mpegvideo", "dv")
_HEADERS = 1 << 20  # bytes in which the headers of a file stand


def container_of(path: Path) -> str:
    """Return the kind of a file: a key of `DEMUXERS`, or image, text or unknown.

    Texts and still images have kinds of their own, since FFmpeg reads them as videos, too.
    """
    with path.open("rb") as file:
        head = file.read((_PACKETS + 1) * 204)
    if head[4:8] in _MP4_BOXES:
        return "image" if head[8:12] in _STILL_BRANDS else "mp4"
    if head.startswith(_EBML):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WEBP"):
        return "avi" if head[8:12] == b"AVI " else "image"
    if head.startswith(_IMAGES):
        return "image"
    for kind, starts in _STARTS.items():
        if head.startswith(starts):
            return kind
    for kind, unit in _UNITS.items():
        if re.match(rb"\0?\0\0\x01(?:" + unit + rb")", head, re.DOTALL):
            return kind
    if not any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head):
        return "text"
    # Packets may be plain, follow a time code (.m2ts) or precede check bytes, and the file
    # may start in the middle of a packet.
    if any(_is_transport(head, size) for size in (188, 192, 204)):
        return "mpegts"
    return "unknown"


def announced_size(path: Path, container: str) -> int:
    """Return the number of bytes that a file announces; 0 where it announces none."""
    sizes = {"mp4": _mp4_size, "matroska": _matroska_size, "avi": _avi_size}
    return sizes[container](path) if container in sizes else 0


def counts_frames(path: Path, container: str) -> bool:
    """Return whether a file's headers hold the number of frames, and not a guess.

    An MP4 file in fragments counts only what stands before the first of them.
    """
    if container == "mp4":
        return all(kind != b"moof" for kind, _, _ in _boxes(path))
    return container == "avi"


def count_pictures(path: Path, container: str) -> int:
    """Return how many streams of pictures a file's headers name, covers included.

    Returns:
        0 for unknown; the headers of some kinds do not say.
    """
    if container in _SINGLE:
        return 1
    if container not in _PICTURES:
        return 0
    with path.open("rb") as file:
        head = file.read(_HEADERS)
        if container == "matroska":
            head = head.split(_CLUSTER)[0]
        if container == "mp4":
            head = b""
            for kind, start, end in _boxes(path):
                if kind == b"moov":
                    file.seek(start)
                    head = file.read(end - start)
    return len(re.findall(_PICTURES[container], head, re.DOTALL))


def _is_transport(head: bytes, size: int) -> bool:
    starts = range(min(size, len(head) - (_PACKETS - 1) * size))
    return any(
        all(head[start + n * size] == _TS_SYNC for n in range(_PACKETS)) for start in starts
    )


def _boxes(path: Path) -> list[tuple[bytes, int, int]]:
    """Return type, start and announced end of an MP4 file's boxes, in bytes.

    A box begins with 4 bytes of size and 4 of type. The last one may reach to the end of
    the file; padding behind it counts as a box without a type.
    """
    out, end, file_size = [], 0, path.stat().st_size
    with path.open("rb") as file:
        while end + 8 <= file_size:
            file.seek(end)
            head, start = file.read(16), end
            size = int.from_bytes(head[:4], "big")
            if size == 1:  # the size stands in the next eight bytes
                size = int.from_bytes(head[8:16], "big")
            is_box = head[4:8].isalnum()
            end = start + size if size >= 8 and is_box else file_size
            out.append((head[4:8] if is_box else b"", start, end))
    return out


def _mp4_size(path: Path) -> int:
    boxes = _boxes(path)
    return boxes[-1][2] if boxes else 0


def _matroska_size(path: Path) -> int:
    """Return the end of the segment, which follows the header and holds all else."""
    with path.open("rb") as file:
        head = file.read(4096)
    length, start = _vint(head, len(_EBML))
    start += length
    if head[start : start + len(_SEGMENT)] != _SEGMENT:
        return 0
    size, begin = _vint(head, start + len(_SEGMENT))
    unknown = (1 << (7 * (begin - start - len(_SEGMENT)))) - 1  # all ones: a live stream
    return 0 if size == unknown else begin + size


def _vint(head: bytes, at: int) -> tuple[int, int]:
    """Read a number whose leading zero bits tell its length.

    Returns:
        The number, and the place of the first byte after it.
    """
    length = 9 - head[at].bit_length() if at < len(head) and head[at] else 8
    raw = int.from_bytes(head[at : at + length], "big")
    return raw & ((1 << (7 * length)) - 1), at + length


def _avi_size(path: Path) -> int:
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8)[4:], "little")
