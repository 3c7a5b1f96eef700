"""A list gives the same numbers however it is written: scored, stored and trained on."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tools import make_project
from zoo import COUNT, coded, write

from vidsme_jax.data.manifest import ManifestSettings, read_manifests
from vidsme_jax.data.readers.policy import read_clip
from vidsme_jax.data.store.store import open_store
from vidsme_jax.runs.prepare import PrepareSettings, prepare
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.runs.verify import verify
from vidsme_jax.scores import catalogue
from vidsme_jax.training.fit import Recipe
from vidsme_jax.training.train import TrainSettings, train

pytestmark = [pytest.mark.slow(30), pytest.mark.least_compiled]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two lists of the same rows: plain, and as training lists write them."""
    folder = tmp_path_factory.mktemp("lists")
    records, _, model = make_project(folder, count=4)
    plain, dialogues = [], []
    for n, record in enumerate(records):
        facts = {"id": f"r{n}", "video": record["video"], "label": 1}
        words = (record["question"], record["answer"])
        plain.append(facts | dict(zip(("question", "answer"), words, strict=True)))
        roles = ("human", "gpt")
        turns = [
            {"from": r, "value": f"{'<video>' * (r == 'human')}\n{w}".strip()}
            for r, w in zip(roles, words, strict=True)
        ]
        if n == 3:  # a second turn, which a plain list has as a row with a history
            turns += [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "so"}]
            later = {"question": "What?", "answer": "so", "history": [list(words)]}
            plain.append(facts | later | {"id": "r3-2"})
        dialogues.append(facts | {"conversations": turns})
    for name, rows in (("plain", plain), ("dialogues", dialogues)):
        (folder / f"{name}.json").write_text(json.dumps(rows))
    return folder, model


def run(project, out, data):
    return score(ScoreSettings(project[1], (data,), out, frames=(2,), batch=1))


def assert_equal(table, other):
    assert table.schema == other.schema
    for name in table.column_names:
        assert repr(table[name].to_pylist()) == repr(other[name].to_pylist()), name


def test_scores_are_equal_bit_for_bit(project, tmp_path):
    folder, model = project
    plain = run(project, tmp_path / "plain", folder / "plain.json")
    assert plain["status"].to_pylist() == ["ok"] * 5
    assert_equal(run(project, tmp_path / "dialogues", folder / "dialogues.json"), plain)
    data = (folder / "dialogues.json",)
    settings = PrepareSettings(model, data, tmp_path / "store", (2,))
    store = prepare(settings)
    assert [vars(r) | {"path": 0} for r in store.rows] == [
        vars(r) | {"path": 0} for r in read_manifests(data)
    ]
    assert len(open_store(store.path).table) == 4  # five rows of four clips
    assert_equal(run(project, tmp_path / "stored", store.path), plain)


def test_earlier_turns_are_seen(project, tmp_path):
    """Without them the last row has other scores of its text, and the same of its video."""
    folder, _ = project
    rows = json.loads((folder / "plain.json").read_text())
    alone = {k: v for k, v in rows[-1].items() if k != "history"}
    (folder / "alone.json").write_text(json.dumps([rows[-1] | {"id": "a"}, alone]))
    table = run(project, tmp_path / "run", folder / "alone.json")
    for name in catalogue.columns(only=("logp",)):
        with_turns, without = table[name].to_pylist()
        assert (with_turns == without) == name.startswith("video"), name


def test_training_is_equal_bit_for_bit(project, tmp_path):
    folder, model = project
    weights = []
    for name in ("plain", "dialogues"):
        out = tmp_path / name
        data = (folder / f"{name}.json",)
        recipe = Recipe(steps=2, batch=2, learning_rate=1e-2)
        train(TrainSettings(model, data, out, recipe, frames=2))
        weights.append(load_file(out / "model.safetensors"))
    start = load_file(model / "model.safetensors")
    assert weights[0].keys() == weights[1].keys() == start.keys()
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name], err_msg=name)
    assert any(np.any(start[name] != value) for name, value in weights[0].items())


def test_the_last_turns_alone(project):
    data = [project[0] / "dialogues.json"]
    rows = read_manifests(data, ManifestSettings(turns="last"))
    assert [(r.id, len(r.history)) for r in rows] == [
        ("r0", 0),
        ("r1", 0),
        ("r2", 0),
        ("r3-2", 1),
    ]


LOSSLESS = {"qp": 0, "preset": "ultrafast"}


def test_segments_score_as_the_cut_files(project, tmp_path, capsys):
    """Frame-exact cuts of a film, a folder of its frames, and a frame of it as an image."""
    images, times = coded(), np.arange(COUNT) * 100
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, first, stop in (("film", 0, COUNT), ("a", 0, 30), ("b", 30, COUNT)):
        path = tmp_path / f"{name}.mp4"
        write(path, images[first:stop], "libx264", times=times[first:stop], **LOSSLESS)
    for n, frame in enumerate(read_clip(tmp_path / "b.mp4", [COUNT]).frames):
        Image.fromarray(frame).save(folder / f"f{n}.png")
    shutil.copy(folder / "f0.png", tmp_path / "still.png")
    rows = [
        {"id": "first", "video": "film.mp4", "start": 0, "end": 3},
        {"id": "a", "video": "a.mp4"},
        {"id": "second", "video": "film.mp4", "clip": [3, 99]},
        {"id": "rest", "video": "film.mp4", "start": 3},
        {"id": "b", "video": "b.mp4"},
        {"id": "frames", "video": "frames", "fps": 10},
        {"id": "still", "video": "still.png"},
        {"id": "back", "video": "film.mp4", "start": 3, "end": 1},
    ]
    (tmp_path / "m.json").write_text(json.dumps(rows))
    table = run(project, tmp_path / "run", tmp_path / "m.json").to_pylist()
    by_id = {row["id"]: row for row in table}
    assert {k for k, row in by_id.items() if row["status"] != "ok"} == {"second", "back"}
    assert by_id["back"]["status"] == by_id["second"]["status"] == "bad_segment"
    names = [name for name in catalogue.columns() if not name.startswith("response")]
    facts = ("motion", "illumination", "q", "r", "duration", "fps", "frame_hash")
    for part, cut in (("first", "a"), ("rest", "b"), ("rest", "frames")):
        for name in (*facts, *names):
            assert by_id[part][name] == pytest.approx(by_id[cut][name], abs=1e-6), name
    assert by_id["first"]["video.sme.mean"] != by_id["rest"]["video.sme.mean"]
    assert by_id["first"]["group"] == by_id["rest"]["group"] == "film.mp4"
    still = by_id["still"]
    assert still["motion"] == 0 and np.isnan(still["video.sme.mean"])
    assert np.isfinite(still["video.logp.mean"])
    assert "1 rows show a single frame: scores that compare" in capsys.readouterr().err
    assert "each once, no score missing" in verify(tmp_path / "run")
