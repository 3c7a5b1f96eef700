"""The language model, by default causal: pre-norm blocks, RoPE, grouped heads, SwiGLU.

Covers Llama (Vicuna, Yi), Mistral (a window of attention) and Qwen2 (biases on q, k and v).
Layers are stacked along a leading axis and scanned, so that depth does not lengthen
compilation. Without a cache, since scoring reads every position at once.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from vidsme_jax.models.checkpoints.rules import Rule
from vidsme_jax.models.layers.attention import Sight, attend


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder; the names of Hugging Face's config.json in brackets.

    Attributes:
        width: of the residual stream [hidden_size].
        layers: [num_hidden_layers].
        heads: query heads [num_attention_heads].
        kv_heads: key and value heads, a divisor of `heads` [num_key_value_heads].
        head_dim: width of a head.
        mlp_width: [intermediate_size].
        vocab: rows of the embedding [vocab_size].
        rope_theta: base of the rotary angles.
        rope_factor: positions are divided by it (linear scaling); 1 leaves them.
        window: positions that one sees, itself included; None for all before it.
        norm_eps: of every RMSNorm [rms_norm_eps].
        qkv_bias: whether q, k and v have biases.
        tied: whether the head is the embedding [tie_word_embeddings].
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    vocab: int
    rope_theta: float
    norm_eps: float
    qkv_bias: bool
    tied: bool
    rope_factor: float = 1.0
    window: int | None = None


class Rotation(NamedTuple):
    """By how much the halves of a head turn at each position.

    Attributes:
        cos: cosine of the angles.
        sin: their sine.
    """

    cos: Float[Array, "batch time half"]
    sin: Float[Array, "batch time half"]


class Decoder(nnx.Module):
    """Embedding, blocks, final norm and head."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embed = nnx.Embed(config.vocab, config.width, rngs=rngs)
        build = nnx.vmap(lambda r: Block(config, rngs=r))
        self.layers = build(rngs.split(config.layers))
        self.norm = _norm(config, rngs)
        if not config.tied:
            head = nnx.Linear(config.width, config.vocab, use_bias=False, rngs=rngs)
            self.head = head

    def __call__(
        self,
        x: Float[Array, "batch time width"],
        positions: Int[Array, "batch axis time"],
        blocks: Int[Array, "batch time"] | None = None,
    ) -> Float[Array, "batch time width"]:
        """Return the normalised hidden states of embedded tokens.

        Args:
            x: embeddings.
            positions: rotary position of each.
            blocks: numbers from 1 on; positions of one block see each other, later ones
                too. All others see what is before them.
        """
        rotation = rope(positions, self.config, x.dtype)
        graph, weights = nnx.split(self.layers)

        @jax.checkpoint  # gradients keep one layer's activations, not all layers'
        def step(carry, layer):
            return nnx.merge(graph, layer)(carry, rotation, blocks), None

        x, _ = jax.lax.scan(step, x, weights)
        return self.norm(x).astype(x.dtype)

    def embed_tokens(
        self, tokens: Int[Array, "batch time"]
    ) -> Float[Array, "batch time width"]:
        """Return the embeddings of token ids, in the type of the weights."""
        # Called as a module, Embed gives the type it was built with, float32.
        return jnp.take(self.embed.embedding[...], tokens, axis=0)

    def logits(self, x: Float[Array, "... width"]) -> Float[Array, "... vocab"]:
        """Return next-token logits of normalised hidden states, float32."""
        kernel = self.embed.embedding[...].T if self.config.tied else self.head.kernel[...]
        return jnp.matmul(x, kernel, preferred_element_type=jnp.float32)


class Block(nnx.Module):
    """One layer: attention and gated MLP, each behind a norm and on the residual."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.attention_norm = _norm(config, rngs)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = _norm(config, rngs)
        self.mlp = GatedMLP(config, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "batch time width"],
        rotation: Rotation,
        blocks: Int[Array, "batch time"] | None = None,
    ) -> Float[Array, "batch time width"]:
        """Return the residual stream after this layer."""
        x = x + self.attention(self.attention_norm(x).astype(x.dtype), rotation, blocks)
        return x + self.mlp(self.mlp_norm(x).astype(x.dtype))


class Attention(nnx.Module):
    """Attention with rotary positions and grouped key-value heads, causal by default."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        c, bias = config, config.qkv_bias
        self.head_dim, self.window = c.head_dim, c.window
        self.q = nnx.Linear(c.width, c.heads * c.head_dim, use_bias=bias, rngs=rngs)
        self.k = nnx.Linear(c.width, c.kv_heads * c.head_dim, use_bias=bias, rngs=rngs)
        self.v = nnx.Linear(c.width, c.kv_heads * c.head_dim, use_bias=bias, rngs=rngs)
        self.o = nnx.Linear(c.heads * c.head_dim, c.width, use_bias=False, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "batch time width"],
        rotation: Rotation,
        blocks: Int[Array, "batch time"] | None = None,
    ) -> Float[Array, "batch time width"]:
        """Return what each position reads from those before it or in its block."""
        q, k, v = (
            einops.rearrange(project(x), "b t (n d) -> b t n d", d=self.head_dim)
            for project in (self.q, self.k, self.v)
        )
        q, k = rotate(q, rotation), rotate(k, rotation)
        out = attend(q, k, v, Sight(window=self.window), blocks)
        return self.o(einops.rearrange(out, "b t n d -> b t (n d)"))


