"""Show progress: phases, a bar on a terminal or a line a minute; stop between items."""

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import TypeVar

T = TypeVar("T")
_EVERY = 60.0  # seconds between lines in a log

# What each command does, one after the other; where nothing is to do, a phase is left out.
PHASES = {
    "demo": (
        "write the clips",
        "train the target",
        "train the control",
        "score with the target",
        "score with the control",
        "evaluate and report",
    ),
    "train": (
        "read the input",
        "decode the clips",
        "load the model",
        "compile and train",
        "write the checkpoint",
    ),
    "prepare": ("read the input", "decode the clips", "calibrate"),
    "score": (
        "read the input",
        "decode the clips",
        "load the model",
        "compile and score",
        "write the tables",
    ),
    "merge": ("read the shards", "join them"),
    "evaluate": (
        "read the runs",
        "measure the scores",
        "train blind baselines",
        "write the report",
    ),
    "sweep": ("read the grid", "score and evaluate", "write the figures"),
    "plan": ("read the config", "compile"),
    "bench": ("start", "write the inputs", "load and compile", "warm up", "measure"),
}
_shown = threading.Event()  # phases are shown: a command runs, and not a caller's Python

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


@contextmanager
def show_phases(command: str) -> Iterator[None]:
    """Show the phases of a command while the block runs, its first one at once."""
    _shown.set()
    try:
        if command in PHASES:
            phase(command, PHASES[command][0])
        yield
    finally:
        _shown.clear()


def phase(command: str, name: str, detail: str = "") -> None:
    """Say that a phase of a command begins, if phases are shown.

    Args:
        command: a name of `PHASES`.
        name: of the phase.
        detail: what it works on, where it comes several times.
    """
    number = PHASES[command].index(name) + 1
    if _shown.is_set():
        more = f" ({detail})" if detail else ""
        say(f"{command}, {number} of {len(PHASES[command])}: {name}{more}")


def progress(
    items: Iterable[T],
    total: int,
    label: str,
    done: int = 0,
    sizes: Iterable[int] | None = None,
) -> Iterator[T]:
    """Yield the items, and show how many clips are done, how fast, and the time left.

    Args:
        items: the items left to do, such as batches.
        total: number of clips, those already done included.
        label: a short name of the work.
        done: number of clips done before.
        sizes: number of clips of each item; None for items that are one clip.

    Raises:
        Stopped: a signal asked to stop; raised between two items.
    """
    count = _Count(total, done)
    with _shown_on(label, count, sys.stderr.isatty()) as show:
        clips = repeat(1) if sizes is None else iter(sizes)
        for item in _until_stopped(items):
            yield item
            count.add(next(clips))
            show()


class _Count:
    """Clips that are done, and how fast: the first item, which compiles, is left out.

    Args:
        total: number of clips.
        done: number of clips done before.
    """

    def __init__(self, total: int, done: int):
        self.total, self.done = total, done
        self._start: tuple[float, int] | None = None  # when the first item was done

    def add(self, clips: int) -> None:
        """Count clips that were done just now."""
        self.done += clips
        if self._start is None:
            self._start = time.monotonic(), self.done

    def __str__(self) -> str:
        text = f"{self.done:,} of {self.total:,} clips"
        start, done = self._start or (0.0, self.done)
        if self.done == done:
            return text
        rate = (self.done - done) / max(time.monotonic() - start, 1e-9)
        left = _duration((self.total - self.done) / rate)
        pace = f"{rate * 60:,.0f}" if rate * 60 >= 10 else f"{rate * 60:.2g}"
        return f"{text}, {pace} a minute, {left} left"


def _duration(seconds: float) -> str:
    """Return a time in words, to the minute above an hour."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def _shown_on(label: str, count: _Count, on_terminal: bool) -> Iterator[Callable[[], None]]:
    """Yield a function that shows a count: in a bar, or in a line once a minute."""
    if not on_terminal:
        last = time.monotonic()

        def show() -> None:
            nonlocal last
            if time.monotonic() - last >= _EVERY:
                last = time.monotonic()
                say(f"{label}: {count}")

        yield show
        return
    from tqdm import tqdm

    form, size = "{l_bar}{bar}| {unit}", shutil.get_terminal_size()
    with tqdm(
        desc=label,
        total=count.total,
        initial=count.done,
        unit=str(count),
        bar_format=form,
        ncols=size.columns,
        nrows=size.lines,
    ) as bar:

        def move() -> None:
            bar.unit = str(count)
            bar.update(count.done - bar.n)

        yield move


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
