"""The door of `models`: a family with modules of its own comes in by one file and a list.

The toy port here stands for such a file. Its tower sees frames in pairs, so that nothing
after the pixels can be shared between the two orders of a clip.
"""

import json
import shutil
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from tools import here, make_project

from vidsme_jax.batch import VideoShape
from vidsme_jax.bench.plan import PlanSettings, plan
from vidsme_jax.cli.listing import models_table
from vidsme_jax.data.batches import make_batch, make_layout
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port, ports
from vidsme_jax.models.architecture import Architecture, Sizes, Stages
from vidsme_jax.models.checkpoints.fields import Fields, read_config
from vidsme_jax.models.checkpoints.rules import Names, Rule
from vidsme_jax.models.flops import ClipFlops
from vidsme_jax.models.port import Graph, PortSpec, complete_graph
from vidsme_jax.models.processor import CLIP_MEAN, CLIP_STD, Processor
from vidsme_jax.models.prompts.template import CHATML
from vidsme_jax.models.prompts.tokenizer import Tokenizer
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores.catalogue import SLICES
from vidsme_jax.scores.program import score_batch

pytestmark = pytest.mark.least_compiled
SIDE, UNIT = 8, 2
WEIGHTS = ("embed", "first", "second", "head")


# What the file of a port holds.
@dataclass(frozen=True)
class PairsConfig:
    """A tower that mixes two frames, and a decoder that averages what is before."""

    width: int
    vocab: int
    vocab_keep: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    @property
    def abstract(self):
        shapes = {"embed": self.vocab, "first": 3 * SIDE, "second": 3 * SIDE}
        rows = {
            k: jax.ShapeDtypeStruct((n, self.width), jnp.float32) for k, n in shapes.items()
        }
        return rows | {"head": jax.ShapeDtypeStruct((self.width, self.vocab), jnp.float32)}

    @property
    def sizes(self):
        return Sizes(self.width, 0, self.vocab, 1, {}, (SIDE, SIDE))

    @property
    def stages(self):
        return Stages(embed, decode, lambda params: head_of(self, params))

    @property
    def code_grid(self):
        return None

    def with_vocab(self, rows):
        return replace(self, vocab=rows, vocab_keep=rows)

    def video(self, frames):
        return VideoShape(frames, UNIT, SIDE, 0)

    def forward(self, natural_only=False):
        return make_forward(self, natural_only)

    def clip_flops(self, frames, time, rows, ways=2):
        return ClipFlops(frames, 0, time, 0, 2 * ways * rows * self.width * self.vocab)

    def uncounted_flops(self, clips, frames, time, share):
        return 0


