"""From a tower's features to embeddings in the decoder's sequence: MLP, pooling, newlines.

The members of the LLaVA family differ in three ways: the order of MLP and pooling, the kind
of pooling, and the places of the learned newline embedding. All variants are here.
"""

import math
from dataclasses import dataclass

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vidsme_jax.models.checkpoints.rules import Rule


@dataclass(frozen=True)
class Connector:
    """How a frame's features become embeddings.

    Attributes:
        pool: "none", "average" or "bilinear". Average pooling drops patches at the edge
            that do not fill a square, bilinear pooling rounds up.
        stride: patches along a side of a pooled square.
        pool_first: whether pooling comes before the MLP, not after it.
        newline: where newline embeddings stand: "none", "grid" after each row of the
            grid, "frame" after each frame, or "end" once after the last frame.
        class_token: whether the class token's feature stays, before those of the patches.
    """

    pool: str = "none"
    stride: int = 1
    pool_first: bool = False
    newline: str = "none"
    class_token: bool = False

    def side(self, grid: int) -> int:
        """Return how many pooled embeddings lie along a side of grid x grid patches."""
        if self.pool == "bilinear":
            return math.ceil(grid / self.stride)
        return grid // self.stride if self.pool == "average" else grid

    def tokens(self, grid: int) -> int:
        """Return how many embeddings a frame of grid x grid patches has, with newlines."""
        side = self.side(grid)
        newlines = {"grid": side, "frame": 1}.get(self.newline, 0)
        return side * side + newlines + self.class_token

    @property
    def tail(self) -> int:
        """The number of embeddings after the last frame."""
        return int(self.newline == "end")


class Projector(nnx.Module):
    """Two linear maps with the exact GELU between them (mlp2x_gelu)."""

    def __init__(self, inner: int, outer: int, *, rngs: nnx.Rngs):
        self.first = nnx.Linear(inner, outer, rngs=rngs)
        self.second = nnx.Linear(outer, outer, rngs=rngs)

    def __call__(self, x: Float[Array, "... inner"]) -> Float[Array, "... outer"]:
        """Map features of the tower to features of the decoder's width."""
        return self.second(jax.nn.gelu(self.first(x), approximate=False))


def pool(
    x: Float[Array, "image patch features"], config: Connector
) -> Float[Array, "image token features"]:
    """Pool the square grid of patches in float32, whatever the type of the weights."""
    if config.pool == "none":
        return x
    grid = math.isqrt(x.shape[1])
    squares = einops.rearrange(x, "n (y x) d -> n y x d", y=grid).astype(jnp.float32)
    if config.pool == "average":
        squares = _average(squares, config.stride)
    else:
        squares = _bilinear(squares, config.side(grid))
    return einops.rearrange(squares, "n y x d -> n (y x) d").astype(x.dtype)


def _average(
    x: Float[Array, "image height width features"], stride: int
) -> Float[Array, "image rows columns features"]:
    kept = x.shape[1] // stride * stride
    return einops.reduce(
        x[:, :kept, :kept], "n (y h) (x w) d -> n y x d", "mean", h=stride, w=stride
    )


def _bilinear(
    x: Float[Array, "image height width features"], side: int
) -> Float[Array, "image rows columns features"]:
    """Interpolate the four nearest patches at the centres of side x side cells."""
    shape = (x.shape[0], side, side, x.shape[3])
    # Without antialias: the models were trained with the plain four-neighbour form.
    return jax.image.resize(x, shape, "bilinear", antialias=False)


def add_newlines(
    x: Float[Array, "image token features"],
    newline: Float[Array, "features"],
    config: Connector,
) -> Float[Array, "image with_newlines features"]:
    """Put the newline embedding after each row of the grid, or after each frame."""
    rows = {"grid": math.isqrt(x.shape[1]), "frame": 1}[config.newline]
    x = einops.rearrange(x, "n (y x) d -> n y x d", y=rows)
    ends = jnp.broadcast_to(newline.astype(x.dtype), (*x.shape[:2], 1, x.shape[3]))
    return einops.rearrange(jnp.concatenate([x, ends], axis=2), "n y x d -> n (y x) d")


def projector_rules(first: str, second: str) -> tuple[Rule, ...]:
    """Return the rule table of the projector from the keys of its two layers."""
    return tuple(
        rule
        for key, path in ((first, "projector.first"), (second, "projector.second"))
        for rule in (
            Rule.linear(key + ".weight", path + ".kernel"),
            Rule(key + ".bias", path + ".bias"),
        )
    )
