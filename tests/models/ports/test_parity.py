"""Every port against PyTorch, through the real loader, and against what PyTorch once said.

`pytest tests/test_parity.py tests/test_sizes.py --record` writes the goldens and the record
that `vidsme list models` prints; without the option both are checked.
"""

import json
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tools import here, matrix_products
from twins import GOLDENS, TWINS, WITH_TORCH, Twin, config_of, inputs_of, oracle, write_twin

from vidsme_jax.batch import TEXT, Batch
from vidsme_jax.data.batches import make_batch, make_layout
from vidsme_jax.models import open_port
from vidsme_jax.models.processor import pixel_levels
from vidsme_jax.models.video_llm import bind, make_forward
from vidsme_jax.scores.catalogue import SLICES
from vidsme_jax.scores.program import score_batch

pytestmark = [pytest.mark.slow(115), pytest.mark.least_compiled]

LOGITS, KL = 2e-5, 1e-9  # largest difference, float32 on CPU
CASES = pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)


@pytest.fixture(scope="module")
def open_twin(tmp_path_factory, request):
    """Return the function that writes a twin once and opens it."""

    @lru_cache
    def opened(twin: Twin):
        folder = tmp_path_factory.mktemp("twin") / twin.name
        if request.config.getoption("record"):
            config, shapes = describe(twin, tmp_path_factory.mktemp("saved"))
            golden = {"config": config, "shapes": shapes}
            path = GOLDENS / f"{twin.name}.json"
            path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
        stored = json.loads((GOLDENS / f"{twin.name}.json").read_text())
        return open_port(write_twin(twin, folder, stored["config"], stored["shapes"]))

    return opened


def describe(twin: Twin, folder):
    """Return config and shapes as the PyTorch class has them."""
    from oracles import make_model, make_parts, shapes_of

    if twin.original:
        return config_of(twin), shapes_of(twin, make_parts(twin))
    model = make_model(twin)
    model.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    return (saved if twin.layout == "5" else config_of(twin)), shapes_of(twin, model)


@lru_cache
def program(config):
    """Return the compiled logits of both directions at every position."""

    def run(params, batch):
        hidden, head, _ = make_forward(config)(params, batch)
        return head(hidden)

    return jax.jit(run)


@lru_cache
def ours(port, twin: Twin, frames: int):
    """Return [clip way time kept vocabulary], right of each prompt's end padding."""
    batch = batch_of(port, twin, frames)
    out = np.asarray(program(port.config)(port.load(np.float32, here), batch))
    keep = port.config.vocab_keep
    assert np.all(np.isneginf(out[..., keep:])) and keep == len(port.tokenizer)
    return out[..., :keep]


def batch_of(port, twin: Twin, frames: int) -> Batch:
    inputs, count = inputs_of(twin, frames), port.video(frames).length
    ends = [
        len(a) + count + len(b) for a, b in zip(inputs.before, inputs.after, strict=True)
    ]
    tokens = np.zeros((3, max(ends)), np.int32)
    source = np.full_like(tokens, TEXT)
    for n, (before, after) in enumerate(zip(inputs.before, inputs.after, strict=True)):
        start = len(before)
        tokens[n, :start] = before
        source[n, start : start + count] = np.arange(count)
        tokens[n, ends[n] - len(after) : ends[n]] = after
    places = np.arange(max(ends), dtype=np.int32)[None, None]
    positions = np.minimum(places, np.array(ends, np.int32)[:, None, None] - 1)
    order = np.tile(np.arange(frames, dtype=np.int32)[::-1], (3, 1))
    nothing = np.zeros((3, 1))
    return Batch(inputs.pixels, tokens, source, positions, *[nothing] * 3, order, nothing)


@CASES
def test_equal_to_what_pytorch_said(twin, open_twin, request):
    """Needs no PyTorch: some rows of its logits are stored."""
    if request.config.getoption("record"):
        pytest.skip("the goldens are being written")
    port = open_twin(twin)
    assert port.name == twin.port
    golden = np.load(GOLDENS / f"{twin.name}.npz")
    assert set(golden.files) == {str(n) for n in twin.frames}
    for frames in twin.frames:
        got, want = sample(ours(port, twin, frames)), golden[str(frames)]
        np.testing.assert_allclose(got, want, atol=LOGITS, rtol=0)


def sample(logits):
    """Return the logits that are stored: a few rows of each direction."""
    rows = np.linspace(0, logits.shape[2] - 12, 6).astype(int)
    return logits[:, :, rows]


@WITH_TORCH
@CASES
def test_equal_to_pytorch(twin, open_twin, tmp_path, record, request):
    """Logits of both directions, each from a full pass of its own in PyTorch."""
    port = open_twin(twin)
    logits_of = oracle(twin, port, tmp_path)
    table = pixel_levels(port.config.mean, port.config.std)
    worst, divergence, goldens = 0.0, 0.0, {}
    for frames in twin.frames:
        inputs, got = inputs_of(twin, frames), ours(port, twin, frames)
        stored = got.copy()
        for way, order in enumerate((slice(None), slice(None, None, -1))):
            for n, (before, after) in enumerate(
                zip(inputs.before, inputs.after, strict=True)
            ):
                pixels = inputs.pixels[n, order]
                images = np.stack([table[c][pixels[..., c]] for c in range(3)], axis=1)
                want = logits_of(images, before, after, port.video(frames).length)
                want = want[:, : got.shape[-1]]
                assert want.std() > 1  # a flat model would match anything
                mine = got[n, way, : len(want)]
                worst = max(worst, float(np.abs(mine - want).max()))
                divergence = max(divergence, float(kl(want, mine).max()))
                stored[n, way, : len(want)] = want
        goldens[str(frames)] = sample(stored)
    assert worst <= LOGITS and divergence <= KL
    record.case(twin, worst, divergence)
    if request.config.getoption("record"):
        np.savez_compressed(GOLDENS / f"{twin.name}.npz", **goldens)


