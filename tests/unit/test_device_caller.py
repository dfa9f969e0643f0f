"""Calls that may never return."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio
import pytest

from chimera.devices.caller import MOST_HUNG, Caller
from chimera.errors import UnavailableError

pytestmark = pytest.mark.anyio


@pytest.fixture
def gate():
    """Holds calls until the test is over."""
    made = threading.Event()
    yield made
    made.set()


def hang(gate: threading.Event) -> Callable[[], None]:
    """A call that returns when the gate is opened."""

    def call() -> None:
        gate.wait(30)

    return call


async def until_none_hangs(caller: Caller) -> None:
    """Wait for the threads that the gate let go."""
    with anyio.fail_after(10):
        while caller.hanging:
            await anyio.lowlevel.checkpoint()


async def test_gives_what_the_call_gave_or_raised():
    """Results and errors of the thread reach the one who asked."""
    caller = Caller("test")
    assert await caller.call(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await caller.call(lambda: 1 // 0)
    caller.close()


async def test_one_thread_makes_all_calls():
    """Calls are made one after the other in the same thread."""
    caller = Caller("test")
    assert len({await caller.call(threading.get_ident) for _ in range(5)}) == 1
    caller.close()


async def test_a_hanging_call_blocks_nobody(gate: threading.Event):
    """While one device hangs the loop goes on, and so do calls for the others, in a new thread."""
    caller = Caller("test", deadline_s=0.05)
    with pytest.raises(UnavailableError, match="no answer for GPU-1 within"):
        await caller.call(hang(gate), key="GPU-1")
    assert caller.hanging == ["GPU-1"]
    assert await caller.call(lambda: "fine", key="GPU-2") == "fine"
    caller.close()


async def test_a_hanging_key_is_not_called_again_until_it_returned(gate: threading.Event):
    """One sick device costs one thread, and is asked again as soon as its call came back."""
    caller = Caller("test", deadline_s=0.05)
    with pytest.raises(UnavailableError):
        await caller.call(hang(gate), key="GPU-1")
    with pytest.raises(UnavailableError, match="has not returned"):
        await caller.call(lambda: "never", key="GPU-1")
    gate.set()
    await until_none_hangs(caller)
    assert await caller.call(lambda: "back", key="GPU-1") == "back"
    caller.close()


async def test_hanging_threads_are_bounded(gate: threading.Event):
    """When as many hang as may, nothing is called for any key until one returns."""
    caller = Caller("test", deadline_s=0.02)
    before = threading.active_count()
    for number in range(MOST_HUNG):
        with pytest.raises(UnavailableError):
            await caller.call(hang(gate), key=f"GPU-{number}")
    with pytest.raises(UnavailableError, match="nothing more is asked"):
        await caller.call(lambda: "never", key="GPU-fine")
    assert threading.active_count() - before <= MOST_HUNG
    gate.set()
    await until_none_hangs(caller)
    assert await caller.call(lambda: "fine", key="GPU-fine") == "fine"
    caller.close()


async def test_a_cancelled_call_does_not_hold_up_the_next(gate: threading.Event):
    """Whoever is cancelled leaves the call behind; the next one for another key runs at once."""
    caller = Caller("test", deadline_s=30)
    with anyio.move_on_after(0.02):
        await caller.call(hang(gate), key="GPU-1")
    with anyio.fail_after(5):
        assert await caller.call(lambda: "fine", key="GPU-2") == "fine"
    caller.close()
