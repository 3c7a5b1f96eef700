"""LLaVA-OneVision: SigLIP tower, MLP, bilinear pooling by two, one newline; Qwen2.

Transformers' class. The newline embedding stands once, after the last frame.
"""

from pathlib import Path
from typing import Any

from vidsme_jax.models import hugging_face as hf
from vidsme_jax.models.connector import Connector
from vidsme_jax.models.port import Port
from vidsme_jax.models.template import Slot, Template

NAME = "llava_onevision"
CHECKPOINTS = "llava-onevision-qwen2-0.5b, -7b, -72b, -ov and -ov-chat (llava-hf)"
ARCHITECTURE = "LlavaOnevisionForConditionalGeneration"

_TEMPLATE = Template(
    (
        *("<|im_start|>user ", Slot.VIDEO, "\n", Slot.QUESTION),
        "<|im_end|><|im_start|>assistant\n",
    )
)


def matches(config: dict[str, Any]) -> bool:
    """Tell a checkpoint of this kind by its config."""
    return hf.has_architecture(config, ARCHITECTURE, "llava_onevision")


def open_checkpoint(directory: Path) -> Port:
    """Read a checkpoint's config, processor and tokenizer; weights come later.

    Raises:
        InputError: fields that are missing, unknown, or ask for what this port lacks.
    """
    towers = ("siglip_vision_model", "clip_vision_model")
    parts = hf.read_parts(directory, towers, -1, "full", 151647)
    hf.check_selection(parts)
    connector = Connector("bilinear", 2, newline="end")
    return hf.make_port(parts, NAME, connector, _TEMPLATE, "vision_tower")
