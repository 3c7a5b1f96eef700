"""Make hostile checkpoints, tokenizers, adapters, tables, runs, stores and grids."""

import json
import os
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hostile_files import (
    DAMAGES,
    HUGE,
    NO_FILES,
    NO_JSON,
    ODD,
    Base,
    Case,
    bombs,
    changed,
    linked,
    manifests,
    replaced,
    short,
    some,
    videos,
    written,
)

Make = Callable[[Path], Any]


# --- checkpoints -----------------------------------------------------------------------


def _score_words(base: Base) -> tuple[str, ...]:
    """Return the command that scores sound clips with a case's model."""
    data = base.folder / "whole" / "clips.json"
    line = "score --model model --data DATA --frames 2 --out out"
    return tuple(str(data) if word == "DATA" else word for word in line.split())


def checkpoints(base: Base) -> Iterator[Case]:
    """Yield checkpoints with damaged files, odd values, links out of the folder, lies."""

    def case(name: str, make: Make) -> Case:
        words = _score_words(base)
        return Case(
            "checkpoint",
            name,
            (*words, "--slices", "video", "--workers", "1"),
            lambda folder: make(linked(base.model, folder / "model")),
        )

    names = ("config.json", "vision_tower/config.json", "model.safetensors")
    names += ("vision_tower/preprocessor_config.json", "generation_config.json")
    for seed, name in enumerate(names):
        for damage in DAMAGES if seed in (0, 2) else some(DAMAGES, 5, seed):
            yield case(
                f"{damage.__name__} {name}", lambda m, n=name, d=damage: replaced(m / n, d)
            )
    for name, content in NO_JSON.items():
        yield case(f"config of {name}", lambda m, c=content: _put(m / "config.json", c))
    for file in ("config.json", "vision_tower/config.json"):
        fields = sorted(json.loads((base.model / file).read_text()))
        for seed, field in enumerate(fields):
            for value in some(ODD, 3, seed):
                yield case(
                    f"{file} {field}={short(value)}",
                    lambda m, f=file, k=field, v=value: changed(m / f, **{k: v}),
                )
    for place in (f"{base.outside}", "../../../outside", "\0", "a" * 5000, "/proc/self"):
        yield case(
            f"tower at {short(place)}",
            lambda m, p=place: changed(m / "config.json", mm_vision_tower=p),
        )
    for name in ("config.json", "model.safetensors", "chat_template.jinja"):
        yield case(
            f"{name} links out",
            lambda m, n=name: _link(m / n, base.outside / "canary.json"),
        )
    for name, index in _indices(base).items():
        yield case(f"index: {name}", lambda m, i=index: _indexed(m, i))
    for name, content in _tensors().items():
        yield case(
            f"tensors: {name}", lambda m, c=content: _put(m / "model.safetensors", c)
        )


