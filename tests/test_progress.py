"""Asked to stop: now, or when the item in hand is done."""

import signal

import pytest

from vidsme_jax import progress as module
from vidsme_jax.progress import Stopped, progress, stop


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
