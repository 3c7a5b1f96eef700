"""LLaVA-Video, and LLaVA-OneVision in its first layout: SigLIP, MLP, pooling, Qwen2.

Original LLaVA layout with "spatial" merging: 27 x 27 features are projected and pooled by
two. A learned newline follows every row of the grid, every frame, or the whole clip.
LLaVA-Video's prompt says at which times its frames were taken.
"""

from pathlib import Path
from typing import Any

from vidsme_jax.models.checkpoints.fields import read_config
from vidsme_jax.models.port import Graph, Port, PortSpec
from vidsme_jax.models.ports import llava_original as original
from vidsme_jax.models.prompts.template import CHATML, Slot, Template

NAME = "llava_video"

# LLaVA-Video's published example: no line break between the video and its times.
_TIMED = Template(
    (
        *("<|im_start|>system\n", Slot.SYSTEM, "<|im_end|>\n<|im_start|>user\n"),
        *(Slot.VIDEO, Slot.TIMES),
        "Please answer the following questions related to this video.\n",
        *(Slot.QUESTION, "<|im_end|>\n<|im_start|>assistant\n"),
    ),
    system=CHATML.system,
    turn=CHATML.turn,
)


def _matches(config: dict[str, Any]) -> bool:
    """Return whether a config is of this port's kind."""
    return original.is_llava_qwen(config) and original.merges_spatially(config)


def read_graph(path: Path, ignore_fields: tuple[str, ...] = ()) -> Graph:
    """Read the graph of a config.json; unknown fields are ignored where they are named.

    Raises:
        InputError: fields that are missing, unknown, or ask for what this port lacks.
    """
    fields = original.read_fields(path, ignore_fields)
    connector = original.read_pooling(fields)
    fields.expect("add_time_instruction", (True, False, None))
    return original.make_graph(path, NAME, fields, connector)


def _open_checkpoint(graph: Graph) -> Port:
    """Complete a graph with processor, tokenizer and prompt; no weights are read."""
    says_times = read_config(graph.path).get("add_time_instruction")
    return original.make_port(graph, _TIMED if says_times else CHATML)


SPEC = PortSpec(
    NAME,
    "LLaVA-Video-7B-Qwen2, llava-onevision-qwen2-7b-ov (lmms-lab's files)",
    original.ARCHITECTURE,
    _matches,
    read_graph,
    _open_checkpoint,
)
