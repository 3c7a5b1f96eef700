"""The layout of transformers' own LLaVA classes: nested configs, four spellings of keys.

Hub files write `language_model.model.…` and `vision_tower.vision_model.…`; transformers
4.52 and later keep `model.language_model.…` in memory, and 5 drops `vision_model.`. All
are brought to the shortest form before rules apply.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidsme_jax.errors import InputError
from vidsme_jax.models.config import (
    DECODERS,
    TOWERS,
    Fields,
    read_config,
    read_decoder,
    read_vision,
    stop_early,
)
from vidsme_jax.models.connector import Connector, projector_rules
from vidsme_jax.models.decoder import DecoderConfig, decoder_copies, decoder_rules
from vidsme_jax.models.port import Port
from vidsme_jax.models.processor import find_processor
from vidsme_jax.models.template import Slot, Template
from vidsme_jax.models.text import Tokenizer
from vidsme_jax.models.video_llm import VideoLLMConfig
from vidsme_jax.models.vision_tower import VisionConfig, unused_vision_keys, vision_rules
from vidsme_jax.rules import Names, Rule

# In this order: a pattern at the start of a key, and what stands there in the short form.
_RENAMES = (
    (r"model\.", ""),
    (r"language_model\.model\.", "language_model."),
    (r"language_model\.lm_head\.", "lm_head."),
    (r"(vision|image|video)_tower\.vision_model\.", r"\1_tower."),
)
_IGNORED = frozenset(
    "image_grid_pinpoints image_seq_length image_token_id image_token_index"
    " spatial_pool_out_channels use_image_newline_parameter video_seq_length"
    " vision_aspect_ratio".split()
)
_IGNORED_TEXT = frozenset("max_window_layers type".split())  # a stray "type" is on the hub
_IGNORED_VISION = frozenset("vocab_size".split())

# Prompts of the families, for checkpoints without a chat template that shows a video.
VICUNA = Template(
    ("USER: ", Slot.VIDEO, "\n", Slot.QUESTION, " ASSISTANT:"), lead=" ", end="</s>"
)
INSTRUCT = Template(
    ("[INST] ", Slot.VIDEO, "\n", Slot.QUESTION, " [/INST]"), lead=" ", end="</s>"
)
CHATML_DIRECT = Template(
    (
        *("<|im_start|>system\n", Slot.SYSTEM, "<|im_end|><|im_start|>user\n"),
        *(Slot.VIDEO, "\n", Slot.QUESTION, "<|im_end|><|im_start|>assistant\n"),
    ),
    system="Answer the questions.",
)


@dataclass(frozen=True)
class Parts:
    """What all these configs hold.

    Attributes:
        directory: the checkpoint.
        fields: of the config around the parts, not yet finished.
        text: model_type of the language model.
        decoder: its sizes.
        vision: the tower, stopped where the features are taken.
        drops_first: whether the first feature of each frame is left out.
        tokenizer: the checkpoint's.
        video_token: placeholder of a video in text.
    """

    directory: Path
    fields: Fields
    text: str
    decoder: DecoderConfig
    vision: VisionConfig
    drops_first: bool
    tokenizer: Tokenizer
    video_token: str


def has_architecture(config: dict[str, Any], architecture: str, model_type: str) -> bool:
    """Tell a checkpoint by its class, or by its model_type where it names no class."""
    named = config.get("architectures")
    return architecture in named if named else config.get("model_type") == model_type


def read_parts(
    directory: Path, towers: tuple[str, ...], layer: int, select: str, token: int
) -> Parts:
    """Read what the configs have in common.

    Args:
        directory: the checkpoint.
        towers: model_types of vision towers; the first is the class's default.
        layer: the class's default of vision_feature_layer.
        select: likewise of vision_feature_select_strategy.
        token: likewise of video_token_index.
    """
    path = directory / "config.json"
    values = read_config(path)
    fields = Fields(values, str(path), _IGNORED)
    fields.expect("projector_hidden_act", ("gelu",), "gelu")
    fields.expect("multimodal_projector_bias", (True,), True)
    layer = fields.get("vision_feature_layer", int, layer)
    drops = fields.expect("vision_feature_select_strategy", ("default", "full"), select)
    token = fields.get("video_token_id", int, token)  # transformers 5 has either name
    token = fields.get("video_token_index", int, token)
    text, inner = _part(fields, "text_config", tuple(DECODERS), DECODERS, _IGNORED_TEXT)
    tied = fields.get("tie_word_embeddings", bool, False)
    decoder = read_decoder(inner, text, tied)
    inner.finish()
    kind, inner = _part(fields, "vision_config", towers, TOWERS, _IGNORED_VISION)
    vision = stop_early(
        read_vision(inner, kind), layer, f"{fields.where}: vision_feature_layer"
    )
    tokenizer = Tokenizer(directory)
    return Parts(
        directory=directory,
        fields=fields,
        text=text,
        decoder=decoder,
        vision=vision,
        drops_first=drops == "default",
        tokenizer=tokenizer,
        video_token=_token(fields, tokenizer, token),
    )


def _part(
    fields: Fields,
    name: str,
    kinds: tuple[str, ...],
    defaults: dict[str, dict[str, Any]],
    ignored: frozenset[str],
) -> tuple[str, Fields]:
    values = fields.get(name, dict)
    kind = values.get("model_type", kinds[0])
    if kind not in kinds:
        raise InputError(
            f"{fields.where}: {name} has model_type={kind!r}, this port has"
            f" {', '.join(kinds)}"
        )
    where = f"{fields.where}: {name}"
    return kind, Fields(values, where, ignored, defaults[kind])


def _token(fields: Fields, tokenizer: Tokenizer, number: int) -> str:
    """Return the text of the placeholder."""
    found = tokenizer.token(number)
    if found is None or not tokenizer.is_added(number):
        raise InputError(
            f"{fields.where}: video_token_index={number}, expected the id of an added token"
            f" of the tokenizer, which has {len(tokenizer)} ids"
        )
    return found


def make_port(
    parts: Parts, name: str, connector: Connector, template: Template, tower: str
) -> Port:
    """Put a port together.

    Args:
        parts: of its config; refuses the fields that nobody read.
        name: the port's name.
        connector: between tower and decoder.
        template: for checkpoints without a chat template of their own.
        tower: the attribute that holds the tower, such as "vision_tower".
    """
    parts.fields.finish()
    processor = find_processor(parts.directory)
    keep = min(len(parts.tokenizer), parts.decoder.vocab)
    config = VideoLLMConfig(
        parts.vision, parts.decoder, connector, keep, processor.mean, processor.std
    )
    prefix, has_newline = f"{tower}.", connector.newline != "none"
    first, second = (f"multi_modal_projector.linear_{n}" for n in (1, 2))
    rules = (
        *vision_rules(config.vision, prefix),
        *projector_rules(first, second),
        *decoder_rules(config.decoder, "language_model."),
        *((Rule("image_newline", "newline"),) if has_newline else ()),
    )
    unused = (
        *unused_vision_keys(config.vision, prefix),
        *(r"image_tower\..*", r".*inv_freq"),
        *(() if has_newline else ("image_newline",)),
    )
    return Port(
        parts.directory,
        name,
        config,
        processor,
        rules,
        Names(_RENAMES, unused, decoder_copies(config.decoder, "language_model.")),
        _own_template(parts) or template,
        parts.tokenizer,
        parts.video_token,
    )


def _own_template(parts: Parts) -> Template | None:
    found = parts.tokenizer.chat_template("<video>")
    # Templates write "<video>", and processors put the token's own text there.
    return found and replace(found, end=found.end or "</s>")


def check_selection(parts: Parts) -> None:
    """Refuse a selection that would leave a grid with a corner missing or one too many."""
    if parts.drops_first != parts.vision.clip:
        select = "default" if parts.drops_first else "full"
        raise InputError(
            f"{parts.fields.where}: vision_feature_select_strategy={select!r} of a"
            f" {'CLIP' if parts.vision.clip else 'SigLIP'} tower is no square of patches"
        )
