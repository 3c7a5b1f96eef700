"""The layout of transformers' own LLaVA classes: nested configs, four spellings of keys.

Hub files write `language_model.model.…` and `vision_tower.vision_model.…`. Transformers
4.52 and later keep `model.language_model.…` in memory, and 5 drops `vision_model.`. Rules
are written for the shortest spelling, and all others are renamed to it.
"""

from dataclasses import dataclass, replace
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
from vidsme_jax.models.ports.sizes import (
    DECODERS,
    TOWERS,
    read_decoder,
    read_vision,
    stop_early,
)
from vidsme_jax.models.processor import CLIP_MEAN, CLIP_STD, find_processor
from vidsme_jax.models.prompts.template import Slot, Template
from vidsme_jax.models.prompts.tokenizer import Tokenizer
from vidsme_jax.models.video_llm import VideoLLMConfig

# A pattern at the start of a key, and its replacement in the rules; applied in order.
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
# Transformers 5 has either name; the second takes precedence.
_VIDEO_TOKEN = ("video_token_id", "video_token_index")
# No head of a tower is run, so that none can be tied.
_IGNORED_VISION = frozenset("tie_word_embeddings vocab_size".split())

# The prompts of the families, for checkpoints whose chat template shows no video.
VICUNA = Template(
    ("USER: ", Slot.VIDEO, "\n", Slot.QUESTION, " ASSISTANT:"),
    lead=" ",
    end="</s>",
    turn=(" ", Slot.ANSWER, "</s>USER: ", Slot.QUESTION, " ASSISTANT:"),
)
INSTRUCT = Template(
    ("[INST] ", Slot.VIDEO, "\n", Slot.QUESTION, " [/INST]"),
    lead=" ",
    end="</s>",
    turn=(" ", Slot.ANSWER, "</s>[INST] ", Slot.QUESTION, " [/INST]"),
)
CHATML_DIRECT = Template(
    (
        *("<|im_start|>system\n", Slot.SYSTEM, "<|im_end|><|im_start|>user\n"),
        *(Slot.VIDEO, "\n", Slot.QUESTION, "<|im_end|><|im_start|>assistant\n"),
    ),
    system="Answer the questions.",
    turn=(
        *(Slot.ANSWER, "<|im_end|><|im_start|>user\n", Slot.QUESTION),
        "<|im_end|><|im_start|>assistant\n",
    ),
)


@dataclass(frozen=True)
class CommonConfig:
    """The settings that the configs of all these classes have in common.

    Attributes:
        path: path of the config.json.
        fields: fields of the outer config; a port reads its own and then finishes them.
        decoder: sizes of the language model.
        vision: sizes of the tower, stopped at the layer whose features are taken.
        drops_first: whether the first feature of each frame is left out.
    """

    path: Path
    fields: Fields
    decoder: DecoderConfig
    vision: VisionConfig
    drops_first: bool


def has_architecture(config: dict[str, Any], architecture: str, model_type: str) -> bool:
    """Return whether a config names this class, or its model_type and no class."""
    names = config.get("architectures")
    return architecture in names if names else config.get("model_type") == model_type


