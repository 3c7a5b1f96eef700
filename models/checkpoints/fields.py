"""Read a config.json strictly: every field by name, and unknown fields are refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidsme_jax.errors import InputError

LARGEST = 1e30  # numbers in a config are smaller; float32 ends at 3e38


# Fields of any config that say nothing about a forward pass with teacher forcing.
BOOKKEEPING = frozenset(
    "_name_or_path _attn_implementation_autoset architectures attention_dropout"
    " bos_token_id chunk_size_feed_forward decoder_start_token_id dropout dtype"
    " eos_token_id finetuning_task gradient_checkpointing id2label ignore_index"
    " initializer_factor initializer_range is_decoder is_encoder_decoder label2id"
    " layerdrop max_length max_position_embeddings model_type output_attentions"
    " output_hidden_states pad_token_id prefix problem_type projection_dim pruned_heads"
    " return_dict return_dict_in_generate sep_token_id task_specific_params"
    " tf_legacy_loss tokenizer_class torch_dtype torchscript transformers_version"
    " unk_token_id use_bfloat16 use_cache use_return_dict".split()
)


def read_config(path: Path) -> dict[str, Any]:
    """Read the JSON object of a file that configures a checkpoint."""
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist, expected the checkpoint's config"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} holds no JSON object")
    return config


class Fields:
    """The fields of a config; `finish` refuses those that were neither read nor listed.

    Args:
        values: values of the config by field name.
        where: name of the config in errors.
        ignored: names of further fields that do not change the forward pass.
        defaults: values of fields that the config leaves out.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        where: str,
        ignored: frozenset[str] = frozenset(),
        defaults: Mapping[str, Any] | None = None,
    ):
        self.values, self.where = dict(defaults or {}) | dict(values), where
        self.ignored = BOOKKEEPING | ignored
        self.seen: set[str] = set()

    def get(self, name: str, kind: Any, default: Any = None) -> Any:
        """Return a field of the expected type; a field without a default is required."""
        self.seen.add(name)
        value = self.values.get(name, default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(min(value, 10**300))  # whole numbers in JSON have no limit
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            expected = getattr(kind, "__name__", str(kind))
            raise InputError(
                f"{self.where}: {name}={value!r}, expected a value of type {expected}"
            )
        return value

    def size(self, name: str, default: Any = None, most: int = 10**6) -> int:
        """Return a field that is a whole number from 1 to `most`."""
        value = self.get(name, int, default)
        if not 1 <= value <= most:
            raise InputError(f"{self.where}: {name}={value}, expected 1 to {most}")
        return value

    def positive(self, name: str, default: Any = None) -> float:
        """Return a field that is a finite number above 0."""
        value = self.get(name, float, default)
        if not 0 < value < LARGEST:
            raise InputError(f"{self.where}: {name}={value}, expected a number above 0")
        return value

    def optional_size(self, name: str) -> int | None:
        """Return a field that is a whole number from 1; None where it is absent or null."""
        absent = self.values.get(name) is None
        return self.get(name, int | None) if absent else self.size(name)

    def expect(self, name: str, allowed: tuple[Any, ...], default: Any = None) -> Any:
        """Return a field that must be one of the values that the port implements."""
        self.seen.add(name)
        value = self.values.get(name, default)
        if value not in allowed:
            raise InputError(
                f"{self.where}: {name}={value!r}, this port has "
                f"{', '.join(map(repr, allowed))}"
            )
        return value

    def finish(self) -> None:
        """Refuse the fields that were neither read nor listed as ignored."""
        unknown = sorted(set(self.values) - self.seen - self.ignored)
        if unknown:
            raise InputError(
                f"{self.where} has fields this port does not know: {', '.join(unknown)}"
            )
