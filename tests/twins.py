"""Tiny random checkpoints of every port, in every layout, and how to make them again.

Weights are drawn by NumPy from the name of each tensor, so that a checkpoint is the same
with and without PyTorch: what a PyTorch class said of it is stored in tests/goldens.
"""

import hashlib
import importlib.util
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

GOLDENS = Path(__file__).parent / "goldens"
CONFIGS = Path(__file__).parent / "configs"  # of real checkpoints
SPECIALS = ("<image>", "<video>", "<|im_start|>", "<|im_end|>", "</s>")
VIDEO_TOKEN, VOCAB = 257, 280  # of 256 bytes, the specials, and rows that nothing names
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": VOCAB,
}
VISION = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": 28,
    "patch_size": 7,
}
CLIP = VISION | {"model_type": "clip_vision_model"}
# A side of 37 holds five patches of 7 and a rest, as SigLIP's 384 does with 14.
SIGLIP = VISION | {"model_type": "siglip_vision_model", "image_size": 37}
ODD_CLIP = CLIP | {"image_size": 35}


@dataclass(frozen=True, eq=False)  # compared and hashed by identity
class Twin:
    """One case.

    Attributes:
        name: of the case.
        port: that must read it.
        text: fields of the language model, over `TEXT`.
        vision: fields of the tower.
        extra: fields around them.
        layout: spelling of the keys: original, 4, 4.52 or 5.
        frames: frame counts it is tried with.
    """

    name: str
    port: str
    text: dict = field(default_factory=dict)
    vision: dict = field(default_factory=lambda: CLIP)
    extra: dict = field(default_factory=dict)
    layout: str = "5"
    frames: tuple[int, ...] = (3,)

    @property
    def original(self) -> bool:
        """Whether it has the flat config of the original repositories."""
        return self.layout == "original"


def _next(name, text, layout, **more):
    return Twin(f"next-{name}", "llava_next_video", text, layout=layout, **more)


LLAMA = {"model_type": "llama", "num_key_value_heads": 4}
MISTRAL = {"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": None}
QWEN2 = {"model_type": "qwen2", "num_key_value_heads": 2}
LINEAR = {"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "factor": 3.0, "rope_theta": 10000.0, "beta_fast": 4.0}
YARN |= {"original_max_position_embeddings": 32}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0}
LLAMA3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 64}
# Two of the three clips are longer than that, from where on it scales.
DYNAMIC = {
    "max_position_embeddings": 58,
    "rope_scaling": {"type": "dynamic", "factor": 2.0},
}
NEXT_VIDEO = {
    "mm_patch_merge_type": "spatial_unpad",
    "mm_resampler_type": "spatial_pool",
    "mm_spatial_pool_mode": "average",
    "mm_spatial_pool_stride": 2,
}
LONGVA = {"mm_patch_merge_type": "unires", "mm_spatial_pool_mode": "average"}


def _video(pool, newline, **more):
    fields = {"mm_spatial_pool_mode": pool, "mm_newline_position": newline}
    fields["mm_patch_merge_type"] = "spatial_unpad"
    name = f"video-{pool}-{newline}"
    vision = SIGLIP | {"vision_use_head": False}
    return Twin(name, "llava_video", QWEN2, vision, fields, "original", **more)


