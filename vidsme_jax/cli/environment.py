"""Where compiled programs are kept from one command to the next."""

import hashlib
import os
import platform
from pathlib import Path

_MOST_BYTES = 4 * 2**30  # the least recently used go first


def keep_compiled() -> None:
    """Have JAX keep what it compiles in the user's cache directory; call it before JAX.

    JAX_COMPILATION_CACHE_DIR, where it is set, says otherwise; empty, that nothing is kept.
    Nothing is kept either where the directory cannot be written.
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
    """Return 8 digits that tell kinds of CPU apart: what one compiled crashes another."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
    known = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return hashlib.sha256("\n".join(sorted(set(known or lines))).encode()).hexdigest()[:8]