def kl(z, other):
    """Return KL(softmax z || softmax other) of each row, in float64."""
    z, other = (x - x.max(-1, keepdims=True) for x in np.array([z, other], np.float64))
    p, q = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (z, other))
    return (np.exp(p) * (p - q)).sum(-1)


@WITH_TORCH
@pytest.mark.parametrize(
    "twin", [t for t in TWINS if not t.original and t.layout != "5"], ids=lambda t: t.name
)
def test_transformers_reads_the_older_layouts_alike(twin, open_twin):
    """The spelling of the older layouts is theirs, not only ours."""
    import torch
    import transformers
    from oracles import make_model

    port, want = open_twin(twin), make_model(twin).state_dict()
    cls = getattr(transformers, config_of(twin)["architectures"][0])
    got = cls.from_pretrained(port.directory).state_dict()
    assert set(got) == set(want)
    for key, value in want.items():
        assert torch.equal(got[key], value), key


# One of each tower and connector; the decoder has no part in it.
REORDERED = """
    next-llama-gqa next-qwen2-siglip onevision-siglip onevision-clip video-llava longva
    longva-tied video-bilinear-grid video-average-grid video-bilinear-frame
    video-bilinear-one_token video-average-no_token
""".split()


@pytest.mark.parametrize("name", REORDERED)
def test_the_reversed_clip_is_the_same_frames_in_other_order(name, open_twin):
    """Merged embeddings of re-ordered blocks are those of reversed pixels, bit for bit."""
    twin = next(twin for twin in TWINS if twin.name == name)
    port = open_twin(twin)
    params, batch = port.load(np.float32, here), batch_of(port, twin, max(twin.frames))

    @jax.jit
    def merged(params, pixels, flip, tokens, source):
        model = bind(port.config, params)
        frames = model.embed_frames(pixels)
        frames = jax.lax.select(flip, frames[:, ::-1], frames)
        return model.merge(model.join_frames(frames), tokens, source)

    def embeddings(pixels, flip):
        return merged(params, pixels, np.array(flip), batch.tokens, batch.source)

    reordered = embeddings(batch.pixels, True)
    reversed_input = embeddings(batch.pixels[:, ::-1].copy(), False)
    np.testing.assert_array_equal(reordered, reversed_input)
    natural = embeddings(batch.pixels, False)
    assert max(twin.frames) == 1 or not np.array_equal(natural, reordered)


@pytest.mark.parametrize("name", ["longva", "onevision-tied", "video-llava-4"])
def test_half_precision_weights_meet_no_float32(name, open_twin):
    """Wherever a matrix product has weights of 16 bits, the activations have 16 as well."""
    twin = next(twin for twin in TWINS if twin.name == name)
    port = open_twin(twin)
    batch = batch_of(port, twin, max(twin.frames))

    def run(params, batch):
        hidden, head, *_ = port.forward(params, batch)
        return head(hidden)

    half = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), port.abstract
    )
    products = matrix_products(jax.make_jaxpr(run)(half, batch).jaxpr)
    seen = [tuple(x.aval.dtype for x in equation.invars) for equation, _ in products]
    mixed = [types for types in seen if len(set(types)) > 1]
    assert not mixed and seen.count((jnp.bfloat16, jnp.bfloat16)) >= 15


def test_the_record_is_of_these_cases(recorded):
    """What `vidsme list models` prints was measured on the cases that stand here."""
    assert set(recorded["cases"]) == {twin.name for twin in TWINS}
    for twin in TWINS:
        case = recorded["cases"][twin.name]
        assert case["port"] == twin.port and case["layout"] == twin.layout
        assert 0 < case["logits"] <= LOGITS and 0 <= case["kl"] <= KL


@pytest.mark.parametrize("name", ["longva", "onevision-siglip", "video-bilinear-grid"])
def test_scores_are_those_of_two_separate_passes(name, open_twin):
    """Both directions in one pass give what a pass each gives, to 1e-5."""
    port = open_twin(next(twin for twin in TWINS if twin.name == name))
    config, rng = port.config, np.random.default_rng(0)
    prompts = [port.prompt(text, "a red cat") for text in ("Who?", "What happens here?")]
    side = config.vision.image
    layout = make_layout(prompts, port.video(4), SLICES)
    pixels = rng.integers(0, 256, (2, 4, side, side, 3), dtype=np.uint8)
    params, orders = port.load(np.float32, here), (np.full(2, 1.7, np.float32),) * 2

    @jax.jit
    def both(params, batch, q, r):
        return score_batch(params, make_forward(config), batch, q, r)

    together = both(params, make_batch(prompts, pixels, layout), *orders)
    reversed_first = both(
        params, make_batch(prompts, pixels[:, ::-1].copy(), layout), *orders
    )
    for family, value in together.items():
        np.testing.assert_allclose(value[:, 1], reversed_first[family][:, 0], atol=1e-5)
    assert not np.allclose(together["sme"][:, 0], together["sme"][:, 1], atol=1e-3)
