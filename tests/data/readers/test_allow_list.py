"""Files that name other files never reach a decoder, whatever bytes stand in them."""

import pytest
from PIL import Image
from zoo import coded, number, write

from vidsme_jax.data.readers import pyav as reader_pyav
from vidsme_jax.data.readers.containers import DEMUXERS, container_of
from vidsme_jax.data.readers.decoded import DecodeError
from vidsme_jax.data.readers.policy import POLICIES, read_clip

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:6,\n{film}\n#EXT-X-ENDLIST\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
    ' profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet>'
    "<Representation><BaseURL>{film}</BaseURL></Representation></AdaptationSet></Period>"
    "</MPD>\n"
)
CONCAT = "ffconcat version 1.0\nfile '{film}'\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"
TEXTS = {
    "list.m3u8": HLS,
    "list.mp4": HLS,
    "byte.ts": HLS + "\x01",
    "byte.mp4": "#EXTM3U\n#\x01\n" + HLS,
    "mark.m3u8": "\ufeff" + HLS,
    "zeros.m3u8": HLS + "\0" * 4000,
    "concat.txt": CONCAT,
    "concat.mkv": CONCAT,
    "concat-byte.mkv": CONCAT + "\x02",
    "dash.mpd": DASH,
    "dash-byte.mp4": DASH + "\x01",
    "stream.sdp": SDP,
    "stream-byte.ts": SDP + "\x01",
    "list.pls": "[playlist]\nFile1={film}\n",
    "list.asx": "<asx version='3.0'><entry><ref href='{film}'/></entry></asx>",
    "list.wmv": "[Reference]\nRef1={film}\nRef2={film}\n",
    "smooth.ism": '<?xml version="1.0"?><smil><video src="{film}"/></smil>',
    "index.idx": "# VobSub index file, v7\nid: en, index: 0\n{film}\n",
    "tags.txt": ";FFMETADATA1\ntitle={film}\n",
    "rtsp.txt": "rtsptext\nrtsp://127.0.0.1/{film}\n",
    "list.xspf": "<?xml version='1.0'?><playlist><location>{film}</location></playlist>",
}


def as_transport_stream(text):
    """A text with the first byte of a packet at every 188th place."""
    content = bytearray(text.encode().ljust(188 * 8, b"#") + b"\x01")
    for place in range(100, len(content), 188):
        content[place] = 0x47
    return bytes(content)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    film = folder / "secret.mp4"
    write(film, coded(20), "libx264")
    root = tmp_path_factory.mktemp("root")
    for name, text in TEXTS.items():
        (root / name).write_text(text.format(film=film))
    # What is in the frame of a container, but is none.
    texts = {name: text.format(film=film) for name, text in TEXTS.items()}
    (root / "packets.ts").write_bytes(as_transport_stream(texts["list.m3u8"]))
    (root / "packets-concat.ts").write_bytes(as_transport_stream(texts["concat.txt"]))
    (root / "packets-long.ts").write_bytes(
        texts["concat.txt"].encode() + b"\3" + b"G" * 4000
    )
    dash = texts["dash.mpd"].encode()
    for name, head in (
        ("free.mp4", (8 + len(dash)).to_bytes(4, "big") + b"free"),
        ("type.mp4", b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\0mdat"),
        ("riff.avi", b"RIFF" + (4 + len(dash)).to_bytes(4, "little") + b"AVI "),
        ("ebml.mkv", b"\x1a\x45\xdf\xa3\x80"),
        ("tag.flv", b"FLV\x01\x05\0\0\0\x09"),
        ("page.ogg", b"OggS\0"),
        ("pack.mpg", b"\0\0\1\xba"),
    ):
        (root / name).write_bytes(head + dash)
    return root


def names():
    inside = "packets.ts packets-concat.ts packets-long.ts free.mp4 type.mp4 riff.avi"
    return [*TEXTS, *inside.split(), "ebml.mkv", "tag.flv", "page.ogg", "pack.mpg"]


@pytest.mark.parametrize("has_pyav", [True, False])
@pytest.mark.parametrize("name", names())
def test_no_list_of_files_is_opened(root, name, has_pyav, monkeypatch):
    if not has_pyav:
        monkeypatch.setattr(reader_pyav, "av", None)
    for policy in POLICIES if has_pyav else ("auto", "decord", "opencv", "reference"):
        with pytest.raises(DecodeError):
            read_clip(root / name, [4], policy)
    assert name not in TEXTS or container_of(root / name) not in DEMUXERS


@pytest.mark.parametrize("name", ["a%02d.png", "a%02d.jpg", "%d.mp4"])
def test_a_name_is_no_sequence_of_images(tmp_path, name):
    """FFmpeg reads a%02d.png as a00.png, a01.png and so on, whatever stands in it."""
    for n in range(4):
        Image.fromarray(coded(1, 96, 160)[0] * 0).save(tmp_path / (name % n), "PNG")
    write(tmp_path / "film.mp4", coded(20), "libx264")
    (tmp_path / "film.mp4").rename(tmp_path / name)
    for policy in ("pyav", "auto"):
        clip = read_clip(tmp_path / name, [20], policy)
        assert [number(frame) for frame in clip.frames] == list(range(20))
    for policy in ("decord", "opencv", "reference"):
        with pytest.raises(DecodeError, match="take a name with %d for a sequence"):
            read_clip(tmp_path / name, [4], policy)


@pytest.mark.parametrize("name", ["concat:film.mp4|film.mp4", "file:film.mp4", "a:b.mp4"])
def test_a_name_is_no_address(tmp_path, name, monkeypatch):
    write(tmp_path / "film.mp4", coded(20), "libx264")
    (tmp_path / name).write_bytes((tmp_path / "film.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    for policy in ("auto", "decord", "pyav", "opencv"):
        clip = read_clip((tmp_path / name).relative_to(tmp_path), [20], policy)
        assert [number(frame) for frame in clip.frames] == list(range(20))


def test_the_allow_list_holds_no_demuxer_that_opens_files():
    opening = {"hls", "concat", "dash", "sdp", "image2", "rtsp", "imf", "vobsub", "lavfi"}
    assert not opening & {name for value in DEMUXERS.values() for name in value.split(",")}
