"""Ports of video LLMs: a checkpoint directory in, a `Port` out."""

from pathlib import Path

from vidsme_jax.errors import InputError
from vidsme_jax.models import longva
from vidsme_jax.models.port import Port, read_config

PORTS = {longva.ARCHITECTURE: longva.open_longva}


def open_port(directory: Path) -> Port:
    """Read a checkpoint directory with the port of its architecture.

    Raises:
        InputError: not a checkpoint, or an architecture without a port.
    """
    if not directory.is_dir():
        raise InputError(f"model={directory} is no directory, expected a checkpoint")
    config = read_config(directory / "config.json")
    named = config.get("architectures") or [config.get("model_type")]
    found = [PORTS[name] for name in named if name in PORTS]
    if not found:
        raise InputError(
            f"model={directory} has architecture {', '.join(map(str, named))};"
            f" there are ports for {', '.join(PORTS)}"
        )
    return found[0](directory)
