"""`vidsme score` with further definitions and orders: one pass, several tables."""

import json
import os
from dataclasses import replace
from functools import lru_cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import published_reference
import pyarrow.parquet as pq
import pytest
import reference
from safetensors.numpy import load_file, save_file
from tools import here, make_project

from vidsme_jax.batch import OWN_ARGMAX, Batch
from vidsme_jax.data.batches import make_batch, make_layout
from vidsme_jax.data.clips import prepare_clips
from vidsme_jax.data.manifest import read_manifests
from vidsme_jax.data.prepared import ClipSpec
from vidsme_jax.data.preprocess import geometry_of
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.placement import Placement
from vidsme_jax.models.video_llm import VideoLLMConfig, make_forward
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores import catalogue, published
from vidsme_jax.scores.definition import Orders, ScoreRequest
from vidsme_jax.scores.orders import EntropyOrders
from vidsme_jax.scores.program import EXACT, NAMED, score_program
from vidsme_jax.scores.reduction import chunk_rows

pytestmark = [pytest.mark.slow(125), pytest.mark.least_compiled]

CLIPS, FRAMES = 9, (2, 4)
HEAD = 704  # rows of the head; the tokenizer has fewer tokens, the rest is padding
VARIANTS = (
    EntropyOrders(beta1=0.5, beta2=0.3),
    EntropyOrders(q=2.0, r=1.0),
    EntropyOrders(q=1.5, tied=True),
    EntropyOrders(tied=True),
)
TABLES = ("scores", "published", "top_5", "exact-orders", "published-orders")
TABLES += ("top_5-orders", "curves")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Nine clips and one that is missing: two batches on the eight devices."""
    folder = tmp_path_factory.mktemp("project")
    entries, manifest, model = make_project(folder, CLIPS, decoder={"vocab_size": HEAD})
    weights = load_file(model / "model.safetensors")
    for key in ("lm_head.weight", "model.embed_tokens.weight"):
        more = HEAD - len(weights[key])
        rows = np.random.default_rng(0).normal(0, 0.1, (more, weights[key].shape[1]))
        weights[key] = np.concatenate([weights[key], rows.astype(np.float32)])
    save_file(weights, model / "model.safetensors")
    entries.insert(3, {"video": "clips/none.mp4", "question": "What?", "label": 0})
    manifest.write_text(json.dumps(entries))
    return ScoreSettings(model, (manifest,), folder / "exact", FRAMES[1:], batch=1)


@pytest.fixture(scope="module")
def everything(project):
    """Everything at once: definitions, orders and frame counts."""
    return replace(
        project,
        out=project.out.with_name("all"),
        frames=FRAMES,
        definitions=("published", "top_5"),
        variants=VARIANTS,
    )


@pytest.fixture(scope="module")
def counted():
    """Calls of the program, and traces of the model, in all runs from here on."""
    counts, place = {"calls": 0, "traces": 0}, Placement.program

    def program(placement, function):
        placed = place(placement, function)

        def run(*arguments):
            counts["calls"] += 1
            return placed.run(*arguments)

        return replace(placed, run=run)

    @lru_cache  # as make_forward itself: equal models share their compiled programs
    def forward_of(config):
        def forward(params, batch):
            counts["traces"] += 1
            return make_forward(config)(params, batch)

        return forward

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Placement, "program", program)
        patch.setattr(VideoLLMConfig, "forward", forward_of)
        yield counts


@pytest.fixture(scope="module")
def first_counts(everything, counted):
    """What the run of everything at once took."""
    before = dict(counted)
    score(everything)
    return {name: counted[name] - count for name, count in before.items()}


@pytest.fixture(scope="module")
def all_at_once(everything, first_counts):
    """The tables of that run."""
    return tables_of(everything.out)


@pytest.fixture(scope="module")
def exact_alone(project):
    return score(project)


@pytest.fixture(scope="module")
def video_alone(project):
    """The settings of a run that asks for the video slice and the published numbers."""
    settings = replace(project, slices=("video",), definitions=("published",))
    return replace(settings, out=project.out.with_name("video"))


def tables_of(out):
    return {name: pq.read_table(out / f"{name}.parquet") for name in TABLES}


def of_frames(table, frames):
    return table.filter(np.equal(table["frames"].to_pylist(), frames))


def of_variant(table, variant):
    """Return the rows of one way to choose q and r, at the larger frame count."""
    table = of_frames(table, FRAMES[1])
    keys = zip(table["q_rule"].to_pylist(), table["r_rule"].to_pylist(), strict=True)
    return table.filter([key == (variant.q_key, variant.r_key) for key in keys])


def agree(got, want, names, rtol=0.0, atol=1e-5):
    assert got["id"].to_pylist() == want["id"].to_pylist()
    for name in names:
        a, b = (np.array(t[name].to_pylist(), float) for t in (got, want))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name)


def test_each_definition_is_a_table_of_the_same_rows(all_at_once):
    rows = all_at_once["scores"]
    ok = [status == "ok" for status in rows["status"].to_pylist()]
    assert rows.num_rows == 2 * (CLIPS + 1) and ok.count(False) == 2
    for name, columns in (("published", published.COLUMNS), ("top_5", catalogue.columns())):
        table = all_at_once[name]
        assert table.column_names == ["id", "frames", *columns]
        for key in ("id", "frames"):
            assert table[key].to_pylist() == rows[key].to_pylist()
        for column in columns:
            present = [value is not None for value in table[column].to_pylist()]
            # The missing clip has no answer either, so no slice of a good one is empty.
            assert present == ok, column
    assert len(published.COLUMNS) == 85


def test_exact_scores_do_not_depend_on_what_else_is_asked(all_at_once, exact_alone):
    rows = of_frames(all_at_once["scores"], FRAMES[1])
    assert rows.column_names == exact_alone.column_names
    agree(rows, exact_alone, ("q", "r"), atol=0)
    for name in catalogue.columns():
        # A difference is as exact as what is subtracted: entropies of 5 nats, say.
        family = name.replace("_diff", "").replace(".sme.", ".sme_nat.")
        family = family.replace("sme_aligned", "sme_nat")
        size = np.nanmax(np.abs(np.array(exact_alone[family].to_pylist(), float)))
        agree(rows, exact_alone, [name], atol=1e-6 * max(1, size))


@pytest.fixture(scope="module")
def logits(project, exact_alone):
    """Return logits of the model's own forward pass for two clips, one the fastest.

    Returns:
        By row of the table, logits [way row vocab] of the video's rows and the row after
        them, over all rows of the head; and how many entries the softmax keeps.
    """
    port, rows = open_port(project.model), read_manifests(list(project.data))
    chosen = [int(np.nanargmin(np.array(exact_alone["q"].to_pylist(), float))), CLIPS]
    rows = [rows[n] for n in chosen]
    spec = ClipSpec(FRAMES[1:], geometry_of(port.processor))
    clips = next(prepare_clips([[row.path for row in rows]], spec))
    pixels = np.stack([clip.sample(FRAMES[1]) for clip in clips])
    prompts = [port.prompt(row.question, row.answer) for row in rows]
    layout = make_layout(prompts, port.video(FRAMES[1]), catalogue.SLICES)
    batch = jax.tree.map(jnp.asarray, make_batch(prompts, pixels, layout))
    config = replace(port.config, vocab_keep=port.config.decoder.vocab)
    assert port.config.vocab_keep < HEAD == config.vocab_keep
    forward = make_forward(config)

    @jax.jit
    def every_logit(params, batch):
        hidden, head, *_ = forward(params, batch)
        return head(hidden)

    z = np.asarray(every_logit(port.load(np.float32, here), batch))
    out = {}
    for n, place in enumerate(chosen):
        start = len(prompts[n].before)
        out[place] = z[n, :, start : start + layout.video.length + 1]
    return out, port.config.vocab_keep


def matches_the_transcription(table, orders, logits):
    for place, z in logits.items():
        pair = tuple(orders[name][place].as_py() for name in ("q", "r"))
        (want,) = published_reference.scores(z[0], z[1], (pair,))
        for name, value in want.items():
            got = table[name][place].as_py()
            assert abs(got - value) <= max(1e-4 * abs(value), 1e-6), (name, pair)


def test_published_numbers_are_those_of_the_whole_head(all_at_once, exact_alone, logits):
    table = of_frames(all_at_once["published"], FRAMES[1])
    matches_the_transcription(table, exact_alone, logits[0])
    assert 1.0 in [exact_alone["q"][n].as_py() for n in logits[0]]  # the clamped one


def test_published_numbers_need_the_video_slice_only(
    all_at_once, video_alone, exact_alone, logits
):
    table = score(video_alone)
    assert [c for c in table.column_names if catalogue.is_score(c)] == list(
        catalogue.columns(("video",))
    )
    alone = pq.read_table(video_alone.out / "published.parquet")
    matches_the_transcription(alone, exact_alone, logits[0])
    whole = of_frames(all_at_once["published"], FRAMES[1])
    agree(alone, whole, published.COLUMNS, rtol=1e-5)


def fixed(path, q, r):
    """Write ranges under which every clip has the same orders: beyond one end of each."""
    ranges = {"motion_min": 1e9, "motion_max": 2e9, "beta1": q - 1}
    ranges |= {"illumination_min": -2.0, "illumination_max": -1.0, "beta2": r - 1}
    path.write_text(json.dumps({str(FRAMES[1]): ranges}))
    return {"calibration": path}


@pytest.mark.parametrize(
    ("variant", "orders"),
    [(VARIANTS[0], None), (VARIANTS[1], (2, 1)), (VARIANTS[2], (1.5, 1.5))],
)
def test_orders_of_the_same_pass_equal_runs_of_their_own(
    project, video_alone, all_at_once, exact_alone, tmp_path, variant, orders
):
    changes = {"beta1": variant.beta1, "beta2": variant.beta2}
    if orders:
        changes = fixed(tmp_path / "fixed.json", *orders)
    apart = score(replace(project, out=tmp_path / "exact", **changes))
    swept = of_variant(all_at_once["exact-orders"], variant)
    names = EXACT.swept(catalogue.SLICES)
    assert swept.column_names == ["id", "frames", "q_rule", "r_rule", "q", "r", *names]
    agree(swept, apart, ("q", "r", *names))
    score(replace(video_alone, out=tmp_path / "published", **changes))
    apart = pq.read_table(tmp_path / "published" / "published.parquet")
    swept = of_variant(all_at_once["published-orders"], variant)
    assert swept.column_names[6:] == list(published.SWEPT)
    agree(swept, apart, published.SWEPT, rtol=1e-5)


def test_each_variant_has_a_row_per_clip_the_run_s_own_first(all_at_once):
    variants = (EntropyOrders(), *VARIANTS)
    for name in ("exact-orders", "published-orders", "top_5-orders"):
        table = all_at_once[name]
        assert table.num_rows == len(variants) * all_at_once["scores"].num_rows
        assert table["q_rule"][0].as_py() == variants[0].q_key
        ids = [name for name in all_at_once["scores"]["id"].to_pylist() for _ in variants]
        assert table["id"].to_pylist() == ids  # clip by clip, whatever the batches
        bad = of_variant(table, VARIANTS[1]).to_pylist()[3]
        assert all(bad[k] is None or np.isnan(bad[k]) for k in list(bad)[4:])
    base = of_frames(all_at_once["scores"], FRAMES[1])
    first = of_variant(all_at_once["exact-orders"], variants[0])
    agree(first, base, ("q", "r", *first.column_names[6:]), atol=1e-6)


def test_tied_orders_follow_the_motion(all_at_once, logits):
    """r is q of each clip: Tsallis entropy, by the plain formula on the logits."""
    table = of_variant(all_at_once["exact-orders"], VARIANTS[3])
    assert repr(table["q"].to_pylist()) == repr(table["r"].to_pylist())
    clips, keep = logits
    for place, z in clips.items():
        q = table["q"][place].as_py()
        values = [
            [reference.sharma_mittal(row[:keep], q, q) for row in way[:-1]] for way in z
        ]
        want = np.mean(np.subtract(*values))
        assert table["video.sme.mean"][place].as_py() == pytest.approx(want, abs=1e-5)


def test_one_call_a_batch_and_one_trace_a_shape(first_counts):
    """Two batches of two frame counts; three definitions of five orders come of them."""
    assert first_counts == {"calls": 2 * len(FRAMES), "traces": len(FRAMES)}


def synthetic(vocab, count, forward, definitions=("exact", "published", "top_5")):
    """A program of 25 pairs of orders, and shapes of its batch."""
    pairs = tuple(product(range(5), range(5)))
    request = ScoreRequest(
        tuple(NAMED[name] for name in definitions), ("video",), ("sme",), pairs, vocab - 10
    )
    row = jax.ShapeDtypeStruct((1, count), jnp.int32)
    mask = jax.ShapeDtypeStruct((1, 1, count), bool)
    hidden = jax.ShapeDtypeStruct((1, 2, count, 8), jnp.float32)
    batch = Batch(None, hidden, row, None, row, row, mask, None, row)
    order = jax.ShapeDtypeStruct((1, 5), jnp.float32)
    head = jax.ShapeDtypeStruct((8, vocab), jnp.float32)
    return score_program(forward, request), (head, batch, Orders(order, order))


def test_the_model_runs_once_whatever_is_asked(rng):
    """Counted where it runs: a trace inside a loop over orders would run 25 times."""
    runs = []

    def forward(params, batch):
        jax.debug.callback(lambda: runs.append(1))
        return batch.tokens, lambda rows: rows @ params

    program, shapes = synthetic(60, 7, forward, ("exact", "published"))
    arrays = jax.tree.map(lambda s: rng.uniform(0, 1, s.shape).astype(s.dtype), shapes)
    head, batch, orders = jax.tree.map(jnp.asarray, arrays)
    place = jnp.arange(7, dtype=jnp.int32)[None]
    batch = batch._replace(rows=place, mirror=place, masks=place[:, None] < 6)
    batch = batch._replace(targets=jnp.full_like(place, OWN_ARGMAX))
    out = jax.block_until_ready(jax.jit(program)(head, batch, orders))
    jax.effects_barrier()
    assert len(runs) == 1
    assert out.swept["published"].shape == (1, 25, len(published.SWEPT))
    assert all(np.all(np.isfinite(table)) for table in out.swept.values())


def test_memory_does_not_grow_with_rows_times_vocabulary():
    """1,512 further rows of two ways over 150,000 tokens would be 1.8 GB of logits.

    What they may add is what is kept of a row: per way and definition about 15 families
    and 5 entropies of 4 bytes, so 1,512 x 2 x 2 x 20 x 4 = 0.5 MB, a few times over. A
    hundredth of the logits, 18 MB, is beyond that and far below any array of them. Both
    counts are whole chunks of 216 rows.
    """

    def forward(params, batch):
        return batch.tokens, lambda rows: rows @ params

    vocab, sizes = 150_000, []
    for count in (2 * 216, 9 * 216):
        assert chunk_rows(count, 2, vocab) == 216
        program, shapes = synthetic(vocab, count, forward, ("exact", "published"))
        compiled = jax.jit(program).lower(*shapes).compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert sizes[1] - sizes[0] < 7 * 216 * 2 * vocab * 4 / 100, sizes


class Killed(BaseException):
    """Nobody catches it, like a kill."""


@pytest.mark.parametrize("when", [9, 15, 31])
def test_killed_at_any_table_and_resumed(
    everything, all_at_once, tmp_path, monkeypatch, when
):
    """Die before the n-th file appears: all tables of the next run are bit-equal."""
    settings, rename, count = replace(everything, out=tmp_path / "run"), os.replace, []

    def dying(source, target):
        count.append(target)
        if len(count) == when:
            raise Killed
        rename(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(Killed):
        score(settings)
    monkeypatch.setattr(os, "replace", rename)
    score(settings)
    for name, table in tables_of(settings.out).items():
        assert table.schema == all_at_once[name].schema
        for column in table.column_names:
            got, want = (t[column].to_pylist() for t in (table, all_at_once[name]))
            assert repr(got) == repr(want), (name, column)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"definitions": ("shannon",)}, "definition=shannon, there are exact, published"),
        (
            {"definitions": ("published",), "slices": ("response",)},
            r"definition=published scores the video slice, slices=\('response',\) has none",
        ),
    ],
)
def test_what_cannot_be_asked(project, tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        score(replace(project, out=tmp_path / "run", **changes))
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()
