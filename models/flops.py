"""The floating-point operations that scoring a clip cannot do without.

Two operations per weight of a matrix product and position; of attention only the pairs that
see each other. What a compiled program does beyond that is waste, or is counted wrongly.
The functions count multiplications of one part each; a model's config adds them up.
"""

from dataclasses import dataclass

from vidsme_jax.models.layers.attention import Sight, uncounted_pairs
from vidsme_jax.models.layers.connector import Connector
from vidsme_jax.models.layers.decoder import DecoderConfig
from vidsme_jax.models.layers.vision_tower import VisionConfig


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


@dataclass(frozen=True)
class Share:
    """A device's share of a model.

    Attributes:
        devices: that hold one copy of the parameters together.
        kernel: whether it attends with the splash kernel where it can.
    """

    devices: int
    kernel: bool


def patches(config: VisionConfig) -> int:
    """Return the positions of an image, the class token's included."""
    return config.grid**2 + config.clip


def tower_products(config: VisionConfig) -> int:
    """Return the multiplications with weights for one image."""
    pixels = 3 * config.patch**2 * config.width * config.grid**2
    layer = 4 * config.width**2 + 2 * config.width * config.mlp_width
    return pixels + patches(config) * config.layers * layer


def tower_attention_products(config: VisionConfig) -> int:
    """Return the multiplications of attention for one image."""
    return 2 * config.layers * config.width * patches(config) ** 2


def projector_products(connector: Connector, vision: VisionConfig, width: int) -> int:
    """Return the multiplications with weights for the embeddings of one frame.

    Args:
        connector: pools before or after the projector.
        vision: the tower whose features it takes.
        width: of the embeddings.
    """
    side = connector.side(vision.grid) if connector.pool_first else vision.grid
    return (side**2 + connector.class_token) * (vision.width * width + width**2)


def layer_products(config: DecoderConfig) -> int:
    """Return the multiplications with weights for one position in one decoder layer."""
    inner, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return config.width * (2 * inner + 2 * keys + 3 * config.mlp_width)


def attention_products(config: DecoderConfig, pairs: int) -> int:
    """Return the multiplications of attention in all decoder layers.

    Args:
        config: of the decoder.
        pairs: of positions that see each other in one sequence.
    """
    return 2 * config.layers * config.heads * config.head_dim * pairs


def causal_pairs(time: int, window: int | None) -> int:
    """Return how many positions are seen from all positions, themselves included.

    Args:
        time: positions of the sequence.
        window: positions that one sees at most, itself included; None for all before.
    """
    seen = min(time, window or time)
    return seen * (seen + 1) // 2 + (time - seen) * seen


def uncounted_tower(config: VisionConfig, images: int, share: Share) -> int:
    """Return the tower's attention on a device beyond what its compiler counts."""
    size = config.width // config.heads
    head_layers = _Heads(config.layers, config.heads, size)
    everything = Sight(causal=False)
    return _uncounted(head_layers, everything, (images, patches(config)), share)


def uncounted_decoder(
    config: DecoderConfig, sequences: int, time: int, blocks: bool, share: Share
) -> int:
    """Return the decoder's attention on a device beyond what its compiler counts.

    Args:
        config: of the decoder.
        sequences: of the device, both ways counted.
        time: positions of each.
        blocks: whether some positions see later ones too.
        share: of the device.
    """
    head_layers = _Heads(config.layers, config.heads, config.head_dim)
    shown = Sight(window=config.window)
    return _uncounted(head_layers, shown, (sequences, time), share, blocks)


@dataclass(frozen=True)
class _Heads:
    """The attention heads of a stack of layers."""

    layers: int
    count: int
    width: int


def _uncounted(
    heads: _Heads,
    sight: Sight,
    shape: tuple[int, int],
    share: Share,
    blocks: bool = False,
) -> int:
    local = (
        heads.count // share.devices if heads.count % share.devices == 0 else heads.count
    )
    pairs = uncounted_pairs(sight, *shape, local, together=blocks, kernel=share.kernel)
    return 4 * heads.layers * local * heads.width * pairs
