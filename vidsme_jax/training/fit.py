"""Fine-tune a model on known members, so that there is something known to detect.

Full fine-tuning with AdamW under a warm-up and cosine schedule, on the next token of the
answer and, if asked, on the visual code of the next video position: the mean colour of
its pixels in four levels a channel, 64 codes in all. Steps run inside one `lax.scan`, and
the host gathers the samples of the next few while the device works.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import einops
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8

from vidsme_jax.batch import Batch, Forward

LEVELS = 4  # of each colour channel in a visual code
_SCANNED = 10  # steps per call of the device


@dataclass(frozen=True)
class Recipe:
    """How a model is optimised.

    Attributes:
        steps: optimiser steps.
        batch: clips a step.
        learning_rate: its peak.
        warmup: share of the steps that the learning rate rises.
        clip_norm: global norm that gradients are clipped to.
        seed: of the order of the samples.
    """

    steps: int = 240
    batch: int = 8
    learning_rate: float = 1e-5
    warmup: float = 0.03
    clip_norm: float = 1.0
    seed: int = 0


class Sample(NamedTuple):
    """What a step learns from.

    Attributes:
        batch: as for scoring, with a true target wherever a weight is not zero.
        weights: of each row's loss; they sum to one for each objective of a clip.
    """

    batch: Batch
    weights: Float[Array, "clip row"]


def visual_codes(
    pixels: UInt8[np.ndarray, "*batch height width 3"], grid: int, area: int
) -> Int[np.ndarray, "*batch token"]:
    """Return the visual code, 0 to 63, of each pooled position, row by row.

    Args:
        pixels: frames as the vision tower gets them.
        grid: positions along a side.
        area: side of the square of pixels behind a position.
    """
    kept = pixels[..., : grid * area, : grid * area, :].astype(np.float32)
    mean = einops.reduce(kept, "... (y h) (x w) c -> ... (y x) c", "mean", h=area, w=area)
    level = (mean * LEVELS / 256).astype(np.int32)
    return level @ np.array([LEVELS**2, LEVELS, 1], np.int32)


def token_loss(params: Any, forward: Forward, sample: Sample) -> Float[Array, ""]:
    """Return the weighted next-token cross-entropy over the rows, nats, mean over clips.

    Only the natural direction is trained on: way 0 of what `forward` returns.
    """
    batch, weights = sample
    hidden, head, *_ = forward(params, batch)
    rows = jnp.take_along_axis(hidden[:, 0], batch.rows[:, :, None], axis=1)
    targets = jnp.maximum(batch.targets, 0)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(head(rows), targets)
    return jnp.mean(jnp.sum(jnp.where(weights > 0, weights * losses, 0), axis=1))


def fit(
    params: Any,
    forward: Forward,
    gather: Callable[[Int[np.ndarray, "clip"]], Sample],
    count: int,
    recipe: Recipe,
    watch: Callable[[range], Iterable[int]] = iter,
) -> tuple[Any, Float[np.ndarray, "step"]]:
    """Train; return the parameters and the loss of every step.

    Args:
        params: start values, on one device.
        forward: pure; only way 0 is used.
        gather: from sample numbers to their arrays, on the host.
        count: number of samples; each epoch takes all in a new random order.
        recipe: how to train.
        watch: passes the first step of each call of the device on, to show progress.
    """
    optimizer = make_optimizer(recipe)
    # Where the first step will leave it, or the second would be compiled anew.
    here = jax.tree.leaves(params)[0].sharding
    state, losses = jax.jit(optimizer.init, out_shardings=here)(params), []
    order = _order(count, recipe)
    for first in watch(range(0, recipe.steps, _SCANNED)):
        chosen = order[first : first + _SCANNED]
        samples = [gather(numbers) for numbers in chosen]
        stacked = jax.tree.map(lambda *x: np.stack(x), *samples)
        params, state, loss = _run_steps(
            params, state, stacked, forward=forward, recipe=recipe
        )
        losses.append(np.asarray(jax.device_get(loss)))
    return params, np.concatenate(losses)


@lru_cache
def make_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Return AdamW without weight decay behind clipping, warm-up and cosine."""
    warmup = max(1, round(recipe.warmup * recipe.steps))
    rate = optax.warmup_cosine_decay_schedule(
        0.0, recipe.learning_rate, warmup, max(recipe.steps, warmup + 1)
    )
    clip = optax.clip_by_global_norm(recipe.clip_norm)
    return optax.chain(clip, optax.adamw(rate, weight_decay=0.0))


@partial(jax.jit, static_argnames=("forward", "recipe"), donate_argnums=(0, 1))
def _run_steps(params, state, samples, forward, recipe):
    optimizer = make_optimizer(recipe)

    def step(carry, sample):
        params, state = carry
        loss, gradient = jax.value_and_grad(token_loss)(params, forward, sample)
        # optax mixes its int32 step count with floats, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), loss

    (params, state), losses = jax.lax.scan(step, (params, state), samples)
    return params, state, losses


def _order(count: int, recipe: Recipe) -> Int[np.ndarray, "step clip"]:
    """Return the samples of each step: epochs in random order, one after the other."""
    rng = np.random.default_rng(recipe.seed)
    needed = recipe.steps * recipe.batch
    epochs = [rng.permutation(count) for _ in range(-(-needed // count))]
    return np.concatenate(epochs)[:needed].reshape(recipe.steps, recipe.batch)
