"""Measure where the time of a run goes: on the host, or waiting for the device."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = ("clips", "batches", "writing")


@contextmanager
def traced(directory: Path | None) -> Iterator[None]:
    """Write a trace of host and device for TensorBoard, XProf or Perfetto.

    In it the program's stages are named `vision`, `decoder`, `head` and `statistics`.
    Without a directory nothing is written.
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
    """Seconds that one thread spends, by activity."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._spent: dict[str, float] = {}

    @contextmanager
    def on(self, activity: str) -> Iterator[None]:
        """Count the seconds of the block under an activity."""
        start = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - start
            self._spent[activity] = self._spent.get(activity, 0.0) + seconds

    def waiting_for(self, items: Iterator, activity: str) -> Iterator:
        """Yield the items; count the seconds of waiting for them under an activity."""
        while True:
            with self.on(activity):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def line(self) -> str:
        """Return a line with the total of seconds, and how it divides."""
        total = time.monotonic() - self._start
        host = sum(self._spent.get(name, 0.0) for name in HOST)
        shares = ", ".join(f"{name} {self._spent.get(name, 0.0):.1f} s" for name in HOST)
        device = self._spent.get("device", 0.0)
        return (
            f"time: {total:.1f} s; host {host:.1f} s, {host / total:.1%} ({shares});"
            f" device {device:.1f} s; start {total - host - device:.1f} s"
        )
