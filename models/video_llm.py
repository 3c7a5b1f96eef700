"""A video LLM of the LLaVA kind: tower, connector, splice into text, decoder.

`make_forward` turns a config into the pure `forward(params, batch)` that scoring uses.
The tower runs once per clip, since every frame is encoded by itself. A reversed or shuffled
clip has the same embeddings in another order of frames. The batch decides where each
embedding stands in the text (`Batch.source`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
    """The sizes and options that decide a model's functions and parameter shapes.

    Attributes:
        vision: sizes of the vision tower.
        decoder: sizes of the language model.
        connector: pooling and newlines between the two.
        vocab_keep: entries of the head that take part in the softmax; the rest is padding.
        mean: mean of pixel values in 0 to 1, per channel.
        std: standard deviation of pixel values in 0 to 1, per channel.
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
        """Refuse a window together with bidirectional attention."""
        if self.bidirectional and self.decoder.window is not None:
            raise InputError(
                f"window={self.decoder.window} with bidirectional attention over the video,"
                " expected a decoder without a window, or a causal one"
            )

    @property
    def abstract(self) -> dict[str, Any]:
        """The shapes and types of the parameters, as nested dicts."""
        return graph_of(self)[1]

    @property
    def sizes(self) -> Sizes:
        """The sizes from which placement and cost are planned."""
        decoder, side = self.decoder, self.vision.image
        layers = {"decoder": decoder.layers, "tower": self.vision.layers}
        size = (decoder.width, decoder.mlp_width, decoder.vocab, decoder.heads)
        return Sizes(*size, layers, (side, side))

    @property
    def stages(self) -> Stages:
        """The steps of `forward` as separate functions."""
        return Stages(
            lambda params, pixels: bind(self, params).embed_frames(pixels),
            lambda params, *inputs: decode_frames(bind(self, params), *inputs),
            lambda params: bind(self, params).logits,
        )

    @property
    def code_grid(self) -> CodeGrid | None:
        """The grid of visual codes; None where a frame's embeddings are no plain grid."""
        connector, vision = self.connector, self.vision
        has_newlines = connector.newline != "none"
        if connector.pool == "bilinear" or has_newlines or connector.class_token:
            return None
        return CodeGrid(connector.side(vision.grid), vision.patch * connector.stride)

    def with_vocab(self, rows: int) -> "VideoLLMConfig":
        """Return the config with another number of rows of embedding and head."""
        decoder = replace(self.decoder, vocab=rows)
        return replace(self, decoder=decoder, vocab_keep=rows)

    def video(self, frames: int) -> VideoShape:
        """Return the layout of a clip of so many frames in the decoder's sequence."""
        tokens = self.connector.tokens(self.vision.grid)
        return VideoShape(frames, 1, tokens, self.connector.tail)

    def forward(self, natural_only: bool = False) -> Forward:
        """Return the pure forward function of parameters and batch; see `make_forward`."""
        return make_forward(self, natural_only)

    def clip_flops(self, frames: int, time: int, rows: int, ways: int = 2) -> ClipFlops:
        """Return the operations that a clip needs at least; see `Architecture`."""
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
        """Return operations that a device's compiler does not count; see `Architecture`."""
        tower = uncounted_tower(self.vision, clips * frames, share)
        return tower + uncounted_decoder(
            self.decoder, 2 * clips, time, self.bidirectional, share
        )


class VideoLLM(nnx.Module):
    """The modules of a video LLM, and the steps between them."""

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
        """Return the projected and pooled embeddings of each frame, with its newlines."""
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
        """Return the embeddings of a clip in order, with those after its last frame."""
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
        """Return the embeddings of the text, the video's inserted where `source` says."""
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
    """Stack the frames in natural order and in the order of the batch."""
    other = jnp.take_along_axis(frames, order[:, :, None, None], axis=1)
    return jnp.stack([frames, other], axis=1)


def _normalise(
    images: UInt8[Array, "image height width 3"], config: VideoLLMConfig
) -> Float[Array, "image height width 3"]:
    """Look up the normalised value of each pixel level, rounded as image processors do."""
    table = jnp.asarray(pixel_levels(config.mean, config.std).reshape(-1))
    channel = np.arange(3, dtype=np.int32).reshape(1, 1, 1, 3) * 256
    return table[images.astype(jnp.int32) + channel]


@lru_cache
def graph_of(config: VideoLLMConfig) -> tuple[nnx.GraphDef, dict]:
    """Return the module's structure and the shapes of its parameters, a nested dict."""
    model = nnx.eval_shape(lambda: VideoLLM(config, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)
    return graph, nnx.to_pure_dict(state)


def bind(config: VideoLLMConfig, params: dict) -> VideoLLM:
    """Return the module with these parameters."""
    return nnx.merge(graph_of(config)[0], nnx.State(params))


@lru_cache  # one function per config: equal models then share their compiled programs
def make_forward(
    config: VideoLLMConfig, natural_only: bool = False
) -> Callable[[dict, Batch], tuple[Array, Head, Array]]:
    """Return forward(params, batch) -> (hidden [clip way time width], head, embedding).

    The embedding [clip width] is the mean over the embeddings of the clip's frames, as they
    enter the decoder.

    Args:
        config: the model's sizes and options.
        natural_only: whether to leave out the other way, for training; one way remains.
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
    """Return the hidden states of each clip's text with the embedded frames inserted.

    Args:
        model: the module, bound to its parameters.
        frames: embeddings from `embed_frames`.
        batch: text of the clips, and the frame order of way 1.
        natural_only: see `make_forward`.
    """
    ways = 1 if natural_only else 2
    ordered = frames[:, None] if natural_only else _both_orders(frames, batch.order)
    video = einops.rearrange(model.join_frames(ordered), "clip way p d -> (clip way) p d")
    tokens, source, positions = (
        jnp.repeat(x, ways, axis=0) for x in (batch.tokens, batch.source, batch.positions)
    )
    merged = model.merge(video, tokens, source)
    # All positions of the video are a single group.
    groups = (source >= 0).astype(jnp.int32) if model.config.bidirectional else None
    hidden = model.decoder(merged, positions, groups)
    return einops.rearrange(hidden, "(clip way) t d -> clip way t d", way=ways)