def _put(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def _link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _indices(base: Base) -> dict[str, Any]:
    """Return contents of an index of shards."""
    return {
        "a file above": {"weight_map": {"a": "../../../outside/canary.txt"}},
        "a path": {"weight_map": {"a": str(base.outside / "canary.txt")}},
        "a folder": {"weight_map": {"a": "vision_tower"}},
        "a number": {"weight_map": {"a": 7}},
        "a list": {"weight_map": ["a"]},
        "nothing": {},
        "itself": {"weight_map": {"a": "model.safetensors.index.json"}},
        "100,000 files": {
            "weight_map": {f"a{n}": f"{n}.safetensors" for n in range(10**5)}
        },
        "a zero byte": {"weight_map": {"a": "a\0"}},
    }


def _indexed(model: Path, index: Any) -> None:
    (model / "model.safetensors").unlink()
    written(model / "model.safetensors.index.json", index)


@lru_cache
def _tensors() -> dict[str, bytes]:
    """Return safetensors files whose headers lie."""

    def file(header: Any, data: bytes = b"\0" * 64) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    def tensor(shape: Any, start: Any = 0, end: Any = 64, dtype: Any = "F32") -> bytes:
        return file({"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}})

    return {
        "length 2^63": struct.pack("<Q", 2**63) + b"{}",
        "length 10^8": struct.pack("<Q", 10**8) + b"{}",
        "length 0": struct.pack("<Q", 0),
        "deep header": file(b'{"a":' * 10_000),
        "no object": file([1]),
        "huge shape": tensor([2**40, 2**40]),
        "negative shape": tensor([-4, -4]),
        "shape of floats": tensor([4.5]),
        "other shape": tensor([17]),
        "offsets backwards": tensor([16], 64, 0),
        "offsets beyond": tensor([16], 2**62, 2**62 + 64),
        "unknown type": tensor([16], dtype="F31"),
        "no type": tensor([16], dtype=None),
        "odd name": file(
            {"a\n\x1b[2J": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}
        ),
        "lone surrogate": file(
            b'{"\\ud800":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}}'
        ),
        "many tensors": file(
            {
                f"t{n}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
                for n in range(200_000)
            },
            b"",
        ),
    }


# --- chat templates and tokenizers -----------------------------------------------------


def _hugging_face(base: Base, folder: Path) -> Path:
    """Write the small files of a checkpoint whose prompt is a chat template."""
    model = folder / "model"
    model.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        _put(model / name, (base.model / name).read_bytes())
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    number = 1 + max(token["id"] for token in tokenizer["added_tokens"])
    token = tokenizer["added_tokens"][0] | {"id": number, "content": "<video>"}
    written(
        model / "tokenizer.json",
        tokenizer | {"added_tokens": [*tokenizer["added_tokens"], token]},
    )
    text = {"model_type": "qwen2", "hidden_size": 32, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
    vision = {"model_type": "siglip_vision_model", "hidden_size": 24, "image_size": 28}
    vision |= {"num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 40}
    config = {
        "architectures": ["LlavaOnevisionForConditionalGeneration"],
        "model_type": "llava_onevision",
        "text_config": text | {"vocab_size": number + 8},
        "vision_config": vision | {"patch_size": 7},
        **{"video_token_index": number, "image_token_index": number},
        **{"vision_feature_select_strategy": "full", "vision_feature_layer": -1},
    }
    written(model / "config.json", config)
    size = {"height": 28, "width": 28}
    pixels = {"size": size, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    written(model / "preprocessor_config.json", pixels)
    return model


_SHOWS = (
    "{% for m in messages %}{% for p in m.content %}{{ '<video>' if p.type == 'video'"
    " else p.text }}{% endfor %}{% endfor %}"
)
TEMPLATES = {
    "endless loops": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
    "10^9 letters": "{{ 'A' * 10**9 }}",
    "10^9 letters by a name": "{% set n = 10**9 %}{{ messages[0].role * n }}",
    "centred": "{{ 'x'.center(2 * 10**9) }}",
    "centred by a name": "{% set n = 2 * 10**9 %}{{ messages[0].role.center(n) }}",
    "10^7 letters": "{{ 'A' * 10**7 }}",
    "wide format": "{{ '%1000000000d' % 7 }}",
    "wide format, new": "{{ '{:>1000000000}'.format(7) }}",
    "huge power": "{{ 10**(10**9) }}",
    "huge power by a name": "{% set n = 10**7 %}{{ 7**n }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "recursive loop": "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "doubling": "{% set n = namespace(s='x') %}{% for i in range(99) %}"
    "{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
    "lists": "{{ (range(99999)|list * 9999)|length }}",
    "deep brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep blocks": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "long chain": "{{ " + "1+" * 50_000 + "1 }}",
    "file": "{% include '/etc/passwd' %}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('id') }}",
    "format globals": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "attribute filter": "{{ messages|attr('__class__') }}",
    "syntax": "{% if %}",
    "exception": "{{ raise_exception('no') }}",
    "dates": "{{ strftime_now('%Y' * 10**6) }}",
    "other videos": "{{ '<video>' * 3 }}" + _SHOWS,
    "control characters": "\x1b[2J\0" + _SHOWS,
    "sorting": "{{ (range(99999)|list * 50)|sort|length }}",
    "replacing": "{{ ('a' * 10**6).replace('', 'b' * 10**6) }}",
    "indenting": "{{ ('a\n' * 10**6)|indent(10**6) }}",
    "wrapping": "{{ ('a ' * 10**6)|wordwrap(1)|urlize|length }}",
}


def templates(base: Base) -> Iterator[Case]:
    """Yield chat templates that need too much, or want out of their sandbox."""

    def case(name: str, make: Make) -> Case:
        words = _score_words(base)
        return Case(
            "template", name, words, lambda folder: make(_hugging_face(base, folder))
        )

    for name, text in {"whole": _SHOWS, **TEMPLATES}.items():
        yield case(
            name, lambda m, t=text: (m / "chat_template.jinja").write_text(t, newline="")
        )
    for damage in DAMAGES:
        for file in ("chat_template.jinja", "chat_template.json"):
            yield case(
                f"{damage.__name__} {file}",
                lambda m, n=file, d=damage: replaced(m / n, d),
            )
    for value in (*ODD, [{"name": "default"}], {"default": 7}):
        yield case(
            f"chat_template={short(value)}",
            lambda m, v=value: changed(m / "tokenizer_config.json", chat_template=v),
        )
    yield case("2 MB", lambda m: (m / "chat_template.jinja").write_text("a" * 2_000_000))


def tokenizers(base: Base) -> Iterator[Case]:
    """Yield tokenizers: damaged, with hostile patterns, odd values, files elsewhere."""

    def case(name: str, make: Make, seconds: int = 100) -> Case:
        words = _score_words(base)
        return Case(
            "tokenizer",
            name,
            (*words, "--slices", "video", "--workers", "1"),
            lambda folder: make(linked(base.model, folder / "model")),
            seconds=seconds,
        )

    files = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    for seed, file in enumerate((*files, "added_tokens.json", "vocab.json")):
        for damage in some(DAMAGES, 5, seed):
            name = f"{damage.__name__} {file}"
            yield case(name, lambda m, n=file, d=damage: replaced(m / n, d))
    for name, content in NO_JSON.items():
        yield case(f"of {name}", lambda m, c=content: _put(m / "tokenizer.json", c))
    for name, fields in _tokenizer_fields().items():
        yield case(name, lambda m, f=fields: changed(m / "tokenizer.json", **f))
    outside = str(base.outside / "canary.json")
    fields_of_config: dict[str, Any] = {
        **{key: outside for key in ("tokenizer_file", "vocab_file", "merges_file")},
        "fast_tokenizer_files": ["../../../outside/tokenizer.4.0.0.json"],
        "auto_map": {"AutoTokenizer": ["canary.Tokenizer", None]},
        "tokenizer_class": "os.system",
        "model_max_length": HUGE,
        "added_tokens_decoder": {"99999999": {"content": "x", "special": True}},
        "bos_token": {"__type": "AddedToken", "content": "\ud800"},
        "eos_token": 7,
        "extra_special_tokens": {"a": "b" * 10**6},
        "init_inputs": [outside],
    }
    for key, value in fields_of_config.items():
        yield case(
            f"config {key}={short(value)}",
            lambda m, k=key, v=value: changed(m / "tokenizer_config.json", **{k: v}),
        )
    for key in ("eos_token", "model_max_length", "added_tokens_decoder", "padding_side"):
        for value in some(ODD, 4, len(key)):
            yield case(
                f"config {key}={short(value)}",
                lambda m, k=key, v=value: changed(m / "tokenizer_config.json", **{k: v}),
            )


def _tokenizer_fields() -> dict[str, dict[str, Any]]:
    """Return fields of tokenizer.json that a hostile one may have."""

    def split(pattern: str) -> dict[str, Any]:
        step = {"type": "Split", "pattern": {"Regex": pattern}, "invert": False}
        return {"pre_tokenizer": step | {"behavior": "Isolated"}}

    def swap(pattern: str) -> dict[str, Any]:
        step = {"type": "Replace", "pattern": {"Regex": pattern}, "content": "a" * 1000}
        return {"normalizer": step}

    def model(vocab: Any, merges: Any, kind: str = "BPE") -> dict[str, Any]:
        return {"model": {"type": kind, "vocab": vocab, "merges": merges}}

    token = {"content": "x", "single_word": False, "lstrip": False, "rstrip": False}
    token |= {"normalized": False, "special": True}
    return {
        "pattern without end": split(r"(a+)+$"),
        "pattern without end, nested": split(r"((a|a)*)*b|(.*)*c"),
        "pattern of 10 MB": split("a|" * 5_000_000),
        "deep pattern": split("(" * 20_000 + "a" + ")" * 20_000),
        "pattern that counts": split(r"((a{1,1000}){1,1000}){1,1000}"),
        "no pattern": split("("),
        "growing texts": {
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
                ]
                * 4,
            }
        },
        "replaced without end": swap("a*"),
        "charsmap": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        "charsmap long": {
            "normalizer": {
                "type": "Precompiled",
                "precompiled_charsmap": "/////w" + "A" * 999,
            }
        },
        "no vocabulary": model({}, []),
        "ids that lie": model({"a": 0, "b": 0, "c": 4_000_000_000}, []),
        "id too large": model({"a": 2**40}, []),
        "merges of nothing": model({"a": 0}, [["a", "b"]]),
        "unigram empty": model([], [], "Unigram"),
        "unknown model": model({}, [], "Other"),
        "word level": {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "b"}},
        "word piece": {
            "model": {
                "type": "WordPiece",
                "vocab": {"a": 0},
                "unk_token": "b",
                "continuing_subword_prefix": "",
                "max_input_chars_per_word": 2**63,
            }
        },
        "no added tokens": {"added_tokens": []},
        "added id too large": {"added_tokens": [token | {"id": 2**32 - 1}]},
        "added token empty": {"added_tokens": [token | {"id": 0, "content": ""}]},
        "added tokens alike": {"added_tokens": [token | {"id": n} for n in range(5000)]},
        "truncation": {
            "truncation": {
                "max_length": 0,
                "strategy": "LongestFirst",
                "stride": 9,
                "direction": "Right",
            }
        },
        "padding": {
            "padding": {
                "strategy": {"Fixed": 10**12},
                "direction": "Left",
                "pad_to_multiple_of": 0,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "x",
            }
        },
        "post-processor": {
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "none", "type_id": 0}}],
                "pair": [],
                "special_tokens": {},
            }
        },
        "no decoder": {"decoder": {"type": "None"}},
    }


