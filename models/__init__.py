"""Ports of video LLMs: a checkpoint directory in, a `Port` out."""

from pathlib import Path

from vidsme_jax.errors import InputError
from vidsme_jax.models import ports
from vidsme_jax.models.checkpoints.fields import read_config
from vidsme_jax.models.port import Graph, Port, PortSpec


def open_port(directory: Path, ignore_fields: tuple[str, ...] = ()) -> Port:
    """Read a checkpoint directory with the port of its architecture.

    Args:
        directory: the checkpoint.
        ignore_fields: names of unknown fields of its configs to ignore.

    Raises:
        InputError: not a checkpoint, or an architecture without a port.
    """
    if not directory.is_dir():
        raise InputError(f"model={directory} is no directory, expected a checkpoint")
    path = directory / "config.json"
    spec = _spec_of(path)
    return spec.open(spec.read(path, ignore_fields))


def read_graph(path: Path, ignore_fields: tuple[str, ...] = ()) -> Graph:
    """Read a model's graph from a config.json alone, with the port of its architecture.

    Args:
        path: path of the config.json.
        ignore_fields: names of unknown fields of the config to ignore.

    Raises:
        InputError: not a config, or an architecture without a port.
    """
    return _spec_of(path).read(path, ignore_fields)


def _spec_of(path: Path) -> PortSpec:
    """Return the first port whose family a config.json is of."""
    config = read_config(path)
    names = config.get("architectures") or [config.get("model_type")]
    if not isinstance(names, list):
        raise InputError(f"{path}: architectures={names!r} is no list")
    for spec in ports.PORTS:
        if spec.matches(config):
            return spec
    expected = dict.fromkeys(spec.architecture for spec in ports.PORTS)
    raise InputError(
        f"{path} names the architecture {', '.join(map(str, names))}, expected one of"
        f" {', '.join(expected)}"
    )
