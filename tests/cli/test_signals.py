"""SIGINT ends a command within seconds, also where the main thread cannot be asked."""

import signal
import subprocess
import sys
import threading
import time

import pytest

# A mutex that is locked twice: no signal wakes the thread that waits for it.
STUCK = """
import ctypes
from vidsme_jax.cli import signals
signals._GRACE = {grace}
signals.listen()
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
print("listening", flush=True)
libc.pthread_mutex_lock(mutex)
"""
# As a reader that does not end: the interrupt is raised, and the pool waits for its thread.
UNWINDING = """
import threading
from concurrent.futures import ThreadPoolExecutor
from vidsme_jax.cli import signals
signals._GRACE = {grace}
signals.listen()
with ThreadPoolExecutor(1) as reader:
    clips = reader.submit(threading.Event().wait)
    print("listening", flush=True)
    clips.result()
"""
ANSWERING = """
import sys, time
from vidsme_jax.cli import entry, signals
signals._GRACE = {grace}
def run(options):
    print("listening", flush=True)
    time.sleep(60)
command = type("file", (), {{"run": staticmethod(run)}})
sys.modules["vidsme_jax.cli.main"].command_file = lambda name: command
sys.argv = ["vidsme", "status", "r"]
entry()
"""


def start(code, ignored=False, grace=0.2):
    """Start Python, and wait until it listens for signals."""
    words, pipe = [sys.executable, "-c", code.format(grace=grace)], subprocess.PIPE
    if ignored:  # as a shell does for a command in the background
        words = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *words]
    process = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout.readline() == "listening\n", process.communicate()
    time.sleep(0.2)  # it is in the next line now
    return process


def end(process, *numbers):
    """Send signals; return the exit code and the lines that were printed."""
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.1)  # two at once would be one
    _, printed = process.communicate(timeout=30)
    return process.returncode, printed.splitlines()


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("code", [STUCK, UNWINDING])
def test_a_main_thread_that_does_not_answer_is_not_waited_for(code, ignored):
    exit_code, lines = end(start(code, ignored), signal.SIGINT)
    assert exit_code == 75
    assert lines == ["vidsme: interrupted in the middle of a step, run it again"]


def test_the_second_interrupt_does_not_wait():
    process = start(STUCK, grace=1000)
    assert end(process, signal.SIGINT, signal.SIGINT)[0] == 75


def test_sigterm_gives_a_step_its_time():
    process = start(STUCK)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    assert end(process, signal.SIGINT)[0] == 75


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_answers_says_so_in_one_line(number, ignored):
    exit_code, lines = end(start(ANSWERING, ignored, grace=20), number)
    assert (exit_code, lines) == (75, ["vidsme status: interrupted, run it again"])


def test_nothing_listens_in_the_process_that_imports_us():
    import vidsme_jax.cli.signals  # noqa: F401

    assert signal.set_wakeup_fd(-1) == -1
    assert "_end_after" not in [thread.name for thread in threading.enumerate()]
