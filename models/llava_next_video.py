"""LLaVA-NeXT-Video: CLIP tower, 2x2 pooling, then the MLP; Llama, Yi or Mistral.

Transformers' class, whose order of pooling and MLP is not LongVA's. Vicuna's rotary
positions are scaled linearly where the config says so.
"""

from pathlib import Path
from typing import Any

from vidsme_jax.models import hugging_face as hf
from vidsme_jax.models.connector import Connector
from vidsme_jax.models.port import Port

NAME = "llava_next_video"
CHECKPOINTS = "LLaVA-NeXT-Video-7B, -7B-DPO, -7B-32K, -34B, -34B-DPO (llava-hf)"
ARCHITECTURE = "LlavaNextVideoForConditionalGeneration"


def matches(config: dict[str, Any]) -> bool:
    """Tell a checkpoint of this kind by its config."""
    return hf.has_architecture(config, ARCHITECTURE, "llava_next_video")


def open_checkpoint(directory: Path) -> Port:
    """Read a checkpoint's config, processor and tokenizer; weights come later.

    Raises:
        InputError: fields that are missing, unknown, or ask for what this port lacks.
    """
    towers = ("clip_vision_model", "siglip_vision_model")
    parts = hf.read_parts(directory, towers, -2, "default", 32000)
    hf.check_selection(parts)
    mode = parts.fields.expect("spatial_pool_mode", ("average",), "average")
    stride = parts.fields.size("spatial_pool_stride", 2)
    template = hf.VICUNA
    if parts.text == "mistral":
        template = hf.INSTRUCT
    elif parts.tokenizer.has("<|im_start|>"):  # the 34B checkpoints
        template = hf.CHATML_DIRECT
    connector = Connector(mode, stride, pool_first=True)
    return hf.make_port(parts, NAME, connector, template, "vision_tower")
