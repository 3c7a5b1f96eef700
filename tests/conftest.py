"""Strict settings for every test: eight CPU devices, no promotion, no network."""

import atexit
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The checkout holds models/ and data/ beside vidsme_jax/: from here the package would be
# found without its sub-packages. Tests run against what is installed.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT]
sys.path.insert(0, str(ROOT / "tests"))  # for reference.py and tools.py

# Two test processes share two cores: each decodes with one process.
os.sched_getaffinity = lambda pid: {0}

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

# What one process has compiled the others need not: parallel workers, and the commands
# that tests run.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="vidsme-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], True)

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


@pytest.fixture(scope="module", autouse=True)
def least_compiled(request):
    """Let a file with this mark, and its commands, compile without optimisation.

    What these files check does not hang on how well a program is compiled, and compiling
    is most of their time. All others test programs as users run them.
    """
    if request.node.get_closest_marker("least_compiled") is None:
        yield
        return
    name = "jax_disable_most_optimizations"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name.upper(), "1")
        jax.config.update(name, True)
        jax.clear_caches()
        yield
        jax.config.update(name, False)
        jax.clear_caches()


def pytest_configure(config):
    """Let the commands that tests run do without PyTorch, as most users' do.

    Its import is half of what a command takes; the tests' own processes need it.
    """
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        os.environ["PYTHONPATH"] = str(ROOT / "tests" / "without_torch")


def pytest_collection_modifyitems(items):
    """Put the files that take longest first, so that two processes end together."""

    def seconds(item):
        mark = item.get_closest_marker("slow")
        return mark.args[0] if mark else 0

    items.sort(key=seconds, reverse=True)


def pytest_addoption(parser):
    parser.addoption(
        "--record",
        action="store_true",
        help="write the goldens and the record of the parity tests anew",
    )


RECORD = Path(__file__).parents[1] / "models" / "parity.json"


class Record:
    """What the parity tests measured in this session."""

    def __init__(self):
        self.values = {"cases": {}, "sizes": {}}

    def case(self, twin, logits, kl):
        """Note a case: largest logit difference and largest divergence."""
        self.values["cases"][twin.name] = {
            "port": twin.port,
            "layout": twin.layout,
            "logits": float(f"{logits:.2g}"),
            "kl": float(f"{kl:.2g}"),
        }

    def size(self, name, port, used, ignored):
        """Note a real config whose parameters were counted."""
        counted = {"port": port, "used": used, "ignored": ignored}
        self.values["sizes"][name] = counted


@pytest.fixture(scope="session")
def record(request):
    record = Record()
    yield record
    if request.config.getoption("record"):
        assert all(record.values.values()), (
            "record test_parity.py and test_sizes.py at once"
        )
        RECORD.write_text(json.dumps(record.values, indent=1, sort_keys=True) + "\n")


@pytest.fixture
def recorded(request):
    if request.config.getoption("record"):
        pytest.skip("the record is being written")
    return json.loads(RECORD.read_text())
