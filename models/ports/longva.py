"""LongVA and the Vid-SME checkpoints: CLIP tower, MLP, 2x2 average pooling, Qwen2.

Original LLaVA layout. Video features are projected, then pooled, flattened by frame and
put in place of a single placeholder, without newline embeddings ("unires"). One field of
config.json is ours: with "video_attention": "bidirectional" the positions of the video
see each other. LongVA's code would not run such a checkpoint as it was trained.
"""

from pathlib import Path
from typing import Any

from vidsme_jax.models.layers.connector import Connector
from vidsme_jax.models.port import Graph, Port, PortSpec
from vidsme_jax.models.ports import llava_original as original
from vidsme_jax.models.prompts.template import CHATML

NAME = "longva"
_MERGE = ("unires", "flat")
_ATTENTION = ("causal", "bidirectional")


def _matches(config: dict[str, Any]) -> bool:
    """Return whether a config is of this port's kind."""
    return original.is_llava_qwen(config) and not original.merges_spatially(config)


def read_graph(path: Path, ignore_fields: tuple[str, ...] = ()) -> Graph:
    """Read the graph of a config.json; unknown fields are ignored where they are named.

    Raises:
        InputError: fields that are missing, unknown, or ask for what LongVA does not do.
    """
    fields = original.read_fields(path, ignore_fields)
    fields.expect("mm_patch_merge_type", _MERGE, "flat")
    fields.expect("mm_newline_position", (None, "no_token", "one_token", "grid", "frame"))
    fields.expect("add_faster_video", (False, None))
    fields.expect("add_time_instruction", (False, None))
    pool = fields.expect("mm_spatial_pool_mode", ("average",), "average")
    connector = Connector(pool, fields.size("mm_spatial_pool_stride", 2))
    both_ways = fields.expect("video_attention", _ATTENTION, "causal") == "bidirectional"
    return original.make_graph(path, NAME, fields, connector, bidirectional=both_ways)


def _open_checkpoint(graph: Graph) -> Port:
    """Complete a graph with processor, tokenizer and prompt; no weights are read."""
    return original.make_port(graph, CHATML)


SPEC = PortSpec(
    NAME,
    "LongVA-7B, LongVA-7B-DPO, Vid-SME-CinePile, -NExTQA and -Caption-7B",
    original.ARCHITECTURE,
    _matches,
    read_graph,
    _open_checkpoint,
)
