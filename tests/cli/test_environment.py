"""What a command compiled, the next finds; where that cannot be, nothing is said."""

import importlib.util
import os
import re
import resource
import subprocess
import sys

import pytest
from tools import make_project, python

from vidsme_jax.cli.environment import check_memory, keep_compiled
from vidsme_jax.errors import InputError

PLACE, SIZE = "JAX_COMPILATION_CACHE_DIR", "JAX_COMPILATION_CACHE_MAX_SIZE"
COMPILE = """
from vidsme_jax.cli.environment import keep_compiled
keep_compiled()
import jax, jax.numpy as jnp
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
print(jax.jit(lambda x: jnp.sin(x) @ x)(jnp.eye(3)).sum())
print("/jax/compilation_cache/cache_hits" in events)
"""


@pytest.fixture
def unset(monkeypatch, tmp_path):
    """An environment that names no place, as most users' does."""
    monkeypatch.delenv(PLACE, raising=False)
    monkeypatch.delenv(SIZE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_second_process_finds_what_the_first_compiled(unset):
    first, second = compiled(unset), compiled(unset)
    assert first[0] == second[0] and (first[1], second[1]) == ("False", "True")
    (folder,) = (unset / "cache" / "vidsme_jax").iterdir()
    assert list(folder.glob("*-cache"))


def test_an_empty_name_keeps_nothing(unset, monkeypatch):
    monkeypatch.setenv(PLACE, "")
    assert [compiled(unset)[1] for _ in range(2)] == ["False", "False"]
    assert not (unset / "cache").exists()


def compiled(folder):
    done = python(folder, "-W", "error", "-c", COMPILE)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_the_user_says_holds(unset, monkeypatch):
    monkeypatch.setenv(PLACE, "/elsewhere")
    keep_compiled()
    assert os.environ[PLACE] == "/elsewhere" and SIZE not in os.environ


def test_without_a_place_nothing_is_kept(unset, monkeypatch):
    (unset / "cache").write_text("a file where the directory should be")
    keep_compiled()
    assert PLACE not in os.environ and SIZE not in os.environ


LIMITED = """
import resource, sys
resource.setrlimit(resource.{kind}, (int({gib} * 2**30), resource.RLIM_INFINITY))
sys.argv = ["vidsme", *{words!r}]
from vidsme_jax.cli import entry
entry()
"""


def limited(folder, kind, gib, *words):
    """Run a command under a limit, and for at most 20 seconds."""
    code = LIMITED.format(kind=kind, gib=gib, words=[*map(str, words)])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, timeout=20
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("kind", "gib", "option"),
    [("RLIMIT_AS", 2, "-v"), ("RLIMIT_AS", 4, "-v"), ("RLIMIT_DATA", 1, "-d")],
)
@pytest.mark.parametrize(
    "words", ["score --model m --data d --out o", "evaluate r --out o", "demo --out o"]
)
def test_too_little_memory_for_threads_is_one_line(tmp_path, kind, gib, option, words):
    """Threads that cannot start leave the reader of a store waiting for ever."""
    code, printed = limited(tmp_path, kind, gib, *words.split())
    assert code == 2 and printed.count("\n") == 1
    assert f"memory is limited to {gib}.0 GiB by ulimit {option}, expected" in printed
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("user", "is_refused"), [(1000, True), (0, False)])
def test_too_few_threads_are_one_line(monkeypatch, user, is_refused):
    """The kernel does not hold this limit against its root."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    limits = {resource.RLIMIT_NPROC: 103}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits.get(kind, -1), -1))
    check_memory("status")
    if not is_refused:
        check_memory("score")
        return
    with pytest.raises(
        InputError, match="limited to 103 by ulimit -u, expected at least 104"
    ):
        check_memory("score")


def test_a_store_is_read_with_the_memory_that_is_asked_for(tmp_path):
    """Prepare and verify, which reads with the 64 threads, at the limit that passes."""
    _, manifest, model = make_project(tmp_path, count=2)
    words = ("prepare", manifest, "--model", model, "--frames", "2", "--out", "store")
    lowest = float(re.search(r"at least ([0-9.]+) GiB", refused("prepare"))[1])
    assert limited(tmp_path, "RLIMIT_AS", lowest + 0.1, *words)[0] == 0
    lowest = float(re.search(r"at least ([0-9.]+) GiB", refused("verify"))[1])
    code, printed = limited(tmp_path, "RLIMIT_AS", lowest + 0.1, "verify", "store")
    assert code == 0, printed


def refused(command):
    """Return the line with which a command is refused under a small limit."""
    with pytest.MonkeyPatch.context() as patch:
        limits = {resource.RLIMIT_AS: 2**20, resource.RLIMIT_STACK: 2**23}
        patch.setattr(
            resource,
            "getrlimit",
            lambda kind: (limits.get(kind, -1), resource.RLIM_INFINITY),
        )
        with pytest.raises(InputError) as caught:
            check_memory(command)
    return str(caught.value)


@pytest.mark.slow(12)
def test_commands_do_not_import_torch(tmp_path, monkeypatch):
    """It is installed here, and transformers would import it with its tokenizers."""
    assert importlib.util.find_spec("torch")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    _, manifest, model = make_project(tmp_path, count=4)
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        "sys.argv[0] = 'vidsme'\n"
        "from vidsme_jax.cli import entry\n"
        "entry()"
    )
    data = ("--model", model, "--data", manifest, "--frames", "2")
    for words in (
        ("score", *data, "--slices", "video", "--out", "run"),
        ("evaluate", "run", "--bootstrap", "100", "--out", "report"),
    ):
        done = python(tmp_path, "-c", code, *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-1] == "False"


def test_what_imports_torch_by_name_still_gets_it(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    code = (
        "from vidsme_jax.cli.environment import leave_out_torch\n"
        "leave_out_torch()\n"
        "import importlib.util, torch\n"
        "assert importlib.util.find_spec('torch') is None\n"
        "assert importlib.util.find_spec('numpy') and torch.zeros(2).sum() == 0"
    )
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
