"""The language model, by default causal: pre-norm layers, RoPE, grouped heads, SwiGLU.

It covers Llama (Vicuna, Yi), Mistral (a window of attention) and Qwen2 (biases on q, k
and v). Layers are stacked along a leading axis and scanned, so that depth does not lengthen
compilation. There is no cache, since scoring reads every position at once.
"""

from dataclasses import dataclass

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from vidsme_jax.models.checkpoints.rules import Rule
from vidsme_jax.models.layers.attention import AttentionMask, attend
from vidsme_jax.models.layers.rope import RopeConfig, Rotation, rope, rotate


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder; the names of Hugging Face's config.json in brackets.

    Attributes:
        width: features of the residual stream [hidden_size].
        layers: number of layers [num_hidden_layers].
        heads: number of query heads [num_attention_heads].
        kv_heads: number of key and value heads; it divides `heads` [num_key_value_heads].
        head_dim: features of a head.
        mlp_width: features inside the MLP [intermediate_size].
        vocab: rows of the embedding [vocab_size].
        rope: base and scaling of the rotary angles.
        norm_eps: epsilon of every RMSNorm [rms_norm_eps].
        qkv_bias: whether q, k and v have biases.
        tied: whether the head is the embedding [tie_word_embeddings].
        window: positions that a query sees at most, itself included; None for no limit.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    vocab: int
    rope: RopeConfig
    norm_eps: float
    qkv_bias: bool
    tied: bool
    window: int | None = None


class Decoder(nnx.Module):
    """The language model: embedding, layers, final norm and head."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embed = nnx.Embed(config.vocab, config.width, rngs=rngs)
        build = nnx.vmap(lambda r: DecoderBlock(config, rngs=r))
        self.layers = build(rngs.split(config.layers))
        self.norm = _norm(config, rngs)
        if not config.tied:
            head = nnx.Linear(config.width, config.vocab, use_bias=False, rngs=rngs)
            self.head = head

    def __call__(
        self,
        x: Float[Array, "batch time width"],
        positions: Int[Array, "batch axis time"],
        groups: Int[Array, "batch time"] | None = None,
    ) -> Float[Array, "batch time width"]:
        """Return the normalised hidden states of embedded tokens.

        Args:
            x: embeddings.
            positions: rotary position of each embedding.
            groups: group number of each position, 0 for none. Positions of the same group
                see each other in both directions; all others see what is before them.
        """
        rotation = rope(positions, self.config.rope, self.config.head_dim, x.dtype)
        graph, weights = nnx.split(self.layers)

        @jax.checkpoint  # gradients keep one layer's activations, not all layers'
        def step(carry, layer):
            return nnx.merge(graph, layer)(carry, rotation, groups), None

        x, _ = jax.lax.scan(step, x, weights)
        return self.norm(x).astype(x.dtype)

    def embed_tokens(
        self, tokens: Int[Array, "batch time"]
    ) -> Float[Array, "batch time width"]:
        """Return the embeddings of token ids, in the type of the weights."""
        # A call of Embed would return float32, the type with which it was built.
        return jnp.take(self.embed.embedding[...], tokens, axis=0)

    def logits(self, x: Float[Array, "... width"]) -> Float[Array, "... vocab"]:
        """Return next-token logits of normalised hidden states, float32."""
        kernel = self.embed.embedding[...].T if self.config.tied else self.head.kernel[...]
        return jnp.matmul(x, kernel, preferred_element_type=jnp.float32)


class DecoderBlock(nnx.Module):
    """A layer: attention and gated MLP, each after a norm and added to the residual."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.attention_norm = _norm(config, rngs)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = _norm(config, rngs)
        self.mlp = GatedMLP(config, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "batch time width"],
        rotation: Rotation,
        groups: Int[Array, "batch time"] | None = None,
    ) -> Float[Array, "batch time width"]:
        """Return the residual stream after this layer."""
        x = x + self.attention(self.attention_norm(x).astype(x.dtype), rotation, groups)
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
        groups: Int[Array, "batch time"] | None = None,
    ) -> Float[Array, "batch time width"]:
        """Return the update of each position, from positions before it or in its group."""
        q, k, v = (
            einops.rearrange(project(x), "b t (n d) -> b t n d", d=self.head_dim)
            for project in (self.q, self.k, self.v)
        )
        q, k = rotate(q, rotation), rotate(k, rotation)
        out = attend(q, k, v, AttentionMask(window=self.window), groups)
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


def _norm(config: DecoderConfig, rngs: nnx.Rngs) -> nnx.RMSNorm:
    return nnx.RMSNorm(config.width, epsilon=config.norm_eps, dtype=jnp.float32, rngs=rngs)


HEAD = "lm_head.weight"


def decoder_copies(config: DecoderConfig, prefix: str) -> tuple[tuple[str, str], ...]:
    """Return the key of a tied head, which files may repeat, with the embedding's key."""
    return ((HEAD, prefix + "embed_tokens.weight"),) if config.tied else ()


def decoder_rules(config: DecoderConfig, prefix: str) -> tuple[Rule, ...]:
    """Return the rule table of the decoder's weights under a key prefix.

    Over the model axis, q, k, v, gate and up are split by output, o and down by input,
    embedding and head by vocabulary. So a single all-reduce follows each half of a layer.
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
