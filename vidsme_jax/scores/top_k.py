"""Complete distributions of which an API shows only the k largest log-probabilities.

The probability that is not shown is spread evenly over the other tokens. Of all
distributions that agree with the shown ones this has the largest entropy. So every score
of the catalogue exists for black boxes too; with k the vocabulary it is exact.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vidsme_jax.scores.entropy import positions


def complete_top_k(logits: Float[Array, "... vocab"], k: int) -> Float[Array, "... vocab"]:
    """Keep the k largest logits, and level the others without changing their total p.

    Args:
        logits: -inf marks masked entries, which stay masked.
        k: number of entries that an API would show; of equal ones the first.
    """
    z = logits.astype(jnp.float32)
    if k >= z.shape[-1]:
        return z
    values, places = jax.lax.top_k(z, k)
    least, last = values[..., -1:], places[..., -1:]
    shown = (z > least) | ((z == least) & (positions(z) <= last))
    hidden = jnp.where(shown, -jnp.inf, z)
    count = jnp.sum(jnp.isfinite(hidden), axis=-1, keepdims=True, dtype=jnp.float32)
    level = jax.nn.logsumexp(hidden, axis=-1, keepdims=True) - jnp.log(count)
    return jnp.where(shown, z, jnp.where(jnp.isfinite(z), level, -jnp.inf))


def logits_of_top_k(
    log_probabilities: Float[Array, "... k"], vocab: int
) -> Float[Array, "... vocab"]:
    """Return rows of logits from the k largest log-probabilities that an API showed.

    The shown tokens come first, in their order; the other `vocab - k` share the rest of
    the probability. A rest that rounding makes negative counts as 0.

    Args:
        log_probabilities: natural logarithms, of different tokens.
        vocab: number of tokens that the model chooses among.

    Raises:
        ValueError: more log-probabilities than tokens.
    """
    shown = log_probabilities.astype(jnp.float32)
    others = vocab - shown.shape[-1]
    if others < 0:
        raise ValueError(f"{vocab=} is less than the {shown.shape[-1]} tokens shown")
    rest = jnp.log(jnp.maximum(-jnp.expm1(jax.nn.logsumexp(shown, axis=-1)), 0))
    level = jnp.broadcast_to(
        (rest - jnp.log(jnp.float32(max(others, 1))))[..., None], (*rest.shape, others)
    )
    return jnp.concatenate([shown, level], axis=-1)
