"""The layout of the original LLaVA repositories: one flat config.json, keys under `model.`.

Checkpoints of the class LlavaQwenForCausalLM come from LongVA, from LLaVA-NeXT
(LLaVA-Video, the first LLaVA-OneVision) and from Video-XL, whose model_type may also say
"qwen2". LlavaLlamaForCausalLM and LlavaMistralForCausalLM come from LLaVA and LLaVA-NeXT.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from vidsme_jax.models.checkpoints.fields import Fields, read_config, say_once
from vidsme_jax.models.checkpoints.rules import Names, Rule
from vidsme_jax.models.layers.connector import Connector, projector_rules
from vidsme_jax.models.layers.decoder import DecoderConfig, decoder_copies, decoder_rules
from vidsme_jax.models.layers.rope import RopeConfig
from vidsme_jax.models.layers.vision_tower import unused_vision_keys, vision_rules
from vidsme_jax.models.port import Graph, Port, complete_graph
from vidsme_jax.models.ports.sizes import read_decoder
from vidsme_jax.models.ports.towers import (
    TOWER_PREFIX,
    read_tower,
    read_tower_processor,
    tower_folder,
)
from vidsme_jax.models.processor import CLIP_MEAN, CLIP_STD
from vidsme_jax.models.prompts.template import Template
from vidsme_jax.models.prompts.tokenizer import Tokenizer
from vidsme_jax.models.video_llm import VideoLLMConfig

ARCHITECTURE = "LlavaQwenForCausalLM"

_STRIDE = 2
# What the trainers of LLaVA, LLaVA-NeXT, LongVA and Video-XL write besides. The first lines
# are about what was trained, the next about pictures and the sampling of frames.
_IGNORED = frozenset(
    "delay_load enable_beacon freeze_backbone freeze_mm_mlp_adapter"
    " freeze_mm_vision_resampler max_sequence_length mm_hidden_size mm_projector_lr"
    " mm_tunable_parts mm_vision_tower_lr pos_skipping_range tokenizer_padding_side"
    " tune_mm_mlp_adapter tune_mm_vision_resampler unfreeze_mm_vision_tower"
    " use_mm_proj use_pos_skipping vision_tower_pretrained"
    " faster_token_stride force_sample image_aspect_ratio image_crop_resolution"
    " image_grid_pinpoints image_split_resolution image_token_index"
    " max_window_layers mm_spatial_pool_out_channels mm_use_im_patch_token s2_scales"
    " video_token_index".split()
)
# Video-XL's configs and weights hold its compression, which these classes never run.
_BEACONS = (r"model\.beacon_.*", r"model\.layers\.\d+\.self_attn\.beacon_.*")
_UNUSED = (r"model\.vision_resampler\..*", r".*inv_freq", *_BEACONS)


def is_llava_qwen(config: dict[str, Any]) -> bool:
    """Return whether a config is of this layout."""
    return ARCHITECTURE in (config.get("architectures") or [])


def merges_spatially(config: dict[str, Any]) -> bool:
    """Return whether a config keeps the grid of frames, with newlines, in the sequence."""
    return str(config.get("mm_patch_merge_type", "flat")).startswith("spatial")


def read_fields(path: Path, ignore_fields: tuple[str, ...]) -> Fields:
    """Read the fields of a config.json of this layout."""
    values = read_config(path)
    beacons = frozenset(name for name in values if name.startswith("beacon_"))
    return Fields(values, str(path), _IGNORED | beacons, ignore_fields=ignore_fields)


def read_language_model(fields: Fields, kind: str) -> DecoderConfig:
    """Read the sizes of the language model.

    The classes of Qwen2 and Mistral take away any scaling of positions, which trainers may
    have written into the config.

    Args:
        fields: fields of the config.
        kind: model_type of the language model: llama, mistral or qwen2.
    """
    decoder = read_decoder(fields, kind)
    rope = decoder.rope
    if kind == "llama" or rope.kind == "default":
        return decoder
    say_once(
        f"{fields.where}: {rope.kind} scaling of positions is not used, since the code of"
        f" this model's class takes it away"
    )
    return replace(decoder, rope=RopeConfig(rope.theta))


def read_pooling(fields: Fields) -> Connector:
    """Read the pooling and newlines of LLaVA-NeXT's code for videos.

    It projects, pools by two whatever the config says, and puts newlines after every row
    of the grid, every frame, or the whole clip.
    """
    merge = fields.expect("mm_patch_merge_type", ("flat", "spatial", "spatial_unpad"))
    mode = fields.expect("mm_spatial_pool_mode", ("average", "bilinear"), "bilinear")
    fields.expect("mm_spatial_pool_stride", (_STRIDE, None))
    fields.expect("add_faster_video", (False, None))
    places = {"grid": "grid", "frame": "frame", "no_token": "none", "one_token": "end"}
    place = fields.expect("mm_newline_position", tuple(places), "one_token")
    newline = places[place]
    if merge == "flat" or (newline == "end" and merge == "spatial"):
        newline = "none"
    return Connector(mode, _STRIDE, newline=newline)


def make_graph(
    path: Path,
    name: str,
    fields: Fields,
    connector: Connector,
    kind: str = "qwen2",
    bidirectional: bool = False,
) -> Graph:
    """Build the graph of a config, and refuse the config's fields that were not read.

    Args:
        path: path of the config.json.
        name: name of the port.
        fields: fields of the config; the port has read its own.
        connector: pooling and newlines between tower and decoder.
        kind: model_type of the language model.
        bidirectional: whether the positions of the video see each other.
    """
    fields.expect("mm_projector_type", ("mlp2x_gelu",))
    fields.expect("mm_resampler_type", (None, "spatial_pool"))
    fields.expect("mm_use_im_start_end", (False, None))
    vision = read_tower(path.parent, fields)
    decoder = read_language_model(fields, kind)
    fields.get("tokenizer_model_max_length", int | None)
    fields.finish()
    pixels = (CLIP_MEAN, CLIP_STD)
    config = VideoLLMConfig(
        vision, decoder, connector, decoder.vocab, *pixels, bidirectional
    )
    return Graph(name, path, config, original_rules(config), original_names(config))


def make_port(graph: Graph, template: Template, tokenizer: Tokenizer | None = None) -> Port:
    """Complete a graph with processor and tokenizer from the checkpoint's files."""
    directory, values = graph.path.parent, read_config(graph.path)
    name, tokenizer = values["mm_vision_tower"], tokenizer or graph.read_tokenizer()
    assert isinstance(graph.config, VideoLLMConfig)
    processor = read_tower_processor(directory, name, graph.config.vision)
    tower = tower_folder(directory, name)
    limit = values.get("tokenizer_model_max_length")
    return complete_graph(graph, processor, template, tokenizer, limit=limit, tower=tower)


def original_rules(config: VideoLLMConfig) -> tuple[Rule, ...]:
    """Return the rule table of this layout's tensors."""
    newline = Rule("model.image_newline", "newline")
    return (
        *vision_rules(config.vision, TOWER_PREFIX),
        *projector_rules("model.mm_projector.0", "model.mm_projector.2"),
        *decoder_rules(config.decoder, "model."),
        *((newline,) if config.connector.newline != "none" else ()),
    )


def original_names(config: VideoLLMConfig) -> Names:
    """Return the patterns of this layout's tensors that the model does not need."""
    newline = (r"model\.image_newline",) if config.connector.newline == "none" else ()
    unused = unused_vision_keys(config.vision, TOWER_PREFIX)
    copies = decoder_copies(config.decoder, "model.")
    return Names(ignored=(*unused, *_UNUSED, *newline), copies=copies)
