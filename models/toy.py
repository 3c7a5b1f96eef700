"""Write a LongVA small enough to train on a laptop: a checkpoint with random weights.

It has about a million parameters in LongVA's own layout. Graph, keys and files are those of
real checkpoints, so that it goes through the same code. Its tokenizer has 64 more tokens,
`<|code_0|>` to `<|code_63|>`, for training on the visual code of the next video position
(`vidsme_jax/training/fit.py`).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from vidsme_jax.models.checkpoints.trees import flatten, numpy_dtype
from vidsme_jax.models.ports import llava_original, longva, towers
from vidsme_jax.models.prompts.template import CHATML, Slot
from vidsme_jax.models.prompts.visual_codes import CODES, code_token
from vidsme_jax.models.video_llm import VideoLLMConfig, graph_of

_SHARD_BYTES = 2 * 2**30  # of a file, and so of the weights on the host at a time
_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# Words are split as Qwen2 splits them, digits one by one.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DECODER = {
    "architectures": [llava_original.ARCHITECTURE],
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


def write_toy(
    directory: Path,
    texts: list[str],
    seed: int,
    decoder: dict[str, Any] | None = None,
    tower: dict[str, Any] | None = None,
    dtype: str = "float32",
) -> Path:
    """Write the checkpoint: configs, a tokenizer trained on `texts`, random weights.

    Args:
        directory: directory to make.
        texts: texts that the tokenizer should encode in few tokens.
        seed: seed of the weights.
        decoder: fields that replace those of the toy's config.json: other sizes, or
            {"video_attention": "bidirectional"}.
        tower: fields that replace those of the toy's config.json of the tower.
        dtype: type of the weights, float32 or bfloat16.
    """
    directory.mkdir(parents=True)
    folder = directory / "vision_tower"
    folder.mkdir()
    vocab = _write_tokenizer(directory, texts)
    config = _DECODER | {"vocab_size": vocab, "torch_dtype": dtype} | (decoder or {})
    vision: dict[str, Any] = _TOWER | (tower or {})
    _write_json(directory / "config.json", config)
    _write_json(folder / "config.json", vision)
    _write_json(folder / "preprocessor_config.json", _processor(vision["image_size"]))
    _write_weights(directory, seed, numpy_dtype(dtype))
    return directory


def _processor(side: int) -> dict[str, Any]:
    return {
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
        "resample": 3,
    }


def _write_tokenizer(directory: Path, texts: list[str]) -> int:
    """Train and write a byte-level BPE tokenizer like Qwen2's, and return its size."""
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
    # With the template's words, or every prompt would spell them letter by letter.
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
    """Return the texts of the prompt template between its special tokens."""
    filled = {Slot.SYSTEM: CHATML.system, Slot.VIDEO: "<|video|>", Slot.QUESTION: ""}
    text = "".join(filled[p] if isinstance(p, Slot) else p for p in CHATML.pieces)
    return [word for word in re.split(r"<\|.*?\|>", text) if word]


def _write_weights(directory: Path, seed: int, dtype: Any) -> None:
    """Write random weights, also those of the tower's last layer, which LongVA never runs.

    A model too large for a single file becomes several shards with an index.
    """
    config = longva.read_graph(directory / "config.json").config
    assert isinstance(config, VideoLLMConfig)
    whole_tower = replace(config.vision, layers=config.vision.layers_total)
    tensors = _tensors(replace(config, vision=whole_tower), seed, dtype)
    weight_map: dict[str, str] = {}
    for n, shard in enumerate(_shards(tensors)):
        path = directory / f"model-{n:05d}.safetensors"
        save_file(shard, path, metadata={"format": "np"})
        path.chmod(0o644)  # safetensors creates files that only their owner can read
        weight_map |= dict.fromkeys(shard, path.name)
    if len(set(weight_map.values())) == 1:
        path.rename(directory / "model.safetensors")
        return
    index = {"metadata": {}, "weight_map": weight_map}
    _write_json(directory / "model.safetensors.index.json", index)


def _shards(tensors: Iterator[tuple[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """Gather tensors into shards, each of which becomes a file."""
    shard: dict[str, np.ndarray] = {}
    for key, tensor in tensors:
        shard[key] = tensor
        if sum(array.nbytes for array in shard.values()) >= _SHARD_BYTES:
            yield shard
            shard = {}
    if shard:
        yield shard


def _tensors(
    config: VideoLLMConfig, seed: int, dtype: Any
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield random tensors one after the other, each with its key in a file.

    Kernels and embeddings are normal; their variance is 1 / (the width that they sum over).
    """
    generator = np.random.default_rng(seed)
    rules = {rule.path: rule for rule in llava_original.original_rules(config)}
    for path, leaf in flatten(graph_of(config)[1]).items():
        rule = rules[path]
        shape = leaf.shape[1:] if rule.stacked else leaf.shape
        for key in rule.keys(leaf.shape):
            drawn = rule.restore(_draw(generator, path, shape))
            yield key, np.ascontiguousarray(drawn, dtype)
    final, width = towers.TOWER_PREFIX + "post_layernorm.", config.vision.width
    yield final + "weight", np.ones(width, dtype)
    yield final + "bias", np.zeros(width, dtype)


def _draw(generator: np.random.Generator, path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the random values of a parameter; norms and biases are constant."""
    kind = path.rsplit(".", 1)[-1]
    if kind in ("scale", "bias"):
        return np.full(shape, float(kind == "scale"), np.float32)
    widths = {"kernel": shape[-2:][0], "embedding": shape[-1]}
    deviation = widths[kind] ** -0.5 if kind in widths else 0.02
    return np.float32(deviation) * generator.standard_normal(shape, np.float32)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
