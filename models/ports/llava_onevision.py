"""LLaVA-OneVision: SigLIP tower, MLP, bilinear pooling by two, one newline; Qwen2.

Transformers' class. The newline embedding stands once, after the last frame.
"""

from pathlib import Path
from typing import Any

from vidsme_jax.models.layers.connector import Connector
from vidsme_jax.models.port import Graph, Port, PortSpec
from vidsme_jax.models.ports import llava_hf as hf
from vidsme_jax.models.prompts.template import Slot, Template

NAME = "llava_onevision"
ARCHITECTURE = "LlavaOnevisionForConditionalGeneration"

_TEMPLATE = Template(
    (
        *("<|im_start|>user ", Slot.VIDEO, "\n", Slot.QUESTION),
        "<|im_end|><|im_start|>assistant\n",
    ),
    turn=(
        *("<|im_start|>assistant \n", Slot.ANSWER, "<|im_end|><|im_start|>user \n"),
        *(Slot.QUESTION, "<|im_end|>"),
    ),
    invitation="<|im_start|>assistant\n",
)


def _matches(config: dict[str, Any]) -> bool:
    """Return whether a config is of this port's kind."""
    return hf.has_architecture(config, ARCHITECTURE, "llava_onevision")


def read_graph(path: Path, ignore_fields: tuple[str, ...] = ()) -> Graph:
    """Read the graph of a config.json; unknown fields are ignored where they are named.

    Raises:
        InputError: fields that are missing, unknown, or ask for what this port lacks.
    """
    towers = ("siglip_vision_model", "clip_vision_model")
    common = hf.read_common_config(path, towers, -1, "full", ignore_fields)
    hf.check_selection(common)
    connector = Connector("bilinear", 2, newline="end")
    return hf.make_graph(common, NAME, connector, "vision_tower")


def _open_checkpoint(graph: Graph) -> Port:
    """Complete a graph with processor, tokenizer and prompt; no weights are read."""
    return hf.make_port(graph, _TEMPLATE, graph.read_tokenizer(), 151647)


SPEC = PortSpec(
    NAME,
    "llava-onevision-qwen2-0.5b, -7b, -72b, -ov and -ov-chat (llava-hf)",
    ARCHITECTURE,
    _matches,
    read_graph,
    _open_checkpoint,
)
