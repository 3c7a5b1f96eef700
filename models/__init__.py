"""Ports of video LLMs: a checkpoint directory in, a `Port` out."""

from pathlib import Path

from vidsme_jax.errors import InputError
from vidsme_jax.models import (
    llava_next_video,
    llava_onevision,
    llava_video,
    longva,
    video_llava,
)
from vidsme_jax.models.config import read_config
from vidsme_jax.models.port import Port

# Each module has NAME, CHECKPOINTS, ARCHITECTURE, matches(config), open_checkpoint(dir).
PORTS = (longva, llava_video, llava_next_video, llava_onevision, video_llava)


def open_port(directory: Path) -> Port:
    """Read a checkpoint directory with the port of its architecture.

    Raises:
        InputError: not a checkpoint, or an architecture without a port.
    """
    if not directory.is_dir():
        raise InputError(f"model={directory} is no directory, expected a checkpoint")
    config = read_config(directory / "config.json")
    named = config.get("architectures") or [config.get("model_type")]
    if not isinstance(named, list):
        raise InputError(f"{directory}/config.json: architectures={named!r} is no list")
    for port in PORTS:
        if port.matches(config):
            return port.open_checkpoint(directory)
    known = dict.fromkeys(port.ARCHITECTURE for port in PORTS)
    raise InputError(
        f"model={directory} has architecture {', '.join(map(str, named))};"
        f" there are ports for {', '.join(known)}"
    )
