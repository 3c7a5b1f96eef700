"""Phases, rates and time left; asked to stop: now, or when the item in hand is done."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidsme_jax import progress as module
from vidsme_jax.progress import PHASES, Stopped, phase, progress, show_phases, stop


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr("sys.unraisablehook", None)
    yield
    module._stop_requested.clear()
    module._in_item.clear()


def test_sigterm_lets_the_item_in_hand_be_finished():
    done = []
    with pytest.raises(Stopped):
        for item in progress(iter(range(5)), 5, "items"):
            if item == 2:
                stop(signal.SIGTERM, None)
            done.append(item)
    assert done == [0, 1, 2]


def test_sigint_interrupts_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt) as caught:
        for item in progress(iter(range(5)), 5, "items"):
            if item == 2:
                stop(signal.SIGINT, None)
            done.append(item)
    assert done == [0, 1] and caught.type is KeyboardInterrupt


def test_sigterm_interrupts_what_has_no_items():
    with pytest.raises(KeyboardInterrupt):
        stop(signal.SIGTERM, None)


def test_a_dropped_interrupt_stops_at_the_next_item():
    """Python drops what a signal raises inside some callbacks."""
    done = []
    with pytest.raises(Stopped):
        for item in progress(iter(range(5)), 5, "items"):
            if item == 1:
                with pytest.raises(KeyboardInterrupt):
                    stop(signal.SIGINT, None)
            done.append(item)
    assert done == [0, 1]


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_log_has_a_line_a_minute_and_a_rate_without_compiling(clock, capsys):
    """Compiling takes 50 s, then 4 clips take 20 s: 12 a minute, from the second on."""
    for n in progress(range(10), 46, "score", 6, [4] * 10):
        clock.now += 50 if n == 0 else 20
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "score: 14 of 46 clips, 12 a minute, 3 min left"
    assert lines[1] == "score: 26 of 46 clips, 12 a minute, 2 min left"
    assert len(lines) == 3


def test_no_rate_is_known_of_the_first_item(clock, capsys):
    for _ in progress(range(1), 9000, "decode"):
        clock.now += 61
    assert capsys.readouterr().err == "decode: 1 of 9,000 clips\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (59.4, "59 s"),
        (61.0, "1 min"),
        (3540.0, "59 min"),
        (3600 * 3 + 95.0, "3 h 2 min"),
    ],
)
def test_time_left_in_words(seconds, words):
    assert module._duration(seconds) == words


def test_phases_are_counted_in_a_command_and_silent_in_python(capsys):
    phase("score", "decode the clips")
    assert capsys.readouterr().err == ""
    with show_phases("score"):
        phase("score", "compile and score", "24 clips")
    phase("score", "write the tables")
    assert capsys.readouterr().err.splitlines() == [
        "score, 1 of 5: read the input",
        "score, 4 of 5: compile and score (24 clips)",
    ]


def test_every_phase_that_is_counted_is_shown_somewhere():
    package = Path(module.__file__).parent
    sources = "\n".join(path.read_text() for path in package.rglob("*.py"))
    called = set(re.findall(r'phase\(\s*"(\w+)", f?"([^"{]+)', sources))
    for command, names in PHASES.items():
        for name in names[1:]:  # the first is shown by show_phases
            assert any(c == command and name.startswith(n) for c, n in called), name


WORDS = {
    **dict.fromkeys(("score", "train"), "--model m --data d --out o"),
    "prepare": "d --model m --out o",
    "evaluate": "r --out o",
    "sweep": "grid.yaml",
    "plan": "--model m",
    "bench": "--size toy",
    "merge": "r",
}


@pytest.mark.parametrize("command", PHASES)
def test_the_first_line_comes_before_anything_is_imported(command, tmp_path):
    words = [command, *WORDS.get(command, "").split()]
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "vidsme_jax", *words], stderr=subprocess.PIPE, cwd=tmp_path
    )
    line = process.stderr.readline().decode()
    seconds = time.monotonic() - start
    process.kill()
    process.communicate()
    assert line == f"{command}, 1 of {len(PHASES[command])}: {PHASES[command][0]}\n"
    assert seconds < 5


SHOWN = """
from vidsme_jax.progress import progress
for _ in progress(range(3), 6, "score", sizes=[2] * 3): pass
"""


def test_a_terminal_gets_a_bar_with_clips_rate_and_time_left():
    controller, terminal = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", SHOWN], stderr=terminal)
    os.close(terminal)
    printed = b""
    while select.select([controller], [], [], 30)[0]:
        try:
            part = os.read(controller, 4096)
        except OSError:  # it has ended
            break
        printed += part
    assert process.wait() == 0
    text = printed.decode()
    assert "0 of 6 clips" in text and "█" in text
    assert re.search(r"6 of 6 clips, [\d,]+ a minute, 0 s left", text)
