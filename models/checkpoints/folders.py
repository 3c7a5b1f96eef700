"""Recognise folders that hold no checkpoint a port can read, and say what to do with them.

An adapter without its base, pickles, quantised weights, the state of a wrapped model: each
gets a line with its own name and a remedy that leads somewhere.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vidsme_jax import reading
from vidsme_jax.errors import InputError, shorten
from vidsme_jax.models.checkpoints.fields import read_config
from vidsme_jax.progress import say

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LLAVA_WEIGHTS = "non_lora_trainables.safetensors"
_PICKLES = ("*.bin", "*.pth", "*.pt", "*.ckpt")
_NO_WEIGHTS = re.compile(
    r"training_args|optimizer|scheduler|rng_state|scaler|adapter_model"
)

# The methods whose tensors have these ends of keys, and types that only they have.
_QUANTISED_KEYS = (
    ("GPTQ or AWQ", ("qweight", "qzeros", "g_idx")),
    ("bitsandbytes", ("absmax", "SCB", "quant_map")),
    ("compressed-tensors", ("weight_packed", "weight_shape")),
    ("fp8", ("weight_scale_inv", "weight_scale", "input_scale")),
    ("torchao", ("_weight_qdata", "_weight_scale")),
    ("quanto", ("_data", "_scale")),
)
_QUANTISED_TYPES = re.compile(r"F8_.*|F6_.*|F4(_.*)?")

# What each wrapper puts before the keys of a model, and how to save without it.
_WRAPPERS = {
    "_orig_mod.": "torch.compile leaves them: save model._orig_mod",
    "module.": "DataParallel and DeepSpeed leave them: save model.module",
    "base_model.model.": "PEFT leaves them, not merged: save model.merge_and_unload()",
    "_fsdp_wrapped_module.": "FSDP leaves them: save its full state dict",
    "_forward_module.": "Lightning leaves them: save the module inside",
}
_WRAPPED = re.compile("(?:" + "|".join(map(re.escape, _WRAPPERS)) + ")+")


# Largest size of the files of a checkpoint that are read, by name or else by ending.
_LARGEST = {
    **dict.fromkeys(
        ("tokenizer.json", "vocab.json", "added_tokens.json", "vocab.txt", "merges.txt"),
        reading.TOKENIZER,
    ),
    **dict.fromkeys(("tokenizer.model", "sentencepiece.bpe.model"), reading.TOKENIZER),
    **dict.fromkeys(
        (
            *("config.json", "generation_config.json", ADAPTER_CONFIG),
            *("tokenizer_config.json", "special_tokens_map.json", "chat_template.json"),
            *("preprocessor_config.json", "processor_config.json"),
            *("video_preprocessor_config.json", "model.safetensors.index.json"),
        ),
        reading.CONFIG,
    ),
    ".jinja": reading.TEMPLATE,
    ".safetensors": None,  # a header tells what of it is read
}


def check_files(folder: Path) -> None:
    """Refuse a checkpoint's or an adapter's folder with files that must not be read.

    Raises:
        InputError: a file is none, is too large, or is a link out of the folder.
    """
    if not folder.is_dir():
        return
    for path in sorted([*folder.iterdir(), *folder.glob("additional_chat_templates/*")]):
        kind = path.name if path.name in _LARGEST else path.suffix
        if kind not in _LARGEST:
            continue
        try:
            reading.check_inside(path, folder)
            reading.check_file(path, _LARGEST[kind])
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: {error}") from error


def examples(names: Collection[str]) -> str:
    """Return up to three names as text, with the count of more."""
    shown = ", ".join(list(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def conversion(pattern: str, target: str) -> str:
    """Return the command that turns pickles of tensors into a safetensors file.

    Args:
        pattern: name of the pickles in the folder, such as *.bin.
        target: name of the file that it writes beside them.
    """
    return (
        'python -c "import glob, torch; from safetensors.torch import save_file;'
        f" save_file({{k: v.contiguous().clone() for f in sorted(glob.glob('{pattern}'))"
        " for k, v in torch.load(f, map_location='cpu', weights_only=True).items()},"
        f" '{target}', {{'format': 'pt'}})\""
    )


def missing_weights(directory: Path) -> str:
    """Return what a folder without safetensors holds instead, with the remedy, or "".

    The text follows "has no model.safetensors" in an error.
    """
    if not directory.is_dir():
        return ""
    if (directory / ADAPTER_CONFIG).is_file():
        return f"; {_adapter_line(directory)}"
    for pattern in _PICKLES:
        names = sorted(p.name for p in directory.glob(pattern))
        weights = [name for name in names if not _NO_WEIGHTS.search(name)]
        if weights:
            start = re.sub(r"[-._]?\d.*$", "", weights[0].removesuffix(pattern[1:]))
            # A file's name must not become a part of a program.
            start = start if re.fullmatch(r"[\w.-]*", start) else ""
            command = conversion(start + pattern, "model.safetensors")
            return (
                f"; {weights[0]} is a pickle, which can run code: convert it in that"
                f" folder, where torch is: {command}"
            )
    if sharded := sorted(p.name for p in directory.glob("global_step*")):
        return (
            f"; {sharded[-1]} is a DeepSpeed state: run python zero_to_fp32.py ."
            " OUT --safe_serialization in that folder"
        )
    if quantised := sorted(p.name for p in directory.glob("*.gguf")):
        return f"; {quantised[0]} is GGUF, quantised: {_ORIGINAL}"
    if index := sorted(p.name for p in directory.glob("*.bin.index.json")):
        return (
            f"; {index[0]} stands for pickles, which can run code and are not downloaded:"
            " get them, and convert them in that folder, where torch is:"
            f" {conversion('*.bin', 'model.safetensors')}"
        )
    if others := sorted(p.name for p in directory.glob("*.safetensors")):
        return f"; there is {examples(others)}, but not the index that a download has"
    if inner := sorted(p.name for p in directory.glob("checkpoint-*") if p.is_dir()):
        return f"; {inner[-1]} in it may be meant"
    return ""


_ORIGINAL = "give the 16-bit checkpoint that it was made from, in safetensors"


def refuse_other_folders(directory: Path) -> None:
    """Refuse a folder that is an adapter, or that has no config.json but other weights.

    Raises:
        InputError: what the folder is, and how to give it.
    """
    weights = any(directory.glob("model*.safetensors"))
    if (directory / ADAPTER_CONFIG).is_file():
        if not weights:
            raise InputError(_adapter_line(directory))
        say(
            f"model={directory} holds an adapter beside its weights, which is not merged:"
            f" --adapter {directory} merges it"
        )
    if not (directory / "config.json").exists():
        other = missing_weights(directory)
        if other:
            raise InputError(f"model={directory} has no config.json{other}")


def _adapter_line(directory: Path) -> str:
    """Say that a folder is an adapter, of which base, and how to give both."""
    base = trained_base(read_config(directory / ADAPTER_CONFIG))
    by_llava = any(directory.glob("non_lora_trainables.*"))
    kind = "a LoRA adapter as LLaVA's training writes it" if by_llava else "a PEFT adapter"
    line = (
        f"model={directory} is {kind}, trained on {base}, and no whole model: give"
        f" --model BASE --adapter {directory}, BASE the folder or hub id of {base}"
    )
    fault = pickled_part(directory)
    return f"{line}; first, {fault}" if fault else line


def trained_base(config: Mapping[str, Any]) -> str:
    """Return the name of the base that an adapter's config gives; it is never followed."""
    name = config.get("base_model_name_or_path") or "a base that it does not name"
    return shorten(name, 200)


