"""Strict settings for every test: eight CPU devices, no promotion, no network."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The checkout holds models/ and data/ beside vidsme_jax/: from here the package would be
# found without its sub-packages. Tests run against what is installed.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT]
sys.path.insert(0, str(ROOT / "tests"))  # for reference.py and tools.py

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

try:
    import vidsme_jax.models  # noqa: F401
except ModuleNotFoundError as error:
    raise pytest.UsageError("install the package first: pip install '.[test]'") from error

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture
def rng():
    return np.random.default_rng(0)
