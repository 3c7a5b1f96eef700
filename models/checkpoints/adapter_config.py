"""Read the adapter_config.json of PEFT strictly: what scales an update, and nothing else.

Source: PEFT 0.21.2, `tuners/lora/config.py` and `tuners/lora/layer.py`. The tensors say
which modules are adapted, so that no pattern of the file is run as a regular expression.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import LARGEST, read_config
from vidsme_jax.models.checkpoints.folders import trained_base

# Fields that decide nothing of the merged weights: the tensors do, or training alone.
_WITHOUT_EFFECT = frozenset(
    "auto_mapping base_model_name_or_path bias corda_config ensure_weight_tying eva_config"
    " exclude_modules inference_mode init_lora_weights layers_pattern layers_to_transform"
    " loftq_config lora_dropout lora_ga_config megatron_config megatron_core"
    " modules_to_save peft_type peft_version qalora_group_size revision runtime_config"
    " target_modules task_type".split()
)
_READ = frozenset("alpha_pattern lora_alpha r rank_pattern use_dora use_rslora".split())
# What starts an adapter without a change of the base. Others (pissa, olora, corda, loftq,
# lora_ga) take their first update out of the base's weights, which are then not the base's.
_INITS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
_QUANTISED_NAME = re.compile(r"[-_](bnb|[48]bit|nf4|gptq|awq|int[48])\b", re.IGNORECASE)


@dataclass(frozen=True)
class AdapterConfig:
    """The fields of an adapter's config that decide how its tensors are merged.

    Attributes:
        base: name of the base that it was trained on, to be printed and never followed.
        rank: rank of the updates.
        alpha: their scale times the rank, or its square root.
        ranks: ranks of some modules, by the end of their name.
        alphas: alphas of some modules, by the end of their name.
        by_root: whether the scale is alpha / sqrt(rank), as rsLoRA has it.
        has_magnitudes: whether rows are scaled to learned norms, as DoRA has it.
    """

    base: str
    rank: int
    alpha: float
    ranks: tuple[tuple[str, float], ...]
    alphas: tuple[tuple[str, float], ...]
    by_root: bool
    has_magnitudes: bool

    def rank_of(self, module: str) -> float:
        """Return the rank of a module's update."""
        return _of_module(self.ranks, module, float(self.rank))

    def scale_of(self, module: str, rank: int) -> float:
        """Return the factor of a module's update of a rank."""
        alpha = _of_module(self.alphas, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.by_root else rank)

    @property
    def is_of_quantised_base(self) -> bool:
        """Whether the base's name says that its weights are quantised."""
        return bool(_QUANTISED_NAME.search(self.base))


def _of_module(patterns: tuple[tuple[str, float], ...], module: str, default: Any) -> Any:
    """Return the value of the first pattern that a module's name is, or ends with."""
    for pattern, value in patterns:
        if module == pattern or module.endswith(f".{pattern}"):
            return value
    return default


def read_adapter_config(path: Path) -> AdapterConfig:
    """Read an adapter's config.

    Raises:
        InputError: every field that asks for what is not implemented, in a single line.
    """
    config = read_config(path)
    faults = _find_config_faults(config)
    patterns = {}
    for name in ("rank_pattern", "alpha_pattern"):
        patterns[name], wrong = _read_pattern(name, config.get(name))
        faults += wrong
    rank, alpha = config.get("r", 8), config.get("lora_alpha", 8)
    if not isinstance(rank, int) or not _is_positive(rank):
        faults.append(f"r={rank!r:.40}, expected a whole number above 0")
    if not _is_positive(alpha):
        faults.append(f"lora_alpha={alpha!r:.40}, expected a number above 0")
    if faults:
        raise InputError(f"{path}: {'; '.join(faults)}")
    return AdapterConfig(
        trained_base(config),
        rank,
        float(alpha),
        patterns["rank_pattern"],
        patterns["alpha_pattern"],
        config.get("use_rslora") is True,
        config.get("use_dora") is True,
    )


def _find_config_faults(config: Mapping[str, Any]) -> list[str]:
    """Return a line for every field that changes the weights in a way not implemented."""
    kind, init = config.get("peft_type"), config.get("init_lora_weights")
    if kind != "LORA":
        return [f"peft_type={kind!r:.40}, expected 'LORA'"]
    faults = []
    if init not in _INITS and not (isinstance(init, str) and init.lower() in _INITS):
        faults.append(
            f"init_lora_weights={init!r:.40} changes the base's weights before training:"
            " save the adapter with path_initial_model_for_weight_conversion, or merge it"
            " with PEFT"
        )
    if config.get("fan_in_fan_out"):
        faults.append("fan_in_fan_out=true, expected kernels as torch.nn.Linear has them")
    for name in ("use_rslora", "use_dora"):
        if not isinstance(config.get(name), bool | None):
            faults.append(f"{name}={config[name]!r:.40}, expected true or false")
    unknown = sorted(
        name
        for name, value in config.items()
        if value and name not in _WITHOUT_EFFECT | _READ | {"fan_in_fan_out"}
    )
    if unknown:
        faults.append(f"fields that are not implemented: {', '.join(unknown)}")
    return faults


def _read_pattern(name: str, value: Any) -> tuple[tuple[tuple[str, float], ...], list[str]]:
    """Return the numbers by the end of a module's name, and a line for every fault."""
    if not isinstance(value or {}, dict):
        return (), [f"{name} is no mapping"]
    pairs = [*(value or {}).items()]
    # PEFT takes the keys for regular expressions, which a hostile file could misuse.
    strange = [key for key, _ in pairs if not re.fullmatch(r"\w+(\.\w+)*", key)]
    wrong = [key for key, number in pairs if not _is_positive(number)]
    faults = []
    if strange:
        faults.append(
            f"{name} has the key {strange[0]!r:.60}, expected names of modules joined by"
            " dots"
        )
    if wrong:
        faults.append(f"{name} of {wrong[0]!r:.60} is not a number above 0")
    if faults:
        return (), faults
    return tuple((key, float(number)) for key, number in pairs), []


def _is_positive(value: Any) -> bool:
    """Return whether a value is a finite number above 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < LARGEST