def pickled_part(directory: Path) -> str:
    """Return what to do about an adapter's pickles; "" where none is needed."""
    for target, what in (
        (ADAPTER_WEIGHTS, "its tensors"),
        (LLAVA_WEIGHTS, "the projector, without which it is another model"),
    ):
        pickle = target.replace(".safetensors", ".bin")
        if (directory / pickle).exists() and not (directory / target).exists():
            return (
                f"{pickle} holds {what}, in a pickle, which can run code: convert it in"
                f" {directory}, where torch is: {conversion(pickle, target)}"
            )
    return ""


def refuse_quantised_config(config: Mapping[str, Any], where: Path) -> None:
    """Refuse a config that says its weights are quantised.

    Raises:
        InputError: the name of the method, and the remedy.
    """
    for part in (config, config.get("text_config")):
        for name in ("quantization_config", "compression_config"):
            settings = part.get(name) if isinstance(part, Mapping) else None
            if not settings:
                continue
            method = settings.get("quant_method") if isinstance(settings, Mapping) else None
            raise InputError(
                f"{where}: {name}: weights quantised by {method or 'an unnamed method'},"
                f" which no port reads: {_ORIGINAL}"
            )


def find_quantised(tensors: Collection[tuple[str, str]]) -> str | None:
    """Return a fault if tensors are quantised, by the ends of their keys and their types.

    Args:
        tensors: key and type of each tensor.
    """
    for method, ends in _QUANTISED_KEYS:
        keys = [key for key, _ in tensors if key.rsplit(".", 1)[-1] in ends]
        if keys:
            return (
                f"{len(keys)} tensors of weights quantised by {method}, such as"
                f" {examples(keys[:3])}: {_ORIGINAL}"
            )
    narrow = [(k, dtype) for k, dtype in tensors if _QUANTISED_TYPES.fullmatch(dtype)]
    if narrow:
        return (
            f"{len(narrow)} tensors of weights quantised as {narrow[0][1]} (fp8 or less),"
            f" such as {examples([k for k, _ in narrow[:3]])}: {_ORIGINAL}"
        )
    return None


def find_wrapper(keys: Collection[str]) -> str | None:
    """Return a fault if keys have the prefix that a wrapper of the model puts before them.

    Args:
        keys: names of all tensors of the files.
    """
    wrapped = {key: match.group() for key in keys if (match := _WRAPPED.match(key))}
    if not wrapped:
        return None
    prefix = next(iter(wrapped.values()))
    first = next(name for name in _WRAPPERS if prefix.startswith(name))
    # Inside PEFT's prefix, the wrapper around all is what is to be said.
    return (
        f"{len(wrapped)} of {len(keys)} tensors have names that start with {prefix}, such"
        f" as {examples(list(wrapped)[:3])}; {_WRAPPERS[first]}"
    )
