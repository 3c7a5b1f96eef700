"""The layout of the original LLaVA repositories: one flat config.json, keys under `model.`.

Checkpoints of the class LlavaQwenForCausalLM come from LongVA, from LLaVA-NeXT
(LLaVA-Video, the first LLaVA-OneVision) and from Video-XL, whose model_type may also say
"qwen2". The config names a well-known vision tower, or a folder of the checkpoint.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import Fields, read_config
from vidsme_jax.models.checkpoints.rules import Names, Rule
from vidsme_jax.models.layers.connector import Connector, projector_rules
from vidsme_jax.models.layers.decoder import DecoderConfig, decoder_copies, decoder_rules
from vidsme_jax.models.layers.vision_tower import (
    VisionConfig,
    unused_vision_keys,
    vision_rules,
)
from vidsme_jax.models.port import Graph, Port, complete_graph
from vidsme_jax.models.ports.sizes import TOWERS, read_decoder, read_vision, stop_early
from vidsme_jax.models.processor import CLIP_MEAN, CLIP_STD, HALF, Processor, read_processor
from vidsme_jax.models.prompts.template import Template
from vidsme_jax.models.video_llm import VideoLLMConfig

ARCHITECTURE = "LlavaQwenForCausalLM"
TOWER_PREFIX = "model.vision_tower.vision_tower.vision_model."

# Sizes of the towers that configs name; some configs write the path of a local copy.
_CLIP_L_336 = VisionConfig(336, 14, 1024, 24, 24, 16, 4096, 1e-5, "quick_gelu")
_SO400M_384 = VisionConfig(
    384, 14, 1152, 27, 27, 16, 4304, 1e-6, "gelu_pytorch_tanh", clip=False
)
KNOWN_TOWERS = {
    "clip-vit-large-patch14-336": (_CLIP_L_336, Processor(336, 336)),
    "siglip-so400m-patch14-384": (_SO400M_384, Processor(None, 384, HALF, HALF)),
}
_IGNORED = frozenset(
    "add_time_instruction faster_token_stride force_sample freeze_mm_mlp_adapter"
    " freeze_mm_vision_resampler image_aspect_ratio image_crop_resolution"
    " image_grid_pinpoints image_split_resolution image_token_index"
    " max_window_layers mm_hidden_size mm_projector_lr mm_resampler_type"
    " mm_spatial_pool_out_channels mm_tunable_parts mm_use_im_patch_token"
    " mm_use_im_start_end mm_vision_tower_lr pos_skipping_range"
    " tokenizer_padding_side unfreeze_mm_vision_tower"
    " use_mm_proj video_token_index vision_tower_pretrained".split()
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


def read_fields(path: Path) -> Fields:
    """Read the fields of a config.json of this layout."""
    values = read_config(path)
    beacons = frozenset(name for name in values if name.startswith("beacon_"))
    return Fields(values, str(path), _IGNORED | beacons)


def read_language_model(fields: Fields) -> DecoderConfig:
    """Read the sizes of the Qwen2 model; any scaling of positions is refused."""
    fields.expect("rope_scaling", (None,))
    fields.expect("use_pos_skipping", (False, None))
    return read_decoder(fields, "qwen2")


def read_tower(directory: Path, fields: Fields) -> VisionConfig:
    """Read the sizes of the tower by its well-known name or from the checkpoint's folder.

    Args:
        directory: the checkpoint.
        fields: fields of its config.
    """
    name = fields.get("mm_vision_tower", str)
    fields.expect("mm_projector_type", ("mlp2x_gelu",))
    fields.expect("mm_vision_select_feature", ("patch",), "patch")
    layer = fields.get("mm_vision_select_layer", int, -2)
    folder, base_name = tower_folder(directory, name), Path(name).name
    if folder:
        vision = _read_tower_config(folder / "config.json")
    elif base_name in KNOWN_TOWERS:
        vision, _ = KNOWN_TOWERS[base_name]
    else:
        raise InputError(
            f"{fields.where}: mm_vision_tower={name!r}, expected one of"
            f" {list(KNOWN_TOWERS)} or a folder inside the checkpoint"
        )
    if not vision.clip:
        # This class deletes SigLIP's last layer and takes the output of the layer before.
        vision = replace(vision, layers_total=vision.layers_total - 1)
        layer = -1
    return stop_early(vision, layer, f"{fields.where}: mm_vision_select_layer")


def tower_folder(directory: Path, name: str) -> Path | None:
    """Return the folder inside the checkpoint that a tower's name means; else None."""
    relative = os.path.normpath(name)
    if os.path.isabs(relative) or relative.split(os.sep)[0] in ("", ".", ".."):
        return None
    try:
        return directory / relative if (directory / relative).is_dir() else None
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return None


def _read_tower_config(path: Path) -> VisionConfig:
    """Read the sizes of a tower from its own config.json."""
    values = read_config(path)
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in TOWERS:
        raise InputError(f"{path}: model_type={kind!r}, expected one of {list(TOWERS)}")
    return read_vision(Fields(values, str(path), defaults=TOWERS[kind]), kind)


def make_graph(
    path: Path,
    name: str,
    fields: Fields,
    connector: Connector,
    bidirectional: bool = False,
) -> Graph:
    """Build the graph of a config, and refuse the config's fields that were not read.

    Args:
        path: path of the config.json.
        name: name of the port.
        fields: fields of the config; the port has read its own.
        connector: pooling and newlines between tower and decoder.
        bidirectional: whether the positions of the video see each other.
    """
    vision = read_tower(path.parent, fields)
    decoder = read_language_model(fields)
    fields.get("tokenizer_model_max_length", int | None)
    fields.finish()
    pixels = (CLIP_MEAN, CLIP_STD)
    config = VideoLLMConfig(
        vision, decoder, connector, decoder.vocab, *pixels, bidirectional
    )
    return Graph(name, path, config, original_rules(config), original_names(config))


def make_port(graph: Graph, template: Template) -> Port:
    """Complete a graph with processor and tokenizer from the checkpoint's files."""
    directory, values = graph.path.parent, read_config(graph.path)
    tower = tower_folder(directory, values["mm_vision_tower"])
    if tower:
        processor = read_processor(tower / "preprocessor_config.json")
    else:
        _, processor = KNOWN_TOWERS[Path(values["mm_vision_tower"]).name]
    tokenizer = graph.read_tokenizer()
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
