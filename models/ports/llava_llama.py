"""LLaVA and LLaVA-NeXT(-Video) as their authors wrote them: Llama, Vicuna, Yi or Mistral.

Original LLaVA layout. Three pieces of code show a video to such a checkpoint, and its
config says which was there when it was trained:

- "mm_resampler_type": "spatial_pool" and no newline position: LLaVA-NeXT-Video's first
  code. Frames are pooled, then projected, without newlines. The -hf files do the same.
- "mm_spatial_pool_mode": today's LLaVA-NeXT, which projects first, as for LLaVA-Video.
- neither, with "flat" merging: LLaVA itself (1.5). All patches of all frames.

LLaVA-NeXT for pictures alone (1.6) merges tiles of a picture, and has no rule for videos.
"""

from pathlib import Path
from typing import Any

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import Fields, read_config
from vidsme_jax.models.layers.connector import Connector
from vidsme_jax.models.port import Graph, Port, PortSpec
from vidsme_jax.models.ports import llava_original as original
from vidsme_jax.models.ports.llava_hf import CHATML_DIRECT, INSTRUCT, VICUNA
from vidsme_jax.models.prompts.template import Slot, Template

NAME = "llava_llama"
_KINDS = {"LlavaLlamaForCausalLM": "llama", "LlavaMistralForCausalLM": "mistral"}
_VICUNA = Template(
    (Slot.SYSTEM, " USER: ", Slot.VIDEO, "\n", Slot.QUESTION, " ASSISTANT:"),
    system=(
        "A chat between a curious user and an artificial intelligence assistant. The"
        " assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
    lead=" ",
    end="</s>",
    turn=VICUNA.turn,
)


def _kind(config: dict[str, Any]) -> str | None:
    """Return the model_type of the language model; None for other architectures."""
    names = config.get("architectures") or []
    return next((kind for name, kind in _KINDS.items() if name in names), None)


def _matches(config: dict[str, Any]) -> bool:
    """Return whether a config is of this port's kind."""
    return _kind(config) is not None


def read_graph(path: Path, ignore_fields: tuple[str, ...] = ()) -> Graph:
    """Read the graph of a config.json; unknown fields are ignored where they are named.

    Raises:
        InputError: fields that are missing, unknown, or ask for what this port lacks.
    """
    kind, fields = _kind(read_config(path)), original.read_fields(path, ignore_fields)
    fields.expect("add_time_instruction", (False, None))
    connector = _read_connector(fields)
    return original.make_graph(path, NAME, fields, connector, kind or "llama")


def _read_connector(fields: Fields) -> Connector:
    """Read which code shows videos to the model, and its pooling and newlines."""
    values = fields.values
    fields.expect("add_faster_video", (False, None))
    pools_first = values.get("mm_resampler_type") == "spatial_pool"
    if pools_first and values.get("mm_newline_position") is None:
        fields.seen |= {"mm_newline_position", "mm_patch_merge_type"}
        mode = fields.expect("mm_spatial_pool_mode", ("average",))
        return Connector(mode, fields.size("mm_spatial_pool_stride"), pool_first=True)
    if values.get("mm_spatial_pool_mode") is not None:
        return original.read_pooling(fields)
    merge = fields.get("mm_patch_merge_type", str, "flat")
    if merge != "flat":
        raise InputError(
            f"{fields.where}: mm_patch_merge_type={merge!r} without mm_spatial_pool_mode:"
            " this code merges tiles of a picture and has no rule for videos. To pool as"
            ' LLaVA-NeXT-Video does, add "mm_resampler_type": "spatial_pool",'
            ' "mm_spatial_pool_mode": "average", "mm_spatial_pool_stride": 2'
        )
    fields.seen |= {"mm_spatial_pool_mode", "mm_newline_position"}
    fields.expect("mm_spatial_pool_stride", (None,))
    return Connector()


def _open_checkpoint(graph: Graph) -> Port:
    """Complete a graph with processor, tokenizer and prompt; no weights are read."""
    tokenizer, template = graph.read_tokenizer(), _VICUNA
    if _kind(read_config(graph.path)) == "mistral":
        template = INSTRUCT
    elif tokenizer.has("<|im_start|>"):  # the 34B checkpoints
        template = CHATML_DIRECT
    return original.make_port(graph, template, tokenizer)


SPEC = PortSpec(
    NAME,
    "LLaVA-NeXT-Video-7B, -7B-DPO, -7B-32K, -34B (lmms-lab's files), LLaVA-1.5",
    ", ".join(_KINDS),
    _matches,
    read_graph,
    _open_checkpoint,
)
