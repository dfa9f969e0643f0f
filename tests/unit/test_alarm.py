"""One waiter, many ringers."""

import anyio
import pytest

from actors.scheduling.alarm import Alarm
from chimera.testing import ManualClock, settle

pytestmark = pytest.mark.anyio


async def waited(alarm: Alarm, over: list[str], name: str, timeout_s: float = 60.0) -> None:
    """Wait, then note the name."""
    await alarm.wait(timeout_s)
    over.append(name)


async def test_a_ring_wakes_the_waiter_and_is_used_up() -> None:
    """Rung many times while one waits, it returns once; the next wait waits again."""
    alarm, over = Alarm(ManualClock()), list[str]()
    async with anyio.create_task_group() as group:
        group.start_soon(waited, alarm, over, "first")
        await settle()
        assert not over
        alarm.ring()
        alarm.ring()
        await settle()
        assert over == ["first"]
        group.start_soon(waited, alarm, over, "second")
        await settle()
        assert over == ["first"]
        group.cancel_scope.cancel()


async def test_a_ring_before_the_wait_is_heard_after_others_had_their_turn() -> None:
    """It is not lost, and a loop that always finds it rung starves nobody."""
    alarm, over = Alarm(ManualClock()), list[str]()
    alarm.ring()
    async with anyio.create_task_group() as group:
        group.start_soon(_note, over)
        await alarm.wait(60.0)
        over.append("waiter")
    assert over == ["other", "waiter"]


async def _note(over: list[str]) -> None:
    over.append("other")


async def test_the_time_ends_the_wait_and_a_later_ring_counts_for_the_next() -> None:
    """Nobody rings: after the time it returns. Its timer is gone after a ring, so it wakes nobody later."""
    clock = ManualClock()
    alarm, over = Alarm(clock), list[str]()
    async with anyio.create_task_group() as group:
        group.start_soon(waited, alarm, over, "timed", 2.0)
        await settle()
        await clock.advance(1.9)
        assert not over
        await clock.advance(0.2)
        assert over == ["timed"]
        group.start_soon(waited, alarm, over, "rung", 2.0)
        await settle()
        alarm.ring()
        await settle()
        group.start_soon(waited, alarm, over, "later", 10.0)
        await clock.advance(5.0)
        assert over == ["timed", "rung"]
        group.cancel_scope.cancel()
