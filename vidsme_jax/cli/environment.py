"""Check and set what must stand before the libraries of a command are imported."""

import hashlib
import importlib.util
import os
import platform
import resource
from importlib.machinery import ModuleSpec
from pathlib import Path

from vidsme_jax.errors import InputError

_MOST_BYTES = 4 * 2**30  # beyond that the least recently used programs are removed


def keep_compiled() -> None:
    """Have JAX keep compiled programs in the user's cache directory.

    JAX_COMPILATION_CACHE_DIR names another directory where it is set; if it is empty,
    nothing is kept. Nothing is kept either where the directory cannot be written.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "vidsme_jax" / f"compiled-{_cpu()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return
    if os.access(folder, os.W_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(_MOST_BYTES))


def _cpu() -> str:
    """Return 8 hex digits of the kind of CPU: a program of another kind may crash."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
    marks = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return hashlib.sha256("\n".join(sorted(set(marks or lines))).encode()).hexdigest()[:8]


def compile_for_absent_chips() -> None:
    """Let libtpu compile where there is no TPU."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    # A second process that loads libtpu is aborted without this.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    # Without a device, JAX writes programs that it cannot read back.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"


def share_device() -> None:
    """Leave memory of the device to a second framework, which JAX would take at once."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def leave_out_torch() -> None:
    """Let libraries that ask whether PyTorch is installed find none, in this process.

    transformers asks, and then imports it with its tokenizers, of which it needs none. It
    has no variable for that. Whoever imports PyTorch by name still gets it.
    """
    find_spec = importlib.util.find_spec

    def find_others(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "torch" else find_spec(name, package)

    importlib.util.find_spec = find_others


# GiB of addresses that a command's libraries take, without their threads: measured, and
# rounded up. Of commands that only read tables; of those that open no device; of others.
_LIBRARIES = {"list": 0.5, "status": 0.7, "merge": 0.7, "prepare": 1.2}
_LIBRARIES_AND_DEVICE = 3.0


def check_memory(command: str) -> None:
    """Refuse limits under which threads of libraries could not start.

    They would wait for each other, or end the process without a word. A thread reserves
    its stack, and the C library 64 MiB for what each of up to 8 threads a core allocates.

    Raises:
        InputError: with the limit and what is needed.
    """
    cores = os.cpu_count() or 1
    threads = 64 + 10 * cores  # the reader of a store starts 64 in any case
    if command in _LIBRARIES:
        threads = 4 + 2 * cores
    allowed = resource.getrlimit(resource.RLIMIT_NPROC)[0]  # for all of a user's processes
    if os.geteuid() and allowed != resource.RLIM_INFINITY and allowed < threads:
        raise InputError(
            f"threads are limited to {allowed} by ulimit -u, expected at least {threads}"
            f" for {command} on {cores} cores"
        )
    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    stacks = threads * (stack if 0 < stack < 2**30 else 2**21)
    arenas = min(threads, 8 * cores) * 2**26
    libraries = int(_LIBRARIES.get(command, _LIBRARIES_AND_DEVICE) * 2**30)
    for option, kind, needed in (
        ("-v", resource.RLIMIT_AS, libraries + stacks + arenas),
        ("-d", resource.RLIMIT_DATA, libraries * 2 // 3 + stacks),
    ):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY and limit < needed:
            raise InputError(
                f"memory is limited to {limit / 2**30:.1f} GiB by ulimit {option}, expected"
                f" at least {needed / 2**30:.1f} GiB for {command} on {cores} cores, of"
                " which most is reserved and never used; raise it, or limit what is used"
                " with a container or a control group (systemd-run -p MemoryMax=…)"
            )