# --- adapters --------------------------------------------------------------------------


def adapters(base: Base) -> Iterator[Case]:
    """Yield adapters: damaged, of odd values, with lies in their tensors."""
    data = str(base.folder / "whole" / "clips.json")
    words = ("score", "--model", str(base.model), "--adapter", "adapter", "--data", data)

    def case(name: str, make: Make) -> Case:
        def write(folder: Path) -> None:
            adapter = folder / "adapter"
            written(adapter / "adapter_config.json", {"peft_type": "LORA", "r": 2})
            _put(adapter / "adapter_model.safetensors", _tensors()["other shape"])
            make(adapter)

        more = ("--frames", "2", "--out", "out", "--slices", "video", "--workers", "1")
        return Case("adapter", name, words + more, write)

    for file in ("adapter_config.json", "adapter_model.safetensors", "tokenizer.json"):
        for damage in DAMAGES:
            name = f"{damage.__name__} {file}"
            yield case(name, lambda a, n=file, d=damage: replaced(a / n, d))
    for name, content in NO_JSON.items():
        yield case(
            f"config of {name}", lambda a, c=content: _put(a / "adapter_config.json", c)
        )
    for name, content in _tensors().items():
        yield case(
            f"tensors: {name}",
            lambda a, c=content: _put(a / "adapter_model.safetensors", c),
        )
    for seed, field in enumerate(
        ("r", "lora_alpha", "rank_pattern", "peft_type", "use_dora")
    ):
        for value in some(ODD, 5, seed):
            yield case(
                f"{field}={short(value)}",
                lambda a, k=field, v=value: changed(a / "adapter_config.json", **{k: v}),
            )
    for name in ("../../outside/config", str(base.outside), base.address):
        yield case(
            f"trained on {short(name)}",
            lambda a, n=name: changed(a / "adapter_config.json", base_model_name_or_path=n),
        )
    yield case(
        "links out",
        lambda a: _link(a / "adapter_config.json", base.outside / "canary.json"),
    )


