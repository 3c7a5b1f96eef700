"""Show progress, as a bar on a terminal or one line a minute, and stop between items."""

import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_EVERY = 60.0  # seconds between lines in a log


_stop_requested = threading.Event()
_in_item = threading.Event()  # an item of `progress` is in hand


class Stopped(KeyboardInterrupt):
    """A request to stop, raised between two items, so that begun work can be ended."""


def stop(signal_number: int, frame: object) -> None:
    """Handle SIGINT and SIGTERM: interrupt now, or at the next item of `progress`.

    SIGTERM lets the item in hand finish, since a machine is announced some seconds before
    it is taken away. Python drops an exception that a signal raises inside some
    callbacks, such as JAX's on garbage collection; the event is kept. Python's note on
    the dropped exception would help no reader, so it is not printed.
    """
    _stop_requested.set()
    sys.unraisablehook = lambda unraisable: None
    if signal_number != signal.SIGTERM or not _in_item.is_set():
        raise KeyboardInterrupt


def say(line: str) -> None:
    """Print one line to stderr, for the person who waits; results go to stdout."""
    print(line, file=sys.stderr, flush=True)


def progress(items: Iterable[T], total: int, label: str, done: int = 0) -> Iterator[T]:
    """Yield the items, and show how many are done.

    Args:
        items: the items left to do.
        total: number of items, those already done included.
        label: a short name of the work and its items, such as "score, batches".
        done: number of items done before.

    Raises:
        Stopped: a signal asked to stop; raised between two items.
    """
    items = _until_stopped(items)
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=label, total=total, initial=done)
        return
    start = last = time.monotonic()
    for n, item in enumerate(items, done):
        now = time.monotonic()
        if now - last >= _EVERY:
            last = now
            rate = (n - done) / (now - start)
            say(f"{label}: {n} of {total}, {rate * 60:.1f} a minute")
        yield item


def _until_stopped(items: Iterable[T]) -> Iterator[T]:
    """Yield the items until a signal asks to stop, then raise Stopped."""
    for item in items:
        if _stop_requested.is_set():
            raise Stopped
        _in_item.set()
        try:
            yield item
        finally:
            _in_item.clear()
