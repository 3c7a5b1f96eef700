"""The far end of `workers`: what a decoding process runs."""

import importlib
import os
import resource
import threading
import time
from multiprocessing.connection import Connection

_MEMORY = 8 << 30  # bytes of a process; a clip that wants more fails alone


def serve(descriptor: int, name: str) -> None:
    """Answer calls until the other end of the pipe closes.

    Args:
        descriptor: of the pipe.
        name: of the function to call, as "module:name".
    """
    parent = os.getppid()
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
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
    """End this process when its parent has, even while a decoder hangs."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
