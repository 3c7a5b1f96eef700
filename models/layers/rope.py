"""Rotary positions: heads are rotated by angles that grow with the position.

The kinds of scaling stretch the positions that a model was trained on. Each is computed as
`modeling_rope_utils.py` of transformers 5.24 does.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


@dataclass(frozen=True)
class RopeConfig:
    """How rotary angles follow from positions.

    Attributes:
        theta: base of the angles' frequencies.
        kind: scaling of the frequencies: default (none), linear, dynamic, yarn or llama3.
        factor: by how much positions are stretched; linear divides by it.
        trained: positions of a sequence in training, for dynamic, yarn and llama3.
        slow: turns within the trained positions below which a frequency is divided by the
            factor (yarn: beta_slow, llama3: low_freq_factor).
        fast: turns above which it stays (yarn: beta_fast, llama3: high_freq_factor).
        attention: factor of cosines and sines (yarn: attention_factor).
        truncate: whether yarn rounds the bounds of the frequencies that it changes in part.
    """

    theta: float
    kind: str = "default"
    factor: float = 1.0
    trained: int = 0
    slow: float = 1.0
    fast: float = 1.0
    attention: float = 1.0
    truncate: bool = True


class Rotation(NamedTuple):
    """The angles by which rotary embedding rotates a head at each position.

    Attributes:
        cos: cosine of each angle.
        sin: sine of each angle.
    """

    cos: Float[Array, "batch time half"]
    sin: Float[Array, "batch time half"]


def rope(
    positions: Int[Array, "batch axis time"],
    config: RopeConfig,
    head_dim: int,
    dtype: Any,
) -> Rotation:
    """Return the rotary angles of each position as cosines and sines in `dtype`.

    These decoders use one axis of positions, the first. Angles are computed in float32,
    once for all layers.
    """
    places = positions[:, 0]
    frequency = frequencies(config, head_dim, places.max(axis=-1, keepdims=True) + 1)
    angles = places[:, :, None].astype(jnp.float32) * frequency[:, None, :]
    scaled = (wave(angles) * config.attention for wave in (jnp.cos, jnp.sin))
    return Rotation(*(values.astype(dtype) for values in scaled))


def frequencies(
    config: RopeConfig, head_dim: int, length: Int[Array, "batch 1"]
) -> Float[Array, "_ half"]:
    """Return the angle between neighbouring positions, for each pair of features.

    Args:
        config: base and scaling.
        head_dim: features of a head.
        length: positions of each sequence, on which dynamic scaling depends.
    """
    exponents = jnp.arange(0, head_dim, 2, dtype=jnp.float32)[None] / head_dim
    if config.kind == "dynamic":
        return 1.0 / _stretched_theta(config, head_dim, length) ** exponents
    plain = 1.0 / config.theta**exponents
    if config.kind not in ("yarn", "llama3"):
        return plain / config.factor
    if config.kind == "yarn":
        kept = jnp.asarray(_kept_by_yarn(config, head_dim))[None]
    else:
        kept = _kept_by_llama3(config, plain)
    return plain / config.factor * (1 - kept) + plain * kept


def _stretched_theta(
    config: RopeConfig, head_dim: int, length: Int[Array, "batch 1"]
) -> Float[Array, "batch 1"]:
    """Return the base that dynamic scaling takes for sequences of these lengths.

    Source: reddit.com/r/LocalLLaMA/comments/14mrgpr (dynamic NTK-aware scaling).
    """
    longest = jnp.maximum(length, config.trained).astype(jnp.float32)
    stretch = config.factor * longest / config.trained - (config.factor - 1)
    return config.theta * stretch ** (head_dim / (head_dim - 2))


def _kept_by_yarn(config: RopeConfig, head_dim: int) -> Float[np.ndarray, "half"]:
    """Return by how much each frequency stays: 1 as it is, 0 divided by the factor.

    Source: arXiv 2309.00071, section 3.2.
    """

    def feature(turns: float) -> float:
        return (
            head_dim
            * math.log(config.trained / (turns * 2 * math.pi))
            / (2 * math.log(config.theta))
        )

    low, high = feature(config.fast), feature(config.slow)
    if config.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    if low == high:
        high += 0.001
    ramp = (np.arange(head_dim // 2, dtype=np.float32) - low) / (high - low)
    return 1 - np.clip(ramp, 0, 1).astype(np.float32)


def _kept_by_llama3(
    config: RopeConfig, plain: Float[Array, "1 half"]
) -> Float[Array, "1 half"]:
    """Return by how much each frequency stays: 1 as it is, 0 divided by the factor.

    Source: Llama 3.1's reference code, `apply_scaling`.
    """
    turns = config.trained * plain / (2 * math.pi)
    return jnp.clip((turns - config.slow) / (config.fast - config.slow), 0, 1)


def rotate(
    x: Float[Array, "batch time heads head_dim"], rotation: Rotation
) -> Float[Array, "batch time heads head_dim"]:
    """Rotate the two halves of each head by the angles of its position.

    Source: arXiv 2104.09864, in the half-split order of Hugging Face checkpoints.
    """
    cos, sin = (values[:, :, None, :] for values in rotation)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate(
        [first * cos - second * sin, second * cos + first * sin], axis=-1
    )
