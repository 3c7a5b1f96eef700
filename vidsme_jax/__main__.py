"""`python -m vidsme_jax` is the `vidsme` command."""

import sys

from vidsme_jax.cli import main

sys.exit(main())
