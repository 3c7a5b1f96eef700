from functools import lru_cache

import jax
import numpy as np
import pytest
from tools import COLLECTIVES, make_project

from vidsme_jax.data.batches import make_batch, make_layout
from vidsme_jax.models import open_port
from vidsme_jax.scores.definition import Orders, ScoreRequest
from vidsme_jax.scores.program import EXACT, score_program
from vidsme_jax.sharding import pad_clips, partitioned, replicated

pytestmark = pytest.mark.slow(95)

FRAMES, CLIPS = 4, 27
SLICES = ("video", "response")  # both kinds of rows


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A toy checkpoint, its program, and 27 clips: ragged over any number of devices."""
    records, _, model = make_project(tmp_path_factory.mktemp("toy"), count=3)
    port = open_port(model)
    rng = np.random.default_rng(0)
    prompts = [port.prompt("What? " * (n % 3), "a red circle") for n in range(CLIPS)]
    pixels = rng.integers(0, 256, (CLIPS, FRAMES, 24, 24, 3), dtype=np.uint8)
    layout = make_layout(prompts, port.video(FRAMES), SLICES)
    batch = make_batch(prompts, pixels, layout)
    q, r = np.linspace(1, 2, CLIPS), np.linspace(1, 1.1, CLIPS)
    q, r = (np.float32(order - 1)[:, None] for order in (q, r))
    program = score_program(port.forward, ScoreRequest((EXACT,), SLICES, kept=("sme",)))
    return port, program, (batch, Orders(q, r))


def run_all(program, params, arrays, size, counts):
    """Score in batches of `size`, the last one padded; return tables in order."""
    tables = []
    for start in range(0, CLIPS, size):
        part = jax.tree.map(lambda x, at=start: x[at : at + size], arrays)
        kept = len(part[1].q_less_one)
        placed = program.put_batch(pad_clips(part, size))
        with jax.transfer_guard("disallow"):
            out = program.run(params, placed)
            counts.append(1)
            results = program.fetch(out)
        table = results.tables["exact"]
        assert len(table) == size
        tables.append((table[:kept], results.curves["sme"][:kept]))
    return [np.concatenate(x) for x in zip(*tables, strict=True)]


@pytest.fixture(scope="module")
def single(case):
    port, function, arrays = case
    program = replicated(function, tuple(jax.devices()[:1]))
    params = port.load(np.float32, program.place)
    return run_all(program, params, arrays, 2, [])


@pytest.fixture(scope="module")
def replicas(case):
    """Return count -> the program on so many devices, and the list of its traces."""

    @lru_cache
    def make(count):
        traces = []

        def counted(*arguments):
            traces.append(1)
            return case[1](*arguments)

        return replicated(counted, tuple(jax.devices()[:count])), traces

    return make


@pytest.mark.parametrize("count", [2, 8])
def test_replicas_give_the_same_scores_in_the_same_order(case, single, replicas, count):
    port, _, arrays = case
    program, _ = replicas(count)
    params = port.load(np.float32, program.place)
    got = run_all(program, params, arrays, 2 * count, [])
    for ours, want in zip(got, single, strict=True):  # 2 clips a device in both
        np.testing.assert_array_equal(ours, want)


@pytest.mark.parametrize(("count", "model"), [(2, 2), (8, 4)])
def test_a_partitioned_model_gives_the_same_scores(case, single, count, model):
    port, function, arrays = case
    program = partitioned(function, tuple(jax.devices()[:count]), model)
    params = port.load(np.float32, program.place)
    kernel = params["decoder"]["layers"]["mlp"]["gate"]["kernel"]
    whole = kernel.nbytes
    assert kernel.addressable_shards[0].data.nbytes == whole // model
    got = run_all(program, params, arrays, 2 * count // model, [])
    for ours, want in zip(got, single, strict=True):
        np.testing.assert_allclose(ours, want, rtol=1e-4, atol=1e-5)


def test_one_compile_no_collective_and_no_copy_of_parameters(case, replicas):
    port, _, arrays = case
    program, traces = replicas(8)
    params = port.load(np.float32, program.place)
    calls: list[int] = []
    before = [x.unsafe_buffer_pointer() for x in shards(params)]
    run_all(program, params, arrays, 16, calls)
    assert len(calls) == 2 and len(traces) == 1
    assert [x.unsafe_buffer_pointer() for x in shards(params)] == before
    text = compiled_text(program, params, arrays, 16)
    assert not [name for name in COLLECTIVES if name in text]


def shards(params):
    return [s.data for x in jax.tree.leaves(params) for s in x.addressable_shards]


def compiled_text(program, params, arrays, size):
    part = jax.tree.map(lambda x: x[:size], arrays)
    return program.run.lower(params, program.put_batch(part)).compile().as_text()


def test_the_search_for_collectives_would_find_one(case):
    """The partitioned program must communicate: the words searched for are right."""
    port, function, arrays = case
    program = partitioned(function, tuple(jax.devices()), 2)
    params = port.load(np.float32, program.place)
    assert "all-reduce" in compiled_text(program, params, arrays, 8)


def test_parameters_left_on_the_host_are_caught(case):
    port, _, arrays = case

    def total(params, batch, orders):
        return sum(leaf.sum() for leaf in jax.tree.leaves(params)) + orders.q_less_one

    program = replicated(total, tuple(jax.devices()[:2]))
    params = jax.device_get(port.load(np.float32, program.place))
    batch = program.put_batch(jax.tree.map(lambda x: x[:4], arrays))
    with (
        jax.transfer_guard("disallow"),
        pytest.raises(Exception, match="[Dd]isallowed"),
    ):
        jax.block_until_ready(program.run(params, batch))


def test_model_axis_must_divide_the_devices(case):
    with pytest.raises(ValueError, match="model=3 must divide the number of devices, 8"):
        partitioned(case[1], tuple(jax.devices()), 3)


def test_padding_repeats_the_last_clip():
    padded = pad_clips({"a": np.array([[1], [2]])}, 4)
    np.testing.assert_array_equal(padded["a"], [[1], [2], [2], [2]])
