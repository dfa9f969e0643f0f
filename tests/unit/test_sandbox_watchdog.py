"""The watchdog blames CPU time that was really used, and only the guest that used it."""

import threading
import time
from collections.abc import Iterator

import pytest

from chimera.sandbox.limits import Watchdog


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    """A watchdog of the test's thread."""
    made = Watchdog()
    yield made
    made.close()


def burn(until: threading.Event) -> None:
    """Use CPU until told to stop, with a deadline."""
    ends = time.monotonic() + 20
    while not until.is_set() and time.monotonic() < ends:
        pass


def test_cpu_is_blamed_when_cpu_was_used(watchdog: Watchdog):
    """A busy thread is interrupted once, after its CPU time."""
    interrupted = threading.Event()
    began = time.thread_time()
    watchdog.arm(interrupted.set, 0.03, 60.0)
    burn(interrupted)
    assert time.thread_time() - began >= 0.03
    assert watchdog.disarm() == "cpu"


def test_waiting_costs_no_cpu(watchdog: Watchdog):
    """A thread that was only kept waiting passes its wall limit, never its CPU limit."""
    interrupted = threading.Event()
    watchdog.arm(interrupted.set, 0.05, 0.3)
    assert interrupted.wait(20)
    assert watchdog.disarm() == "wall"


def test_a_short_limit_after_a_long_one_is_kept(watchdog: Watchdog):
    """The watchdog sleeps for the longest it may; a shorter limit wakes it."""
    watchdog.arm(lambda: None, 300.0, 300.0)
    assert watchdog.disarm() == ""
    interrupted = threading.Event()
    watchdog.arm(interrupted.set, 0.02, 60.0)
    burn(interrupted)
    assert watchdog.disarm() == "cpu"


def test_the_next_guest_is_innocent(watchdog: Watchdog):
    """What is armed anew after many short tasks is not hit by the limits of those before."""
    hits: list[int] = []
    for number in range(2000):
        watchdog.arm(lambda number=number: hits.append(number), 5.0, 5.0)
        assert watchdog.disarm() == ""
    assert hits == []
