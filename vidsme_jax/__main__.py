"""`python -m vidsme_jax` is the `vidsme` command."""

from vidsme_jax.cli import entry

entry()
