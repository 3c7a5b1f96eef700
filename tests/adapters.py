"""LoRA adapters written by NumPy, for what needs no PEFT."""

import json

import numpy as np
from safetensors.numpy import save_file

PREFIX, RANK, WIDTH = "base_model.model.", 2, 32  # the width is that of the twins
PLAIN = {"peft_type": "LORA", "r": RANK, "lora_alpha": 3, "base_model_name_or_path": "x/y"}


def draw(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def update(module, out=WIDTH, inner=WIDTH, rank=RANK):
    """Return the two tensors that update a kernel."""
    return {
        f"{module}.lora_A.weight": draw(rank, inner),
        f"{module}.lora_B.weight": draw(out, rank),
    }


def write_adapter(folder, tensors, **config):
    """Write an adapter of these tensors, with some fields of its config changed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(PLAIN | config))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder
