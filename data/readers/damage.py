"""Find damage in a packet without decoding it: what no encoder can have written.

Decoders paint over such places, and most of them say nothing. This finds what a lost or
emptied piece of a file leaves behind, not single wrong bits.
"""

import re

_MARK = re.compile(rb"\0?\0\0\x01")  # between units, where no lengths divide them
_FORBIDDEN = re.compile(rb"\0\0[\0\1\2]")  # in a unit; encoders put a 3 between
_ZEROS = bytes(64)  # in no packet of the codecs below
_NO_ZEROS = ("vp8", "vp9", "mpeg4")
_SHORT = 8  # bytes of a unit that ends a picture or a sequence


def unit_length_size(codec: str, extradata: bytes | None) -> int:
    """Return how many bytes hold a unit's length in H.264 and HEVC packets.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: parameters of the stream, before its packets.

    Returns:
        0 where packets are not divided by lengths.
    """
    place = {"h264": 4, "hevc": 21}.get(codec)
    if place is None or not extradata or len(extradata) <= place or extradata[0] != 1:
        return 0
    return (extradata[place] & 3) + 1


def holds_key(packet: bytes, codec: str, length_size: int) -> bool:
    """Return whether a packet's first picture needs no other one, whatever its file says.

    Args:
        packet: data of the packet.
        codec: FFmpeg's name of the codec.
        length_size: result of `unit_length_size`; 0 returns False.
    """
    at = 0
    while length_size and at + length_size < len(packet):
        start = at + length_size
        if _is_picture(packet[start : start + 1], codec):
            kind = _kind(packet[start], codec)
            return kind == 5 if codec == "h264" else 16 <= kind <= 21
        at = start + int.from_bytes(packet[at:start], "big")
    return False


def is_damaged(packet: bytes, codec: str, length_size: int) -> bool:
    """Return whether a packet holds what no encoder writes.

    Args:
        packet: data of the packet.
        codec: FFmpeg's name of the codec.
        length_size: result of `unit_length_size`.
    """
    if codec in _NO_ZEROS:
        return _ZEROS in packet
    if not length_size or packet.startswith(b"\0\0\0\1"):  # divided by marks all the same
        return False
    at = 0
    while at + length_size < len(packet):
        start = at + length_size
        at = start + int.from_bytes(packet[at:start], "big")
        if at == start or at > len(packet) or _is_wrong(packet[start:at], codec):
            return True
    return False


def _is_wrong(unit: bytes, codec: str) -> bool:
    """Return whether a unit's head is forbidden, or a picture's data hold a marker.

    Only pictures: what cameras write beside them often has markers without harm. Some
    writers leave a short unit, as the end of the sequence, behind a picture and its mark.
    """
    if unit[0] & 0x80:
        return True
    if not _is_picture(unit, codec):
        return False
    picture, *rest = _MARK.split(unit.rstrip(b"\0"), maxsplit=1)
    is_end = all(0 < len(u) <= _SHORT and not _is_picture(u, codec) for u in rest)
    return not is_end or bool(_FORBIDDEN.search(picture))


def _is_picture(unit: bytes, codec: str) -> bool:
    kind = _kind(unit[0], codec)
    return 1 <= kind <= 5 if codec == "h264" else kind < 32


def _kind(head: int, codec: str) -> int:
    return head & 31 if codec == "h264" else head >> 1 & 63
