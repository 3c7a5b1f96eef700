"""What a user types: one file a command."""

from vidsme_jax.cli.main import entry, main

__all__ = ["entry", "main"]
