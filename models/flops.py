"""Count the floating-point operations that scoring a clip cannot do without.

A matrix product takes two operations per weight and position; attention counts only pairs
of positions that see each other. What a compiled program does beyond that is waste, or is
counted wrongly. Each function counts the multiplications of a single component of a model,
and the model's config adds them up.
"""

from dataclasses import dataclass

from vidsme_jax.models.layers.attention import AttentionMask, uncounted_pairs
from vidsme_jax.models.layers.connector import Connector
from vidsme_jax.models.layers.decoder import DecoderConfig
from vidsme_jax.models.layers.vision_tower import VisionConfig


@dataclass(frozen=True)
class ClipFlops:
    """Floating-point operations of a clip, by component of the model.

    Attributes:
        vision: operations of the tower's and the projector's matrix products.
        vision_attention: operations of the tower's attention, all pairs of patches.
        decoder: operations of the matrix products in all decoder layers.
        decoder_attention: operations of attention in all decoder layers.
        head: operations of the logits of the scored rows.
    """

    vision: int
    vision_attention: int
    decoder: int
    decoder_attention: int
    head: int

    @property
    def total(self) -> int:
        """The sum over all components."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class Share:
    """The share of a model that a single device computes.

    Attributes:
        devices: number of devices that hold a copy of the parameters together.
        kernel: whether attention runs in the splash kernel where it can.
    """

    devices: int
    kernel: bool


def patches(config: VisionConfig) -> int:
    """Return how many tokens an image has in the tower, the class token included."""
    return config.grid**2 + config.clip


def tower_products(config: VisionConfig) -> int:
    """Return how many multiplications with weights the tower does per image."""
    pixels = 3 * config.patch**2 * config.width * config.grid**2
    layer = 4 * config.width**2 + 2 * config.width * config.mlp_width
    return pixels + patches(config) * config.layers * layer


def tower_attention_products(config: VisionConfig) -> int:
    """Return how many multiplications the tower's attention does per image."""
    return 2 * config.layers * config.width * patches(config) ** 2


def projector_products(connector: Connector, vision: VisionConfig, width: int) -> int:
    """Return how many multiplications with weights the projector does per frame.

    Args:
        connector: says whether pooling comes before the projector.
        vision: sizes of the tower whose features are projected.
        width: features of the embeddings.
    """
    side = connector.side(vision.grid) if connector.pool_first else vision.grid
    return (side**2 + connector.class_token) * (vision.width * width + width**2)


def layer_products(config: DecoderConfig) -> int:
    """Return how many multiplications with weights a decoder layer does per position."""
    inner, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return config.width * (2 * inner + 2 * keys + 3 * config.mlp_width)


def attention_products(config: DecoderConfig, pairs: int) -> int:
    """Return how many multiplications attention does in all decoder layers.

    Args:
        config: sizes of the decoder.
        pairs: pairs of positions of a sequence that see each other.
    """
    return 2 * config.layers * config.heads * config.head_dim * pairs


def causal_pairs(time: int, window: int | None) -> int:
    """Return how many pairs of a query and a key that it sees a causal sequence has.

    Args:
        time: positions of the sequence.
        window: positions that a query sees at most, itself included; None for no limit.
    """
    seen = min(time, window or time)
    return seen * (seen + 1) // 2 + (time - seen) * seen


def uncounted_tower(config: VisionConfig, images: int, share: Share) -> int:
    """Return the operations of the tower's attention that a compiler does not count.

    Args:
        config: sizes of the tower.
        images: number of images on the device.
        share: what the device computes of the model.
    """
    size = config.width // config.heads
    heads = _HeadStack(config.layers, config.heads, size)
    mask = AttentionMask(causal=False)
    return _uncounted(heads, mask, (images, patches(config)), share)


def uncounted_decoder(
    config: DecoderConfig, sequences: int, time: int, bidirectional: bool, share: Share
) -> int:
    """Return the operations of the decoder's attention that a compiler does not count.

    Args:
        config: sizes of the decoder.
        sequences: number of sequences on the device, both ways counted.
        time: positions of a sequence.
        bidirectional: whether some positions see later ones too.
        share: what the device computes of the model.
    """
    heads = _HeadStack(config.layers, config.heads, config.head_dim)
    mask = AttentionMask(window=config.window)
    return _uncounted(heads, mask, (sequences, time), share, bidirectional)


@dataclass(frozen=True)
class _HeadStack:
    """The attention heads of a stack of layers: layers, heads of a layer, head width."""

    layers: int
    count: int
    width: int


def _uncounted(
    heads: _HeadStack,
    mask: AttentionMask,
    shape: tuple[int, int],
    share: Share,
    bidirectional: bool = False,
) -> int:
    divides = heads.count % share.devices == 0
    local = heads.count // share.devices if divides else heads.count
    pairs = uncounted_pairs(
        mask, *shape, local, bidirectional=bidirectional, kernel=share.kernel
    )
    return 4 * heads.layers * local * heads.width * pairs
