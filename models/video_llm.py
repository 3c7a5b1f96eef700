"""A video LLM of the LLaVA kind: tower, connector, splice into text, decoder.

`make_forward` turns a config into the pure `forward(params, batch)` that scoring uses.
The tower runs once per clip: every frame is encoded by itself, so that the reversed (or
otherwise reordered) clip is the same blocks of embeddings in another order. Where each
embedding stands in the text is the batch's business (`Batch.source`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from vidsme_jax.batch import Batch, Forward, Head, VideoShape
from vidsme_jax.errors import InputError
from vidsme_jax.models.architecture import CodeGrid, Sizes, Stages
from vidsme_jax.models.flops import (
    ClipFlops,
    Share,
    attention_products,
    causal_pairs,
    layer_products,
    projector_products,
    tower_attention_products,
    tower_products,
    uncounted_decoder,
    uncounted_tower,
)
from vidsme_jax.models.layers.connector import Connector, Projector, add_newlines, pool
from vidsme_jax.models.layers.decoder import Decoder, DecoderConfig
from vidsme_jax.models.layers.vision_tower import VisionConfig, VisionTower
from vidsme_jax.models.processor import pixel_levels


@dataclass(frozen=True)
class VideoLLMConfig:
    """Everything that fixes the graph.

    Attributes:
        vision: the tower.
        decoder: the language model.
        connector: between the two.
        vocab_keep: tokens that take part in the softmax; rows beyond are padding.
        mean: of pixel values in 0 to 1, per channel.
        std: their standard deviation, per channel.
        bidirectional: whether the positions of the video see each other, later ones too.
    """

    vision: VisionConfig
    decoder: DecoderConfig
    connector: Connector
    vocab_keep: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bidirectional: bool = False

    def __post_init__(self) -> None:
        """Refuse what would contradict itself."""
        if self.bidirectional and self.decoder.window is not None:
            raise InputError(
                f"window={self.decoder.window} with bidirectional attention over the video,"
                " expected a decoder without a window, or a causal one"
            )

    @property
    def abstract(self) -> dict[str, Any]:
        """Shapes of the parameters, nested dicts."""
        return graph_of(self)[1]

    @property
    def sizes(self) -> Sizes:
        """Sizes to plan with."""
        decoder, side = self.decoder, self.vision.image
        layers = {"decoder": decoder.layers, "tower": self.vision.layers}
        size = (decoder.width, decoder.mlp_width, decoder.vocab, decoder.heads)
        return Sizes(*size, layers, (side, side))

    @property
    def stages(self) -> Stages:
        """The steps of `forward`, apart."""
        return Stages(
            lambda params, pixels: bind(self, params).embed_frames(pixels),
            lambda params, *given: decode_frames(bind(self, params), *given),
            lambda params: bind(self, params).logits,
        )

    @property
    def code_grid(self) -> CodeGrid | None:
        """Where visual codes stand; None where embeddings are no plain grid."""
        kind = self.connector
        if kind.pool == "bilinear" or kind.newline != "none" or kind.class_token:
            return None
        return CodeGrid(kind.side(self.vision.grid), self.vision.patch * kind.stride)

    def video(self, frames: int) -> VideoShape:
        """Return how a clip of so many frames stands in the decoder's sequence."""
        tokens = self.connector.tokens(self.vision.grid)
        return VideoShape(frames, 1, tokens, self.connector.tail)

    def forward(self, natural_only: bool = False) -> Forward:
        """Return the pure function of parameters and batch; see `make_forward`."""
        return make_forward(self, natural_only)

    def clip_flops(self, frames: int, time: int, rows: int, ways: int = 2) -> ClipFlops:
        """Return the operations that one clip cannot do without; see `Architecture`."""
        decoder, vision = self.decoder, self.vision
        embedding = projector_products(self.connector, vision, decoder.width)
        pairs = causal_pairs(time, decoder.window)
        if self.bidirectional:
            video = self.video(frames).length
            pairs += video * (video - 1) // 2
        return ClipFlops(
            vision=2 * frames * (tower_products(vision) + embedding),
            vision_attention=2 * frames * tower_attention_products(vision),
            decoder=2 * ways * time * decoder.layers * layer_products(decoder),
            decoder_attention=2 * ways * attention_products(decoder, pairs),
            head=2 * ways * rows * decoder.width * decoder.vocab,
        )

    def uncounted_flops(self, clips: int, frames: int, time: int, share: Share) -> int:
        """Return attention beyond what a device's compiler counts; see `Architecture`."""
        ways = (2 * clips, time, self.bidirectional)
        return uncounted_tower(self.vision, clips * frames, share) + uncounted_decoder(
            self.decoder, *ways, share
        )


