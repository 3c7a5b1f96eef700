"""Make hostile files of every kind, each with the command that is given them.

A file is hostile if it is none (a pipe, a device), is too large or too deep, lies about
itself, leads elsewhere, or holds values of other types than its reader expects.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CANARY = "CANARY-7f3a91c2"  # stands in files outside all folders of a case
_HERE = Path(__file__).resolve().parent
HUGE = 10**400  # of whole numbers, of which JSON has no limit
DEEP = 100_000  # brackets
# Values that no reader expects where another type stands.
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e308, HUGE, float("nan"), float("inf"), "", "\0", "\ud800"),
    *("=1+1\n\x1b[31m", [], [[[1]]], {}, {"a": {"b": []}}, "9" * 5000),
)


@dataclass(frozen=True)
class Base:
    """What is whole, from which hostile files are made.

    Attributes:
        folder: folder of all files.
        port: port of this machine that counts who connects.
    """

    folder: Path
    port: int

    @property
    def model(self) -> Path:
        """Return the path of a checkpoint."""
        return self.folder / "whole" / "model"

    @property
    def clips(self) -> Path:
        """Return the folder of the clips."""
        return self.folder / "whole" / "clips"

    @property
    def run(self) -> Path:
        """Return the path of a finished run."""
        return self.folder / "whole" / "run"

    @property
    def store(self) -> Path:
        """Return the path of a finished store."""
        return self.folder / "whole" / "store"

    @property
    def outside(self) -> Path:
        """Return a folder with files that nothing may read."""
        return self.folder / "outside"

    @property
    def address(self) -> str:
        """Return an address at which somebody counts who connects."""
        return f"http://127.0.0.1:{self.port}/secret"

    def remove(self, folder: Path) -> None:
        """Remove the folder of a case."""
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Case:
    """A command and the hostile files that it is given.

    Attributes:
        kind: kind of the input.
        name: what is hostile.
        words: the words after `vidsme`; it runs in the folder of the case.
        make: writes the files into a folder.
        files: number of hostile files.
        seconds: longest time that the command may take.
    """

    kind: str
    name: str
    words: tuple[str, ...]
    make: Callable[[Path], Any]
    files: int = 1
    seconds: int = 60


def make_base(folder: Path, port: int) -> Base:
    """Make a checkpoint, clips, a run and a store, unless they exist; empty the cases."""
    base, whole = Base(folder, port), folder / "whole"
    shutil.rmtree(folder / "cases", ignore_errors=True)
    if not base.store.exists():
        code = f"import sys; sys.path.insert(0, {str(_HERE)!r}); from pathlib import Path;"
        code += f" from bench import make_bench; make_bench(Path({str(whole)!r}), 12)"
        data = ["--frames", "2,4", "--root", str(whole)]
        model, manifest = ["--model", str(base.model)], str(whole / "clips.json")
        vidsme = [sys.executable, "-m", "vidsme_jax"]
        for line in (
            [sys.executable, "-c", code],
            [*vidsme, "score", *model, "--data", manifest, *data, "--out", str(base.run)],
            [*vidsme, "prepare", manifest, *model, *data, "--out", str(base.store)],
        ):
            subprocess.run(line, check=True)
    base.outside.mkdir(exist_ok=True)
    for name in ("canary.txt", "canary.json", "config.json", "canary.jinja"):
        (base.outside / name).write_text(json.dumps({"secret": CANARY, "r": CANARY}))
    shutil.copy(base.clips / "clip-000.mp4", base.outside / "canary.mp4")
    return base


# What is no regular file, or not the whole of one; each takes a path and the bytes there.


def pipe(path: Path, whole: bytes) -> None:
    """Make a named pipe, which nobody writes to."""
    os.mkfifo(path)


def device(path: Path, whole: bytes) -> None:
    """Make a link to a device without end."""
    path.symlink_to("/dev/zero")


def sparse(path: Path, whole: bytes) -> None:
    """Make a file of 20 GB that takes no place."""
    with path.open("wb") as file:
        file.truncate(20 * 10**9)


def loop(path: Path, whole: bytes) -> None:
    """Make a link to itself."""
    path.symlink_to(path.name)


def directory(path: Path, whole: bytes) -> None:
    """Make a folder."""
    path.mkdir()


def empty(path: Path, whole: bytes) -> None:
    """Make an empty file."""
    path.write_bytes(b"")


def half(path: Path, whole: bytes) -> None:
    """Make the first half of the file."""
    path.write_bytes(whole[: len(whole) // 2])


def noise(path: Path, whole: bytes) -> None:
    """Make a file of random bytes."""
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def zeros(path: Path, whole: bytes) -> None:
    """Make a file of zero bytes."""
    path.write_bytes(b"\0" * 5000)


def flipped(path: Path, whole: bytes) -> None:
    """Make the file with some bytes changed."""
    content, dice = bytearray(whole), np.random.default_rng(1)
    for at in dice.integers(0, max(1, len(content)), 20) if content else ():
        content[at] = int(dice.integers(256))
    path.write_bytes(bytes(content))


NO_FILES = (pipe, device, sparse, loop, directory)
DAMAGES = (*NO_FILES, empty, half, noise, zeros, flipped)
# Texts that are no JSON, or too much of it.
NO_JSON = {
    "brackets": b"[" * DEEP,
    "objects": b'{"a":' * DEEP,
    "deep and closed": b'{"a":' * 900 + b"1" + b"}" * 900,
    "null": b"null",
    "number": b"7",
    "digits": b'{"id": ' + b"9" * 6000 + b"}",
    "list of numbers": b"[1, 2, 3]",
    "key twice": b'[{"video": "a.mp4", "video": "b.mp4"}]',
    "not UTF-8": b'[{"video": "\xff\xfe.mp4"}]',
    "zero byte": b'[{"video": "a\0.mp4"}]',
    "UTF-16": '[{"video": "a.mp4"}]'.encode("utf-16"),
    "many values": b"[" + b"[]," * 30_000_000 + b"[]]",
    "NaN": b"NaN",
}


def some(values: Sequence[Any], count: int, seed: int) -> list[Any]:
    """Return some of the values, others for another seed."""
    dice = np.random.default_rng(seed)
    return [values[n] for n in sorted(dice.choice(len(values), count, replace=False))]


def replaced(path: Path, damage: Callable[[Path, bytes], None]) -> None:
    """Replace a file by a damaged one, or make it where there was none."""
    whole = path.read_bytes() if path.is_file() else b""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    damage(path, whole)


def linked(source: Path, target: Path) -> Path:
    """Copy a folder as links to its files, since most of them stay as they are."""
    shutil.copytree(source, target, copy_function=os.link)
    return target


def written(path: Path, value: Any) -> None:
    """Replace a file by the JSON of a value."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def changed(path: Path, **fields: Any) -> None:
    """Change some fields of a JSON file."""
    written(path, json.loads(path.read_text()) | fields)


