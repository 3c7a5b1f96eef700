"""Read a config.json strictly: every field by name, and unknown fields are refused."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from vidsme_jax import reading
from vidsme_jax.errors import InputError
from vidsme_jax.progress import say

LARGEST = 1e30  # numbers in a config are smaller; float32 ends at 3e38


# What the config classes of transformers 4.40 to 5.24 write, and what LLaVA's trainers add.
# experiments/checks/config_fields.py lists these fields again from the classes' source.
# No value of these changes a forward pass with teacher forcing:
GENERATION = frozenset(
    "bad_words_ids begin_suppress_tokens decoder_start_token_id diversity_penalty do_sample"
    " early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty"
    " forced_bos_token_id forced_eos_token_id length_penalty max_length max_new_tokens"
    " min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences"
    " output_scores remove_invalid_values repetition_penalty return_dict_in_generate"
    " suppress_tokens temperature top_k top_p typical_p use_cache".split()
)
BOOKKEEPING = frozenset(
    "_attn_implementation_autoset _name_or_path architectures bos_token_id dtype"
    " eos_token_id finetuning_task id2label ignore_index label2id max_position_embeddings"
    " model_type output_attentions output_hidden_states pad_token_id prefix problem_type"
    " projection_dim return_dict sep_token_id task_specific_params tf_legacy_loss"
    " tokenizer_class torch_dtype torchscript transformers_version unk_token_id"
    " use_bfloat16 use_return_dict".split()
)
TRAINING = frozenset(
    "attention_dropout dropout gradient_checkpointing initializer_factor"
    " initializer_range layerdrop".split()
)
# Written by tools around a model. None is read by a model's class; a run says that they
# are there.
TOOLS = frozenset(
    "_attn_implementation _attn_implementation_internal _commit_hash"
    " _flash_attn_2_enabled attn_implementation auto_map max_frames transformers.js_config"
    " unsloth_fixed unsloth_tiled_mlp unsloth_version use_flash_attention_2".split()
)
# Another value than these would be another model, which no port has.
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "add_cross_attention": (False, None),
    "chunk_size_feed_forward": (0, None),
    "cross_attention_hidden_size": (None,),
    "is_decoder": (False, None),
    "is_encoder_decoder": (False, None),
    "partial_rotary_factor": (1, None),
    "pruned_heads": ({}, None),
    "tie_encoder_decoder": (False, None),
}


def read_config(path: Path) -> dict[str, Any]:
    """Read the JSON object of a file that configures a checkpoint."""
    try:
        config = reading.read_json(path)
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
        harmless: names of further fields that do not change the forward pass.
        defaults: values of fields that the config leaves out.
        ignore_fields: names of unknown fields that the user wants ignored, in any part.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        where: str,
        harmless: frozenset[str] = frozenset(),
        defaults: Mapping[str, Any] | None = None,
        ignore_fields: tuple[str, ...] = (),
    ):
        self.values, self.where = dict(defaults or {}) | dict(values), where
        self.harmless = GENERATION | BOOKKEEPING | TRAINING | TOOLS | harmless
        self.ignore_fields = ignore_fields
        self.seen: set[str] = set()
        self.names = set(values)
        self.parts = [self]

    def part(
        self,
        values: Mapping[str, Any],
        where: str,
        harmless: frozenset[str] = frozenset(),
        defaults: Mapping[str, Any] | None = None,
    ) -> "Fields":
        """Return the fields of a config inside this one; `finish` checks both."""
        inner = Fields(values, where, harmless, defaults)
        self.parts.append(inner)
        return inner

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

    def optional_size(self, name: str, most: int = 10**6) -> int | None:
        """Return a field that is a whole number from 1; None where it is absent or null."""
        absent = self.values.get(name) is None
        return self.get(name, int | None) if absent else self.size(name, most=most)

    def optional_positive(self, name: str) -> float | None:
        """Return a field that is a number above 0; None where it is absent or null."""
        absent = self.values.get(name) is None
        return self.get(name, float | None) if absent else self.positive(name)

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
        """Refuse the fields of all parts that were neither read, listed nor to be ignored.

        Raises:
            InputError: unknown fields; fields to be ignored that decide the model's
                numbers, or that no part has.
        """
        for part in self.parts:
            for name in part.names & set(DEFAULTS):
                part.expect(name, DEFAULTS[name])
        self._check_ignored()
        ignored = set(self.ignore_fields)
        unknown = [(part, part._unknown() - ignored) for part in self.parts]
        names = sorted({name for _, unknown_names in unknown for name in unknown_names})
        if names:
            places = (
                f"{part.where} has fields this port does not know: "
                + ", ".join(sorted(unknown_names))
                for part, unknown_names in unknown
                if unknown_names
            )
            raise InputError(
                f"{'; '.join(places)}. If they do not change the model's numbers, pass"
                f" --ignore-fields {','.join(names)}"
            )
        tools = sorted({name for part in self.parts for name in part.names & TOOLS})
        if tools:
            say_once(f"{self.where}: fields of tools are not used: {', '.join(tools)}")
        if ignored:
            say_once(f"{self.where}: ignored as asked: {', '.join(sorted(ignored))}")

    def _check_ignored(self) -> None:
        """Refuse to ignore a field that is read wherever it stands, or that is nowhere."""
        for name in self.ignore_fields:
            parts = [part for part in self.parts if name in part.names]
            if not parts:
                raise InputError(
                    f"ignore_fields={name}: {self.where} has no field of this name"
                )
            if all(name in part.seen for part in parts):
                raise InputError(
                    f"ignore_fields={name}: {parts[0].where} has"
                    f" {name}={parts[0].values[name]!r}, which decides the model's numbers,"
                    " expected a field that no port reads"
                )

    def _unknown(self) -> set[str]:
        return self.names - self.seen - self.harmless


@lru_cache  # a command may open a model more than once
def say_once(line: str) -> None:
    """Print a line about a config to stderr, unless this process has said it before."""
    say(line)
