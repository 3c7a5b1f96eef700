"""A video LLM of the LLaVA kind: tower, connector, splice into text, decoder.

`make_forward` turns a config into the pure `forward(params, batch)` that scoring uses:
the tower runs once per clip, and the reversed (or otherwise reordered) clip is the same
frame blocks in another order, since every frame is encoded by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, UInt8

from vidsme_jax.batch import Batch, Head
from vidsme_jax.errors import InputError
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
        std: likewise.
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
    def tokens_per_frame(self) -> int:
        """Embeddings of one frame in the decoder's sequence."""
        return self.connector.tokens(self.vision.grid)

    def video_length(self, frames: int) -> int:
        """Return the embeddings of a clip, those after its last frame included."""
        return frames * self.tokens_per_frame + self.connector.tail


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
    ) -> Float[Array, "*batch position features"]:
        """Return the embeddings of a clip in a row, with those that follow its end."""
        x = einops.rearrange(frames, "... f t d -> ... (f t) d")
        if self.config.connector.tail:
            end = self.newline[...].astype(x.dtype)
            end = jnp.broadcast_to(end, (*x.shape[:-2], 1, x.shape[-1]))
            x = jnp.concatenate([x, end], axis=-2)
        return x

    def merge(
        self,
        video: Float[Array, "sequence position features"],
        tokens: Int[Array, "sequence time"],
        start: Int[Array, "sequence"],
    ) -> Float[Array, "sequence time features"]:
        """Return the embeddings of the text with the video's in place at `start`."""
        text = self.decoder.embed_tokens(tokens)
        place = jax.vmap(
            lambda into, part, at: jax.lax.dynamic_update_slice(into, part, (at, 0 * at))
        )
        return place(text, video.astype(text.dtype), start)

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


def _video_positions(
    start: Int[Array, "sequence"], length: int, time: int
) -> Bool[Array, "sequence time"]:
    """Tell which positions of each sequence hold the video."""
    place = jnp.arange(time, dtype=start.dtype)[None] - start[:, None]
    return (place >= 0) & (place < length)


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
    tokens, start = (jnp.repeat(x, ways, axis=0) for x in (batch.tokens, batch.start))
    merged = model.merge(video, tokens, start)
    together = None
    if model.config.bidirectional:
        together = _video_positions(start, video.shape[1], merged.shape[1])
    hidden = model.decoder(merged, together)
    return einops.rearrange(hidden, "(clip way) t d -> clip way t d", way=ways)