def short(value: Any) -> str:
    """Return a value as a short text that can be printed."""
    return ascii(value)[:24]


# --- manifests -------------------------------------------------------------------------


def manifests(base: Base) -> Iterator[Case]:
    """Yield manifests: files that are none, values of odd types, paths that lead out."""

    def case(name: str, file: str, make: Callable[[Path], Any]) -> Case:
        words = ("prepare", file, "--model", str(base.model), "--root", str(base.clips))
        more = ("--frames", "2", "--out", "out", "--clip-timeout", "20", "--workers", "1")
        return Case("manifest", name, (*words, *more), lambda f: make(f / file))

    for seed, suffix in enumerate(("json", "jsonl", "csv", "tsv", "parquet")):
        for damage in some((*NO_FILES, empty, noise, zeros), 4, seed):
            name = f"{damage.__name__}.{suffix}"
            yield case(name, f"m.{suffix}", lambda p, d=damage: replaced(p, d))
    for number, (name, content) in enumerate(NO_JSON.items()):
        for suffix in ("json", "jsonl")[number % 2 :]:
            yield case(name, f"m.{suffix}", lambda p, c=content: p.write_bytes(c))
    for name, content in _texts().items():
        file = f"m.{name.split()[0]}"
        yield case(name, file, lambda p, c=content: p.write_bytes(c))
    for seed, column in enumerate(_COLUMNS):
        for value in some(ODD, 5, seed):
            row = {"video": "clip-000.mp4", "question": "q", column: value}
            yield case(
                f"{column}={short(value)}", "m.json", lambda p, r=row: written(p, [r])
            )
    for video in _paths(base):
        rows = [{"video": video}]
        yield case(f"video={short(video)}", "m.json", lambda p, r=rows: written(p, r))
    for name, make in _parquets().items():
        yield case(name, "m.parquet", make)