class GatedMLP(nnx.Module):
    """SwiGLU: down(silu(gate(x)) up(x))."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        width, inner = config.width, config.mlp_width
        self.gate = nnx.Linear(width, inner, use_bias=False, rngs=rngs)
        self.up = nnx.Linear(width, inner, use_bias=False, rngs=rngs)
        self.down = nnx.Linear(inner, width, use_bias=False, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch time width"]
    ) -> Float[Array, "batch time width"]:
        """Return the update of each position by itself."""
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


def rope(
    positions: Int[Array, "batch axis time"], config: DecoderConfig, dtype: Any
) -> Rotation:
    """Return by how much the halves of a head turn at each position, in `dtype`.

    These decoders have one axis. Angles are taken in float32, once for all layers.
    """
    exponents = jnp.arange(0, config.head_dim, 2, dtype=jnp.float32) / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents / config.rope_factor
    angles = positions[:, 0, :, None].astype(jnp.float32) * frequencies[None, None, :]
    return Rotation(jnp.cos(angles).astype(dtype), jnp.sin(angles).astype(dtype))


def rotate(
    x: Float[Array, "batch time heads head_dim"], rotation: Rotation
) -> Float[Array, "batch time heads head_dim"]:
    """Rotate the two halves of each head by the angles of its position.

    Source: arXiv 2104.09864, in the half-split order of Hugging Face checkpoints.
    """
    cos, sin = (part[:, :, None, :] for part in rotation)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate(
        [first * cos - second * sin, second * cos + first * sin], axis=-1
    )


def _norm(config: DecoderConfig, rngs: nnx.Rngs) -> nnx.RMSNorm:
    return nnx.RMSNorm(config.width, epsilon=config.norm_eps, dtype=jnp.float32, rngs=rngs)


HEAD = "lm_head.weight"


def decoder_copies(config: DecoderConfig, prefix: str) -> tuple[tuple[str, str], ...]:
    """Return the head that a file may hold although it is tied to the embedding."""
    return ((HEAD, prefix + "embed_tokens.weight"),) if config.tied else ()


def decoder_rules(config: DecoderConfig, prefix: str) -> tuple[Rule, ...]:
    """Return the rule table of the decoder's weights under a key prefix.

    Placement over the model axis: q, k, v, gate and up by output, o and down by input,
    embedding and head by vocabulary; so one all-reduce follows each half of a block.
    """
    split_out, split_in = P(None, None, "model"), P(None, "model", None)
    layer, at = prefix + "layers.{}.", "decoder.layers."
    attention, mlp = layer + "self_attn.", layer + "mlp."
    rules = [
        Rule(prefix + "embed_tokens.weight", "decoder.embed.embedding", P("model", None)),
        Rule(prefix + "norm.weight", "decoder.norm.scale"),
        Rule(layer + "input_layernorm.weight", at + "attention_norm.scale"),
        Rule(layer + "post_attention_layernorm.weight", at + "mlp_norm.scale"),
        Rule.linear(attention + "o_proj.weight", at + "attention.o.kernel", split_in),
        Rule.linear(mlp + "gate_proj.weight", at + "mlp.gate.kernel", split_out),
        Rule.linear(mlp + "up_proj.weight", at + "mlp.up.kernel", split_out),
        Rule.linear(mlp + "down_proj.weight", at + "mlp.down.kernel", split_in),
    ]
    for name in "qkv":
        key, path = f"{attention}{name}_proj.", f"{at}attention.{name}."
        rules.append(Rule.linear(key + "weight", path + "kernel", split_out))
        if config.qkv_bias:
            rules.append(Rule(key + "bias", path + "bias", P(None, "model")))
    if not config.tied:
        head = P(None, "model")
        rules.append(Rule.linear(HEAD, "decoder.head.kernel", head))
    return tuple(rules)
