"""The projector: every record once, whatever the store and the streams do."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from chimera.bus.contract import Bus, Claim, StateListener, Stored
from chimera.errors import BusDownError, UnavailableError
from chimera.store import OutcomeFilter, Projector, Regress, Store, open_store, project
from chimera.wire import encode
from subjects.event import TaskJudged, TaskProcessed

pytestmark = pytest.mark.anyio


@dataclass
class FakeClaim:
    """A claim that notes what was done with it."""

    message: Stored
    attempt: int = 1
    acked: bool = False
    renewed: int = 0

    async def ack(self) -> None:
        self.acked = True

    async def retry(self, delay_s: float = 0.0) -> None:
        raise AssertionError(f"never given back, but it was, for {delay_s} s")

    async def working(self) -> None:
        self.renewed += 1


@dataclass
class FakeBus:
    """Two streams as lists; what is put into ``deliver`` reaches the consumer of that stream."""

    streams: dict[str, list[Stored]] = field(default_factory=lambda: {"KPI": [], "EVENTS": []})
    last: dict[str, int] = field(default_factory=dict[str, int])
    claims: list[FakeClaim] = field(default_factory=list[FakeClaim])
    handlers: dict[str, Callable[[list[Claim]], Awaitable[None]]] = field(
        default_factory=dict[str, Callable[[list[Claim]], Awaitable[None]]]
    )
    durables: set[str] = field(default_factory=set[str])
    listeners: list[StateListener] = field(default_factory=list[StateListener])
    down: int = 0

    def add(self, stream: str, event: Any, data: bytes | None = None) -> Stored:
        seq = self.last[stream] = self.last.get(stream, 0) + 1
        subject = "chimera.event.agent.judged" if stream == "EVENTS" else "chimera.kpi.a"
        stored = Stored(stream, seq, subject, encode(event) if data is None else data, 0.0)
        self.streams[stream].append(stored)
        return stored

    async def stream_state(self, stream: str) -> tuple[int, int, int]:
        if self.down:
            self.down -= 1
            raise BusDownError
        return 1, self.last.get(stream, 0), len(self.streams[stream])

    @asynccontextmanager
    async def read(
        self, stream: str, *, start_seq: int = 1, subject: str = "", follow: bool = False
    ) -> AsyncGenerator[AsyncIterator[Stored]]:
        assert not follow
        assert subject == ("" if stream == "KPI" else "chimera.event.agent.judged")

        async def messages() -> AsyncGenerator[Stored]:
            for one in self.streams[stream]:
                if one.seq >= start_seq:
                    yield one

        yield messages()

    async def consume(
        self, stream: str, durable: str, handler: Callable[[list[Claim]], Awaitable[None]], **options: Any
    ) -> None:
        assert options["batch"] > 0
        self.durables.add(durable)
        self.handlers[stream] = handler
        await anyio.sleep_forever()

    def on_state(self, listener: StateListener) -> None:
        self.listeners.append(listener)

    async def deliver(self, *messages: Stored) -> list[FakeClaim]:
        while messages[0].stream not in self.handlers:
            await anyio.lowlevel.checkpoint()
        claims = [FakeClaim(message) for message in messages]
        await self.handlers[messages[0].stream](cast("list[Claim]", claims))
        return claims


class NoSleep:
    """A clock whose pauses end at once; it notes them."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def time(self) -> float:
        return 1_000.0 + len(self.pauses)

    def monotonic(self) -> float:
        return self.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        raise NotImplementedError

    async def sleep(self, delay: float) -> None:
        self.pauses.append(delay)
        await anyio.lowlevel.checkpoint()


class Flaky:
    """A store that is unavailable for the next ``failures`` writes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise UnavailableError("the disk is full")

    async def save_outcomes(self, outcomes: Sequence[tuple[int, TaskProcessed]], *, stream: str) -> int:
        self._fail()
        return await self.store.save_outcomes(outcomes, stream=stream)

    async def save_judgement(self, judged: TaskJudged) -> None:
        self._fail()
        await self.store.save_judgement(judged)


def outcome(job_id: str) -> TaskProcessed:
    """A task's record."""
    return TaskProcessed(
        job_id=job_id, agent="a", release=1, task="predict", outcome="ok", at=1.0, queue_ms=0, run_ms=0, cpu_ms=0,
        memory_bytes=0, node="n",
    )  # fmt: skip


def judged(job_id: str) -> TaskJudged:
    """Feedback."""
    return TaskJudged(job_id=job_id, agent="a", release=1, at=2.0, label="x", correct=True)