TWINS = (
    _next("llama-mha-linear", LLAMA | {"rope_parameters": LINEAR}, "5", frames=(1, 3, 32)),
    _next("llama-gqa", LLAMA | {"num_key_value_heads": 2}, "4", vision=ODD_CLIP),
    _next("llama-one-kv-tied", LLAMA | {"num_key_value_heads": 1}, "4.52",
          extra={"tie_word_embeddings": True}),
    _next("mistral-window", MISTRAL | {"sliding_window": 7}, "5"),
    _next("mistral-head-dim", MISTRAL | {"head_dim": 12}, "4"),
    _next("qwen2-siglip", QWEN2, "4", vision=SIGLIP,
          extra={"vision_feature_select_strategy": "full", "vision_feature_layer": -1}),
    _next("qwen2-yarn", QWEN2 | {"rope_parameters": YARN}, "5"),
    _next("llama-llama3", LLAMA | {"rope_scaling": LLAMA3}, "4.52"),
    Twin("onevision-siglip", "llava_onevision", QWEN2, SIGLIP, frames=(1, 3, 32)),
    Twin("onevision-tied", "llava_onevision", QWEN2 | {"tie_word_embeddings": True}, SIGLIP,
         {"tie_word_embeddings": True}, "4"),
    Twin("onevision-clip", "llava_onevision", QWEN2, CLIP,
         {"vision_feature_layer": -2, "vision_feature_select_strategy": "default"}, "4.52"),
    Twin("video-llava", "video_llava", LLAMA, CLIP, frames=(1, 3, 32)),
    Twin("video-llava-4", "video_llava", LLAMA, CLIP, layout="4"),
    Twin("video-llava-4.52", "video_llava", LLAMA, CLIP, layout="4.52", frames=(2,)),
    Twin("longva", "longva", QWEN2, CLIP, LONGVA, "original", frames=(1, 3, 32)),
    Twin("longva-tied", "longva", QWEN2 | {"tie_word_embeddings": True}, ODD_CLIP, LONGVA,
         "original"),
    _video("bilinear", "grid", frames=(1, 3, 32)),
    _video("average", "grid"),
    _video("bilinear", "frame"),
    _video("bilinear", "one_token"),
    _video("average", "no_token"),
    Twin("llama-pool-first", "llava_llama",
         LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.0}}, CLIP, NEXT_VIDEO,
         "original"),
    Twin("llama-flat-dynamic", "llava_llama", LLAMA | DYNAMIC, CLIP, {}, "original"),
    Twin("mistral-one-token", "llava_llama", MISTRAL, SIGLIP | {"vision_use_head": False},
         {"mm_patch_merge_type": "spatial_unpad", "mm_spatial_pool_mode": "bilinear",
          "mm_newline_position": "one_token"}, "original"),
)  # fmt: skip


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw a tensor from its name, so that logits have a standard deviation above 1."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    values = np.random.default_rng(seed).random(shape) * 2 - 1
    values = (values * math.sqrt(3)).astype(np.float32)
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.2 * values
    if len(shape) == 1:
        return 0.3 * values
    if "embed_tokens" in name or "position_embedding" in name:
        return 0.35 * values
    gain = 1.2 if re.search(r"(q|k)_proj|lm_head", name) else 1.0
    return gain / math.sqrt(math.prod(shape[1:])) * values


def spelled(key: str, layout: str) -> str:
    """Return a key of transformers 5 files as another layout spells it."""
    towers = r"^((?:vision|image|video)_tower)\."
    if layout == "4":
        return re.sub(towers, r"\1.vision_model.", key)
    if layout == "4.52":
        key = re.sub(towers, r"model.\1.vision_model.", key)
        key = re.sub(r"^language_model\.model\.", "model.language_model.", key)
        key = re.sub(r"^(multi_modal_projector|image_newline)", r"model.\1", key)
        return key.replace("language_model.lm_head", "lm_head")
    return key


def config_of(twin: Twin) -> dict:
    """Return config.json, in the twin's layout."""
    text = TEXT | twin.text
    if twin.original:
        kind = text.pop("model_type").removesuffix("2")
        fixed = {
            "architectures": [f"Llava{kind.capitalize()}ForCausalLM"],
            "model_type": "qwen2" if kind == "qwen" else f"llava_{kind}",
            "mm_projector_type": "mlp2x_gelu",
            "mm_vision_select_layer": -2,
            "mm_vision_tower": "tower",
            "rms_norm_eps": 1e-6,
        }
        if "mm_spatial_pool_mode" in twin.extra:
            fixed["mm_spatial_pool_stride"] = 2
        return fixed | text | twin.extra
    classes = {
        "llava_next_video": "LlavaNextVideoForConditionalGeneration",
        "llava_onevision": "LlavaOnevisionForConditionalGeneration",
        "video_llava": "VideoLlavaForConditionalGeneration",
    }
    return {
        "architectures": [classes[twin.port]],
        "model_type": twin.port,
        "text_config": text,
        "vision_config": twin.vision,
        "video_token_index": VIDEO_TOKEN,
        "image_token_index": VIDEO_TOKEN - 1,
    } | twin.extra


