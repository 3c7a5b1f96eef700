from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from vidsme_jax.batch import TEXT, Batch, Prompt, VideoShape
from vidsme_jax.data.batches import frame_order, make_batch, make_layout
from vidsme_jax.scores import catalogue, reduction
from vidsme_jax.scores.curves import score_table, token_curves
from vidsme_jax.scores.definition import Orders, ScoreRequest
from vidsme_jax.scores.program import EXACT, score_batch, score_program
from vidsme_jax.scores.reduction import chunk_rows

pytestmark = [pytest.mark.slow(35), pytest.mark.least_compiled]

VOCAB, WIDTH, FRAMES, TOKENS = 40, 12, 3, 4
VIDEO = VideoShape(FRAMES, 1, TOKENS, 0)
PROMPTS = [
    Prompt((1, 2), (3, 4, 5), (6, 7)),
    Prompt((1, 2, 9), (3, 8), (6,)),
    Prompt((1,), (3, 4, 5, 6, 7), ()),
]


def weights(rng):
    shapes = {"embed": (VOCAB, WIDTH), "pixel": (3, WIDTH), "mix": (WIDTH, WIDTH)}
    shapes["head"] = (WIDTH, VOCAB)
    draw = {k: rng.normal(0, 1, s) for k, s in shapes.items()}
    return {k: v.astype(np.float32) for k, v in draw.items()}


def sequence(params, pixels, tokens, source):
    """A toy causal model: each position sees the mean of all up to it."""
    video = pixels.astype(jnp.float32).reshape(FRAMES * TOKENS, 3) / 255
    placed = (video @ params["pixel"])[jnp.maximum(source, 0)]
    x = jnp.where(source[:, None] >= 0, placed, params["embed"][tokens])
    steps = jnp.arange(1, len(x) + 1, dtype=jnp.float32)[:, None]
    return jnp.tanh(jnp.cumsum(x, axis=0) / steps @ params["mix"]) * 3


def forward(params, batch):
    both = jnp.stack([batch.pixels, jnp.flip(batch.pixels, axis=1)], axis=1)

    def way(pixels, tokens, source):
        return sequence(params, pixels, tokens, source)

    ways = jax.vmap(way, in_axes=(0, None, None))
    hidden = jax.vmap(ways)(both, batch.tokens, batch.source)
    return hidden, lambda rows: rows @ params["head"]


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, FRAMES, 2, 2, 3), dtype=np.uint8)
    layout = make_layout(PROMPTS, VIDEO, catalogue.SLICES)
    batch = make_batch(PROMPTS, pixels, layout)
    q, r = np.float32([1.0, 1.3, 2.0]), np.float32([1.0, 1.05, 1.1])
    return jax.tree.map(jnp.asarray, (weights(rng), batch, q, r))


class CountedProgram(NamedTuple):
    """A compiled program, and a list with an entry for each of its traces."""

    run: jax.stages.Wrapped
    traces: list[int]


@pytest.fixture(scope="module")
def program():
    """Every score, compiled for the shapes of `case` when first called."""
    traces = []

    def counted(params, batch):
        traces.append(1)
        return forward(params, batch)

    request = ScoreRequest((EXACT,), kept=("sme", "sme_aligned"))
    return CountedProgram(jax.jit(score_program(counted, request)), traces)


rows_of = jax.jit(score_batch, static_argnums=1)


def naive(params, pixels, prompt, q, r):
    """Score one clip by two separate passes and plain loops over the definitions."""
    start, video = len(prompt.before), FRAMES * TOKENS
    text = [*prompt.before, *[0] * video, *prompt.after, *prompt.answer]
    source = np.full(len(text), TEXT)
    source[start : start + video] = np.arange(video)
    rows = {}
    for way in (0, 1):
        shown = pixels[::-1] if way else pixels
        hidden = sequence(params, shown, jnp.array(text), jnp.array(source))
        logits = np.asarray(hidden @ params["head"])
        spots = {
            "video": [(j, int(logits[j].argmax())) for j in range(start, start + video)],
            "instruction": [
                (j, text[j + 1])
                for j in range(start + video - 1, start + video - 1 + len(prompt.after))
            ],
        }
        first = start + video + len(prompt.after)
        spots["response"] = [(j - 1, text[j]) for j in range(first, len(text))]
        for name, pairs in spots.items():
            values = [
                reference.families(logits[j], y)
                | {"sme": reference.sharma_mittal(logits[j], float(q), float(r))}
                for j, y in pairs
            ]
            rows[name, way] = values
    return rows


