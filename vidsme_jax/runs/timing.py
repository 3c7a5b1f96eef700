"""Where the time of a run went: on the host, or waiting for the device."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = ("clips", "batches", "writing")


@contextmanager
def traced(directory: Path | None) -> Iterator[None]:
    """Write what host and device did, for TensorBoard, XProf or Perfetto; None: nothing.

    The parts of the program are named `vision`, `decoder`, `head` and `statistics`.
    """
    if directory is None:
        yield
        return
    import jax

    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # every Python call of a compilation would drown it
    with jax.profiler.trace(
        str(directory), create_perfetto_trace=True, profiler_options=options
    ):
        yield


class Clock:
    """Seconds by what they were spent on, of one thread."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._spent: dict[str, float] = {}

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Count the seconds of the block."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._spent[what] = self._spent.get(what, 0.0) + time.monotonic() - start

    def each(self, items: Iterator, what: str) -> Iterator:
        """Count the seconds that the items are waited for."""
        while True:
            with self.on(what):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def line(self) -> str:
        """Say the total, and how it divides."""
        total = time.monotonic() - self._start
        host = sum(self._spent.get(name, 0.0) for name in HOST)
        parts = ", ".join(f"{name} {self._spent.get(name, 0.0):.1f} s" for name in HOST)
        device = self._spent.get("device", 0.0)
        return (
            f"time: {total:.1f} s; host {host:.1f} s, {host / total:.1%} ({parts});"
            f" device {device:.1f} s; start {total - host - device:.1f} s"
        )
