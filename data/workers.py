"""Run decoding processes, a clip at a time, with a time limit per clip and without jax.

A thread hands clips to its own process and waits for the answer. A process that takes too
long is killed, since nothing else stops a decoder that hangs. Where a process dies, its
clip is named and the next clip gets a new process. They start as fresh interpreters: a
process forked from this one would have locks but not the threads that release them.
"""

import importlib
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from typing import Any

from vidsme_jax.errors import InputError

_START = 120.0  # seconds for an interpreter to come up, on a machine that is busy
_CLIPS = 200  # of a process, then a new one starts; what its libraries leaked is freed
_MEMORY = 8 << 30  # bytes of a process; a clip that needs more fails alone


class WorkerDied(Exception):
    """A process ended in the middle of its clip; the message has its exit status."""


class WorkerTimeout(Exception):
    """A clip took longer than allowed, and its process was killed."""


class _Worker:
    """A process and the pipe to it, for a function by its name, "module:name"."""

    def __init__(self, name: str):
        parent_end, child_end = Pipe()
        self._output = tempfile.TemporaryFile()  # what decoders print while they fail
        code = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            "from vidsme_jax.data.workers import serve\n"
            f"serve({child_end.fileno()}, {name!r})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[child_end.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # Ctrl-C reaches the parent alone
        )
        child_end.close()
        self._pipe: Connection = parent_end
        self.left = _CLIPS
        try:
            self._answer(_START)
        except (WorkerDied, WorkerTimeout) as error:  # no clip is to blame
            self.close()
            raise InputError(f"no decoding process can be started: {error}") from error

    def call(self, arguments: tuple[Any, ...], seconds: float) -> Any:
        self.left -= 1
        try:
            self._pipe.send(arguments)
        except OSError:
            pass  # the process is dead, and reading its answer says so
        return self._answer(seconds)

    def _answer(self, seconds: float) -> Any:
        try:
            if self._pipe.poll(seconds):
                return self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerDied(self._last_words()) from None
        self.close()
        raise WorkerTimeout(f"killed after {seconds:g} s")

    def _last_words(self) -> str:
        code = self._process.wait()
        self._output.seek(0)
        lines = self._output.read()[-2000:].decode(errors="replace").strip().splitlines()
        status = f"signal {-code}" if code < 0 else f"exit {code}"
        last_line = f": {lines[-1]}" if lines else ""
        return f"the decoding process died ({status}){last_line}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        self._output.close()


class Workers:
    """Several processes that call a function, each driven by a thread.

    Args:
        function: function to call; it is defined by a module, since each process imports
            it. Arguments and result are pickled.
        count: number of processes.
        seconds: longest time that a call may take.

    Raises:
        ValueError: a fresh process cannot import the function.
    """

    def __init__(self, function: Callable[..., Any], count: int, seconds: float):
        self._name, self._seconds = _import_name(function), seconds
        self._of_thread = threading.local()
        self._all: set[_Worker] = set()
        self._threads = ThreadPoolExecutor(count)
        self._lock, self._closed = threading.Lock(), False

    def submit(self, *arguments: Any) -> Future:
        """Return the future result of a call of the function with these arguments.

        The future may raise WorkerDied or WorkerTimeout, and InputError where no process
        can be started at all.
        """
        return self._threads.submit(self._call, arguments)

    def _call(self, arguments: tuple[Any, ...]) -> Any:
        worker = getattr(self._of_thread, "worker", None)
        if worker is None or not worker.left:
            if worker:
                self._drop(worker)
            worker = self._of_thread.worker = self._start()
        try:
            return worker.call(arguments, self._seconds)
        except (WorkerDied, WorkerTimeout):
            self._drop(worker)
            self._of_thread.worker = None
            raise

    def _start(self) -> _Worker:
        worker = _Worker(self._name)
        with self._lock:
            self._all.add(worker)
            if self._closed:  # meanwhile
                worker.close()
        return worker

    def _drop(self, worker: _Worker) -> None:
        with self._lock:
            self._all.discard(worker)
            worker.close()

    def close(self) -> None:
        """End all processes at once, and cancel the calls that have not started."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.close()


def _import_name(function: Callable[..., Any]) -> str:
    """Return a function's "module:name", by which a fresh process can import it."""
    module, name = function.__module__, function.__qualname__
    if module == "__main__" or getattr(sys.modules[module], name, None) is not function:
        raise ValueError(
            f"function={module}:{name} cannot be imported by a fresh process, expected a"
            " function that a module defines by that name, outside functions and classes"
        )
    return f"{module}:{name}"


def serve(descriptor: int, name: str) -> None:
    """Answer calls until the other end of the pipe closes; a process does nothing else.

    Args:
        descriptor: file descriptor of the pipe.
        name: name of the function to call, "module:name".
    """
    parent = os.getppid()
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    allowed = resource.getrlimit(resource.RLIMIT_DATA)[1]  # a lower one cannot be raised
    memory = _MEMORY if allowed == resource.RLIM_INFINITY else min(_MEMORY, allowed)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module, function = name.split(":")
    call = getattr(importlib.import_module(module), function)
    pipe = Connection(descriptor)
    pipe.send("ready")
    while True:
        try:
            arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(call(*arguments))


def _die_with(parent: int) -> None:
    """End this process when its parent has ended, even while a decoder hangs."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