@dataclass
class Bench:
    """A projector between a fake bus and a real store."""

    bus: FakeBus
    store: Flaky
    clock: NoSleep
    projector: Projector

    async def jobs(self) -> list[str]:
        return sorted(one.job_id for one in await self.store.outcomes(OutcomeFilter(limit=1000)))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench with empty streams and an empty store."""
    async with open_store("", tmp_path) as store:
        bus, flaky, clock = FakeBus(), Flaky(store), NoSleep()
        projector = Projector(cast("Bus", bus), cast("Store", flaky), batch=3, clock=clock, rng=random.Random(1))  # noqa: S311 - jitter
        yield Bench(bus, flaky, clock, projector)


@asynccontextmanager
async def running(bench: Bench) -> AsyncGenerator[None]:
    """The projector runs inside."""
    async with anyio.create_task_group() as group:
        group.start_soon(bench.projector.run)
        while len(bench.bus.handlers) < 2:
            await anyio.lowlevel.checkpoint()
        yield
        group.cancel_scope.cancel()


async def test_what_was_there_before_is_replayed(bench: Bench):
    """A new store gets everything the streams hold, in batches, before the consumers start."""
    for number in range(7):
        bench.bus.add("KPI", outcome(f"j{number}"))
    bench.bus.add("EVENTS", judged("j1"))
    async with running(bench):
        assert await bench.jobs() == [f"j{number}" for number in range(7)]
    assert await bench.store.position("KPI") == 7
    assert await bench.store.high_water("EVENTS") == 1
    assert bench.projector.statistics.saved == 8
    assert bench.bus.durables == {"projector-kpi", "projector-events"}


async def test_redelivered_records_count_once(bench: Bench):
    """What the replay took already is acknowledged when the consumer brings it, and not counted again."""
    first = bench.bus.add("KPI", outcome("j1"))
    async with running(bench):
        second = bench.bus.add("KPI", outcome("j2"))
        claims = await bench.bus.deliver(first, second)
        assert all(claim.acked for claim in claims)
        await bench.bus.deliver(second)
        assert await bench.jobs() == ["j1", "j2"]
    assert (bench.projector.statistics.saved, bench.projector.statistics.repeated) == (2, 2)


async def test_store_errors_are_waited_out(bench: Bench):
    """While the store is unavailable the claims are kept, renewed and not acknowledged; then they are saved."""
    async with running(bench):
        bench.store.failures = 4
        claims = await bench.bus.deliver(bench.bus.add("KPI", outcome("j1")))
        assert claims[0].acked
        assert claims[0].renewed == 4
        bench.store.failures = 1
        [claim] = await bench.bus.deliver(bench.bus.add("EVENTS", judged("j1")))
        assert claim.acked
        assert await bench.jobs() == ["j1"]
    assert bench.projector.statistics.retries == 5
    assert bench.clock.pauses[0] < bench.clock.pauses[1] < bench.clock.pauses[2] < bench.clock.pauses[3] <= 5.0


async def test_cancelled_while_waiting_acknowledges_nothing(bench: Bench):
    """A projector that is stopped while the store is away leaves its claims to redelivery."""
    async with running(bench):
        bench.store.failures = 1_000_000
        claim = FakeClaim(bench.bus.add("KPI", outcome("j1")))
        with anyio.move_on_after(0.05):
            await bench.bus.handlers["KPI"](cast("list[Claim]", [claim]))
    assert claim.renewed > 0
    assert not claim.acked


async def test_records_that_cannot_be_read_are_refused_not_repeated(bench: Bench, caplog: pytest.LogCaptureFixture):
    """A poisoned record is stated once, acknowledged, and does not stop its neighbours."""
    async with running(bench):
        good, bad = bench.bus.add("KPI", outcome("j1")), bench.bus.add("KPI", None, b"\xc1 nonsense")
        with caplog.at_level(logging.WARNING, "chimera"):
            claims = await bench.bus.deliver(good, bad)
        assert all(claim.acked for claim in claims)
        assert await bench.jobs() == ["j1"]
        assert await bench.store.high_water("KPI") == 2
    assert bench.projector.statistics.rejected == 1
    assert len(caplog.records) == 1


async def test_stream_that_went_back_is_stated_and_counted_anew(bench: Bench, caplog: pytest.LogCaptureFixture):
    """A stream that ends before its mark raises the alarm, and its reused sequences are stored as new records."""
    for number in range(5):
        bench.bus.add("KPI", outcome(f"old-{number}"))
    async with running(bench):
        pass
    del bench.bus.streams["KPI"][3:]
    bench.bus.last["KPI"] = 3
    bench.bus.handlers.clear()
    with caplog.at_level(logging.ERROR, "chimera"):
        async with running(bench):
            await bench.bus.deliver(bench.bus.add("KPI", outcome("new-3")))
            assert await bench.jobs() == ["new-3", *[f"old-{number}" for number in range(5)]]
    assert bench.projector.statistics.regresses == [Regress("KPI", 3, 5)]
    assert "ends at 3, but 5 was acknowledged" in caplog.text


async def test_marks_are_compared_after_a_reconnect(bench: Bench):
    """A server that came back without its tail is noticed while the projector runs."""
    for number in range(5):
        bench.bus.add("KPI", outcome(f"j{number}"))
    async with running(bench):
        bench.bus.last["KPI"] = 2
        for state in ("disconnected", "connected"):
            bench.bus.listeners[0](state)
        with anyio.fail_after(5):
            while not bench.projector.statistics.regresses:
                await anyio.lowlevel.checkpoint()
    assert bench.projector.statistics.regresses == [Regress("KPI", 2, 5)]


async def test_bus_that_is_down_at_the_start_is_waited_for(bench: Bench):
    """The projector starts before the bus is there, and goes on when it comes."""
    bench.bus.down = 3
    bench.bus.add("KPI", outcome("j1"))
    async with running(bench):
        assert await bench.jobs() == ["j1"]
    assert len(bench.clock.pauses) == 3


async def test_project_is_the_short_form(bench: Bench):
    """``project`` runs a projector with the names it is given."""
    bus, store = cast("Bus", bench.bus), cast("Store", bench.store)
    bench.bus.add("KPI", outcome("j1"))
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: project(bus, store, name="mine", clock=bench.clock))
        while len(bench.bus.durables) < 2:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert bench.bus.durables == {"mine-kpi", "mine-events"}
