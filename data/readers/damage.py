"""Find damage in a packet without decoding it: what no encoder can have written.

Decoders paint over such places, and most of them say nothing. This finds what a lost or
emptied piece of a file leaves behind, not single wrong bits.
"""

import re

_FORBIDDEN = re.compile(rb"\0\0[\0\1\2]")  # in a unit; encoders put a 3 between
_ZEROS = bytes(64)  # in no packet of the codecs below
_NO_ZEROS = ("vp8", "vp9", "mpeg4")


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

    Only pictures: what cameras write beside them often has markers without harm.
    """
    if unit[0] & 0x80:
        return True
    kind = unit[0] & 31 if codec == "h264" else unit[0] >> 1
    is_picture = 1 <= kind <= 5 if codec == "h264" else kind < 32
    return is_picture and bool(_FORBIDDEN.search(unit.rstrip(b"\0")))
