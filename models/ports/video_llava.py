"""Video-LLaVA: CLIP tower with its class token, MLP, no pooling; Vicuna.

Transformers' class. The model has two towers. Videos go through `video_tower`, and keep the
class token whatever the config selects for images.
"""

from pathlib import Path
from typing import Any

from vidsme_jax.models.layers.connector import Connector
from vidsme_jax.models.port import Graph, Port, PortSpec
from vidsme_jax.models.ports import llava_hf as hf

NAME = "video_llava"
ARCHITECTURE = "VideoLlavaForConditionalGeneration"


def _matches(config: dict[str, Any]) -> bool:
    """Return whether a config is of this port's kind."""
    return hf.has_architecture(config, ARCHITECTURE, "video_llava")


def read_graph(path: Path, ignore_fields: tuple[str, ...] = ()) -> Graph:
    """Read the graph of a config.json; unknown fields are ignored where they are named.

    Raises:
        InputError: fields that are missing, unknown, or ask for what this port lacks.
    """
    common = hf.read_common_config(
        path, ("clip_vision_model",), -2, "default", ignore_fields
    )
    connector = Connector(class_token=True)
    return hf.make_graph(common, NAME, connector, "video_tower")


def _open_checkpoint(graph: Graph) -> Port:
    """Complete a graph with processor, tokenizer and prompt; no weights are read."""
    return hf.make_port(graph, hf.VICUNA, graph.read_tokenizer(), 32001)


SPEC = PortSpec(
    NAME,
    "Video-LLaVA-7B (LanguageBind's -hf files)",
    ARCHITECTURE,
    _matches,
    read_graph,
    _open_checkpoint,
)
