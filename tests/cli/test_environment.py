"""What a command compiled, the next finds; where that cannot be, nothing is said."""

import os

import pytest
from tools import python

from vidsme_jax.cli.environment import keep_compiled

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