# --- tables from elsewhere -------------------------------------------------------------


def tables(base: Base) -> Iterator[Case]:
    """Yield tables of scores: damaged, expanding, of odd values, with formulas."""

    def case(name: str, file: str, make: Make) -> Case:
        words = ("evaluate", file, "--out", "out", "--bootstrap", "100")
        return Case("table", name, words, lambda folder: make(folder / file))

    for suffix in ("json", "jsonl", "csv", "tsv", "parquet"):
        for damage in DAMAGES:
            name = f"{damage.__name__}.{suffix}"
            yield case(name, f"t.{suffix}", lambda p, d=damage: replaced(p, d))
    for name, content in NO_JSON.items():
        yield case(name, "t.json", lambda p, c=content: p.write_bytes(c))
    good = [{"id": f"c{n}", "label": n % 2, "score": n / 7} for n in range(40)]
    for column in ("id", "label", "score", "group", "question", "candidates", "duration"):
        for value in some(ODD, 5, len(column)):
            rows = [good[0] | {column: value}, *good[1:]]
            all_rows = [row | {column: value} for row in good]
            name = f"{column}={short(value)}"
            yield case(name, "t.json", lambda p, r=rows: written(p, r))
            if column in ("id", "label", "score"):
                yield case(f"all {name}", "t.jsonl", lambda p, r=all_rows: _lines(p, r))
    texts = [row | {"question": "why " * 2_500_000} for row in good[:4]] + good[4:]
    yield case("questions of 10 MB", "t.jsonl", lambda p: _lines(p, texts))
    wide = [row | {f"c{n}": n for n in range(100_000)} for row in good[:2]]
    yield case("100,000 columns", "t.json", lambda p: written(p, wide))
    header = b"id,label,score\n"
    lines = {
        "line without end": b"a," * 30_000_000,
        "cell without end": header + b"a,1," + b"9" * 50_000_000,
        "formulas": header + b"".join(b"=1+%d,%d,%d\n" % (n, n % 2, n) for n in range(40)),
        "columns twice": b"id,label,score,score\na,1,2,3\n",
        "100,000 columns": b",".join(b"c%d" % n for n in range(10**5))
        + b"\n"
        + b"," * 99_999,
        "not UTF-8": header + b"\xff,1,2\nb,0,1\n",
        "zero bytes": header + b"a\0,1,2\nb,0,1\n",
        "long numbers": header + b"a,1," + b"9" * 400 + b"\nb,0,1\n",
        "ids at fault": header + b"\x1b[31m,1,2\n\xe2\x80\xae,0,1\n",
    }
    for name, content in lines.items():
        for suffix in ("csv", "tsv"):
            content = content.replace(b",", b"\t") if suffix == "tsv" else content
            yield case(
                f"{name} {suffix}", f"t.{suffix}", lambda p, c=content: p.write_bytes(c)
            )
    for name, make in bombs("id", ["a"]).items():
        yield case(f"parquet {name}", "t.parquet", make)


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


