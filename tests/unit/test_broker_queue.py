"""Who waits is granted once, and not when nobody listens any more; of two grants of a lease, the first stays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.brokering.changes import Ask
from actors.brokering.changes import grant as change_of
from actors.brokering.core import Core
from actors.brokering.figures import Figures
from actors.brokering.queue import Queue, Ticket
from actors.brokering.record import Grant, Record, Refusal
from actors.brokering.registry import Registry
from actors.brokering.waiting import Holding, Waiter
from actors.brokering.want import Part, Parts
from chimera.testing import ManualClock
from subjects.gpu_broker import Rules
from subjects.lease import Allocate, Lease, Need

pytestmark = pytest.mark.anyio
PARTS = (Part("n.g", 1000, 0),)
LEASE = Lease(id="l", state="granted", layer="x", tenant="t", agent="", priority=50)


class Stage:
    """A queue whose every request fits, and what it begins."""

    def __init__(self) -> None:
        self.clock, self.begun = ManualClock(), list[tuple[Any, ...]]()
        floor = SimpleNamespace(choose=self._choose, hold=self._hold)
        core = SimpleNamespace(
            clock=self.clock, rules=Rules(), holdings=dict, total=Holding, floor=floor, spawn=self._spawn
        )  # fmt: skip
        self.queue = Queue(cast("Core", core), Figures(None))
        self.queue.grant_parts = self._granted

    def _spawn(self, *work: Any) -> None:
        self.begun.append(work)

    def _choose(self, _need: Need) -> Parts:
        return PARTS

    def _hold(self, _lease: str, _parts: Parts) -> None:
        """Nothing else wants them."""

    async def _granted(self, _ticket: Ticket, _parts: Parts) -> Lease:
        return LEASE

    def wait(self, **fields: Any) -> Ticket:
        """A request that waits."""
        ticket = Ticket(Waiter("l", Need(), "t", "x", "", 50, self.clock.time()), Allocate(), **fields)
        self.queue.add(ticket)
        return ticket


async def test_what_was_answered_is_not_granted_again():
    """Its caller has not woken yet, and still stands in the queue: another look at that leases no second time."""
    stage = Stage()
    ticket = stage.wait()
    stage.queue.pump()
    ((grant, *arguments),) = stage.begun
    await grant(*arguments)
    assert ticket.lease is LEASE
    stage.queue.pump()
    assert len(stage.begun) == 1


async def test_nothing_is_granted_to_who_has_gone():
    """A broker that was paused finds requests whose callers asked somebody else meanwhile."""
    stage = Stage()
    stage.wait(until=stage.clock.monotonic() + 5)
    await stage.clock.advance(6)
    stage.queue.pump()
    assert stage.begun == []


def test_of_two_grants_of_a_lease_the_first_stays():
    """Two brokers granted one lease on different devices: the later one's devices are told, and only then."""
    registry = Registry()
    for number, device in enumerate(("a", "b")):
        key = f"n.{device}"
        grant = Grant("l", (key,), 1000, 0, 10 - number, 0.0, 60.0, 60.0, "x", "t", "", 50)
        registry.put(key, Record("n", device, grants=(grant,)), 1, "")
        assert bool(registry.torn) is bool(number)
    assert registry.later_grants("l") == ["n.a"]


def test_a_gang_is_not_torn():
    """Grants of one lease that name the same devices are one grant."""
    registry = Registry()
    for device in ("a", "b"):
        grant = Grant("l", ("n.a", "n.b"), 1000, 0, 1, 0.0, 60.0, 60.0, "x", "t", "", 50)
        registry.put(f"n.{device}", Record("n", device, grants=(grant,)), 1, "")
        assert registry.unseen("l") == (["n.b"] if device == "a" else [])
    assert (registry.torn, registry.later_grants("l")) == ({}, [])


def test_a_lease_that_was_not_over_after_all_is_looked_at_again():
    """A clock that was set back between the look and the end: the lease is due again at its own time, not never."""
    registry = Registry()
    grant = Grant("l", ("n.a",), 1000, 0, 1, 0.0, 60.0, 60.0, "x", "t", "", 50)
    registry.put("n.a", Record("n", "a", grants=(grant,)), 1, "")
    assert registry.due(61.0) == ["l"]
    registry.expect_again("l")
    assert (registry.due(50.0), registry.due(60.0)) == ([], ["l"])


def test_a_device_of_another_grant_of_the_lease_is_no_part_of_a_gang():
    """A second broker's gang that overlaps the first one's would be granted in part: it is refused instead."""
    record = Record("n", "a", memory_mib=16_000)
    first = change_of(record, Ask("l", ("n.a",), 1000, 0, 60.0), 1.0)
    assert isinstance(first, Record)
    assert change_of(first, Ask("l", ("n.a",), 1000, 0, 60.0), 2.0) is first
    other = change_of(first, Ask("l", ("n.a", "n.b"), 1000, 0, 60.0), 2.0)
    assert isinstance(other, Refusal)
    assert other.code == "conflict"
