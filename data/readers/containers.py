"""Recognise the kind of a clip's file by a few bytes, and whether the file is whole.

MP4 boxes, Matroska segments and RIFF chunks announce their lengths. A file that ends before
its announced end was cut short, even if a decoder reads it without an error.
"""

from pathlib import Path

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_TS_SYNC = 0x47  # the first byte of every packet of a transport stream
_PACKETS = 5  # in a row, to be sure
_IMAGES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")


def container_of(path: Path) -> str:
    """Return the kind of a file: mp4, matroska, avi, mpegts, text, image, or other.

    Texts and still images have kinds of their own, since FFmpeg reads them as videos, too.
    """
    with path.open("rb") as file:
        head = file.read((_PACKETS + 1) * 204)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return "mp4"
    if head.startswith(_EBML):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith(_IMAGES):
        return "image"
    if not any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head):
        return "text"
    # Packets may be plain, follow a time code (.m2ts) or precede check bytes, and the file
    # may start in the middle of a packet.
    return (
        "mpegts" if any(_is_transport(head, size) for size in (188, 192, 204)) else "other"
    )


def announced_size(path: Path, container: str) -> int:
    """Return the number of bytes that a file announces; 0 where it announces none."""
    sizes = {"mp4": _mp4_size, "matroska": _matroska_size, "avi": _avi_size}
    return sizes[container](path) if container in sizes else 0


def _is_transport(head: bytes, size: int) -> bool:
    packets = min(_PACKETS, len(head) // size)
    return packets > 0 and any(
        all(head[start + n * size] == _TS_SYNC for n in range(packets))
        for start in range(min(size, len(head) - (packets - 1) * size))
    )


def _mp4_size(path: Path) -> int:
    """Return the end of the last box; a box begins with 4 bytes of size, 4 of type."""
    end, file_size = 0, path.stat().st_size
    with path.open("rb") as file:
        while end + 8 <= file_size:
            file.seek(end)
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            if size == 1:  # the size stands in the next eight bytes
                size = int.from_bytes(head[8:16], "big")
            if size < 8 or not head[4:8].isalnum():  # up to the end of the file, or padding
                return file_size
            end += size
    return end


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
