"""Ask a process with limits on time, memory and output to run what a checkpoint brings.

A chat template is a program, and a tokenizer holds patterns that others wrote. One process
serves a checkpoint while it is opened; it is killed where it takes too long.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vidsme_jax.errors import InputError

# Seconds for all calls of a kind; what is honest takes a hundredth.
_SECONDS = {"render": 10.0, "tokenizer": 60.0}
_START = 60.0  # seconds for the process to come up, on a machine that is busy
_PROCESS = Path(__file__).with_name("bounded_process.py")


class LimitExceeded(Exception):
    """What a checkpoint brings needs too much; the message follows its name."""


class BoundedProcess:
    """A process that renders chat templates and tries out tokenizers."""

    def __init__(self) -> None:
        code = f"import runpy, sys; sys.path[:] = {sys.path!r}\n"
        code += f"runpy.run_path({str(_PROCESS)!r}, run_name='__main__')"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what a panic prints
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
            start_new_session=True,  # Ctrl-C reaches the parent alone
        )
        self._left = dict(_SECONDS)
        self._ready, self._unread = False, b""

    def send(self, call: str, **request: Any) -> None:
        """Send a request, whose answer `receive` returns."""
        line = json.dumps({"call": call, **request}) + "\n"
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended, and reading its answer says so

    def receive(self, call: str) -> Mapping[str, Any]:
        """Return the answer to the request that was sent last.

        Raises:
            LimitExceeded: it takes too long, or the process ended.
        """
        if not self._ready:
            self._read_line(_START)
            self._ready = True
        start = time.monotonic()
        try:
            line = self._read_line(self._left[call])
        except TimeoutError:
            raise LimitExceeded(f"takes more than {_SECONDS[call]:g} s") from None
        self._left[call] -= time.monotonic() - start
        content = json.loads(line)
        if content.get("limit"):
            raise LimitExceeded(content["limit"])
        return content

    def _read_line(self, seconds: float) -> bytes:
        """Return the next line that the process writes."""
        assert self._process.stdout is not None
        stream, end = self._process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._unread:
            left = end - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                raise TimeoutError(f"no answer within {seconds:g} s")
            piece = os.read(stream, 1 << 16)
            if not piece:
                raise LimitExceeded(f"ends its process ({_status(self._process.wait())})")
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            try:
                if stream:
                    stream.close()
            except OSError:  # a request that it never read
                pass


def _status(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"


class TemplateRenderer:
    """Renders the chat templates of a checkpoint; close it when they are read.

    Args:
        where: the checkpoint's folder, for errors.
        names: further values that templates can use, such as `bos_token`.
    """

    def __init__(self, where: Path, names: Mapping[str, str]):
        self._where, self._names = where, dict(names)
        self._process: BoundedProcess | None = None

    def __call__(self, source: str, messages: list, prompt: bool = True) -> str | None:
        """Return the text of messages by a template; None where the template fails.

        Args:
            source: the template.
            messages: messages as transformers takes them.
            prompt: whether the text ends where the answer begins.

        Raises:
            InputError: the template needs too much time, memory or text.
        """
        self._process = self._process or BoundedProcess()
        chat = {"messages": messages, "tools": None, "documents": None}
        values = chat | {"add_generation_prompt": prompt} | self._names
        self._process.send("render", source=source, values=values)
        try:
            return self._process.receive("render")["text"]
        except LimitExceeded as error:
            raise InputError(
                f"model={self._where}: its chat template {error}; take the template out of"
                " a copy of the folder, then the prompt of its family is used"
            ) from error

    def close(self) -> None:
        """End the process, if one was started."""
        if self._process:
            self._process.close()


@contextlib.contextmanager
def tokenizer_trial(directory: Path) -> Iterator[None]:
    """Try out a folder's tokenizer.json while the block runs, and raise what is wrong.

    The file may be hostile: too large a memory, a pattern without end, a panic.

    Raises:
        InputError: it cannot be loaded, or fails on some text.
    """
    path = directory / "tokenizer.json"
    if not path.is_file():
        yield
        return
    process = BoundedProcess()
    try:
        process.send("tokenizer", path=str(path.resolve()))
        yield
        fault = process.receive("tokenizer")["fault"]
    except LimitExceeded as error:
        fault = f"it {error}"
    finally:
        process.close()
    if fault:
        raise InputError(f"{path} is no tokenizer that can be used: {fault}")
