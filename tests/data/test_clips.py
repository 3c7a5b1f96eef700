"""Clips prepared by processes of their own: the same, in order, whatever happens to one."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from tools import numbered, write_av

from vidsme_jax.data import clips
from vidsme_jax.data.appearance import appearance
from vidsme_jax.data.clips import Decoding, prepare_clips
from vidsme_jax.data.motion import flow_variance, illumination
from vidsme_jax.data.prepare_clip import prepare_clip
from vidsme_jax.data.prepared import ClipFacts, ClipSpec
from vidsme_jax.data.preprocess import FrameGeometry, preprocess
from vidsme_jax.data.readers.policy import read_clip
from vidsme_jax.data.synthetic.shapes import write_mp4
from vidsme_jax.data.workers import WorkerDied, Workers, WorkerTimeout
from vidsme_jax.errors import InputError

SQUARE = FrameGeometry(24, 24)
SPEC = ClipSpec((2, 4), SQUARE)
TWO = Decoding(2, 60.0)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for n in range(4):
        write_mp4(folder / f"{n}.mp4", numbered(8 + n), 8.0)
    return [folder / f"{n}.mp4" for n in range(4)]


def test_a_prepared_clip_is_what_its_parts_say(paths):
    ready, clip = prepare_clip(paths[0], SPEC), read_clip(paths[0], [2, 4])
    for count in (2, 4):
        frames, facts = clip.sample(count), ready.facts.at[count]
        np.testing.assert_array_equal(ready.sample(count), preprocess(frames, SQUARE))
        assert facts.motion == flow_variance(frames)
        assert facts.illumination == illumination(frames)
        assert list(facts.frame_indices) == np.linspace(0, 7, count, dtype=int).tolist()
    file = ready.facts.file
    assert file.duration == 1.0 and ready.facts.reader == "pyav"
    assert (file.width, file.height) == (64, 48)
    assert file.file_bytes == paths[0].stat().st_size
    assert list(ready.facts.appearance) == appearance(clip.frames)
    assert (file.container, file.codec) == ("mp4", "fmp4")


def test_the_hash_is_of_the_pixels_that_a_count_shows(paths, tmp_path):
    """The same frames give the same hash, whatever else was decoded with them."""
    alone = prepare_clip(paths[0], ClipSpec((4,), SQUARE)).facts.at[4].frame_hash
    both = prepare_clip(paths[0], SPEC).facts.at
    assert alone == both[4].frame_hash != both[2].frame_hash
    write_mp4(tmp_path / "copy.mp4", numbered(8), 8.0)
    assert prepare_clip(tmp_path / "copy.mp4", SPEC).facts.at[4].frame_hash == alone
    assert prepare_clip(paths[1], SPEC).facts.at[4].frame_hash != alone


def test_processes_give_what_this_one_gives_in_order(paths):
    missing = paths[0].with_name("none.mp4")
    batches = [[paths[0], paths[1], paths[0]], [missing], [paths[2], paths[3]]]
    out = list(prepare_clips(batches, SPEC, TWO))
    assert [len(batch) for batch in out] == [3, 1, 2]
    for batch, files in zip(out, batches, strict=True):
        for clip, path in zip(batch, files, strict=True):
            expected = prepare_clip(path, SPEC)
            assert clip.facts == expected.facts and clip.thumbnail == expected.thumbnail
            np.testing.assert_array_equal(clip.frames, expected.frames)
    assert out[0][0] is out[0][2]  # decoded once
    assert out[1][0].facts.status == "missing_file" and not out[1][0].thumbnail
    assert out[1][0].sample(4).shape == (4, 24, 24, 3) and not out[1][0].sample(4).any()


def test_decoding_ahead_is_bounded(paths, monkeypatch):
    submitted = []
    submit = Workers.submit
    monkeypatch.setattr(Workers, "submit", lambda *a: submitted.append(1) or submit(*a))
    steps = prepare_clips([[path] for path in paths * 10], SPEC, Decoding(1, 60.0))
    next(steps)
    assert len(submitted) == 1 + clips._AHEAD
    steps.close()
    assert len(submitted) == 1 + clips._AHEAD


def test_closing_ends_the_processes(paths):
    before = children()
    steps = prepare_clips([[path] for path in paths * 10], SPEC, TWO)
    next(steps)
    assert len(children()) > len(before)
    steps.close()
    wait_until(lambda: len(children()) <= len(before))
    wait_until(lambda: threading.active_count() < 20)


def test_a_clip_that_takes_too_long_is_a_row(paths):
    ((clip,),) = prepare_clips([[paths[0]]], SPEC, Decoding(1, 1e-4))
    assert clip.facts == ClipFacts("timeout", "killed after 0.0001 s")


def test_any_failure_becomes_a_row(paths, monkeypatch):
    def broken(path, counts, reader):
        raise MemoryError("a header that asks for 1 TB")

    monkeypatch.setattr("vidsme_jax.data.prepare_clip.read_clip", broken)
    facts = prepare_clip(paths[0], SPEC).facts
    assert facts.status == "decode_error" and "1 TB" in facts.error


@pytest.mark.parametrize("reader", ["decord", "pyav", "opencv"])
def test_a_fault_of_the_program_is_not_the_clips(paths, monkeypatch, reader):
    """An option that a library lacks is no damage, and no other reader hides it."""

    def broken(path, counts, *more):
        raise TypeError("open() got an unexpected keyword argument")

    monkeypatch.setattr(f"vidsme_jax.data.readers.{reader}.read", broken)
    facts = prepare_clip(paths[0], ClipSpec((2, 4), SQUARE, reader)).facts
    assert facts.status == "internal_error"
    assert "unexpected keyword" in facts.error and "not of the clip" in facts.error
    assert "test_clips.py:" in facts.error


def test_a_title_that_is_no_text_is_passed_over(tmp_path):
    """By the readers of every PyAV: old ones need an option that new ones do not know."""
    path = tmp_path / "latin.avi"
    write_av(path, numbered(8), "mpeg4", title="QQQQ")
    path.write_bytes(path.read_bytes().replace(b"QQQQ", b"\xe9\xff\xe9\xe8"))
    facts = prepare_clip(path, ClipSpec((2, 4), SQUARE, "pyav")).facts
    assert (facts.status, facts.reader) == ("ok", "pyav"), facts


def test_processes_that_cannot_start_blame_no_clip(paths, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(InputError, match="no decoding process can be started"):
        list(prepare_clips([[paths[0]]], SPEC, TWO))


def test_a_process_that_hangs_is_killed_and_the_next_call_works():
    workers = Workers(time.sleep, 1, 1.0)
    try:
        hangs, works = workers.submit(3600), workers.submit(0)
        with pytest.raises(WorkerTimeout, match="killed after 1 s"):
            hangs.result()
        assert works.result() is None
    finally:
        workers.close()
    wait_until(lambda: not children())


@pytest.mark.parametrize(
    ("function", "argument", "words"),
    [
        (os._exit, 3, r"died \(exit 3\)"),
        (signal.raise_signal, 11, r"died \(signal 11\)"),
        (np.zeros, 10 << 30, "MemoryError: Unable to allocate 80"),
    ],
)
def test_a_process_that_dies_says_how_and_the_next_call_works(function, argument, words):
    workers = Workers(function, 1, 60.0)
    try:
        for _ in range(2):
            with pytest.raises(WorkerDied, match=words):
                workers.submit(argument).result()
    finally:
        workers.close()


class Holder:
    """Its method is no function of a module."""

    @staticmethod
    def method():
        """Never called."""


def local_function():
    def inside():
        """Never called."""

    return inside


@pytest.mark.parametrize("function", [lambda: None, Holder.method, local_function()])
def test_a_function_that_no_fresh_process_can_import_is_refused(function):
    with pytest.raises(ValueError, match=r"function=.*cannot be imported by a fresh"):
        Workers(function, 1, 60.0)


def test_a_function_of_the_script_itself_is_refused():
    code = (
        "from vidsme_jax.data.workers import Workers\n"
        "def script_function(): pass\n"
        "Workers(script_function, 1, 60.0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "function=__main__:script_function cannot be imported" in done.stderr


def test_processes_do_not_import_jax(paths):
    code = (
        "import sys, vidsme_jax.data.prepare_clip, vidsme_jax.data.workers\n"
        "assert 'jax' not in sys.modules and 'tensorflow_datasets' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_processes_end_with_the_one_that_started_them(tmp_path):
    code = (
        "import os, signal, sys, time\n"
        "from vidsme_jax.data.workers import Workers\n"
        "Workers(time.sleep, 1, 3600.0).submit(3600)\n"
        "time.sleep(3)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    # On its path, and so on that of its processes: other tests have some of their own.
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    wait_until(lambda: serving(tmp_path))
    process.wait()
    wait_until(lambda: not serving(tmp_path))
    assert process.returncode == -signal.SIGKILL


def children():
    """The processes that this one has started and that still run."""
    import psutil

    return [
        child
        for child in psutil.Process(os.getpid()).children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
    ]


def serving(folder):
    """How many processes of the machine serve calls with this folder on their path."""
    import psutil

    lines = (p.info["cmdline"] or [""] for p in psutil.process_iter(["cmdline"]))
    return sum("serve(" in words[-1] and str(folder) in words[-1] for words in lines)


def wait_until(fact, seconds=20.0):
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.05)