def test_every_score_matches_two_separate_passes(case, program):
    params, batch, q, r = case
    table, kept = scored(program.run, params, batch, q, r)
    named = dict(zip(catalogue.columns(), np.asarray(table).T, strict=True))
    for n, prompt in enumerate(PROMPTS):
        rows = naive(params, batch.pixels[n], prompt, q[n], r[n])
        for name in catalogue.SLICES:
            natural, reverse = rows[name, 0], rows[name, 1]
            if not natural:
                assert np.isnan(named[f"{name}.sme.mean"][n])
                continue
            for family in natural[0]:
                a = np.array([v[family] for v in natural])
                b = np.array([v[family] for v in reverse])
                want = {family: a, f"{family}_diff": a - b}
                if family == "sme":
                    want = {"sme": a - b, "sme_nat": a, "sme_rev": b}
                # float32 against float64: relative to what is subtracted.
                size = max(1, np.abs(a).max(), np.abs(b).max())
                for column, curve in want.items():
                    check_aggregates(named, f"{name}.{column}", n, curve, 1e-5 * size)
            if name == "video":
                a, b = (np.array([v["sme"] for v in rows[name, way]]) for way in (0, 1))
                mirrored = np.reshape(b, (FRAMES, TOKENS))[::-1].reshape(-1)
                check_aggregates(named, "video.sme_aligned", n, a - mirrored, 1e-5)
                got = np.asarray(kept["sme"])[n, : len(a)]
                np.testing.assert_allclose(got, np.subtract(a, b), atol=2e-5)


def scored(run, params, batch, q, r):
    out = run(params, batch, Orders(q[:, None] - 1, r[:, None] - 1))
    assert list(out.tables) == ["exact"] and not out.swept
    return out.tables["exact"], out.curves


