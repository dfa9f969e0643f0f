"""Processors leased while they are used: work never waits for a broker, and a broker gets back what it lent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from actors.execution.slots import CLOSE_S, RENEW_S, REST_S, TTL_S, Slots
from chimera.errors import ChimeraError, DeadlineError, NoCapacityError, NoLeaseError, NotRunningError
from chimera.testing import ManualClock, settle
from subjects.lease import Allocate, GiveBack, Grant, Lease, Renew

pytestmark = pytest.mark.anyio
Answer = Callable[[Any], Lease]


@dataclass
class Stage:
    """Slots before a broker that does what ``act`` says."""

    slots: Slots
    clock: ManualClock
    broker: PlayedBroker


@dataclass
class PlayedBroker:
    """Grants all, unless ``act`` says otherwise."""

    act: Answer | None = None
    hangs: bool = False
    asked: list[Any] = field(default_factory=list[Any])
    live: dict[str, int] = field(default_factory=dict[str, int])
    revoke_at: float | None = None

    async def ask(self, message: Any, *, timeout_s: float) -> Lease:
        """An answer, in time or not at all."""
        assert timeout_s <= TTL_S / 3
        self.asked.append(message)
        if self.hangs:
            await anyio.Event().wait()
        if self.act is not None:
            return self.act(message)
        return self.grant(message)

    def grant(self, message: Any) -> Lease:
        """As a broker does that has enough."""
        if isinstance(message, Allocate):
            self.live[message.id] = message.need.milli
        elif message.id not in self.live:
            raise NoLeaseError("over")
        milli = self.live[message.id]
        if isinstance(message, GiveBack):
            del self.live[message.id]
        return lease_of(message.id, milli, self.revoke_at)

    def count(self, kind: type) -> int:
        """How often it was asked for that."""
        return sum(isinstance(one, kind) for one in self.asked)


def lease_of(id_: str, milli: int, revoke_at: float | None = None) -> Lease:
    """A lease that is granted."""
    grant = Grant(device="CPU-n", node="n", kind="cpu", milli=milli, memory_mib=0, token=1)
    return Lease(
        id=id_, state="granted", layer="l", tenant="default", agent="", priority=50, grants=[grant], token=1,
        ttl_s=TTL_S, revoke_at=revoke_at,
    )  # fmt: skip


@asynccontextmanager
async def stage() -> AsyncGenerator[Stage]:
    """Slots, a clock and a broker; what runs in the background ends with the block."""
    clock, broker = ManualClock(), PlayedBroker()
    async with anyio.create_task_group() as group:
        slots = Slots(ask=broker.ask, spawn=group.start_soon, clock=clock, node="n", layer="execution")
        yield Stage(slots, clock, broker)
        group.cancel_scope.cancel()


def refuse(error: ChimeraError) -> Answer:
    """A broker that always answers with an error."""

    def act(_message: Any) -> Lease:
        raise error

    return act


async def test_a_slot_is_leased_renewed_and_given_back():
    """One lease of the size and the node; renewed three times in its life; gone when the block ends."""
    async with stage() as it:
        async with it.slots.hold("a", cpus=1.5) as slot:
            await settle()
            (asked,) = it.broker.asked
            assert (asked.need.kind, asked.need.milli, asked.need.node, asked.agent) == ("cpu", 1500, "n", "a")
            assert (slot.granted, asked.layer, asked.ttl_s) == (1.5, "execution", TTL_S)
            await it.clock.advance(3 * RENEW_S + 1)
            assert it.broker.count(Renew) == 3
        await settle()
        assert it.broker.live == {}


@pytest.mark.parametrize("error", [NotRunningError("nobody"), NoCapacityError("full"), DeadlineError(stage="sent")])
async def test_work_goes_on_without_a_lease(error: ChimeraError):
    """No broker, a full one, a slow one: the block runs and ends, the ask is repeated less and less often."""
    async with stage() as it:
        it.broker.act = refuse(error)
        async with it.slots.hold(cpus=1) as slot:
            await it.clock.advance(300)
            assert (slot.granted, 5 < it.broker.count(Allocate) < 20) == (0.0, True)
            it.broker.act = None
            await it.clock.advance(31)
            assert slot.granted == 1.0


async def test_nothing_waits_for_a_broker_that_hangs():
    """The block is entered and left before it has answered anything."""
    async with stage() as it:
        it.broker.hangs = True
        with anyio.fail_after(5):
            async with it.slots.hold(cpus=1):
                await settle()
        assert it.broker.count(Allocate) == 1


async def test_an_ask_without_an_answer_is_repeated_with_its_id():
    """It may have been granted: another id would lease twice, and nobody would give the first one back."""
    async with stage() as it:
        it.broker.act = refuse(DeadlineError(stage="sent"))
        async with it.slots.hold(cpus=1):
            await it.clock.advance(4)
            assert len({one.id for one in it.broker.asked}) == 1
        await settle()
        assert isinstance(it.broker.asked[-1], GiveBack)


async def test_notice_is_obeyed_at_once():
    """What the broker wants back is given back before it is taken, and asked for again after a rest only."""
    async with stage() as it, it.slots.hold(cpus=1) as slot:
        await settle()
        it.broker.revoke_at = 1.0
        await it.clock.advance(RENEW_S + 0.1)
        assert (slot.noticed, slot.granted, it.broker.live) == (True, 0.0, {})
        it.broker.revoke_at = None
        await it.clock.advance(REST_S - RENEW_S)
        assert it.broker.live == {}
        await it.clock.advance(2 * RENEW_S)
        assert (slot.noticed, slot.granted) == (False, 1.0)


async def test_a_lost_lease_is_asked_for_anew():
    """One that expired, for this machine slept, is replaced at the next renewal."""
    async with stage() as it, it.slots.hold(cpus=1) as slot:
        await settle()
        it.broker.live.clear()
        await it.clock.advance(RENEW_S + 0.1)
        assert (slot.granted, it.broker.count(Allocate)) == (1.0, 2)


async def test_another_size_comes_before_the_old_one_goes():
    """A larger lease is granted first; if it is refused, the present one stays and is renewed."""
    async with stage() as it, it.slots.hold(cpus=1) as slot:
        await settle()
        slot.resize(2)
        await settle()
        assert (slot.granted, list(it.broker.live.values())) == (2.0, [2000])
        it.broker.act = lambda message: (
            refuse(NoCapacityError("full"))(message) if isinstance(message, Allocate) else it.broker.grant(message)
        )
        slot.resize(3)
        await it.clock.advance(3 * RENEW_S)
        assert (slot.granted, it.broker.count(Renew) >= 2) == (2.0, True)


async def test_what_is_used_is_followed():
    """The lease grows with the mean of what is busy, and shrinks when that is much less."""
    async with stage() as it, anyio.create_task_group() as group:
        busy = [0.0]
        group.start_soon(it.slots.follow, lambda: busy[0])
        await it.clock.advance(5)
        assert list(it.broker.live.values()) == [100]
        busy[0] = 2.0
        await it.clock.advance(60)
        assert list(it.broker.live.values()) == [2000]
        busy[0] = 0.0
        await it.clock.advance(60)
        assert sum(it.broker.live.values()) <= 400
        group.cancel_scope.cancel()


async def test_closing_gives_back_and_does_not_wait_long():
    """All leases are given back, and a broker that hangs holds up the end for a second at most."""
    async with stage() as it:
        async with it.slots.hold(cpus=1), it.slots.hold(cpus=2):
            await settle()
            await it.slots.close()
            assert it.broker.live == {}
        async with it.slots.hold(cpus=1):
            await settle()
            it.broker.hangs = True
            with anyio.fail_after(CLOSE_S + 5):
                await it.slots.close()
