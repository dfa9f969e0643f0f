"""The optimizer's feed: every record once, in order, across outages; the unreadable counted."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from actors.refining.feed import EVENTS, JUDGED, KPI, Feed
from chimera.bus.contract import StreamSpec
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.testing import ManualClock
from chimera.wire import encode
from subjects.event import TaskJudged, TaskProcessed
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


def outcome(job_id: str) -> TaskProcessed:
    """A task that was served."""
    return TaskProcessed(
        job_id=job_id, agent="echo", release=1, task="predict", outcome="ok", at=1.0, queue_ms=0.0, run_ms=2.0,
        cpu_ms=1.5, memory_bytes=65536, node="one",
    )  # fmt: skip


class Taker:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[int, str]] = []
        self.judgements: list[str] = []

    def outcome(self, seq: int, record: TaskProcessed, size: int) -> None:
        """Keep it."""
        assert size > 0
        self.outcomes.append((seq, record.job_id))

    def judgement(self, _seq: int, judged: TaskJudged, _size: int) -> None:
        """Keep it."""
        self.judgements.append(judged.job_id)


@asynccontextmanager
async def feeding(bus: MemoryBus, taker: Taker, *, tail: int = 100, kpi: int | None = None) -> AsyncGenerator[Feed]:
    """A feed that runs."""
    feed = Feed(bus, ManualClock(), taker.outcome, taker.judgement)
    await feed.begin(tail, kpi)
    async with anyio.create_task_group() as group:
        group.start_soon(feed.run)
        yield feed
        group.cancel_scope.cancel()


@asynccontextmanager
async def streams() -> AsyncGenerator[MemoryBus]:
    """A bus with both streams."""
    async with MemoryBus(MemoryHub()) as bus:
        await bus.declare(StreamSpec(KPI, ("chimera.kpi.>",)))
        await bus.declare(StreamSpec(EVENTS, ("chimera.event.>",)))
        yield bus


async def add(bus: MemoryBus, *jobs: str) -> None:
    """Store outcomes."""
    for job in jobs:
        await bus.append("chimera.kpi.echo", encode(outcome(job)), msg_id=job)


async def test_every_record_is_given_once_and_in_order() -> None:
    """What was stored before and after the start comes in stream order, judgements too, other facts not."""
    async with streams() as bus:
        await add(bus, "a", "b")
        await bus.append("chimera.event.agent.released", b"{}", msg_id="r")
        judged = TaskJudged(job_id="a", agent="echo", release=1, at=1.0, label="x")
        await bus.append(JUDGED, encode(judged), msg_id="j")
        taker = Taker()
        async with feeding(bus, taker) as feed:
            await add(bus, "c")
            await until(lambda: len(taker.outcomes) == 3 and len(taker.judgements) == 1)
            assert taker.outcomes == [(1, "a"), (2, "b"), (3, "c")]
            assert (feed.lag_messages, feed.ingested, feed.position[KPI]) == (0, 4, 3)


async def test_a_restart_goes_on_behind_what_was_used() -> None:
    """Nothing is given twice after a restart with the kept position, and no more than the tail without one."""
    async with streams() as bus:
        await add(bus, *"abcdef")
        taker = Taker()
        async with feeding(bus, taker, kpi=4):
            await until(lambda: len(taker.outcomes) == 2)
        assert [job for _, job in taker.outcomes] == ["e", "f"]
        taker = Taker()
        async with feeding(bus, taker, tail=3):
            await until(lambda: len(taker.outcomes) == 3)
        assert [job for _, job in taker.outcomes] == ["d", "e", "f"]


async def test_what_cannot_be_read_is_counted_and_passed_over() -> None:
    """A malformed record neither stops the feed nor is lost from sight."""
    async with streams() as bus:
        await bus.append("chimera.kpi.echo", b"\xc1rubbish", msg_id="1")
        await bus.append("chimera.kpi.echo", b'{"job_id": 3}', msg_id="2")
        await add(bus, "a")
        taker = Taker()
        async with feeding(bus, taker) as feed:
            await until(lambda: bool(taker.outcomes))
            assert sum(feed.rejected.values()) == 2
            assert feed.ingested == 1


async def test_an_outage_neither_repeats_nor_skips() -> None:
    """After the connection comes back, reading goes on behind the last record given."""
    hub = MemoryHub()
    async with MemoryBus(hub) as bus:
        await bus.declare(StreamSpec(KPI, ("chimera.kpi.>",)))
        await bus.declare(StreamSpec(EVENTS, ("chimera.event.>",)))
        await add(bus, "a", "b")
        taker = Taker()
        async with feeding(bus, taker):
            await until(lambda: len(taker.outcomes) == 2)
            hub.disconnect("node")
            hub.reconnect("node")
            await add(bus, "c")
            await until(lambda: len(taker.outcomes) == 3)
        assert [job for _, job in taker.outcomes] == ["a", "b", "c"]
