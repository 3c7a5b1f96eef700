"""The floating-point operations that scoring a clip cannot do without.

Two operations per weight of a matrix product and position; of attention only the pairs that
see each other. What a compiled program does beyond that is waste, or is counted wrongly.
"""

from dataclasses import dataclass

from vidsme_jax.models.layers.decoder import DecoderConfig
from vidsme_jax.models.layers.vision_tower import VisionConfig
from vidsme_jax.models.video_llm import VideoLLMConfig


@dataclass(frozen=True)
class ClipFlops:
    """Operations of one clip, by part.

    Attributes:
        vision: matrix products of the tower and the projector.
        vision_attention: attention of the tower, every patch with every other.
        decoder: matrix products of all layers.
        decoder_attention: attention of all layers.
        head: logits of the scored rows.
    """

    vision: int
    vision_attention: int
    decoder: int
    decoder_attention: int
    head: int

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return sum(vars(self).values())


def necessary_flops(
    config: VideoLLMConfig, frames: int, time: int, rows: int, ways: int = 2
) -> ClipFlops:
    """Count what one clip needs.

    Args:
        config: of the model.
        frames: of the clip; the tower sees each once.
        time: positions of the sequence, without padding.
        rows: positions whose distribution is scored.
        ways: directions that the decoder and the head run in.
    """
    decoder, vision = config.decoder, config.vision
    seen = _pairs(config, frames, time)
    return ClipFlops(
        vision=2 * frames * (_tower_products(vision) + _projector_products(config)),
        vision_attention=4 * frames * vision.layers * vision.width * _patches(vision) ** 2,
        decoder=2 * ways * time * decoder.layers * _layer_weights(decoder),
        decoder_attention=4
        * ways
        * decoder.layers
        * decoder.heads
        * decoder.head_dim
        * seen,
        head=2 * ways * rows * decoder.width * decoder.vocab,
    )


def _patches(config: VisionConfig) -> int:
    """Return the positions of an image, the class token's included."""
    return config.grid**2 + config.clip


def _tower_products(config: VisionConfig) -> int:
    """Return the multiplications with weights for one image."""
    pixels = 3 * config.patch**2 * config.width * config.grid**2
    layer = 4 * config.width**2 + 2 * config.width * config.mlp_width
    return pixels + _patches(config) * config.layers * layer


def _projector_products(config: VideoLLMConfig) -> int:
    """Return the multiplications with weights for the embeddings of one frame."""
    connector, grid = config.connector, config.vision.grid
    side = connector.side(grid) if connector.pool_first else grid
    outer = config.decoder.width
    each = config.vision.width * outer + outer**2
    return (side**2 + connector.class_token) * each


def _layer_weights(config: DecoderConfig) -> int:
    inner, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return config.width * (2 * inner + 2 * keys + 3 * config.mlp_width)


def _pairs(config: VideoLLMConfig, frames: int, time: int) -> int:
    """Return how many pairs of positions see each other, themselves included."""
    window = min(time, config.decoder.window or time)
    causal = window * (window + 1) // 2 + (time - window) * window
    video = config.video_length(frames)
    return causal + config.bidirectional * video * (video - 1) // 2