def read_common_config(
    path: Path,
    towers: tuple[str, ...],
    layer: int,
    select: str,
    ignore_fields: tuple[str, ...],
) -> CommonConfig:
    """Read the settings that the configs of all these classes have in common.

    Args:
        path: path of the config.json.
        towers: model_types of vision towers; the first is the class's default.
        layer: the class's default of vision_feature_layer.
        select: the class's default of vision_feature_select_strategy.
        ignore_fields: names of unknown fields to ignore.
    """
    config = read_config(path)
    fields = Fields(config, str(path), _IGNORED, ignore_fields=ignore_fields)
    fields.expect("projector_hidden_act", ("gelu",), "gelu")
    fields.expect("multimodal_projector_bias", (True,), True)
    layer = fields.get("vision_feature_layer", int, layer)
    drops = fields.expect("vision_feature_select_strategy", ("default", "full"), select)
    for name in _VIDEO_TOKEN:
        fields.get(name, int, 0)
    decoder_kind, decoder_fields = _read_inner(
        fields, "text_config", tuple(DECODERS), DECODERS, _IGNORED_TEXT
    )
    tied = fields.get("tie_word_embeddings", bool, False)
    decoder = read_decoder(decoder_fields, decoder_kind, tied)
    tower_kind, tower_fields = _read_inner(
        fields, "vision_config", towers, TOWERS, _IGNORED_VISION
    )
    whole_tower = read_vision(tower_fields, tower_kind)
    vision = stop_early(whole_tower, layer, f"{fields.where}: vision_feature_layer")
    return CommonConfig(path, fields, decoder, vision, drops == "default")


def _read_inner(
    fields: Fields,
    name: str,
    kinds: tuple[str, ...],
    defaults: dict[str, dict[str, Any]],
    ignored: frozenset[str],
) -> tuple[str, Fields]:
    """Return the model_type and the fields of a config inside the config."""
    values = fields.get(name, dict)
    kind = values.get("model_type", kinds[0])
    if kind not in kinds:
        raise InputError(
            f"{fields.where}: {name} has model_type={kind!r}, this port has"
            f" {', '.join(kinds)}"
        )
    where = f"{fields.where}: {name}"
    return kind, fields.part(values, where, ignored, defaults[kind])


def make_graph(common: CommonConfig, name: str, connector: Connector, tower: str) -> Graph:
    """Build the graph of a config, and refuse the config's fields that were not read.

    Args:
        common: the settings that all these configs share.
        name: name of the port.
        connector: pooling and newlines between tower and decoder.
        tower: start of the tower's keys, such as "vision_tower".
    """
    common.fields.finish()
    decoder, pixels = common.decoder, (CLIP_MEAN, CLIP_STD)
    config = VideoLLMConfig(common.vision, decoder, connector, decoder.vocab, *pixels)
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
    names = Names(_RENAMES, unused, decoder_copies(config.decoder, "language_model."))
    return Graph(name, common.path, config, rules, names)


def make_port(graph: Graph, template: Template, tokenizer: Tokenizer, token: int) -> Port:
    """Complete a graph with processor, tokenizer and prompt from the checkpoint's files.

    Args:
        graph: graph of the config.
        template: prompt of the family, for checkpoints without a usable chat template.
        tokenizer: tokenizer of the checkpoint.
        token: the class's default of video_token_index.
    """
    values = read_config(graph.path)
    for name in _VIDEO_TOKEN:
        token = values.get(name, token)
    # Templates write "<video>", and processors replace it by the text of the token.
    chat_template = tokenizer.chat_template("<video>")
    if chat_template:
        template = replace(chat_template, end=chat_template.end or "</s>")
    processor = find_processor(graph.path.parent)
    video = _placeholder(str(graph.path), tokenizer, token)
    return complete_graph(graph, processor, template, tokenizer, video_token=video)


def _placeholder(where: str, tokenizer: Tokenizer, number: int) -> str:
    """Return the text of the token that stands for a video; it must be an added token."""
    text = tokenizer.token(number)
    if text is None or not tokenizer.is_added(number):
        raise InputError(
            f"{where}: video_token_index={number}, expected the id of an added token"
            f" of the tokenizer, which has {len(tokenizer)} ids"
        )
    return text


def check_selection(common: CommonConfig) -> None:
    """Refuse a selection of features that does not leave exactly the grid of patches."""
    if common.drops_first != common.vision.clip:
        select = "default" if common.drops_first else "full"
        raise InputError(
            f"{common.fields.where}: vision_feature_select_strategy={select!r} of a"
            f" {'CLIP' if common.vision.clip else 'SigLIP'} tower is no square of patches"
        )
