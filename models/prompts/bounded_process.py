"""Render chat templates and try out tokenizers in a process of its own, within limits.

This file is the process: it is run by its path, and imports nothing of this package, whose
import takes seconds. It reads a request as a line of JSON and answers with another. See
`bounded.py`, which starts it and ends it.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATE_BYTES = 512 << 20  # of memory beside the interpreter
TOKENIZER_BYTES = 3 << 30
LONGEST = 1_000_000  # characters of a rendered template
_CPU_SECONDS = 120  # then the process ends, even where its parent is gone
# Kinds of text on which a tokenizer that is hostile would fail or never end.
_TRIALS = (
    *("a" * 5000, " " * 5000, "1" * 5000, "aA1 .!\n" * 700, "é漢字🙂\u0301" * 500),
    *(
        "x",
        "The quick brown fox jumps over the lazy dog: 0123456789.",
        "<|im_start|>user\nWhat moves in this video? (A) It's 2 circles, (B) none.\n",
    ),
)


class Generation(Extension):
    """The blocks `{% generation %}` of transformers, which mark answers of the model."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        """Return the statements inside the block."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


class _Names(jinja2.utils.Namespace):
    """A namespace without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that `self` may be a name
        self, *rest = args
        values = dict(*rest, **kwargs)
        for name in values:
            _refuse_hidden(name)
        jinja2.utils.Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_hidden(name)
        super().__setitem__(name, value)


def _refuse_hidden(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"no name like {name!r} in a namespace")


def _fail(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _now(form: str) -> str:
    from datetime import datetime

    return datetime.now().strftime(form)


@lru_cache
def _compiled(source: str) -> jinja2.Template:
    """Return a template with the names that transformers gives to chat templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _fail,
        "strftime_now": _now,
        "namespace": _Names,
    }
    return environment.from_string(source)


def render(request: dict[str, Any]) -> dict[str, Any]:
    """Return the text of messages by a template; None where the template fails.

    A template may fail in any way on messages that it was not made for. Only where it
    needs too much is there a sentence about it.
    """
    try:
        text = _compiled(request["source"]).render(**request["values"])
    except MemoryError:
        return {"limit": f"needs more than {TEMPLATE_BYTES >> 20} MB of memory"}
    except RecursionError:
        return {"limit": "calls itself without end"}
    except Exception:
        return {"text": None}
    if len(text) > LONGEST:
        return {"limit": f"makes a text of {len(text):,} characters"}
    return {"text": text}


def try_tokenizer(request: dict[str, Any]) -> dict[str, Any]:
    """Load a tokenizer.json and encode some texts, and return what went wrong."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(request["path"])
        for text in _TRIALS:
            tokenizer.encode(text)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        return {"fault": " ".join(str(error).split())[:150] or type(error).__name__}
    return {"fault": None}


_CALLS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], int]] = {
    "render": (render, TEMPLATE_BYTES),
    "tokenizer": (try_tokenizer, TOKENIZER_BYTES),
}


def _limit_memory(more: int) -> None:
    """Allow so many bytes of address space beside those of now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * os.sysconf("SC_PAGE_SIZE")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = now + more if hard == resource.RLIM_INFINITY else min(now + more, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def serve() -> None:
    """Say that the process is ready, then answer the requests of the standard input."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        call, memory = _CALLS[request["call"]]
        _limit_memory(memory)
        print(json.dumps(call(request)), flush=True)


if __name__ == "__main__":
    serve()
