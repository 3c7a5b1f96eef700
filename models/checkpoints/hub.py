"""Checkpoints by name: a local directory, or an id of the Hugging Face hub."""

import os
import re
from pathlib import Path

from vidsme_jax.errors import InputError

_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_SECONDS = 10  # without an answer from the hub
# Neither pickles nor code are wanted.
_WEIGHTS = "*.safetensors"
_FILES = ["*.json", _WEIGHTS, "*.txt", "*.model", "*.jinja"]


def find_checkpoint(model: str, weights: bool = True) -> Path:
    """Return the directory of a checkpoint, downloaded first if it is a hub id.

    Args:
        model: the directory or the id.
        weights: download them too.

    What is already in the hub's cache is used without network. Downloads go on where an
    earlier one stopped.

    Raises:
        InputError: neither a directory nor an id, or the hub does not give it.
    """
    path = Path(os.path.expanduser(model))
    if model and path.is_dir():
        return path
    exists = bool(model) and path.exists()
    if exists or not _ID.fullmatch(model):
        what = "is no directory" if exists else "does not exist"
        raise InputError(
            f"model={model} {what}, expected a checkpoint's directory or a hub id such as"
            " owner/name"
        )
    return _download(model, [p for p in _FILES if weights or p != _WEIGHTS])


def _download(model: str, files: list[str]) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from vidsme_jax.progress import say

    try:
        if not os.environ.get("HF_HUB_OFFLINE"):
            revision = HfApi().model_info(model, timeout=_SECONDS).sha
            say(f"{model} at {revision}: downloading what is not in the cache")
            return Path(snapshot_download(model, revision=revision, allow_patterns=files))
        reason = "HF_HUB_OFFLINE is set"
    except Exception as error:  # of the hub, of HTTP, of the network: no common type
        reason = " ".join(str(error).split())[:150] or type(error).__name__
    try:
        kept = snapshot_download(model, allow_patterns=files, local_files_only=True)
    except LocalEntryNotFoundError:
        raise InputError(
            f"model={model} is no directory here, and the hub did not give it ({reason});"
            " pass the directory of a downloaded checkpoint"
        ) from None
    say(f"{model}: from the cache, the hub did not answer ({reason})")
    return Path(kept)