# --- runs, stores and grids ------------------------------------------------------------


def runs(base: Base) -> Iterator[Case]:
    """Yield finished runs with a damaged file, and what each command says of them."""
    commands = {
        "evaluate": ("evaluate", "run", "--out", "out", "--bootstrap", "100"),
        "status": ("status", "run"),
        "verify": ("verify", "run"),
        "merge": ("merge", "run"),
    }
    yield from _folders("run", base.run, commands, "scores.parquet")
    data = str(base.folder / "whole" / "clips.json")
    score = ("score", "--model", str(base.model), "--data", data, "--frames", "2")
    calibration = (*score, "--out", "out", "--calibration", "calibration.json")
    for name, content in NO_JSON.items():
        yield Case(
            "run",
            f"calibration of {name}",
            calibration,
            lambda f, c=content: _put(f / "calibration.json", c),
        )
    for damage in NO_FILES:
        yield Case(
            "run",
            f"{damage.__name__} calibration",
            calibration,
            lambda f, d=damage: replaced(f / "calibration.json", d),
        )
    for value in ODD:
        yield Case(
            "run",
            f"calibration={short(value)}",
            calibration,
            lambda f, v=value: written(f / "calibration.json", {"2": v, "16": v}),
        )

    def locked(folder: Path) -> None:
        (folder / "out").mkdir()
        (folder / "out" / ".lock").symlink_to(base.outside / "canary.txt")

    yield Case("run", "lock that links out", (*score, "--out", "out"), locked)

    def piped(folder: Path) -> None:
        (folder / "out").mkdir()
        os.mkfifo(folder / "out" / ".lock")
        (folder / "out" / f".x.{os.uname().nodename}-x.tmp").write_text("")

    yield Case("run", "lock that is a pipe", (*score, "--out", "out"), piped)