_COLUMNS = (
    *("video", "videos", "id", "label", "question", "answer", "candidates", "group"),
    *("start", "end", "segment", "fps", "system", "history", "conversations", "answer_key"),
    *("\x1b[2J\nother", "other"),
)


def _paths(base: Base) -> list[str]:
    """Return names of videos that lead out of the root, or that readers may misread."""
    return [
        *("/etc/passwd", "../../outside/canary.txt", str(base.outside / "canary.mp4")),
        *(f"file://{base.outside}/canary.mp4", base.address, "tfds:x/y", "~/canary.mp4"),
        *(
            f"concat:{base.outside}/canary.mp4|b",
            f"subfile,,start,0,end,9,,:{base.outside}",
        ),
        *("pipe:0", "img%03d.mp4", "a" * 5000, ".", "./..", "clip-000.mp4/", "-i", "$(id)"),
        *("data:text/plain,x", "clip-000.mp4#t=1,2", "clip-000.mp4\n", "\u202eclip.mp4"),
    ]


def _texts() -> dict[str, bytes]:
    """Return CSV and TSV files, each under its suffix and what is wrong with it."""
    wide = ",".join(f"c{n}" for n in range(100_000)).encode()
    long = {"video": "clip-000.mp4", "question": "why " * 2_500_000}
    return {
        "csv line without end": b"a," * 30_000_000,
        "csv cell without end": b"a" * 50_000_000,
        "csv 100,000 columns": b"video," + wide + b"\n" + b"," * 100_000 + b"\n",
        "csv quote without end": b'video,question\nclip-000.mp4,"x\n' + b"y\n" * 100,
        "csv zero bytes": b"video\nclip\0-000.mp4\n",
        "csv not UTF-8": b"video\n\xff\xfe\n",
        "csv column twice": b"video,video\na,b\n",
        "csv cells missing": b"video,question\na\n",
        "csv cell of 10 MB": b"video,question\nclip-000.mp4," + b"x" * 10**7 + b"\n",
        "csv formulas": b"video,question,=1+1\nclip-000.mp4,\"=cmd|' /C calc'!A0\",@x\n",
        "csv lists": b'video,candidates\nclip-000.mp4,"' + b"[" * 5000 + b'"\n',
        "tsv line without end": b"a\t" * 30_000_000,
        "jsonl line without end": b"[" + b"1," * 30_000_000,
        "jsonl question of 10 MB": json.dumps(long).encode(),
        "jsonl 100,000 columns": json.dumps(
            {"video": "clip-000.mp4"} | {f"c{n}": n for n in range(100_000)}
        ).encode(),
        "jsonl 2,000,000 rows": b"{}\n" * 2_000_000,
        "jsonl turns": json.dumps(
            {"video": "clip-000.mp4", "conversations": _turns(20_000)}
        ).encode(),
    }


def _turns(count: int) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[n % 2], "value": f"text {n}"} for n in range(count)]


