"""LoRA adapters that PEFT itself makes of the twins, and PEFT's merged models."""

import shutil
import warnings

import torch
from oracles import class_logits, composed_logits, load_parts, make_model
from peft import LoraConfig, get_peft_model
from torch import nn
from twins import Twin, write_tokenizer

KERNELS = [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")]
torch.set_num_threads(1)  # the twins are tiny
MORE = 8  # rows of a resized vocabulary


def kinds_of(twin: Twin) -> dict[str, dict]:
    """Return the fields of each kind of adapter that a twin can have."""
    tied = (twin.text | twin.extra).get("tie_word_embeddings", False)
    projector = ["mm_projector.0", "mm_projector.2"]
    if not twin.original:
        projector = ["linear_1", "linear_2"]
    layer = "layers.0.self_attn"
    saved = [projector[0]] if tied else ["embed_tokens", "lm_head"]
    kinds = {
        "lora": {"target_modules": [*KERNELS, *projector, "out_proj", "fc1", "fc2"]},
        "rslora": {"use_rslora": True},
        "dora": {"use_dora": True, "target_modules": KERNELS},
        "patterns": {
            "rank_pattern": {f"{layer}.q_proj": 2, "v_proj": 5},
            "alpha_pattern": {f"{layer}.v_proj": 3, "k_proj": 11},
        },
        "bias-lora": {"bias": "lora_only"},
        "bias-all": {"bias": "all"},
        "saved": {"modules_to_save": saved},
    }
    if not tied:
        kinds["embedding"] = {"target_modules": ["v_proj", "embed_tokens"]}
        kinds["embedding-dora"] = kinds["embedding"] | {"use_dora": True}
    return kinds | {"resized": {}}


def make_adapter(twin: Twin, directory, folder, fields, resized=False):
    """Write an adapter with random values; return what PEFT's merged model says.

    Args:
        twin: the base.
        directory: of the base.
        folder: of the adapter.
        fields: of its config.
        resized: whether the model has more tokens than the base.

    Returns:
        logits(pixels, before, after, positions of the video) -> [time vocab].
    """
    model = llava_class(twin, directory) if twin.original else make_model(twin)
    if resized:
        rows = model.get_input_embeddings().num_embeddings + MORE
        model.resize_token_embeddings(rows, mean_resizing=False)
    settings = {"r": 4, "lora_alpha": 6, "target_modules": KERNELS[:3]} | fields
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(model, LoraConfig(**settings))
        generator = torch.Generator().manual_seed(0)
        for name, value in adapted.named_parameters():
            if value.requires_grad:
                scale = 0.3 if "lora_" in name else 0.1
                if "magnitude" in name:
                    value.data *= 1 + 0.3 * torch.rand(value.shape, generator=generator)
                else:
                    drawn = torch.randn(value.shape, generator=generator)
                    value.data += scale * drawn / value.shape[-1] ** 0.5
        shutil.rmtree(folder, ignore_errors=True)
        adapted.save_pretrained(folder, save_embedding_layers=resized or "auto")
        merged = adapted.merge_and_unload().eval()
    if resized:
        write_tokenizer(folder)
    if not twin.original:
        return lambda *inputs: class_logits(merged, *inputs)
    parts = (merged.model.vision_tower.vision_tower.vision_model, merged)
    parts = (*parts, merged.state_dict())
    return lambda pixels, before, after, _: composed_logits(
        twin, parts, pixels, before, after
    )


def llava_class(twin: Twin, directory):
    """Return Qwen2 with tower and projector under the names of LLaVA's own class.

    That class is in no package; its forward is `composed_logits`, and PEFT wraps modules
    by their names alone.
    """
    tower, lm, weights = load_parts(twin, directory)
    tower = getattr(tower, "vision_model", tower)
    sizes = (tower.config.hidden_size, lm.config.hidden_size, lm.config.hidden_size)
    projector = nn.Sequential(nn.Linear(*sizes[:2]), nn.GELU(), nn.Linear(*sizes[1:]))
    start = "model.mm_projector."
    projector.load_state_dict(
        {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
    )
    lm.model.mm_projector, lm.model.vision_tower = projector, nn.Module()
    lm.model.vision_tower.vision_tower = nn.Module()
    lm.model.vision_tower.vision_tower.vision_model = tower
    if "model.image_newline" in weights:
        lm.model.image_newline = nn.Parameter(weights["model.image_newline"])
    return lm
