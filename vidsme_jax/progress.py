"""Progress: a bar on a terminal, otherwise one line a minute."""

import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
_EVERY = 60.0  # seconds between lines in a log


_stop_asked = threading.Event()
_at_work = threading.Event()  # on an item of `progress`, not waiting for the next


class Stopped(KeyboardInterrupt):
    """Asked to stop, between two items: what was begun can still be ended."""


def stop(signal_number: int, frame: object) -> None:
    """Handle SIGINT and SIGTERM: interrupt now, or at the next item of `progress`.

    SIGTERM leaves the item in hand its time, since machines that are taken away say so
    some seconds before. Python drops an exception that a signal raises inside some
    callbacks, such as JAX's on garbage collection; the event outlives that, and the note
    that it was dropped is nothing that a reader could use.
    """
    _stop_asked.set()
    sys.unraisablehook = lambda dropped: None
    if signal_number != signal.SIGTERM or not _at_work.is_set():
        raise KeyboardInterrupt


def say(line: str) -> None:
    """Print one line for the person who waits, apart from results on stdout."""
    print(line, file=sys.stderr, flush=True)


def progress(items: Iterable[T], total: int, what: str, done: int = 0) -> Iterator[T]:
    """Yield the items and tell how far they are.

    Args:
        items: what is left to do.
        total: how many there are with those already done.
        what: a short name of the work and its unit, such as "score, batches".
        done: how many were done before.
    """
    items = _until_stopped(items)
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, initial=done)
        return
    start = last = time.monotonic()
    for n, item in enumerate(items, done):
        now = time.monotonic()
        if now - last >= _EVERY:
            last = now
            rate = (n - done) / (now - start)
            say(f"{what}: {n} of {total}, {rate * 60:.1f} a minute")
        yield item


def _until_stopped(items: Iterable[T]) -> Iterator[T]:
    for item in items:
        if _stop_asked.is_set():
            raise Stopped
        _at_work.set()
        try:
            yield item
        finally:
            _at_work.clear()
