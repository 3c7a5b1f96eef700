"""Fine-tune a model on known members, so that there are memories to detect.

All weights learn by AdamW under a warm-up and cosine schedule. The target is the next token
of the answer and, where codes are requested, the visual code of the next video position.
That code is the mean colour of its pixels in four levels a channel, 64 codes in all. A few
steps run inside one `lax.scan`, and the host gathers the clips of the next few meanwhile.
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

from vidsme_jax.batch import NATURAL, Batch, Forward
from vidsme_jax.errors import check_counts, check_rates

LEVELS = 4  # of each colour channel in a visual code
_STEPS_A_CALL = 10  # of the device


@dataclass(frozen=True)
class Recipe:
    """How a model is optimised.

    Attributes:
        steps: number of optimiser steps.
        batch: clips of a step.
        learning_rate: peak of the learning rate.
        warmup: share of the steps over which the learning rate rises.
        clip_norm: global norm that gradients are clipped to.
        seed: seed of the order of the clips.
    """

    steps: int = 240
    batch: int = 8
    learning_rate: float = 1e-5
    warmup: float = 0.03
    clip_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that no optimiser can have."""
        check_counts(self, "steps", "batch")
        check_rates(self, "learning_rate", "warmup", "clip_norm", "seed")


class TrainBatch(NamedTuple):
    """The clips that a step learns from.

    Attributes:
        batch: the batch as for scoring, with a true target wherever a weight is not zero.
        weights: weight of each row's loss; they sum to 1 over an objective of a clip.
    """

    batch: Batch
    weights: Float[Array, "clip row"]


def visual_codes(
    pixels: UInt8[np.ndarray, "*batch height width 3"], grid: int, area: int
) -> Int[np.ndarray, "*batch token"]:
    """Return the visual code, 0 to 63, of each pooled position, row by row.

    Args:
        pixels: frames as the vision tower gets them.
        grid: pooled positions along a side of a frame.
        area: side of the square of pixels that a position stands for.
    """
    square = pixels[..., : grid * area, : grid * area, :].astype(np.float32)
    mean = einops.reduce(square, "... (y h) (x w) c -> ... (y x) c", "mean", h=area, w=area)
    level = (mean * LEVELS / 256).astype(np.int32)
    return level @ np.array([LEVELS**2, LEVELS, 1], np.int32)


def token_loss(params: Any, forward: Forward, batch: TrainBatch) -> Float[Array, ""]:
    """Return the weighted next-token cross-entropy of the rows, in nats, mean over clips.

    Only the natural direction is trained on: way 0 of what `forward` returns.
    """
    scored, weights = batch
    hidden, head, *_ = forward(params, scored)
    rows = jnp.take_along_axis(hidden[:, NATURAL], scored.rows[:, :, None], axis=1)
    targets = jnp.maximum(scored.targets, 0)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(head(rows), targets)
    return jnp.mean(jnp.sum(jnp.where(weights > 0, weights * losses, 0), axis=1))


def fit(
    params: Any,
    forward: Forward,
    gather: Callable[[Int[np.ndarray, "clip"]], TrainBatch],
    count: int,
    recipe: Recipe,
    watch: Callable[[range], Iterable[int]] = iter,
) -> tuple[Any, Float[np.ndarray, "step"]]:
    """Train a model; return its parameters and the loss of every step.

    Args:
        params: start values, on one device.
        forward: pure function of parameters and batch; only its natural way is used.
        gather: makes the host arrays of a step from the numbers of its clips.
        count: number of clips; each epoch takes all in a new random order.
        recipe: how to train.
        watch: wraps the first step of each call of the device, to show progress.
    """
    optimizer = make_optimizer(recipe)
    # Where the first step will leave it, or the second would be compiled anew.
    here = jax.tree.leaves(params)[0].sharding
    state, losses = jax.jit(optimizer.init, out_shardings=here)(params), []
    order = _order(count, recipe)
    for first in watch(range(0, recipe.steps, _STEPS_A_CALL)):
        chosen = order[first : first + _STEPS_A_CALL]
        batches = [gather(numbers) for numbers in chosen]
        stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
        params, state, loss = _run_steps(
            params, state, stacked, forward=forward, recipe=recipe
        )
        losses.append(np.asarray(jax.device_get(loss)))
    return params, np.concatenate(losses)


@lru_cache
def make_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Return AdamW without weight decay, with clipped gradients, warm-up and cosine."""
    warmup = max(1, round(recipe.warmup * recipe.steps))
    rate = optax.warmup_cosine_decay_schedule(
        0.0, recipe.learning_rate, warmup, max(recipe.steps, warmup + 1)
    )
    clip = optax.clip_by_global_norm(recipe.clip_norm)
    return optax.chain(clip, optax.adamw(rate, weight_decay=0.0))


@partial(jax.jit, static_argnames=("forward", "recipe"), donate_argnums=(0, 1))
def _run_steps(params, state, batches, forward, recipe):
    """Take a step for each of the stacked batches; return parameters, state and losses."""
    optimizer = make_optimizer(recipe)

    def step(carry, batch):
        params, state = carry
        loss, gradient = jax.value_and_grad(token_loss)(params, forward, batch)
        # optax mixes its int32 step count with floats, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), loss

    (params, state), losses = jax.lax.scan(step, (params, state), batches)
    return params, state, losses


def _order(count: int, recipe: Recipe) -> Int[np.ndarray, "step clip"]:
    """Return the numbers of each step's clips: epochs in random order, in turn."""
    rng = np.random.default_rng(recipe.seed)
    needed = recipe.steps * recipe.batch
    epochs = [rng.permutation(count) for _ in range(-(-needed // count))]
    return np.concatenate(epochs)[:needed].reshape(recipe.steps, recipe.batch)
