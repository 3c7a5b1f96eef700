"""LongVA and the Vid-SME checkpoints: CLIP tower, MLP, 2x2 average pooling, Qwen2.

Original LLaVA layout (model_type "qwen2" or "llava_qwen", architecture
LlavaQwenForCausalLM). Video features are projected, then pooled, flattened by frame and
put in place of one placeholder, with no newline embeddings ("unires").
"""

from pathlib import Path

from vidsme_jax.errors import InputError
from vidsme_jax.models.decoder import DecoderConfig, decoder_rules
from vidsme_jax.models.port import Fields, Port, Processor, read_processor
from vidsme_jax.models.text import Special, Tokenizer, Video
from vidsme_jax.models.video_llm import VideoLLMConfig, projector_rules
from vidsme_jax.models.vision_tower import (
    ACTIVATIONS,
    VisionConfig,
    unused_vision_keys,
    vision_rules,
)

ARCHITECTURE = "LlavaQwenForCausalLM"
SYSTEM = "You are a helpful assistant."
TOWER_PREFIX = "model.vision_tower.vision_tower.vision_model."

# LongVA's config names its tower; these are the sizes behind the name.
_CLIP_L_336 = VisionConfig(336, 14, 1024, 24, 24, 16, 4096, 1e-5, "quick_gelu")
TOWERS = {"openai/clip-vit-large-patch14-336": (_CLIP_L_336, Processor(336, 336))}

# Fields that do not change the forward pass of a video.
_IGNORED = frozenset(
    "_name_or_path architectures attention_dropout bos_token_id dtype eos_token_id"
    " freeze_mm_mlp_adapter freeze_mm_vision_resampler image_aspect_ratio"
    " image_crop_resolution image_grid_pinpoints image_split_resolution initializer_range"
    " layer_types max_position_embeddings max_window_layers mm_hidden_size"
    " mm_projector_lr mm_resampler_type mm_spatial_pool_out_channels mm_tunable_parts"
    " mm_use_im_patch_token mm_use_im_start_end mm_vision_tower_lr model_type"
    " pad_token_id pos_skipping_range sliding_window tokenizer_model_max_length"
    " tokenizer_padding_side torch_dtype transformers_version unfreeze_mm_vision_tower"
    " use_cache use_mm_proj".split()
)
_IGNORED_VISION = frozenset(
    "_name_or_path architectures attention_dropout dropout dtype hidden_size"
    " initializer_factor initializer_range model_type projection_dim torch_dtype"
    " transformers_version".split()
)


def open_longva(directory: Path) -> Port:
    """Read a checkpoint's config, processor and tokenizer size; weights come later.

    Raises:
        InputError: fields that are missing, unknown, or ask for what LongVA does not do.
    """
    fields = Fields(directory / "config.json", _IGNORED)
    vision, processor = _read_tower(directory, fields)
    decoder = _read_decoder(fields)
    fields.expect("mm_projector_type", ("mlp2x_gelu",))
    fields.expect("mm_patch_merge_type", ("unires", "flat"), "flat")
    fields.expect("mm_spatial_pool_mode", ("average",), "average")
    pool = fields.get("mm_spatial_pool_stride", int, 2)
    fields.finish()
    size = len(Tokenizer(directory))
    config = VideoLLMConfig(
        vision, decoder, pool, min(size, decoder.vocab), processor.mean, processor.std
    )
    return Port(
        directory,
        "longva",
        config,
        processor,
        longva_rules(config),
        unused_vision_keys(vision, TOWER_PREFIX.replace(".", r"\.")) + (r".*inv_freq",),
        template,
        SYSTEM,
        "<|im_end|>",
    )


def longva_rules(config: VideoLLMConfig):
    """Return the rule table of the checkpoint's tensors."""
    return (
        *vision_rules(TOWER_PREFIX),
        *projector_rules("model.mm_projector.0", "model.mm_projector.2"),
        *decoder_rules(config.decoder),
    )


def template(system: str, question: str) -> list[str | Special | Video]:
    """Return the ChatML prompt of LongVA (its conversation "qwen_1_5")."""
    start, end = Special("<|im_start|>"), Special("<|im_end|>")
    return [
        *(start, f"system\n{system}", end, "\n"),
        *(start, "user\n", Video(), f"\n{question}", end, "\n"),
        *(start, "assistant\n"),
    ]


def _read_decoder(fields: Fields) -> DecoderConfig:
    fields.expect("hidden_act", ("silu",), "silu")
    fields.expect("rope_scaling", (None,))
    fields.expect("use_sliding_window", (False,), False)
    fields.expect("use_pos_skipping", (False, None))
    heads, width = (
        fields.get("num_attention_heads", int),
        fields.get("hidden_size", int),
    )
    return DecoderConfig(
        width=width,
        layers=fields.get("num_hidden_layers", int),
        heads=heads,
        kv_heads=fields.get("num_key_value_heads", int, heads),
        head_dim=width // heads,
        mlp_width=fields.get("intermediate_size", int),
        vocab=fields.get("vocab_size", int),
        rope_theta=fields.get("rope_theta", float, 10000.0),
        norm_eps=fields.get("rms_norm_eps", float, 1e-6),
        qkv_bias=True,
        tied=fields.get("tie_word_embeddings", bool, False),
    )


def _read_tower(directory: Path, fields: Fields) -> tuple[VisionConfig, Processor]:
    """Return the tower, from its well-known name or from a folder of the checkpoint."""
    name = fields.get("mm_vision_tower", str)
    fields.expect("mm_vision_select_feature", ("patch",), "patch")
    layer = fields.get("mm_vision_select_layer", int, -2)
    folder = (directory / name).resolve()
    if name in TOWERS:
        vision, processor = TOWERS[name]
    elif folder.is_relative_to(directory.resolve()) and folder.is_dir():
        vision = _read_vision(folder / "config.json")
        processor = read_processor(folder / "preprocessor_config.json")
    else:
        raise InputError(
            f"{fields.path}: mm_vision_tower={name!r}, expected one of {list(TOWERS)}"
            " or a folder inside the checkpoint"
        )
    if processor.crop != vision.image:
        raise InputError(f"{directory}: crop {processor.crop}, but tower {vision.image}")
    total = vision.layers_total
    run = layer + total + 1 if layer < 0 else layer
    if not 0 < run <= total:
        raise InputError(f"{fields.path}: mm_vision_select_layer={layer} of {total} layers")
    return VisionConfig(**(vars(vision) | {"layers": run})), processor


def _read_vision(path: Path) -> VisionConfig:
    fields = Fields(path, _IGNORED_VISION)
    fields.expect("num_channels", (3,), 3)
    layers = fields.get("num_hidden_layers", int)
    vision = VisionConfig(
        image=fields.get("image_size", int),
        patch=fields.get("patch_size", int),
        width=fields.get("hidden_size", int),
        layers=layers,
        layers_total=layers,
        heads=fields.get("num_attention_heads", int),
        mlp_width=fields.get("intermediate_size", int),
        norm_eps=fields.get("layer_norm_eps", float, 1e-5),
        activation=fields.expect("hidden_act", ACTIVATIONS, "quick_gelu"),
    )
    fields.finish()
    return vision
