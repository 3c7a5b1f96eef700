"""The layout of transformers' own LLaVA classes: nested configs, four spellings of keys.

Hub files write `language_model.model.…` and `vision_tower.vision_model.…`; transformers
4.52 and later keep `model.language_model.…` in memory, and 5 drops `vision_model.`. All
are brought to the shortest form before rules apply.
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
from vidsme_jax.models.port import Graph, Port, join
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
# Transformers 5 has either name; the second one counts.
_VIDEO_TOKEN = ("video_token_id", "video_token_index")
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
        path: of the config.json.
        fields: of the config around the parts, not yet finished.
        decoder: sizes of the language model.
        vision: the tower, stopped where the features are taken.
        drops_first: whether the first feature of each frame is left out.
    """

    path: Path
    fields: Fields
    decoder: DecoderConfig
    vision: VisionConfig
    drops_first: bool


def has_architecture(config: dict[str, Any], architecture: str, model_type: str) -> bool:
    """Tell a checkpoint by its class, or by its model_type where it names no class."""
    named = config.get("architectures")
    return architecture in named if named else config.get("model_type") == model_type


def read_parts(path: Path, towers: tuple[str, ...], layer: int, select: str) -> Parts:
    """Read what the configs have in common.

    Args:
        path: of the config.json.
        towers: model_types of vision towers; the first is the class's default.
        layer: the class's default of vision_feature_layer.
        select: likewise of vision_feature_select_strategy.
    """
    fields = Fields(read_config(path), str(path), _IGNORED)
    fields.expect("projector_hidden_act", ("gelu",), "gelu")
    fields.expect("multimodal_projector_bias", (True,), True)
    layer = fields.get("vision_feature_layer", int, layer)
    drops = fields.expect("vision_feature_select_strategy", ("default", "full"), select)
    for name in _VIDEO_TOKEN:
        fields.get(name, int, 0)
    text, inner = _part(fields, "text_config", tuple(DECODERS), DECODERS, _IGNORED_TEXT)
    tied = fields.get("tie_word_embeddings", bool, False)
    decoder = read_decoder(inner, text, tied)
    inner.finish()
    kind, inner = _part(fields, "vision_config", towers, TOWERS, _IGNORED_VISION)
    vision = stop_early(
        read_vision(inner, kind), layer, f"{fields.where}: vision_feature_layer"
    )
    return Parts(path, fields, decoder, vision, drops == "default")


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


def make_graph(parts: Parts, name: str, connector: Connector, tower: str) -> Graph:
    """Put the graph together; refuses the fields that nobody read.

    Args:
        parts: of its config.
        name: the port's name.
        connector: between tower and decoder.
        tower: the attribute that holds the tower, such as "vision_tower".
    """
    parts.fields.finish()
    vision, decoder, pixels = parts.vision, parts.decoder, (CLIP_MEAN, CLIP_STD)
    config = VideoLLMConfig(vision, decoder, connector, decoder.vocab, *pixels)
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
    return Graph(name, parts.path, config, rules, names)


def make_port(graph: Graph, template: Template, tokenizer: Tokenizer, token: int) -> Port:
    """Add what the files beside the config say.

    Args:
        graph: from the config.
        template: for checkpoints without a chat template of their own.
        tokenizer: the checkpoint's.
        token: the class's default of video_token_index.
    """
    values = read_config(graph.path)
    for name in _VIDEO_TOKEN:
        token = values.get(name, token)
    found = tokenizer.chat_template("<video>")
    # Templates write "<video>", and processors put the token's own text there.
    own = found and replace(found, end=found.end or "</s>")
    processor = find_processor(graph.path.parent)
    video = _token(str(graph.path), tokenizer, token)
    return join(graph, processor, own or template, tokenizer, video_token=video)


def _token(where: str, tokenizer: Tokenizer, number: int) -> str:
    """Return the text of the placeholder."""
    found = tokenizer.token(number)
    if found is None or not tokenizer.is_added(number):
        raise InputError(
            f"{where}: video_token_index={number}, expected the id of an added token"
            f" of the tokenizer, which has {len(tokenizer)} ids"
        )
    return found


def check_selection(parts: Parts) -> None:
    """Refuse a selection that would leave a grid with a corner missing or one too many."""
    if parts.drops_first != parts.vision.clip:
        select = "default" if parts.drops_first else "full"
        raise InputError(
            f"{parts.fields.where}: vision_feature_select_strategy={select!r} of a"
            f" {'CLIP' if parts.vision.clip else 'SigLIP'} tower is no square of patches"
        )