class VideoLLM(nnx.Module):
    """The modules, and the steps between them."""

    def __init__(self, config: VideoLLMConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.tower = VisionTower(config.vision, rngs=rngs)
        self.projector = Projector(config.vision.width, config.decoder.width, rngs=rngs)
        self.decoder = Decoder(config.decoder, rngs=rngs)
        if config.connector.newline != "none":
            normal = nnx.initializers.normal(0.02)
            self.newline = nnx.Param(normal(rngs.params(), (config.decoder.width,)))

    def embed_frames(
        self, pixels: UInt8[Array, "clip frame height width 3"]
    ) -> Float[Array, "clip frame token features"]:
        """Return the embeddings of each frame, projected, pooled, newlines included."""
        connector = self.config.connector
        images = einops.rearrange(pixels, "clip frame ... -> (clip frame) ...")
        dtype = self.tower.positions[...].dtype
        x = self.tower(_normalise(images, self.config).astype(dtype))
        if self.config.vision.clip and not connector.class_token:
            x = x[:, 1:]
        if connector.pool_first:
            x = self.projector(pool(x, connector))
        else:
            x = pool(self.projector(x), connector)
        if connector.newline in ("grid", "frame"):
            x = add_newlines(x, self.newline[...], connector)
        return einops.rearrange(
            x, "(clip frame) ... -> clip frame ...", clip=pixels.shape[0]
        )

    def join_frames(
        self, frames: Float[Array, "*batch frame token features"]
    ) -> Float[Array, "*batch embedding features"]:
        """Return the embeddings of a clip in a row, with those that follow its end."""
        x = einops.rearrange(frames, "... f t d -> ... (f t) d")
        if self.config.connector.tail:
            end = self.newline[...].astype(x.dtype)
            end = jnp.broadcast_to(end, (*x.shape[:-2], 1, x.shape[-1]))
            x = jnp.concatenate([x, end], axis=-2)
        return x

    def merge(
        self,
        video: Float[Array, "sequence embedding features"],
        tokens: Int[Array, "sequence time"],
        source: Int[Array, "sequence time"],
    ) -> Float[Array, "sequence time features"]:
        """Return the embeddings of the text with the video's where `source` has them."""
        text = self.decoder.embed_tokens(tokens)
        number = jnp.maximum(source, 0)[:, :, None]
        placed = jnp.take_along_axis(video.astype(text.dtype), number, axis=1)
        return jnp.where(source[:, :, None] >= 0, placed, text)

    def logits(self, hidden: Float[Array, "... features"]) -> Float[Array, "... vocab"]:
        """Return float32 logits, -inf at the padded entries of the vocabulary."""
        z = self.decoder.logits(hidden)
        entry = jax.lax.broadcasted_iota(jnp.int32, z.shape, z.ndim - 1)
        return jnp.where(entry < self.config.vocab_keep, z, -jnp.inf)


def _both_orders(
    frames: Float[Array, "clip frame token features"], order: Int[Array, "clip frame"]
) -> Float[Array, "clip way frame token features"]:
    """Put the frames in the batch's order beside the natural one."""
    other = jnp.take_along_axis(frames, order[:, :, None, None], axis=1)
    return jnp.stack([frames, other], axis=1)


def _normalise(
    images: UInt8[Array, "image height width 3"], config: VideoLLMConfig
) -> Float[Array, "image height width 3"]:
    """Look the normalised value of each level up, with the image processor's rounding."""
    table = jnp.asarray(pixel_levels(config.mean, config.std).reshape(-1))
    channel = np.arange(3, dtype=np.int32).reshape(1, 1, 1, 3) * 256
    return table[images.astype(jnp.int32) + channel]


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
) -> Callable[[dict, Batch], tuple[Array, Head, Array]]:
    """Return forward(params, batch) -> (hidden [clip way time width], head, embedding).

    The embedding [clip width] is the mean of those of the clip's frames, as they enter the
    decoder.

    Args:
        config: of the graph.
        natural_only: leave the reversed direction out, for training; one way remains.
    """

    def forward(params: dict, batch: Batch) -> tuple[Array, Head, Array]:
        model = bind(config, params)
        with jax.named_scope("vision"):
            frames = model.embed_frames(batch.pixels)
        with jax.named_scope("decoder"):
            hidden = decode_frames(model, frames, batch, natural_only)
        return hidden, model.logits, jnp.mean(frames.astype(jnp.float32), axis=(1, 2))

    return forward


def decode_frames(
    model: VideoLLM,
    frames: Float[Array, "clip frame token features"],
    batch: Batch,
    natural_only: bool = False,
) -> Float[Array, "clip way time width"]:
    """Return the hidden states of each clip's text with the embedded frames in place.

    Args:
        model: bound to its parameters.
        frames: from `embed_frames`.
        batch: their text, and the order of way 1.
        natural_only: see `make_forward`.
    """
    ways = 1 if natural_only else 2
    shown = frames[:, None] if natural_only else _both_orders(frames, batch.order)
    video = einops.rearrange(model.join_frames(shown), "clip way p d -> (clip way) p d")
    tokens, source, positions = (
        jnp.repeat(x, ways, axis=0) for x in (batch.tokens, batch.source, batch.positions)
    )
    merged = model.merge(video, tokens, source)
    # Of the video all positions are one block.
    blocks = (source >= 0).astype(jnp.int32) if model.config.bidirectional else None
    hidden = model.decoder(merged, positions, blocks)
    return einops.rearrange(hidden, "(clip way) t d -> clip way t d", way=ways)
