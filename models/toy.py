"""A LongVA small enough to train on a laptop: a checkpoint directory, random weights.

About a million parameters in LongVA's own layout: the same graph, keys and files as the
real ones, so that everything that works on it goes through the code that real checkpoints
use. Its tokenizer has 64 more tokens, `<|code_0|>` to `<|code_63|>`, for training on the
visual code of the next video position (`training.py`).
"""

import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from vidsme_jax.loading import save_params
from vidsme_jax.models import llava_original, longva
from vidsme_jax.models.template import CHATML, Slot
from vidsme_jax.models.video_llm import VideoLLM, VideoLLMConfig

CODES = 64
_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# Words are split as Qwen2 splits them, digits one by one.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DECODER = {
    "architectures": [longva.ARCHITECTURE],
    "model_type": "llava_qwen",
    "hidden_act": "silu",
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "mm_projector_type": "mlp2x_gelu",
    "mm_patch_merge_type": "unires",
    "mm_spatial_pool_mode": "average",
    "mm_spatial_pool_stride": 2,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "vision_tower",
}
_TOWER = {
    "model_type": "clip_vision_model",
    "hidden_act": "quick_gelu",
    "hidden_size": 64,
    "image_size": 24,
    "intermediate_size": 128,
    "layer_norm_eps": 1e-5,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "patch_size": 4,
}
_PROCESSOR = {
    "size": {"shortest_edge": 24},
    "crop_size": {"height": 24, "width": 24},
    "resample": 3,
}


def code_token(n: int) -> str:
    """Return the text of the token that stands for a visual code."""
    return f"<|code_{n}|>"


def write_toy(
    directory: Path, texts: list[str], seed: int, decoder: dict[str, Any] | None = None
) -> Path:
    """Write the checkpoint: configs, a tokenizer trained on `texts`, random weights.

    Args:
        directory: to be made.
        texts: what the tokenizer should spell well.
        seed: of the weights.
        decoder: fields of config.json, for other sizes than the toy's, or for a video
            that is seen both ways, {"video_attention": "bidirectional"}.
    """
    directory.mkdir(parents=True)
    (directory / "vision_tower").mkdir()
    vocab = _write_tokenizer(directory, texts)
    config = _DECODER | {"vocab_size": vocab} | (decoder or {})
    _write_json(directory / "config.json", config)
    _write_json(directory / "vision_tower" / "config.json", _TOWER)
    _write_json(directory / "vision_tower" / "preprocessor_config.json", _PROCESSOR)
    _write_weights(directory, seed)
    return directory


def _write_tokenizer(directory: Path, texts: list[str]) -> int:
    """Train a byte-level BPE of Qwen2's kind; return its size."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # The template's own words too, or every prompt would spell them in letters.
    tokenizer.train_from_iterator([*texts, *_template_words() * 8], trainer)
    tokenizer.add_special_tokens([*_SPECIALS, *(code_token(n) for n in range(CODES))])
    tokenizer.save(str(directory / "tokenizer.json"))
    _write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "clean_up_tokenization_spaces": False,
        },
    )
    return tokenizer.get_vocab_size(with_added_tokens=True)


def _template_words() -> list[str]:
    """Return the template's text between its special tokens and the video."""
    filled = {Slot.SYSTEM: CHATML.system, Slot.VIDEO: "<|video|>", Slot.QUESTION: ""}
    text = "".join(filled[p] if isinstance(p, Slot) else p for p in CHATML.pieces)
    return [word for word in re.split(r"<\|.*?\|>", text) if word]


def _write_weights(directory: Path, seed: int) -> None:
    """Save random weights, with the tower's last layer and norm that LongVA never runs."""
    config = longva.read_graph(directory / "config.json").config
    whole = vars(config.vision) | {"layers": config.vision.layers_total}
    full = VideoLLMConfig(**(vars(config) | {"vision": type(config.vision)(**whole)}))
    params = jax.jit(lambda: random_params(full, seed))()
    width = config.vision.width
    final = llava_original.TOWER_PREFIX + "post_layernorm."
    norm = {
        final + "weight": np.ones(width, np.float32),
        final + "bias": np.zeros(width, np.float32),
    }
    rules = llava_original.original_rules(full)
    save_params(directory / "model.safetensors", params, rules, norm)


def random_params(config: VideoLLMConfig, seed: int) -> dict[str, Any]:
    """Return freshly initialised parameters, nested dicts."""
    state = nnx.split(VideoLLM(config, rngs=nnx.Rngs(seed)))[1]
    return nnx.to_pure_dict(state)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
