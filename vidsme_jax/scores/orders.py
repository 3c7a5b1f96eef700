"""The entropy orders q and r of a clip, from its motion and its illumination change.

    q = 1 + beta1 (max v - v) / (max v - min v)        v: motion, fast clips get low q
    r = 1 + beta2 (b - min b) / (max b - min b)        b: illumination change

The ranges are over a set of clips, as in the published code (arXiv 2506.03179; the
standard scaling that comes first there cancels out). A `Calibration` keeps them, so that
a single clip or a shard can be scored with the ranges of an earlier set.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Calibration:
    """The ranges of motion and illumination that determine q and r.

    Attributes:
        motion_min: smallest motion of the set, square pixels.
        motion_max: largest motion of the set, square pixels.
        illumination_min: smallest illumination change of the set, gray levels.
        illumination_max: largest illumination change of the set, gray levels.
        beta1: width of the range of q, which starts at 1.
        beta2: width of the range of r, which starts at 1.
    """

    motion_min: float
    motion_max: float
    illumination_min: float
    illumination_max: float
    beta1: float = 1.0
    beta2: float = 0.1

    def __post_init__(self):
        for name, value in asdict(self).items():
            if not math.isfinite(value):
                raise ValueError(f"{name}={value!r}, expected a finite number")
        for name in ("motion", "illumination"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if low > high:
                raise ValueError(f"{name}_min={low} exceeds {name}_max={high}")


def calibrate(
    motions: Float[np.ndarray, "clip"],
    illuminations: Float[np.ndarray, "clip"],
    beta1: float = 1.0,
    beta2: float = 0.1,
) -> Calibration:
    """Return the calibration over a set of clips; warn where a statistic is constant.

    Args:
        motions: motion of each clip, square pixels.
        illuminations: illumination change of each clip, gray levels.
        beta1: width of the range of q.
        beta2: width of the range of r.

    Raises:
        ValueError: no clips.
    """
    if len(motions) == 0:
        raise ValueError("no clip to calibrate on, expected at least one")
    for name, values in (("motion", motions), ("illumination", illuminations)):
        if np.min(values) == np.max(values):
            warnings.warn(
                f"{name} is {values[0]:.6g} for all {len(values)} clips: the order that"
                " depends on it takes the middle of its range",
                stacklevel=2,
            )
    return Calibration(
        float(np.min(motions)),
        float(np.max(motions)),
        float(np.min(illuminations)),
        float(np.max(illuminations)),
        beta1,
        beta2,
    )


@dataclass(frozen=True)
class EntropyOrders:
    """A way to choose q and r of a clip: adaptive, as published, unless they are fixed.

    Attributes:
        beta1: width of the range of an adaptive q.
        beta2: width of the range of an adaptive r.
        q: fixed order for all clips; None makes q adaptive.
        r: fixed degree for all clips; None makes r adaptive.
        tied: whether r equals q, adaptive or fixed, as in the Tsallis entropy.
    """

    beta1: float = 1.0
    beta2: float = 0.1
    q: float | None = None
    r: float | None = None
    tied: bool = False

    @property
    def q_key(self) -> str:
        """Name what decides q."""
        return f"adaptive {self.beta1:g}" if self.q is None else f"fixed {self.q:g}"

    @property
    def r_key(self) -> str:
        """Name what decides r."""
        if self.tied:
            return f"q, {self.q_key}"
        return f"adaptive {self.beta2:g}" if self.r is None else f"fixed {self.r:g}"

    def of_clips(
        self,
        calibration: Calibration,
        motions: Float[np.ndarray, "clip"],
        illuminations: Float[np.ndarray, "clip"],
    ) -> tuple[Float[np.ndarray, "clip"], Float[np.ndarray, "clip"]]:
        """Return q and r of each clip under a calibration's ranges, not its betas."""
        ranges = replace(calibration, beta1=self.beta1, beta2=self.beta2)
        q, r = orders(ranges, motions, illuminations)
        q = q if self.q is None else np.full_like(q, self.q)
        return q, q if self.tied else r if self.r is None else np.full_like(r, self.r)


def distinct_orders(
    variants: Sequence[EntropyOrders],
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Return which variants give the distinct q, which the distinct r, and the pairs.

    Returns:
        Numbers of the variants with a new q; numbers of those with a new r; for every
        variant, the places of its q and its r among them.
    """
    q_keys, r_keys = [v.q_key for v in variants], [v.r_key for v in variants]
    first_q, first_r = dict.fromkeys(q_keys), dict.fromkeys(r_keys)
    place_q, place_r = list(first_q), list(first_r)
    pairs = [
        (place_q.index(q), place_r.index(r)) for q, r in zip(q_keys, r_keys, strict=True)
    ]
    return (
        tuple(q_keys.index(key) for key in place_q),
        tuple(r_keys.index(key) for key in place_r),
        tuple(pairs),
    )


def orders(
    calibration: Calibration,
    motions: Float[np.ndarray, "clip"],
    illuminations: Float[np.ndarray, "clip"],
) -> tuple[Float[np.ndarray, "clip"], Float[np.ndarray, "clip"]]:
    """Return q and r of each clip; values outside the calibrated ranges are clipped."""
    c = calibration
    high_motion = _position(motions, c.motion_min, c.motion_max)
    high_light = _position(illuminations, c.illumination_min, c.illumination_max)
    return 1 + c.beta1 * (1 - high_motion), 1 + c.beta2 * high_light


def _position(values, low, high):
    """Map [low, high] to [0, 1]; the middle where the range is a single point."""
    if low == high:
        return np.full_like(values, 0.5)
    return np.clip((values - low) / (high - low), 0, 1)