def _parquets() -> dict[str, Callable[[Path], None]]:
    """Return Parquet files that expand, are wide, or have columns of odd types."""
    names = ["clip-000.mp4"]
    odd = {
        "binary": pa.array([b"\xff"]),
        "decimal": pa.array([1]).cast(pa.decimal128(38, 10)),
        "time": pa.array([1]).cast(pa.timestamp("ns", "UTC")),
        "span": pa.array([1]).cast(pa.duration("s")),
        "struct": pa.array([{"a": {"b": 1}}]),
        "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        "nulls": pa.nulls(1),
        "dictionary": pa.array(["x"]).dictionary_encode(),
        "big numbers": pa.array([2**63], pa.uint64()),
    }
    out = {
        f"parquet {kind} as {column}": _table_of({"video": names, column: values})
        for kind, values in odd.items()
        for column in ("label", "start", "candidates", "question")
    }
    return out | bombs("video", names)


def bombs(column: str, values: list[Any]) -> dict[str, Callable[[Path], None]]:
    """Return Parquet files whose content is far larger than they are."""

    def texts(path: Path) -> None:
        text = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(20_000, np.int32)), pa.array(["x" * 10_000_000])
        )
        pq.write_table(pa.table({column: values * 20_000, "question": text}), path)

    def rows(path: Path) -> None:
        zero = pa.array(np.zeros(10**6, np.int8))
        chunks = pa.chunked_array([zero] * 200)
        pq.write_table(pa.table({"a": chunks}), path, row_group_size=10**8)

    def lists(path: Path) -> None:
        offsets = np.arange(0, 10**8 + 1, 10**6)
        inner = pa.array(np.zeros(10**8, np.int64))
        column_of = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), inner)
        pq.write_table(pa.table({"history": column_of}), path)

    def wide(path: Path) -> None:
        pq.write_table(pa.table({f"c{n}": [0] for n in range(100_000)}), path)

    def deep(path: Path) -> None:
        kind: Any = pa.int64()
        for _ in range(60):
            kind = pa.list_(kind)
        pq.write_table(pa.table({column: values, "history": pa.nulls(1, kind)}), path)

    return {"texts": texts, "rows": rows, "lists": lists, "wide": wide, "deep": deep}


