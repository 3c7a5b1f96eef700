"""What PyTorch says of the twins: transformers' own classes, or its parts composed."""

import math
from copy import deepcopy
from functools import partial

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from torch.nn.functional import avg_pool2d, gelu, interpolate, linear
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from twins import TEXT, VIDEO_TOKEN, Twin, config_of, draw

LANGUAGE_MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig),
    "mistral": (MistralForCausalLM, MistralConfig),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config),
}
TOWER = "model.vision_tower.vision_tower.vision_model."


def make_model(twin: Twin):
    """Return the PyTorch class of a twin, with its weights, and its config as saved."""
    config = deepcopy(config_of(twin))  # transformers writes into a config's dicts
    name = config["architectures"][0]
    cls = getattr(transformers, name)
    fields = {k: v for k, v in config.items() if k not in ("architectures", "model_type")}
    fields["text_config"] = dict(config["text_config"])
    model = cls(cls.config_class(**fields, attn_implementation="eager")).eval()
    state = {
        key: draw(file_key(key), tuple(v.shape)) for key, v in model.state_dict().items()
    }
    if model.config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.language_model.embed_tokens.weight"]
    model.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    return model


def file_key(key: str) -> str:
    """Return the key that transformers 5 writes for one in memory."""
    if key.startswith("model.language_model."):
        return key.replace("model.language_model.", "language_model.model.", 1)
    if key == "lm_head.weight":
        return "language_model.lm_head.weight"
    return key.removeprefix("model.")


def shapes_of(twin: Twin, model) -> dict[str, list[int]]:
    """Return the shapes of a file's tensors."""
    if not twin.original:
        tied = model.config.tie_word_embeddings
        state = {file_key(k): list(v.shape) for k, v in model.state_dict().items()}
        return {
            k: v for k, v in state.items() if not (tied and k.endswith("lm_head.weight"))
        }
    merge = twin.extra.get("mm_patch_merge_type", "flat")
    return original_shapes(*model, newline="unpad" in merge)


def original_shapes(tower, lm, newline: bool) -> dict[str, list[int]]:
    """Return the shapes of an original checkpoint's tensors, given its two parts."""
    parts = {k.removeprefix("vision_model."): v for k, v in tower.state_dict().items()}
    shapes = {TOWER + k: list(v.shape) for k, v in parts.items() if "head." not in k}
    width, hidden = tower.config.hidden_size, lm.config.hidden_size
    for n, inner in ((0, width), (2, hidden)):
        shapes[f"model.mm_projector.{n}.weight"] = [hidden, inner]
        shapes[f"model.mm_projector.{n}.bias"] = [hidden]
    if newline:
        shapes["model.image_newline"] = [hidden]
    tied = lm.config.tie_word_embeddings
    words = {k: list(v.shape) for k, v in lm.state_dict().items()}
    return shapes | {k: v for k, v in words.items() if not (tied and k == "lm_head.weight")}


def make_parts(twin: Twin):
    """Return tower and language model of an original checkpoint, weights not yet set."""
    clip = twin.vision["model_type"] == "clip_vision_model"
    fields = {k: v for k, v in twin.vision.items() if k != "model_type"}
    if not clip:  # the original class deletes the last layer
        fields["num_hidden_layers"] -= 1
    cls, config = (
        (CLIPVisionModel, CLIPVisionConfig)
        if clip
        else (SiglipVisionModel, SiglipVisionConfig)
    )
    tower = cls(config(**fields, attn_implementation="eager")).eval()
    text = deepcopy(TEXT | {k: v for k, v in twin.text.items() if k != "model_type"})
    lm_class, lm_config = LANGUAGE_MODELS[twin.text["model_type"]]
    return tower, lm_class(lm_config(**text, attn_implementation="eager")).eval()


def load_parts(twin: Twin, directory):
    """Return tower, language model and all weights of an original checkpoint."""
    weights = load_file(directory / "model.safetensors")
    tower, lm = make_parts(twin)
    prefix = "vision_model." if "vision_model." in next(iter(tower.state_dict())) else ""
    part = {prefix + k.removeprefix(TOWER): v for k, v in weights.items() if TOWER in k}
    missing, unexpected = tower.load_state_dict(part, strict=False)
    assert not unexpected and all("head." in k for k in missing)
    used = ("model.layers.", "model.embed_tokens.", "model.norm.", "lm_head.")
    missing, unexpected = lm.load_state_dict(
        {k: v for k, v in weights.items() if k.startswith(used)}, strict=False
    )
    assert not unexpected and missing == (
        ["lm_head.weight"] if lm.config.tie_word_embeddings else []
    )
    lm.tie_weights()
    return tower, lm, weights


@torch.no_grad()
def class_logits(model, pixels, before, after, count) -> np.ndarray:
    """Return the logits of one clip from a class of transformers, [time vocab]."""
    ids = torch.tensor([*before, *[VIDEO_TOKEN] * count, *after])[None]
    out = model(input_ids=ids, pixel_values_videos=torch.tensor(pixels)[None])
    return out.logits[0].numpy()


def pools_first(twin: Twin) -> bool:
    return twin.extra.get("mm_resampler_type") == "spatial_pool"


def project(w, x):
    name = "model.mm_projector."
    x = gelu(linear(x, w[name + "0.weight"], w[name + "0.bias"]))
    return linear(x, w[name + "2.weight"], w[name + "2.bias"])


def pool(mode: str | None, x):
    """Pool [frame patch width] by two."""
    if mode is None:
        return x
    side = math.isqrt(x.shape[1])
    x = x.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    if mode == "average":
        x = avg_pool2d(x, 2)
    else:
        x = interpolate(x, size=[math.ceil(side / 2)] * 2, mode="bilinear")
    return x.flatten(2).transpose(1, 2)


@torch.no_grad()
def composed_logits(twin: Twin, parts, pixels, before, after) -> np.ndarray:
    """Return the logits of one clip as the original repositories compute them."""
    tower, lm, w = parts
    clip = twin.vision["model_type"] == "clip_vision_model"
    states = tower(torch.tensor(pixels), output_hidden_states=True).hidden_states
    x = states[-2][:, 1:] if clip else states[-1]
    mode = twin.extra.get("mm_spatial_pool_mode")
    # LLaVA-NeXT-Video's first code pools in its resampler, before the projector.
    steps = [partial(project, w), partial(pool, mode)]
    for step in steps[::-1] if pools_first(twin) else steps:
        x = step(x)
    side = math.isqrt(x.shape[1])
    x = x.unflatten(1, (side, side))  # frame, row, column, width
    newline = w.get("model.image_newline")
    place = twin.extra.get("mm_newline_position", "no_token")
    if place == "grid":
        x = torch.cat([x, newline.expand(*x.shape[:2], 1, -1)], dim=2)
    x = x.flatten(1, 2)
    if place == "frame":
        x = torch.cat([x, newline.expand(len(x), 1, -1)], dim=1)
    x = x.flatten(0, 1)
    if place == "one_token":
        x = torch.cat([x, newline[None]])
    # It remembers the longest sequence, by which it scales shorter ones afterwards.
    lm.model.rotary_emb = type(lm.model.rotary_emb)(lm.config)
    words = [lm.model.embed_tokens(torch.tensor(ids)) for ids in (before, after)]
    return lm(inputs_embeds=torch.cat([words[0], x, words[1]])[None]).logits[0].numpy()
