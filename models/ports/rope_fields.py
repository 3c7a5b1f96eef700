"""Read base and scaling of rotary positions from the fields of a config.json.

Transformers 4 writes `rope_theta` and `rope_scaling`, transformers 5 `rope_parameters` with
both inside. Older files say `type` for `rope_type`.
"""

import math

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import Fields, say_once
from vidsme_jax.models.layers.rope import RopeConfig

_POSITIONS = 10**9  # more is a mistake
_KINDS = ("default", "linear", "dynamic", "yarn", "llama3")


def read_rope(fields: Fields, head_dim: int) -> RopeConfig:
    """Read base and scaling of rotary positions from fields of transformers 4 or 5.

    Args:
        fields: fields of the language model.
        head_dim: features of a head.

    Raises:
        InputError: another kind of scaling than these, or a number that it cannot have.
    """
    theta = fields.positive("rope_theta", 10000.0)
    where = "rope_parameters" if fields.values.get("rope_parameters") else "rope_scaling"
    if where == "rope_parameters" and fields.values.get("rope_scaling"):
        raise InputError(
            f"{fields.where} has rope_scaling and rope_parameters, expected one of them"
        )
    values = [fields.get(n, dict | None) for n in ("rope_parameters", "rope_scaling")]
    scaling = fields.part(values[0] or values[1] or {}, f"{fields.where}: {where}")
    theta = scaling.positive("rope_theta", theta)
    kind = _read_kind(scaling)
    if kind == "default":
        scaling.seen.add("factor")  # a file may have it, without use
        return RopeConfig(theta)
    if kind == "linear":
        return RopeConfig(theta, kind, scaling.positive("factor"))
    trained = fields.size("max_position_embeddings", most=_POSITIONS)
    if kind == "dynamic":
        scaling.seen.add("original_max_position_embeddings")  # transformers ignores it
        if head_dim < 4:
            raise InputError(f"{scaling.where}: dynamic, expected heads of 4 features")
        say_once(
            f"{scaling.where}: beyond {trained} positions, scores depend on the length of"
            " the whole sequence; compare only runs of the same slices"
        )
        return RopeConfig(theta, kind, scaling.positive("factor"), trained)
    name = "original_max_position_embeddings"
    sizes = [part.optional_size(name, _POSITIONS) for part in (fields, scaling)]
    original = sizes[0] or sizes[1] or trained
    if kind == "yarn":
        return _read_yarn(scaling, theta, trained, original)
    slow, fast = (scaling.positive(f"{name}_freq_factor") for name in ("low", "high"))
    if fast <= slow:
        raise InputError(
            f"{scaling.where}: high_freq_factor={fast}, expected more than"
            f" low_freq_factor={slow}"
        )
    return RopeConfig(theta, kind, scaling.positive("factor"), original, slow, fast)


def _read_kind(scaling: Fields) -> str:
    """Return the kind of scaling; releases differ in which of two names precedes."""
    kinds = {n: scaling.expect(n, _KINDS, "default") for n in ("rope_type", "type")}
    kinds = {n: kind for n, kind in kinds.items() if n in scaling.values}
    if len(set(kinds.values())) > 1:
        raise InputError(f"{scaling.where}: {kinds}, expected the same value twice")
    return next(iter(kinds.values()), "default")


def _read_yarn(scaling: Fields, theta: float, longest: int, original: int) -> RopeConfig:
    """Read YaRN's numbers, with the defaults of transformers.

    Args:
        scaling: fields of the scaling.
        theta: base of the frequencies.
        longest: positions that the model takes.
        original: positions of a sequence before its context was extended.
    """
    factor = scaling.optional_positive("factor") or longest / original
    attention = scaling.optional_positive("attention_factor")
    scales = [scaling.optional_positive(name) for name in ("mscale", "mscale_all_dim")]
    if attention is None:
        above, below = (_mscale(factor, s or 1.0) for s in scales)
        attention = above / below if all(scales) else _mscale(factor, 1.0)
    if theta == 1:
        raise InputError(f"{scaling.where}: rope_theta={theta}, expected more than 1")
    return RopeConfig(
        theta,
        "yarn",
        factor,
        original,
        slow=scaling.optional_positive("beta_slow") or 1.0,
        fast=scaling.optional_positive("beta_fast") or 32.0,
        attention=attention,
        truncate=scaling.get("truncate", bool, True),
    )


def _mscale(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0
