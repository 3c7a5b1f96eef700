"""A video LLM of the LLaVA kind: tower, projector, pooling, splice into text, decoder.

`make_forward` turns a config into the pure `forward(params, batch)` that scoring uses:
the tower runs once per clip, and the reversed clip is the same frame blocks in opposite
order, since every frame is encoded by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from vidsme_jax.loading import Rule
from vidsme_jax.models.decoder import Decoder, DecoderConfig
from vidsme_jax.models.vision_tower import VisionConfig, VisionTower
from vidsme_jax.scoring import Batch, Head


@dataclass(frozen=True)
class VideoLLMConfig:
    """Everything that fixes the graph.

    Attributes:
        vision: the tower.
        decoder: the language model.
        pool: side of the square of patches averaged into one embedding.
        vocab_keep: tokens that take part in the softmax; rows beyond are padding.
        mean: of pixel values in 0 to 1, per channel.
        std: likewise.
    """

    vision: VisionConfig
    decoder: DecoderConfig
    pool: int
    vocab_keep: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def grid(self) -> int:
        """Embeddings along a side of a frame, after pooling."""
        return self.vision.grid // self.pool

    @property
    def tokens_per_frame(self) -> int:
        """Embeddings of one frame in the decoder's sequence."""
        return self.grid**2


class VideoLLM(nnx.Module):
    """The modules, and the steps between them."""

    def __init__(self, config: VideoLLMConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.tower = VisionTower(config.vision, rngs=rngs)
        self.projector = Projector(config.vision.width, config.decoder.width, rngs=rngs)
        self.decoder = Decoder(config.decoder, rngs=rngs)

    def embed_frames(
        self, pixels: UInt8[Array, "clip frame height width 3"]
    ) -> Float[Array, "clip frame token features"]:
        """Return the projected and pooled embeddings of each frame."""
        images = einops.rearrange(pixels, "clip frame ... -> (clip frame) ...")
        dtype = self.tower.positions[...].dtype
        features = self.tower(_normalise(images, self.config).astype(dtype))
        pooled = average_pool(
            self.projector(features), self.config.vision.grid, self.config.pool
        )
        return einops.rearrange(
            pooled, "(clip frame) ... -> clip frame ...", clip=pixels.shape[0]
        )

    def hidden(
        self,
        video: Float[Array, "sequence position features"],
        tokens: Int[Array, "sequence time"],
        start: Int[Array, "sequence"],
    ) -> Float[Array, "sequence time features"]:
        """Return the decoder's hidden states of text with video spliced in at `start`."""
        text = self.decoder.embed(tokens)
        place = jax.vmap(
            lambda into, part, at: jax.lax.dynamic_update_slice(into, part, (at, 0 * at))
        )
        return self.decoder(place(text, video.astype(text.dtype), start))

    def logits(self, hidden: Float[Array, "... features"]) -> Float[Array, "... vocab"]:
        """Return float32 logits, -inf at the padded entries of the vocabulary."""
        z = self.decoder.logits(hidden)
        entry = jax.lax.broadcasted_iota(jnp.int32, z.shape, z.ndim - 1)
        return jnp.where(entry < self.config.vocab_keep, z, -jnp.inf)


class Projector(nnx.Module):
    """Two linear maps with the exact GELU between them (mlp2x_gelu)."""

    def __init__(self, inner: int, outer: int, *, rngs: nnx.Rngs):
        self.first = nnx.Linear(inner, outer, rngs=rngs)
        self.second = nnx.Linear(outer, outer, rngs=rngs)

    def __call__(self, x: Float[Array, "... inner"]) -> Float[Array, "... outer"]:
        """Return patch features in the decoder's width."""
        return self.second(jax.nn.gelu(self.first(x), approximate=False))


def average_pool(
    x: Float[Array, "image patch features"], grid: int, size: int
) -> Float[Array, "image token features"]:
    """Average squares of `size` by `size` patches; an odd rest at the edge is dropped."""
    kept = grid // size * size
    x = einops.rearrange(x, "n (y x) d -> n y x d", y=grid)[:, :kept, :kept]
    # Averaged in float32, whatever the weights are.
    out = einops.reduce(
        x.astype(jnp.float32), "n (y h) (x w) d -> n (y x) d", "mean", h=size, w=size
    )
    return out.astype(x.dtype)


def _normalise(
    images: UInt8[Array, "image height width 3"], config: VideoLLMConfig
) -> Float[Array, "image height width 3"]:
    """Look the normalised value of each level up, with the image processor's rounding."""
    table = jnp.asarray(pixel_levels(config.mean, config.std).reshape(-1))
    channel = np.arange(3, dtype=np.int32).reshape(1, 1, 1, 3) * 256
    return table[images.astype(jnp.int32) + channel]


def pixel_levels(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[np.ndarray, "3 256"]:
    """Return the value of each uint8 level in each channel after the image processor.

    float32, bit-equal to the Pillow processors of transformers, which rescale by 1/255 in
    float64, round, and then normalise in float32. A table of 768 numbers on the device
    lets clips travel as uint8, a quarter of the bytes.
    """
    scaled = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
    return (scaled[None] - np.array(mean, np.float32)[:, None]) / np.array(std, np.float32)[
        :, None
    ]


@lru_cache
def graph_of(config: VideoLLMConfig) -> tuple[nnx.GraphDef, dict]:
    """Return the module's structure and its abstract parameters, a nested dict."""
    model = nnx.eval_shape(lambda: VideoLLM(config, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)
    return graph, nnx.to_pure_dict(state)


def bind(config: VideoLLMConfig, params: dict) -> VideoLLM:
    """Return the module with the given parameters."""
    return nnx.merge(graph_of(config)[0], nnx.State(params))


@lru_cache  # one function per config: equal models then share their compiled programs
def make_forward(
    config: VideoLLMConfig, natural_only: bool = False
) -> Callable[[dict, Batch], tuple[Array, Head]]:
    """Return forward(params, batch) -> (hidden [clip way time width], head).

    Args:
        config: of the graph.
        natural_only: leave the reversed direction out, for training; one way remains.
    """
    ways = 1 if natural_only else 2

    def forward(params: dict, batch: Batch) -> tuple[Array, Head]:
        model = bind(config, params)
        natural = model.embed_frames(batch.pixels)
        video = jnp.stack([natural, jnp.flip(natural, axis=1)][:ways], axis=1)
        hidden = model.hidden(
            einops.rearrange(video, "clip way f t d -> (clip way) (f t) d"),
            jnp.repeat(batch.tokens, ways, axis=0),
            jnp.repeat(batch.start, ways, axis=0),
        )
        hidden = einops.rearrange(hidden, "(clip way) t d -> clip way t d", way=ways)
        return hidden, model.logits

    return forward


def projector_rules(first: str, second: str) -> tuple[Rule, ...]:
    """Return the rule table of the projector, given the keys of its two layers."""
    return tuple(
        rule
        for key, path in ((first, "projector.first"), (second, "projector.second"))
        for rule in (
            Rule.linear(key + ".weight", path + ".kernel"),
            Rule(key + ".bias", path + ".bias"),
        )
    )
