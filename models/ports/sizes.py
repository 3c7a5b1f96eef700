"""Read the sizes of language models and vision towers from the fields of a config.json.

Sub-configs of Hugging Face checkpoints leave out what equals the default of their class.
These defaults are here, one table per `model_type`.
"""

from dataclasses import replace
from typing import Any

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import Fields
from vidsme_jax.models.layers.decoder import DecoderConfig
from vidsme_jax.models.layers.vision_tower import ACTIVATIONS, VisionConfig
from vidsme_jax.models.ports.rope_fields import read_rope

_LAYERS, _PIXELS = 1000, 10000  # more is a mistake, and would take all memory
DECODERS: dict[str, dict[str, Any]] = {
    "llama": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
    },
    "mistral": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "sliding_window": 4096,
        "max_position_embeddings": 131072,
    },
    "qwen2": {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
    },
}
TOWERS: dict[str, dict[str, Any]] = {
    "clip_vision_model": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 32,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
    "siglip_vision_model": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    },
}


def read_decoder(fields: Fields, kind: str, tied: bool = False) -> DecoderConfig:
    """Read the sizes of a language model.

    Args:
        fields: fields of its config, with the defaults of `DECODERS[kind]` where the
            layout leaves them out.
        kind: model_type of the language model: llama, mistral or qwen2.
        tied: whether the enclosing config ties the head to the embedding.
    """
    fields.expect("hidden_act", ("silu",), "silu")
    for name in ("attention_bias", "mlp_bias", "use_sliding_window"):
        fields.expect(name, (False, None), False)
    fields.expect("pretraining_tp", (1, None), 1)
    heads, width = fields.size("num_attention_heads"), fields.size("hidden_size")
    kv_heads = fields.optional_size("num_key_value_heads") or heads
    head_dim = fields.optional_size("head_dim") or width // heads
    if heads % kv_heads or head_dim % 2:
        raise InputError(
            f"{fields.where}: {heads} heads of {head_dim} over {kv_heads} key-value heads,"
            " expected a multiple, and an even size"
        )
    window = fields.optional_size("sliding_window") if kind == "mistral" else None
    fields.seen.add("sliding_window")  # others have the field, and do not use it
    _check_layer_types(fields, window)
    rope = read_rope(fields, head_dim)
    return DecoderConfig(
        width=width,
        layers=fields.size("num_hidden_layers", most=_LAYERS),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        mlp_width=fields.size("intermediate_size"),
        vocab=fields.size("vocab_size"),
        rope=rope,
        norm_eps=fields.positive("rms_norm_eps", 1e-6),
        qkv_bias=kind == "qwen2",
        tied=fields.get("tie_word_embeddings", bool, False) or tied,
        window=window,
    )


def _check_layer_types(fields: Fields, window: int | None) -> None:
    """Refuse layers of other types of attention, since a single layer is scanned."""
    expected = "full_attention" if window is None else "sliding_attention"
    types = fields.get("layer_types", list | None) or []
    others = [kind for kind in types if kind != expected]
    if others:
        raise InputError(
            f"{fields.where}: layer_types has {others[0]!r}, this port has {expected!r}"
        )


def read_vision(fields: Fields, kind: str) -> VisionConfig:
    """Read the sizes of a vision tower that runs all layers of the checkpoint.

    Args:
        fields: fields of its config, with the defaults of `TOWERS[kind]`.
        kind: model_type of the tower: clip_vision_model or siglip_vision_model.
    """
    fields.expect("num_channels", (3,), 3)
    if kind == "siglip_vision_model":
        fields.expect("vision_use_head", (True, False, None))
    layers = fields.size("num_hidden_layers", most=_LAYERS)
    vision = VisionConfig(
        image=fields.size("image_size", most=_PIXELS),
        patch=fields.size("patch_size", most=_PIXELS),
        width=fields.size("hidden_size"),
        layers=layers,
        layers_total=layers,
        heads=fields.size("num_attention_heads"),
        mlp_width=fields.size("intermediate_size"),
        norm_eps=fields.positive("layer_norm_eps"),
        activation=fields.expect("hidden_act", ACTIVATIONS),
        clip=kind == "clip_vision_model",
    )
    if vision.width % vision.heads or vision.image < vision.patch:
        raise InputError(f"{fields.where}: {vision}, expected heads that divide the width")
    return vision


def stop_early(vision: VisionConfig, layer: int, where: str) -> VisionConfig:
    """Return the tower that stops at a hidden state, counted as transformers counts them.

    Args:
        vision: sizes of the whole tower.
        layer: number of the hidden state. State 0 enters the first layer, -1 leaves the
            last layer, -2 the layer before it.
        where: name of the field in errors.
    """
    total = vision.layers_total
    layers_run = layer + total + 1 if layer < 0 else layer
    if not 0 < layers_run <= total:
        raise InputError(f"{where}={layer} of {total} layers")
    return replace(vision, layers=layers_run)
