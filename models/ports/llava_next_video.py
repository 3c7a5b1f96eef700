"""LLaVA-NeXT-Video: CLIP tower, 2x2 pooling, then the MLP; Llama, Yi or Mistral.

Transformers' class, whose order of pooling and MLP is not LongVA's. Vicuna's rotary
positions are scaled linearly where the config says so.
"""

from pathlib import Path
from typing import Any

from vidsme_jax.models.checkpoints.fields import read_config
from vidsme_jax.models.layers.connector import Connector
from vidsme_jax.models.port import Graph, Port, PortSpec
from vidsme_jax.models.ports import llava_hf as hf

NAME = "llava_next_video"
ARCHITECTURE = "LlavaNextVideoForConditionalGeneration"


def _matches(config: dict[str, Any]) -> bool:
    """Return whether a config is of this port's kind."""
    return hf.has_architecture(config, ARCHITECTURE, "llava_next_video")


def read_graph(path: Path, ignore_fields: tuple[str, ...] = ()) -> Graph:
    """Read the graph of a config.json; unknown fields are ignored where they are named.

    Raises:
        InputError: fields that are missing, unknown, or ask for what this port lacks.
    """
    towers = ("clip_vision_model", "siglip_vision_model")
    common = hf.read_common_config(path, towers, -2, "default", ignore_fields)
    hf.check_selection(common)
    mode = common.fields.expect("spatial_pool_mode", ("average",), "average")
    stride = common.fields.size("spatial_pool_stride", 2)
    connector = Connector(mode, stride, pool_first=True)
    return hf.make_graph(common, NAME, connector, "vision_tower")


def _open_checkpoint(graph: Graph) -> Port:
    """Complete a graph with processor, tokenizer and prompt; no weights are read."""
    tokenizer, template = graph.read_tokenizer(), hf.VICUNA
    if read_config(graph.path)["text_config"].get("model_type") == "mistral":
        template = hf.INSTRUCT
    elif tokenizer.has("<|im_start|>"):  # the 34B checkpoints
        template = hf.CHATML_DIRECT
    return hf.make_port(graph, template, tokenizer, 32000)


SPEC = PortSpec(
    NAME,
    "LLaVA-NeXT-Video-7B, -7B-DPO, -7B-32K, -34B, -34B-DPO (llava-hf)",
    ARCHITECTURE,
    _matches,
    read_graph,
    _open_checkpoint,
)
