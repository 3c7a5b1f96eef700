"""Find a checkpoint by name: a local directory, or an id of the Hugging Face hub."""

import os
import re
from pathlib import Path

from vidsme_jax.errors import InputError

_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_SECONDS = 10  # to wait for an answer from the hub
# Neither pickles nor code are downloaded.
_WEIGHTS = "*.safetensors"
_FILES = ["*.json", _WEIGHTS, "*.txt", "*.model", "*.jinja"]


def find_checkpoint(model: str, weights: bool = True) -> Path:
    """Return the directory of a checkpoint, downloaded first if it is a hub id.

    Files in the hub's cache are used without network. A download continues where an
    earlier one stopped.

    Args:
        model: the directory or the id.
        weights: whether to download the weights too.

    Raises:
        InputError: neither a directory nor an id, or the hub does not give it.
    """
    path = Path(os.path.expanduser(model))
    if model and path.is_dir():
        return path
    exists = bool(model) and path.exists()
    if exists or not _ID.fullmatch(model):
        fault = "is no directory" if exists else "does not exist"
        raise InputError(
            f"model={model} {fault}, expected a checkpoint's directory or a hub id such as"
            " owner/name"
        )
    patterns = [pattern for pattern in _FILES if weights or pattern != _WEIGHTS]
    return _download(model, patterns)


def _download(model: str, patterns: list[str]) -> Path:
    """Return the directory of a hub id's files, from the hub or else from its cache."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from vidsme_jax.progress import say

    try:
        if not os.environ.get("HF_HUB_OFFLINE"):
            revision = HfApi().model_info(model, timeout=_SECONDS).sha
            say(f"{model} at {revision}: downloading what is not in the cache")
            folder = snapshot_download(model, revision=revision, allow_patterns=patterns)
            return Path(folder)
        reason = "HF_HUB_OFFLINE is set"
    except Exception as error:  # errors of hub, HTTP and network have no common type
        reason = " ".join(str(error).split())[:150] or type(error).__name__
    try:
        cached = snapshot_download(model, allow_patterns=patterns, local_files_only=True)
    except LocalEntryNotFoundError:
        raise InputError(
            f"model={model} is no directory here, and the hub did not give it ({reason});"
            " pass the directory of a downloaded checkpoint"
        ) from None
    say(f"{model}: from the cache, the hub did not answer ({reason})")
    return Path(cached)
