"""One table of deadlines: late by a slot at most, never early, nothing left behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from chimera.deadlines import RESOLUTION_S, Deadlines
from chimera.testing import ManualClock

pytestmark = pytest.mark.anyio


class Item:
    """Notes that it expired."""

    def __init__(self) -> None:
        self.expired = 0

    def expire(self) -> None:
        """Note it."""
        self.expired += 1


class HastyClock(ManualClock):
    """Rings half a slot early, as timers that count whole milliseconds do."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        """Too early."""
        return super().call_later(delay * 0.5, callback)


async def test_an_item_expires_once_after_its_deadline():
    """Not before it, and at most one slot after it."""
    clock = ManualClock()
    deadlines, item = Deadlines(clock), Item()
    deadlines.add(clock.monotonic() + 0.123, item)
    await clock.advance(0.1229)
    assert item.expired == 0
    await clock.advance(RESOLUTION_S)
    assert item.expired == 1
    await clock.advance(10)
    assert item.expired == 1
    assert not deadlines


async def test_a_discarded_item_does_not_expire():
    """Discarding needs the deadline that it was added with."""
    clock = ManualClock()
    deadlines, item = Deadlines(clock), Item()
    deadlines.add(clock.monotonic() + 1, item)
    deadlines.discard(clock.monotonic() + 1, item)
    assert not deadlines
    await clock.advance(2)
    assert item.expired == 0


async def test_a_timer_that_rings_early_expires_nobody_early():
    """The slot waits for the rest of its time."""
    clock = HastyClock()
    deadlines, item = Deadlines(clock), Item()
    deadlines.add(clock.monotonic() + 1, item)
    await clock.advance(0.98)
    assert item.expired == 0
    await clock.advance(0.03)
    assert item.expired == 1


async def test_the_past_expires_at_once_and_closing_forgets():
    """A deadline that is over needs no waiting; after ``close`` nothing rings."""
    clock = ManualClock()
    deadlines, past, future = Deadlines(clock), Item(), Item()
    deadlines.add(clock.monotonic() - 5, past)
    deadlines.add(clock.monotonic() + 5, future)
    await clock.advance(0)
    assert past.expired == 1
    deadlines.close()
    await clock.advance(10)
    assert future.expired == 0


@pytest.mark.parametrize("deadline", [float("nan"), float("inf")])
async def test_no_deadline_is_no_deadline(deadline: float):
    """What is not a moment is refused before anything waits for it."""
    with pytest.raises((ValueError, OverflowError)):
        Deadlines(ManualClock()).add(deadline, Item())


async def test_a_slot_that_was_full_and_is_empty_keeps_no_room():
    """A thousand deadlines that were met leave a slot as small as one did: there are thousands of slots."""
    clock = ManualClock()
    deadlines, until = Deadlines(clock), clock.monotonic() + 30.0
    items = [Item() for _ in range(1000)]
    for item in items:
        deadlines.add(until, item)
    (slot,) = deadlines._buckets.values()  # pyright: ignore[reportPrivateUsage] - its room shows nowhere else
    for item in items:
        deadlines.discard(until, item)
    assert sys.getsizeof(slot) == sys.getsizeof(set[Item]())
