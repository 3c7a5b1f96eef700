"""Ports of video LLMs: a checkpoint directory in, a `Port` out."""

from pathlib import Path
from typing import Any

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import read_config
from vidsme_jax.models.port import Graph, Port
from vidsme_jax.models.ports import (
    llava_next_video,
    llava_onevision,
    llava_video,
    longva,
    video_llava,
)

# Each module has NAME, CHECKPOINTS, ARCHITECTURE, matches(config), read_graph(path of its
# config.json) and open_checkpoint(graph).
PORTS = (longva, llava_video, llava_next_video, llava_onevision, video_llava)


def open_port(directory: Path) -> Port:
    """Read a checkpoint directory with the port of its architecture.

    Raises:
        InputError: not a checkpoint, or an architecture without a port.
    """
    if not directory.is_dir():
        raise InputError(f"model={directory} is no directory, expected a checkpoint")
    path = directory / "config.json"
    port = _port_of(path)
    return port.open_checkpoint(port.read_graph(path))


def read_graph(path: Path) -> Graph:
    """Read a config.json alone, with the port of its architecture.

    Raises:
        InputError: not a config, or one of an architecture without a port.
    """
    return _port_of(path).read_graph(path)


def _port_of(path: Path) -> Any:
    config = read_config(path)
    named = config.get("architectures") or [config.get("model_type")]
    if not isinstance(named, list):
        raise InputError(f"{path}: architectures={named!r} is no list")
    for port in PORTS:
        if port.matches(config):
            return port
    known = dict.fromkeys(port.ARCHITECTURE for port in PORTS)
    raise InputError(
        f"{path} names the architecture {', '.join(map(str, named))}, expected one of"
        f" {', '.join(known)}"
    )
