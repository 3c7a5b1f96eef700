"""The CLIP and SigLIP vision towers: patches through pre-norm transformer layers.

CLIP adds a class token and a norm before the first layer, SigLIP a bias to its patches.
LLaVA models take a hidden state before the final norm, often before the last layer too.
Only the layers that this hidden state needs are built; the other weights are not used.
"""

import re
from dataclasses import dataclass

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from vidsme_jax.models.checkpoints.rules import Rule
from vidsme_jax.models.layers.attention import AttentionMask, attend

_ACTIVATIONS = {
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
}
ACTIVATIONS = tuple(_ACTIVATIONS)


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of a vision tower.

    Attributes:
        image: side of the square input, pixels.
        patch: side of a patch, pixels.
        width: features of the residual stream.
        layers: number of layers that are run.
        layers_total: number of layers in the checkpoint.
        heads: number of attention heads.
        mlp_width: features inside the MLP.
        norm_eps: epsilon of every LayerNorm.
        activation: name of the MLP's activation, one of `ACTIVATIONS`.
        clip: whether it has CLIP's class token and first norm, else SigLIP's patch bias.
    """

    image: int
    patch: int
    width: int
    layers: int
    layers_total: int
    heads: int
    mlp_width: int
    norm_eps: float
    activation: str
    clip: bool = True

    @property
    def grid(self) -> int:
        """The number of patches along a side of the image."""
        return self.image // self.patch


class VisionTower(nnx.Module):
    """From normalised images to features of the patches, CLIP's class token first."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        self.config = config
        c, normal = config, nnx.initializers.normal(0.02)
        inputs = 3 * c.patch * c.patch
        self.patches = nnx.Linear(inputs, c.width, use_bias=not c.clip, rngs=rngs)
        if c.clip:
            self.class_token = nnx.Param(normal(rngs.params(), (c.width,)))
        positions = (c.grid**2 + c.clip, c.width)
        self.positions = nnx.Param(normal(rngs.params(), positions))
        if c.clip:
            self.pre_norm = _norm(c, rngs)
        self.layers = nnx.vmap(lambda r: VisionBlock(c, rngs=r))(rngs.split(c.layers))

    def __call__(
        self, images: Float[Array, "image height width 3"]
    ) -> Float[Array, "image token features"]:
        """Return the hidden states of all tokens after the last layer that is run."""
        config, side = self.config, self.config.grid * self.config.patch
        patches = einops.rearrange(
            images[:, :side, :side],  # SigLIP's side of 384 holds 27 patches of 14
            "n (y h) (x w) c -> n (y x) (c h w)",
            h=config.patch,
            w=config.patch,
        )
        x = self.patches(patches)
        if config.clip:
            token = self.class_token[...][None, None]
            token = jnp.broadcast_to(token, (x.shape[0], 1, x.shape[2]))
            x = jnp.concatenate([token, x], axis=1)
        x = x + self.positions[...][None]
        if config.clip:
            x = self.pre_norm(x).astype(x.dtype)
        graph, weights = nnx.split(self.layers)

        @jax.checkpoint  # gradients keep one layer's activations, not all layers'
        def step(carry, layer):
            return nnx.merge(graph, layer)(carry), None

        return jax.lax.scan(step, x, weights)[0]


class VisionBlock(nnx.Module):
    """A layer: full attention and MLP, each after a LayerNorm and added to the residual."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        c = config
        self.heads, self.activation = c.heads, c.activation
        self.attention_norm, self.mlp_norm = _norm(c, rngs), _norm(c, rngs)
        self.q, self.k, self.v, self.o = (
            nnx.Linear(c.width, c.width, rngs=rngs) for _ in range(4)
        )
        self.up = nnx.Linear(c.width, c.mlp_width, rngs=rngs)
        self.down = nnx.Linear(c.mlp_width, c.width, rngs=rngs)

    def __call__(
        self, x: Float[Array, "image patch width"]
    ) -> Float[Array, "image patch width"]:
        """Return the residual stream after this layer."""
        y = self.attention_norm(x).astype(x.dtype)
        q, k, v = (
            einops.rearrange(project(y), "b t (n d) -> b t n d", n=self.heads)
            for project in (self.q, self.k, self.v)
        )
        y = attend(q, k, v, AttentionMask(causal=False))
        x = x + self.o(einops.rearrange(y, "b t n d -> b t (n d)"))
        y = self.up(self.mlp_norm(x).astype(x.dtype))
        return x + self.down(_ACTIVATIONS[self.activation](y))


def _norm(config: VisionConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(
        config.width, epsilon=config.norm_eps, dtype=jnp.float32, rngs=rngs
    )


def vision_rules(config: VisionConfig, prefix: str) -> tuple[Rule, ...]:
    """Return the rule table of the tower's weights under a key prefix."""
    layer, at = prefix + "encoder.layers.{}.", "tower.layers."
    patches = prefix + "embeddings.patch_embedding."
    rules = [
        Rule.conv(patches + "weight", "tower.patches.kernel"),
        Rule(prefix + "embeddings.position_embedding.weight", "tower.positions"),
        *_norm_rules(layer + "layer_norm1", at + "attention_norm"),
        *_norm_rules(layer + "layer_norm2", at + "mlp_norm"),
    ]
    if config.clip:
        rules.append(Rule(prefix + "embeddings.class_embedding", "tower.class_token"))
        # "layrnorm" is what CLIP's keys say.
        rules.extend(_norm_rules(prefix + "pre_layrnorm", "tower.pre_norm"))
    else:
        rules.append(Rule(patches + "bias", "tower.patches.bias"))
    split_out = (P(None, None, "model"), P(None, "model"))
    split_in = (P(None, "model", None), P())
    for key_name, path_name, (kernel, bias) in (
        ("self_attn.q_proj", "q", split_out),
        ("self_attn.k_proj", "k", split_out),
        ("self_attn.v_proj", "v", split_out),
        ("self_attn.out_proj", "o", split_in),
        ("mlp.fc1", "up", split_out),
        ("mlp.fc2", "down", split_in),
    ):
        key, path = f"{layer}{key_name}.", f"{at}{path_name}."
        rules.append(Rule.linear(key + "weight", path + "kernel", kernel))
        rules.append(Rule(key + "bias", path + "bias", bias))
    return tuple(rules)


def _norm_rules(key: str, path: str) -> tuple[Rule, Rule]:
    return Rule(key + ".weight", path + ".scale"), Rule(key + ".bias", path + ".bias")


def unused_vision_keys(config: VisionConfig, prefix: str) -> tuple[str, ...]:
    """Return patterns of the checkpoint's keys whose weights come after the last layer run.

    Args:
        config: sizes of the tower.
        prefix: start of the tower's keys.
    """
    skipped = range(config.layers, config.layers_total)
    start = re.escape(prefix)
    layers = (rf"{start}encoder\.layers\.{n}\..*" for n in skipped)
    return (*layers, rf"{start}(post_layernorm|head)\..*", rf"{start}.*position_ids")