def check_aggregates(named, prefix, n, curve, atol):
    ordered = np.sort(curve)
    for percent in (0, 5, 10, 30, 60, 90):
        k = max(1, len(curve) * percent // 100)
        low, high = named[f"{prefix}.min_{percent}"], named[f"{prefix}.max_{percent}"]
        assert low[n] == pytest.approx(ordered[:k].mean(), rel=1e-5, abs=atol), prefix
        assert high[n] == pytest.approx(ordered[-k:].mean(), rel=1e-5, abs=atol), prefix
    mean = named[f"{prefix}.mean"]
    assert mean[n] == pytest.approx(curve.mean(), rel=1e-5, abs=atol), prefix


def test_chunks_of_rows_change_nothing(case, monkeypatch):
    params, batch, q, r = case
    whole, chunks = rows_of(params, forward, batch, q, r), []

    def watched(params, batch):
        hidden, head, *_ = forward(params, batch)

        def noted(rows):
            chunks.append(rows.shape)
            return head(rows)

        return hidden, noted

    monkeypatch.setattr(reduction, "_CHUNK_BYTES", 4 * 3 * 2 * VOCAB * 5)  # 5 rows
    parts = rows_of(params, watched, batch, q, r)
    assert chunks[-1] == (3, 2, 5, WIDTH)
    for name in whole:
        assert whole[name].shape == parts[name].shape == (3, 2, batch.rows.shape[1])
        np.testing.assert_allclose(whole[name], parts[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 219, 220, 221, 1180, 2368, 18496])
def test_chunks_are_even(rows):
    """Two sequences of LongVA's vocabulary: 220 of their rows in 256 MB."""
    size = chunk_rows(rows, 2, 152_064)
    chunks = -(-rows // size)
    assert size <= 220 and chunks == -(-rows // (220 if rows < 64 else 216))
    assert size < 64 or size % 8 == 0
    assert chunks * size - rows < chunks * (8 if size >= 64 else 1)


def test_memory_does_not_grow_with_rows_times_vocabulary():
    """The head of a real vocabulary over 2,000 rows, compiled: no array of all logits."""
    vocab, count = 150_000, 2000

    def big(params, batch):
        return batch.tokens, lambda rows: rows @ params

    hidden = jax.ShapeDtypeStruct((1, 2, count, 8), jnp.float32)
    rows = jax.ShapeDtypeStruct((1, count), jnp.int32)
    batch = Batch(None, hidden, None, None, rows, rows, None, None, None)
    order = jax.ShapeDtypeStruct((1,), jnp.float32)
    head = jax.ShapeDtypeStruct((8, vocab), jnp.float32)

    def run(params, batch, q, r):
        return score_batch(params, big, batch, q, r)

    compiled = jax.jit(run).lower(head, batch, order, order).compile()
    all_logits = 2 * count * vocab * 4
    assert compiled.memory_analysis().temp_size_in_bytes < all_logits


def test_one_trace_for_all_orders(case, program):
    params, batch, q, r = case
    first, _ = scored(program.run, params, batch, q, r)
    second, _ = scored(program.run, params, batch, q[::-1], r)
    assert len(program.traces) == 1 and np.nanmax(np.abs(first - second)) > 0


def test_a_reversed_clip_swaps_the_directions(case):
    params, batch, q, r = case
    there = rows_of(params, forward, batch, q, r)
    backwards = batch._replace(pixels=batch.pixels[:, ::-1])
    back = rows_of(params, forward, backwards, q, r)
    for name in there:
        np.testing.assert_array_equal(there[name], back[name][:, ::-1])


def test_a_model_that_gives_logits_at_once(case):
    params, batch, q, r = case

    def logits(params, batch):
        hidden, head, *_ = forward(params, batch)
        return head(hidden), lambda rows: rows

    want = rows_of(params, forward, batch, q, r)
    got = rows_of(params, logits, batch, q, r)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=1e-6)


def test_slices_are_independent(case, program):
    params, batch, q, r = case
    table, _ = scored(program.run, params, batch, q, r)
    named = dict(zip(catalogue.columns(), np.asarray(table).T, strict=True))
    for slices in (("video",), ("instruction", "response")):
        layout = make_layout(PROMPTS, VIDEO, slices)
        alone = make_batch(PROMPTS, np.asarray(batch.pixels), layout)
        alone = jax.tree.map(jnp.asarray, alone)
        run = jax.jit(score_program(forward, ScoreRequest((EXACT,), slices)))
        got, _ = scored(run, params, alone, q, r)
        for column, values in zip(
            catalogue.columns(slices), np.asarray(got).T, strict=True
        ):
            # A difference is as exact as what is subtracted, which differs by the CPU.
            size = max(1, np.nanmax(np.abs(named[column.replace("_diff", "")])))
            np.testing.assert_allclose(values, named[column], rtol=2e-4, atol=2e-5 * size)
    assert make_layout(PROMPTS, VIDEO, ("video",)).text_rows == 0


def test_columns_have_two_dots_and_an_orientation():
    names = catalogue.columns()
    assert len(set(names)) == len(names) and catalogue.PRIMARY in names
    assert all(catalogue.is_score(name) for name in names)
    assert not catalogue.higher_is_member("video.sme.mean")
    assert catalogue.higher_is_member("response.logp.min_10")
    with pytest.raises(ValueError, match="no known family"):
        catalogue.higher_is_member("video.nonsense.mean")


def test_curves_hold_every_family(case):
    params, batch, q, r = case
    statistics = rows_of(params, forward, batch, q, r)
    curves = token_curves(statistics, batch.mirror)
    assert set(curves) == set(catalogue.FAMILY_INFO)
    table = jax.eval_shape(score_table, curves, batch.masks)
    assert table.shape == (3, len(catalogue.columns()))


@pytest.mark.parametrize(
    "order, place", [((2, 1, 0), (2, 1, 0)), ((1, 2, 0), (2, 0, 1)), ((1, 1, 1), (0, 0, 2))]
)
def test_mirror_is_where_the_other_way_shows_a_frame(order, place):
    layout = make_layout(PROMPTS[:1], replace(VIDEO, tail=1), catalogue.SLICES)
    pixels = np.zeros((1, FRAMES, 2, 2, 3), np.uint8)
    batch = make_batch(PROMPTS[:1], pixels, layout, [np.int32(order)])
    rows = np.arange(layout.video_rows + layout.text_rows)
    want = [TOKENS * place[j // TOKENS] + j % TOKENS for j in rows[: FRAMES * TOKENS]]
    assert batch.mirror[0].tolist() == [*want, *rows[FRAMES * TOKENS :]]
    assert batch.order[0].tolist() == list(order)


def test_orders_of_frames():
    four, sixteen = VideoShape(4, 1, TOKENS, 0), VideoShape(16, 1, TOKENS, 0)
    assert frame_order("reverse", four, "a").tolist() == [3, 2, 1, 0]
    assert frame_order("repeat", four, "a").tolist() == [2] * 4
    drawn = [frame_order("shuffle", sixteen, name).tolist() for name in "aab"]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(sorted(order) == list(range(16)) for order in drawn)
