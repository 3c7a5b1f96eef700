"""Checkpoints that releases of transformers from 4.45 to 5.24 saved: all load alike.

tests/releases holds the config.json and the keys that each release wrote for a tiny model
of each class (`experiments/checks/releases.py`). The weights are those of the twins.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file
from tools import here
from twins import GOLDENS, TWIN, draw, spelled, write_twin

from vidsme_jax.models import open_port
from vidsme_jax.models.checkpoints.trees import flatten

RELEASES = sorted((Path(__file__).parents[2] / "releases").glob("*.json"))
CASES = ("next-llama-gqa", "onevision-siglip", "video-llava")


def write_release(stored, case, folder):
    """Write the checkpoint of a case as a release would, and return its directory."""
    shapes = json.loads((GOLDENS / f"{case}.json").read_text())["shapes"]
    write_twin(TWIN[case], folder, stored[case]["config"], shapes)
    spellings = (
        {spelled(key, layout): key for key in shapes} for layout in ("4", "4.52", "5")
    )
    (names,) = (n for n in spellings if set(n) == set(stored[case]["keys"]))
    tensors = {key: draw(name, tuple(shapes[name])) for key, name in names.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_every_release_loads_alike(path, case, tmp_path):
    """The same functions and the same parameters give the same numbers, bit for bit."""
    newest = json.loads(RELEASES[-1].read_text())
    want = open_port(write_release(newest, case, tmp_path / "newest"))
    got = open_port(write_release(json.loads(path.read_text()), case, tmp_path / "release"))
    assert got.config == want.config and got.template == want.template
    loaded = [flatten(port.load(np.float32, here)) for port in (got, want)]
    jax.tree.map(np.testing.assert_array_equal, *loaded)


def test_the_releases_are_those_that_the_guide_names():
    assert [path.stem for path in RELEASES] == (
        "4.45.2 4.46.3 4.48.3 4.51.3 4.57.6 5.0.0 5.24.0".split()
    )