def embed(params, pixels):
    """Each row of a unit's pixels is an embedding of both its frames."""
    rows = pixels.astype(jnp.float32).mean(axis=3) / 255  # clip frame height 3
    clips, frames = rows.shape[:2]
    pairs = rows.reshape(clips, frames // UNIT, UNIT, SIDE, 3)
    wide = jnp.tile(pairs, (1, 1, 1, 1, SIDE))
    return wide[:, :, 0] @ params["first"] + wide[:, :, 1] @ params["second"]


def decode(params, embedded, batch):
    """Each position reads the mean of all up to it, after `source` put the video in."""
    clips, ways = embedded.shape[:2]
    video = embedded.reshape(clips, ways, -1, embedded.shape[-1])
    number = jnp.maximum(batch.source, 0)[:, None, :, None]
    placed = jnp.take_along_axis(video, number, axis=2)
    is_video = (batch.source >= 0)[:, None, :, None]
    x = jnp.where(is_video, placed, params["embed"][batch.tokens][:, None])
    count = jnp.arange(1, x.shape[2] + 1, dtype=jnp.float32)[None, None, :, None]
    return jnp.tanh(jnp.cumsum(x, axis=2) / count)


def head_of(config, params):
    def head(hidden):
        logits = hidden @ params["head"]
        entry = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
        return jnp.where(entry < config.vocab_keep, logits, -jnp.inf)

    return head


@lru_cache
def make_forward(config, natural_only):
    def forward(params, batch):
        order = batch.order[:, :, None, None, None]
        other = jnp.take_along_axis(batch.pixels, order, axis=1)
        ordered = [batch.pixels] if natural_only else [batch.pixels, other]
        embedded = jnp.stack([embed(params, pixels) for pixels in ordered], axis=1)
        hidden = decode(params, embedded, batch)
        return hidden, head_of(config, params), embedded[:, 0].mean(axis=(1, 2))

    return forward


def read_graph(path, ignore_fields=()):
    fields = Fields(read_config(path), str(path), ignore_fields=ignore_fields)
    vocab = fields.size("vocab_size")
    config = PairsConfig(fields.size("hidden_size"), vocab, vocab)
    fields.finish()
    return Graph("pairs", path, config, tuple(Rule(k, k) for k in WEIGHTS), Names())


def open_checkpoint(graph):
    return complete_graph(graph, Processor(SIDE, SIDE), CHATML, Tokenizer(graph.directory))


SPEC = PortSpec(
    "pairs",
    "none was released",
    "ToyPairs",
    lambda config: "ToyPairs" in (config.get("architectures") or []),
    read_graph,
    open_checkpoint,
)


# Its twin.
@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A manifest of clips, and a checkpoint of the toy family."""
    folder = tmp_path_factory.mktemp("pairs")
    _, manifest, longva = make_project(folder, count=6)
    model = folder / "pairs"
    model.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(longva / name, model / name)
    vocab = json.loads((longva / "config.json").read_text())["vocab_size"] + 4
    fields = {"architectures": ["ToyPairs"], "hidden_size": 16, "vocab_size": vocab}
    (model / "config.json").write_text(json.dumps(fields))
    rng, shapes = np.random.default_rng(0), PairsConfig(16, vocab, vocab).abstract
    save_file(
        {k: rng.normal(0, 1, leaf.shape).astype(np.float32) for k, leaf in shapes.items()},
        model / "model.safetensors",
    )
    return manifest, model


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    """The third place that a new family touches: the list of ports."""
    monkeypatch.setattr(ports, "PORTS", (*ports.PORTS, SPEC))


def test_its_config_answers_what_is_asked_of_any():
    assert isinstance(PairsConfig(16, 99, 99), Architecture)


def test_it_is_scored_from_files_to_table(project, tmp_path):
    manifest, model = project
    run = score(ScoreSettings(model, (manifest,), tmp_path / "run", (4,), batch=3))
    assert set(run["status"].to_pylist()) == {"ok"}
    for name in ("video.sme.mean", "instruction.logp.mean", "response.renyi_one.min_10"):
        values = run[name].to_numpy()
        assert np.isfinite(values).all() and np.ptp(values) > 0


def test_all_its_definitions_and_orders_of_frames(project, tmp_path):
    """The published numbers take the whole head, whose padding is four rows here."""
    manifest, model = project
    settings = ScoreSettings(model, (manifest,), tmp_path / "run", (4,), batch=3)
    for perturbation in ("shuffle", "repeat"):
        out = tmp_path / perturbation
        definitions = ("published", "top_5")
        run = score(
            replace(settings, out=out, perturbation=perturbation, definitions=definitions)
        )
        assert set(run["status"].to_pylist()) == {"ok"}
        assert (out / "published.parquet").exists() and (out / "top_5.parquet").exists()


def test_frames_that_do_not_pair_are_refused(project, tmp_path):
    manifest, model = project
    with pytest.raises(InputError, match="frames=5: this model encodes 2 frames together"):
        score(ScoreSettings(model, (manifest,), tmp_path / "run", (5,)))
    assert not (tmp_path / "run").exists()


def test_the_other_way_is_the_reversed_clip(project):
    """Way 1 of a clip is way 0 of the clip whose pixels come in that order."""
    port = open_port(project[1])
    prompts = [port.prompt("What moves?", "a red square")]
    layout = make_layout(prompts, port.video(6), SLICES)
    pixels = np.random.default_rng(1).integers(0, 256, (1, 6, SIDE, SIDE, 3), np.uint8)
    params, orders = port.load(np.float32, here), (jnp.full(1, 1.3, jnp.float32),) * 2
    run = jax.jit(lambda batch: score_batch(params, port.forward, batch, *orders))
    there = run(make_batch(prompts, pixels, layout))
    back = run(make_batch(prompts, pixels[:, ::-1].copy(), layout))
    for family, value in there.items():
        np.testing.assert_allclose(value[:, 1], back[family][:, 0], atol=1e-5)
    assert not np.allclose(there["sme"][:, 0], there["sme"][:, 1], atol=1e-3)


def test_plans_and_lists_know_it(project):
    assert plan(PlanSettings(str(project[1]), frames=(4,), batch=2)).startswith("pairs, 4")
    assert "pairs\n  checkpoints  none was released" in models_table()


def test_nothing_outside_looks_into_a_config():
    """The parts of a LLaVA are the business of `models` alone."""
    root = Path(__file__).resolve().parents[2]
    inner = ("config.connector", "config.decoder", "config.vision", "tokens_per_frame")
    for folder in ("vidsme_jax", "data", "experiments"):
        for path in (root / folder).rglob("*.py"):
            text = path.read_text()
            assert not [word for word in inner if word in text], path
