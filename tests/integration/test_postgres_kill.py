"""kill -9 of PostgreSQL: what was answered is there, and what could not be stored waits in the streams."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from actors.queueing import states
from actors.queueing.records import Moved, New, Spec, pack
from actors.scheduling.journal import stream_spec
from actors.scheduling.projection import TaskProjection
from chimera.bus import Bus, MemoryBus, MemoryHub, StreamSpec
from chimera.clock import SystemClock
from chimera.errors import UnavailableError
from chimera.journal import join
from chimera.store import Follower, OutcomeFilter, Projector, Store, TaskFilter, open_store
from chimera.wire import encode
from subjects.event import TaskJudged, TaskProcessed
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

HERE = Path()
ALL = OutcomeFilter(limit=1_000_000)


def record(number: int) -> TaskProcessed:
    """A task's record."""
    return TaskProcessed(
        job_id=f"j{number}", agent="a", release=1, task="predict", outcome="ok", at=float(number), queue_ms=0,
        run_ms=0, cpu_ms=0, memory_bytes=0, node="n", input={"text": "x" * 200},
    )  # fmt: skip


async def restart(server: PostgresServer) -> None:
    """Kill all of its processes, and start it again."""
    await anyio.to_thread.run_sync(server.kill)
    await anyio.to_thread.run_sync(server.start)


async def test_answered_rows_survive_kill_9(own_postgres: PostgresServer):
    """Killed three times while eight callers write, every row that was answered is there afterwards."""
    told: set[int] = set()
    refused = 0

    async def write(store: Store, lane: int) -> None:
        nonlocal refused
        for number in range(lane, 1_000_000, 8):
            try:
                await store.save_outcomes([(number, record(number))], stream="KPI")
                told.add(number)
            except UnavailableError:
                refused += 1
                await anyio.sleep(0.01)

    async with open_store(own_postgres.url(), HERE) as store:
        async with anyio.create_task_group() as group:
            for lane in range(1, 9):
                group.start_soon(write, store, lane)
            for _ in range(3):
                enough = len(told) + 150
                with anyio.fail_after(30):
                    while len(told) < enough:  # noqa: ASYNC110 - the database has no event
                        await anyio.sleep(0.01)
                await restart(own_postgres)
            group.cancel_scope.cancel()
        with anyio.fail_after(30):
            while await store.check() != "ok":  # noqa: ASYNC110 - the database has no event
                await anyio.sleep(0.02)
        stored = {int(one.at) for one in await store.outcomes(ALL)}
    assert told <= stored
    assert refused >= 3


@asynccontextmanager
async def projecting(bus: Bus, url: str) -> AsyncGenerator[tuple[Store, Projector]]:
    """A projector between the bus and its own connection to the store."""
    async with open_store(url, HERE) as store, anyio.create_task_group() as group:
        projector = Projector(bus, store, batch=20, rng=random.Random(1))  # noqa: S311 - jitter
        group.start_soon(projector.run)
        yield store, projector
        group.cancel_scope.cancel()


async def publish(bus: Bus, first: int, count: int) -> None:
    """Records of tasks, one of ten with feedback."""
    for number in range(first, first + count):
        await bus.append("chimera.kpi.a", encode(record(number)), msg_id=f"kpi-{number}")
        if number % 10 == 0:
            judged = TaskJudged(job_id=f"j{number}", agent="a", release=1, at=2.0, label="x", correct=True)
            await bus.append("chimera.event.agent.judged", encode(judged), msg_id=f"judged-{number}")
        await anyio.sleep(0.001)


async def test_projections_wait_for_a_killed_database(own_postgres: PostgresServer):
    """Records published before, during and after two outages are in the store once each; so is the feedback."""
    url = own_postgres.url()
    async with MemoryBus(MemoryHub()) as bus:
        for spec in (StreamSpec("KPI", ("chimera.kpi.*",)), StreamSpec("EVENTS", ("chimera.event.>",))):
            await bus.declare(spec)
        async with projecting(bus, url) as (store, projector):
            for turn in range(2):
                await publish(bus, turn * 300, 100)
                await anyio.to_thread.run_sync(own_postgres.kill)
                await publish(bus, turn * 300 + 100, 100)
                assert await store.check() != "ok"
                await anyio.to_thread.run_sync(own_postgres.start)
                await publish(bus, turn * 300 + 200, 100)
            with anyio.fail_after(40):
                while len(await found(store)) < 600:  # noqa: ASYNC110 - the database has no event
                    await anyio.sleep(0.05)
                while await store.high_water("EVENTS") < 60:  # noqa: ASYNC110 - the database has no event
                    await anyio.sleep(0.05)
            assert sorted(await found(store)) == list(range(600))
            assert await store.position("KPI") == 600
            assert projector.statistics.retries > 0
            assert projector.statistics.regresses == []
        async with own_postgres.connected() as other:
            assert await other.fetchval("SELECT count(*) FROM judgements") == 60


async def test_the_history_of_tasks_waits_for_a_killed_database(own_postgres: PostgresServer):
    """Tasks logged before, during and after an outage are in the history, each with its changes once."""
    clock, rng = SystemClock(), random.Random(1)  # noqa: S311 - jitter
    async with MemoryBus(MemoryHub()) as bus, open_store(own_postgres.url(), HERE) as store:
        await bus.declare(stream_spec())
        projection = TaskProjection(store)
        follower = Follower(bus, store, projection, clock, rng, batch=7)
        async with anyio.create_task_group() as group:
            group.start_soon(follower.run)
            for turn in range(3):
                if turn == 1:
                    await anyio.to_thread.run_sync(own_postgres.kill)
                for number in range(turn * 40, turn * 40 + 40):
                    await log_task(bus, f"t{number}")
                if turn == 1:
                    assert await store.check() != "ok"
                    await anyio.to_thread.run_sync(own_postgres.start)
            with anyio.fail_after(40):
                while await position(store) < 120:  # noqa: ASYNC110 - the database has no event
                    await anyio.sleep(0.05)
            group.cancel_scope.cancel()
        assert follower.retries > 0
        assert follower.regresses == []
        assert await projection.history.count(TaskFilter()) == 120
        for name in ("t0", "t41", "t119"):
            assert [row.state for row in await projection.history.changes(name)] == ["queued", "cancelled"]


async def log_task(bus: Bus, name: str) -> None:
    """One message of the log: a task is submitted and cancelled."""
    spec = Spec(name, "a", "predict", b"\x80", 2, 0.0, 0.0, 30.0, 3, 1.0, 2.0, 300.0, 0.2, "", (), "", 60.0, 100.0)
    queued = states.submitted(spec, 100.0)
    entries = (New(spec, queued), Moved(name, states.cancelled(queued, 101.0)))
    await bus.append("chimera.task.log", join([pack(entry) for entry in entries]), msg_id=name)


async def position(store: Store) -> int:
    """How far the log is projected; not at all while the store is away."""
    try:
        return await store.position("TASKS")
    except UnavailableError:
        return -1


async def found(store: Store) -> list[int]:
    """The numbers of the records in the store; none while it is away."""
    try:
        return [int(one.at) for one in await store.outcomes(ALL)]
    except UnavailableError:
        return []
