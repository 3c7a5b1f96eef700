import threading
import time

import numpy as np
from tools import numbered

from vidsme_jax.data import clips
from vidsme_jax.data.clips import PreparedBatch, Wanted, prepare_batches
from vidsme_jax.data.frames import read_clip
from vidsme_jax.data.manifest import Row
from vidsme_jax.data.preprocess import preprocess
from vidsme_jax.data.synthetic import write_mp4
from vidsme_jax.motion import flow_variance, illumination

WANTED = Wanted((2, 4), 24, 24)


def row(path):
    return Row(path.name, path.name, path, None, "", (), "", path.name, {})


def make(folder, count):
    for n in range(count):
        write_mp4(folder / f"{n}.mp4", numbered(8 + n), 8.0)
    return [row(folder / f"{n}.mp4") for n in range(count)]


def test_a_prepared_clip_is_what_its_parts_say(tmp_path):
    (one,) = make(tmp_path, 1)
    (batch,) = prepare_batches([[one]], WANTED)
    clip = read_clip(one.path, [2, 4])
    for count in (2, 4):
        frames = clip.sample(count)
        np.testing.assert_array_equal(batch.pixels[count][0], preprocess(frames, 24, 24))
        assert batch.facts[0][str(count)]["motion"] == flow_variance(frames)
        assert batch.facts[0][str(count)]["illumination"] == illumination(frames)
    assert batch.facts[0]["duration"] == 1.0
    assert (batch.facts[0]["width"], batch.facts[0]["height"]) == (64, 48)


def test_saved_and_loaded_is_the_same(tmp_path):
    rows = [*make(tmp_path, 3), row(tmp_path / "none.mp4")]
    (batch,) = prepare_batches([rows], WANTED)
    batch.save(tmp_path / "b.npz")
    again = PreparedBatch.load(tmp_path / "b.npz")
    assert again.facts == batch.facts and again.thumbnails == batch.thumbnails
    for count in WANTED.counts:
        np.testing.assert_array_equal(again.pixels[count], batch.pixels[count])
    assert set(PreparedBatch.load(tmp_path / "b.npz", (4,)).pixels) == {4}
    assert PreparedBatch.load(tmp_path / "b.npz", ()).pixels == {}
    assert again.facts[3]["status"] == "missing_file" and not again.thumbnails[3]
    assert not again.pixels[4][3].any()


def test_order_is_kept_and_a_video_is_decoded_once_a_batch(tmp_path, monkeypatch):
    rows, read = make(tmp_path, 4), []

    def slow(path, counts):
        read.append(path.name)
        time.sleep(0.05 if path.name == "0.mp4" else 0)
        return read_clip(path, counts)

    monkeypatch.setattr(clips, "read_clip", slow)
    batches = [[rows[0], rows[1], rows[0]], [rows[2]], [rows[3]]]
    out = list(prepare_batches(batches, WANTED, workers=2))
    totals = [[f["frames_total"] for f in b.facts] for b in out]
    assert totals == [[8, 9, 8], [10], [11]]
    assert sorted(read) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]


def test_decoding_ahead_is_bounded(tmp_path, monkeypatch):
    rows, read = make(tmp_path, 1) * 20, []
    monkeypatch.setattr(
        clips,
        "read_clip",
        lambda path, counts: read.append(1) or read_clip(path, counts),
    )
    steps = prepare_batches([[r] for r in rows], WANTED)
    next(steps)
    time.sleep(0.3)
    assert len(read) <= 1 + clips._AHEAD
    steps.close()
    assert threading.active_count() < 20


def test_any_failure_becomes_a_row(tmp_path, monkeypatch):
    rows = make(tmp_path, 1)

    def broken(path, counts):
        raise MemoryError("a header that asks for 1 TB")

    monkeypatch.setattr(clips, "read_clip", broken)
    (batch,) = prepare_batches([rows], WANTED)
    assert batch.facts[0]["status"] == "decode_error"
    assert "1 TB" in batch.facts[0]["error"]
