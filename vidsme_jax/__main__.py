"""`python -m vidsme_jax` is the `vidsme` command."""

from vidsme_jax.cli.main import entry

entry()