def stores(base: Base) -> Iterator[Case]:
    """Yield finished stores with a damaged file."""
    score = ("score", "--model", str(base.model), "--data", "store", "--frames", "2")
    commands = {
        "score": (*score, "--out", "out", "--slices", "video"),
        "status": ("status", "store"),
        "verify": ("verify", "store"),
        "merge": ("merge", "store"),
    }
    yield from _folders("store", base.store, commands, "clips.parquet")


def _folders(
    kind: str, whole: Path, commands: dict[str, tuple[str, ...]], table: str
) -> Iterator[Case]:
    """Yield cases of a folder of ours, one file of it damaged, for several commands."""
    files = sorted(str(p.relative_to(whole)) for p in whole.rglob("*") if p.is_file())
    files = [name for name in files if not Path(name).name.startswith(".")]
    names = list(commands)
    count = 0

    def case(name: str, make: Make, command: str) -> Case:
        words = commands[command]
        return Case(
            kind, f"{name}, {command}", words, lambda f: make(linked(whole, f / kind))
        )

    for seed, file in enumerate(files):
        for damage in some(DAMAGES, 5, seed):
            count += 1
            yield case(
                f"{damage.__name__} {file}",
                lambda f, n=file, d=damage: replaced(f / n, d),
                names[count % len(names)],
            )
    for file in (name for name in files if name.endswith(".json")):
        for name in some([*NO_JSON], 6, len(file)):
            content = NO_JSON[name]
            count += 1
            yield case(
                f"{file} of {name}",
                lambda f, n=file, c=content: _put(f / n, c),
                names[count % len(names)],
            )
    info = f"{kind}.json"
    for field in json.loads((whole / info).read_text()):
        for value in some(ODD, 2, len(field)):
            count += 1
            yield case(
                f"{field}={short(value)}",
                lambda f, k=field, v=value: changed(f / info, **{k: v}),
                names[count % len(names)],
            )
    for name, make in bombs("id", ["a"]).items():
        for command in names[:2]:
            yield case(
                f"{name} as {table}",
                lambda f, m=make: ((f / table).unlink(), m(f / table)),
                command,
            )
    columns = pq.read_schema(whole / table).names
    for number, column in enumerate(c for c in columns if c.count(".") != 2):
        value = some(ODD[:5] + ODD[8:], 1, number)[0]
        count += 1
        yield case(
            f"{table} {column}={short(value)}",
            lambda f, c=column, v=value: _column(f / table, c, v),
            names[count % len(names)],
        )
        count += 1
        yield case(
            f"{table} without {column}",
            lambda f, c=column: _column(f / table, c, None),
            names[count % len(names)],
        )


