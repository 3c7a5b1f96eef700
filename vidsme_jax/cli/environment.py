"""Set the variables of the environment that must stand before JAX is imported."""

import hashlib
import os
import platform
from pathlib import Path

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
