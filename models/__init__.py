"""Ports of video LLMs: a checkpoint directory in, a `Port` out."""

from dataclasses import replace
from pathlib import Path

from vidsme_jax.errors import InputError
from vidsme_jax.models import ports
from vidsme_jax.models.checkpoints.adapters import Base, read_adapter
from vidsme_jax.models.checkpoints.fields import read_config
from vidsme_jax.models.checkpoints.folders import (
    check_files,
    refuse_other_folders,
    refuse_quantised_config,
)
from vidsme_jax.models.checkpoints.hub import find_checkpoint
from vidsme_jax.models.checkpoints.trees import flatten
from vidsme_jax.models.port import Graph, Port, PortSpec
from vidsme_jax.progress import say


def find_port(
    model: str | Path,
    adapter: Path | None = None,
    ignore_fields: tuple[str, ...] = (),
    weights: bool = True,
) -> Port:
    """Open the checkpoint that a command is given, downloaded first if it is a hub id.

    Args:
        model: checkpoint directory or hub id.
        adapter: folder of an adapter to merge into it.
        ignore_fields: see `open_port`.
        weights: whether to download the weights too.

    Raises:
        InputError: what `find_checkpoint` and `open_port` refuse.
    """
    folder = adapter and adapter.expanduser()
    if folder == Path():
        raise InputError("adapter is an empty path, expected the folder of an adapter")
    return open_port(find_checkpoint(str(model), weights), folder, ignore_fields)


def open_port(
    directory: Path, adapter: Path | None = None, ignore_fields: tuple[str, ...] = ()
) -> Port:
    """Read a checkpoint directory with the port of its architecture.

    Args:
        directory: the checkpoint.
        adapter: folder of a LoRA adapter of PEFT, which is merged into its weights.
        ignore_fields: fields of its configs that are to be ignored if no port has them.

    Raises:
        InputError: not a checkpoint, an architecture without a port, or an adapter that
            does not fit.
    """
    if not directory.is_dir():
        raise InputError(f"model={directory} is no directory, expected a checkpoint")
    graph = read_graph(directory / "config.json", ignore_fields, adapter)
    return _spec_of(graph.path).open(graph)


def read_graph(
    path: Path, ignore_fields: tuple[str, ...] = (), adapter: Path | None = None
) -> Graph:
    """Read a model's graph from a config.json alone, with the port of its architecture.

    Args:
        path: path of the config.json.
        ignore_fields: see `open_port`.
        adapter: see `open_port`.

    Raises:
        InputError: not a config, an architecture without a port, or an adapter that does
            not fit.
    """
    graph = _spec_of(path).read(path, ignore_fields)
    return graph if adapter is None else _add_adapter(graph, adapter)


def _add_adapter(graph: Graph, directory: Path) -> Graph:
    """Return a graph with an adapter, which may bring another vocabulary."""
    shapes = {path: leaf.shape for path, leaf in flatten(graph.abstract).items()}
    vocab, config = graph.sizes.vocab, graph.config
    adapter = read_adapter(directory, Base(graph.rules, graph.names, shapes, vocab))
    say(adapter.describe(graph.path))
    if adapter.vocab != vocab:
        config = config.with_vocab(adapter.vocab)
    return replace(graph, config=config, adapter=adapter)


def _spec_of(path: Path) -> PortSpec:
    """Return the first port whose family a config.json is of."""
    if path.name == "config.json":
        check_files(path.parent)
        refuse_other_folders(path.parent)
    config = read_config(path)
    refuse_quantised_config(config, path)
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