def _table_of(columns: dict[str, Any]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


# --- videos ----------------------------------------------------------------------------


def videos(base: Base) -> Iterator[Case]:
    """Yield playlists, lists of files, bombs, and videos with changed bytes."""
    words = (
        "prepare",
        "m.json",
        "--model",
        str(base.model),
        "--frames",
        "2",
        "--out",
        "out",
    )
    more = ("--clip-timeout", "30", "--workers", "1")

    def case(name: str, files: dict[str, bytes], seconds: int = 120) -> Case:
        def make(folder: Path) -> None:
            for file, content in files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(content)
            videos = dict.fromkeys(file.split("/")[0] for file in files)
            written(folder / "m.json", [{"video": name} for name in videos])

        return Case("video", name, words + more, make, len(files), seconds)

    lists = _playlists(base)
    for suffix in ("", ".mp4", ".m3u8"):
        files = {f"{n}{suffix or '.' + name}": c for n, (name, c) in enumerate(lists)}
        yield case(f"playlists as {suffix or 'they are called'}", files)
    whole = (base.clips / "clip-000.mp4").read_bytes()
    for seed in range(3):
        yield case(f"changed bytes, {seed}", _mutations(whole, seed), 400)
    yield case("images", _images())
    yield case("boxes", _boxes(whole))

    def links(folder: Path) -> None:
        (folder / "a.mp4").symlink_to(base.outside / "canary.txt")
        (folder / "b.mp4").symlink_to("/dev/zero")
        os.mkfifo(folder / "c.mp4")
        (folder / "d.mp4").symlink_to("d.mp4")
        for name, target in (("e", "/dev/zero"), ("f", str(base.outside / "canary.txt"))):
            (folder / name).mkdir()
            (folder / name / "0.png").symlink_to(target)
            os.mkfifo(folder / name / "1.png")
        sparse(folder / "g.mp4", b"")
        written(
            folder / "m.json", [{"video": f"{c}.mp4"} for c in "abcdg"] + [{"video": "e"}]
        )

    yield Case("video", "links and pipes", words + more, links, 8, 120)


def _playlists(base: Base) -> list[tuple[str, bytes]]:
    """Return the suffix and the content of lists that lead elsewhere."""
    lists = []
    for place in (str(base.outside / "canary.mp4"), f"{base.address}.mp4"):
        texts = {
            "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{place}\n"
            "#EXT-X-ENDLIST\n",
            "m3u": f"{place}\n",
            "ffconcat": f"ffconcat version 1.0\nfile '{place}'\n",
            "edl": f"# mpv EDL v0\n{place},0,9\n",
            "pls": f"[playlist]\nFile1={place}\nNumberOfEntries=1\n",
            "asx": f'<asx version="3.0"><entry><ref href="{place}"/></entry></asx>',
            "xspf": f"<playlist><trackList><track><location>{place}</location></track>"
            "</trackList></playlist>",
            "smil": f'<smil><body><video src="{place}"/></body></smil>',
            "mpd": f"<MPD><Period><AdaptationSet><Representation><BaseURL>{place}</BaseURL>"
            "</Representation></AdaptationSet></Period></MPD>",
            "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns={place}\nc=IN IP4 127.0.0.1\n"
            f"m=video {base.port} RTP/AVP 96\n",
            "avs": f'AviSource("{place}")\n',
            "vpy": f"import os; os.system('cat {place}')\n",
            "txt": f"file {place}\n",
            "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{place}"/></svg>',
            "cue": f'FILE "{place}" WAVE\n  TRACK 01 AUDIO\n',
        }
        lists += [(suffix, text.encode()) for suffix, text in texts.items()]
        lists.append(("mov", _reference_movie(place)))
    return lists


def _reference_movie(place: str) -> bytes:
    """Return a QuickTime movie whose pictures lie in another file."""
    url = place.encode() + b"\0"
    data = _box(b"url ", b"\0\0\0\0" + url)
    reference = _box(b"rdrf", b"\0\0\0\0url " + struct.pack(">I", len(url)) + url)
    movie = _box(b"rmra", _box(b"rmda", reference)) + _box(b"dref", b"\0" * 8 + data)
    return _box(b"ftyp", b"qt  \0\0\0\0") + _box(b"moov", movie)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def _mutations(whole: bytes, seed: int) -> dict[str, bytes]:
    """Return files with some of their bytes changed, mostly in the headers."""
    dice, out = np.random.default_rng(seed), {}
    header = whole.find(b"moov")
    for number in range(12):
        content = bytearray(whole)
        start = header if number % 2 and header > 0 else 0
        for at in dice.integers(start, len(content), int(dice.integers(1, 60))):
            content[at] = int(dice.integers(256))
        out[f"{number}.mp4"] = bytes(content)
    return out


def _boxes(whole: bytes) -> dict[str, bytes]:
    """Return MP4 files whose boxes are endless, empty, or inside each other."""
    nested = b""
    for _ in range(20_000):
        nested = nested[:0] + b"\0\0\0\x08moov"
    head = _box(b"ftyp", b"isom\0\0\2\0")
    return {
        "many.mp4": head + b"\0\0\0\x08free" * 200_000,
        "huge.mp4": head + struct.pack(">I4sQ", 1, b"moov", 2**62),
        "zero.mp4": head + b"\0\0\0\0moov" + whole,
        "nested.mp4": head + nested * 1000,
        "short.mp4": whole[:200],
    }


def _images() -> dict[str, bytes]:
    """Return images that are far larger in memory than as files."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    size = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (7501 * 60_000), 9)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows)
    png += chunk(b"IEND", b"")
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 10**8, 9))
    small = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    wordy = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", small) + text
    wordy += chunk(b"IDAT", zlib.compress(b"\0" * 72)) + chunk(b"IEND", b"")
    gif = b"GIF89a\xff\xff\xff\xff\x00\x00\x00" + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;"
    bmp = b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, 65535, 65535, 1, 24, *[0] * 6
    )
    folder = {f"frames/{n:04d}.png": png for n in range(2)}
    return {"a.png": png, "b.png": wordy, "c.gif": gif, "d.bmp": bmp, **folder}