def write_twin(twin: Twin, directory: Path, config: dict, shapes: dict) -> Path:
    """Write the checkpoint.

    Args:
        twin: the case.
        directory: to be made.
        config: for config.json.
        shapes: of the tensors, by their key in transformers 5 files, or the original one.
    """
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    side = twin.vision["image_size"]
    processor = {
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
    }
    if twin.vision["model_type"] == "siglip_vision_model":
        half = [0.5] * 3
        processor = {"size": {"height": side, "width": side}}
        processor |= {"image_mean": half, "image_std": half}
    folder = directory
    if twin.original:
        folder = directory / "tower"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(twin.vision))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    tensors = {spelled(k, twin.layout): draw(k, tuple(s)) for k, s in shapes.items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(directory)
    return directory


def write_tokenizer(directory: Path) -> None:
    """Write a tokenizer of single bytes and a few special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: n for n, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


@dataclass(frozen=True)
class Inputs:
    """Three clips and prompts of different lengths.

    Attributes:
        pixels: uint8 [clip frame side side 3].
        before: ids before each video.
        after: ids after each video.
    """

    pixels: np.ndarray
    before: list[np.ndarray]
    after: list[np.ndarray]


def inputs_of(twin: Twin, frames: int) -> Inputs:
    """Return the inputs of a case, always the same ones."""
    rng, side = np.random.default_rng(frames), twin.vision["image_size"]
    pixels = rng.integers(0, 256, (3, frames, side, side, 3), dtype=np.uint8)
    before, after = (
        [rng.integers(0, 256, n) for n in lengths] for lengths in ((5, 1, 9), (4, 11, 2))
    )
    return Inputs(pixels, before, after)


TWIN = {twin.name: twin for twin in TWINS}


def write(name, folder, change=None, text=None, vision=None):
    """Write a twin with some fields of its config changed; `...` removes one."""
    stored = json.loads((GOLDENS / f"{name}.json").read_text())
    config = stored["config"]
    edits = ((config, change), (config.get("text_config"), text))
    for fields, changes in (*edits, (config.get("vision_config"), vision)):
        for key, value in (changes or {}).items():
            fields.pop(key, None) if value is ... else fields.update({key: value})
    return write_twin(TWIN[name], folder / name, config, stored["shapes"])


HAVE_TORCH = importlib.util.find_spec("torch") is not None
WITH_TORCH = pytest.mark.skipif(not HAVE_TORCH, reason="PyTorch is not installed")


def oracle(twin: Twin, port, folder):
    """Return logits(pixels, before, after, positions of the video) of the PyTorch side."""
    from oracles import class_logits, composed_logits, load_parts, make_model

    if twin.original:
        parts = load_parts(twin, port.directory)
        return lambda pixels, before, after, _: composed_logits(
            twin, parts, pixels, before, after
        )
    model = make_model(twin)
    model.save_pretrained(folder)
    check_spelling(twin, folder, port.directory)
    return lambda *inputs: class_logits(model, *inputs)


def check_spelling(twin: Twin, saved, written):
    """The twin's file has the keys that transformers 5 writes, in the twin's spelling."""
    from safetensors import safe_open

    with (
        safe_open(saved / "model.safetensors", "np") as theirs,
        safe_open(written / "model.safetensors", "np") as ours,
    ):
        assert {spelled(k, twin.layout) for k in theirs.keys()} == set(ours.keys())