def _column(path: Path, name: str, value: Any) -> None:
    """Give a column of a Parquet file another value in all rows; drop it for None."""
    table = pq.read_table(path)
    at = table.column_names.index(name)
    table = table.remove_column(at)
    if value is not None:
        value = value or short(value)  # Parquet has no empty objects
        try:
            column = pa.array([value] * len(table))
        except (pa.ArrowException, OverflowError, UnicodeError):
            column = pa.array([short(value)] * len(table))
        table = table.add_column(at, name, column)
    path.unlink()
    pq.write_table(table, path)


def grids(base: Base) -> Iterator[Case]:
    """Yield grids of sweeps."""
    good = f"models: {base.model}\ndata: {base.folder}/whole/clips.json\nframes: [2]\n"

    def case(name: str, content: bytes) -> Case:
        words = ("sweep", "grid.yaml", "--out", "out")
        return Case("grid", name, words, lambda f: (f / "grid.yaml").write_bytes(content))

    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n"
        for n in range(24)
    )
    texts = {
        "aliases of aliases": good + bomb + "families: *y\n",
        "alias of itself": good + "families: &a [*a]\n",
        "deep": good + "families: " + "[" * 20_000,
        "deep and closed": good + "families: " + "[" * 900 + "]" * 900,
        "deep mapping": good
        + "families:\n"
        + "".join(" " * n + "a:\n" for n in range(600)),
        "Python object": good + "families: !!python/object/apply:os.system ['id']\n",
        "binary": good + "families: !!binary '////'\n",
        "key twice": good + good,
        "list as key": good + "? [a, b]\n: c\n",
        "number as key": good + "7: 8\n",
        "many keys": good + "".join(f"k{n}: 1\n" for n in range(20_000)),
        "large": good + "# " + "x" * 10**6,
        "not a mapping": "- a\n",
        "no text": "",
        "a million cells": good + f"beta1: {[n / 7 for n in range(1, 1500)]}\n"
        f"beta2: {[n / 7 for n in range(1, 1500)]}\n",
        "merge": good + "<<: {frames: [4]}\n",
        "dates": good + "beta1: 2020-01-01\nseed: 12:30:45\n",
        "model elsewhere": good.replace(str(base.model), "../../outside"),
        "model of a name": good.replace(str(base.model), "{'../x': a, '': b}"),
        "out elsewhere": good + "out: /dev/null/x\n",
        "tabs": good.replace(" ", "\t"),
    }
    for name, text in texts.items():
        yield case(name, text.encode())
    yield case("not UTF-8", good.encode() + b"families: \xff\xfe\n")
    yield case("zero bytes", good.encode() + b"\0")
    for key in ("models", "data", "frames", "beta1", "families", "clips", "batch", "seed"):
        for value in some(ODD, 4, len(key)):
            content = {"models": str(base.model), "data": "x.json", key: value}
            yield case(f"{key}={short(value)}", json.dumps(content).encode())
    for damage in DAMAGES:
        yield Case(
            "grid",
            f"{damage.__name__}",
            ("sweep", "grid.yaml", "--out", "out"),
            lambda f, d=damage: replaced(f / "grid.yaml", d),
        )


KINDS: dict[str, Callable[[Base], Iterator[Case]]] = {
    "manifest": manifests,
    "video": videos,
    "table": tables,
    "checkpoint": checkpoints,
    "template": templates,
    "tokenizer": tokenizers,
    "adapter": adapters,
    "run": runs,
    "store": stores,
    "grid": grids,
}
