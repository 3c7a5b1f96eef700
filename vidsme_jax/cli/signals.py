"""End the process when it is asked to, even while its main thread sits in a library.

Python runs a signal's handler in the main thread, between two steps of Python. A thread
that compiles, or that waits inside a reader, gets there late or never. The number of each
signal is also written to a pipe at once, and a thread of ours reads it there.
"""

import os
import select
import signal
import threading

from vidsme_jax.progress import stop

INTERRUPTED = 75  # exit code: run the same command again
_GRACE = 4.0  # seconds in which the main thread may end its work in good order


def listen() -> None:
    """Handle SIGINT and SIGTERM, and let SIGINT end the process within seconds.

    A second signal after SIGINT, or 4 seconds, end it at once with exit code 75. All files
    on disk are whole at any moment. SIGTERM gives the work in hand its time. Signals that
    the starting shell had ignored, as for a command in the background, are handled too.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end_after, args=(reading,), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _end_after(signals: int) -> None:
    """End the process once SIGINT was read, and its time is over.

    Args:
        signals: file descriptor from which the numbers of signals are read.
    """
    while os.read(signals, 1)[0] != signal.SIGINT:
        pass
    select.select([signals], [], [], _GRACE)
    os.write(2, b"vidsme: interrupted in the middle of a step, run it again\n")
    os._exit(INTERRUPTED)
