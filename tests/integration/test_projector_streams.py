"""The projector between a bus with real streams and a real store, across restarts of both."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from chimera.bus import Bus, MemoryBus, MemoryHub, StreamSpec
from chimera.store import OutcomeFilter, Projector, Store, open_store
from chimera.wire import encode
from subjects.event import TaskJudged, TaskProcessed
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.anyio

_STREAMS = (StreamSpec("KPI", ("chimera.kpi.*",)), StreamSpec("EVENTS", ("chimera.event.>",)))


async def _task(bus: Bus, job_id: str) -> None:
    outcome = TaskProcessed(
        job_id=job_id, agent="a", release=1, task="predict", outcome="ok", at=1.0, queue_ms=0, run_ms=0, cpu_ms=0,
        memory_bytes=0, node="n",
    )  # fmt: skip
    await bus.append("chimera.kpi.a", encode(outcome), msg_id=f"kpi-{job_id}")


async def _judged(bus: Bus, job_id: str) -> None:
    judged = TaskJudged(job_id=job_id, agent="a", release=1, at=2.0, label="x", correct=True)
    await bus.append("chimera.event.agent.judged", encode(judged), msg_id=f"judged-{job_id}")


@asynccontextmanager
async def _running(bus: Bus, store: Store) -> AsyncGenerator[Projector]:
    projector = Projector(bus, store)
    async with anyio.create_task_group() as group:
        group.start_soon(projector.run)
        yield projector
        group.cancel_scope.cancel()


async def _until(store: Store, count: int) -> list[str]:
    """The job ids once there are ``count``; the deadline makes it fail instead of hang."""
    with anyio.fail_after(20):
        while len(found := await store.outcomes(OutcomeFilter(limit=1_000))) < count:  # noqa: ASYNC110 - it has no event
            await anyio.sleep(0.01)
    return sorted(one.job_id for one in found)


@pytest.fixture(params=["sqlite", "postgres"])
async def places(request: pytest.FixtureRequest, tmp_path: Path) -> list[Callable[[], Store]]:
    """Two stores of one backend, opened as often as one likes."""
    if request.param == "sqlite":
        return [partial(open_store, "", tmp_path / name) for name in ("one", "two")]
    server: PostgresServer = request.getfixturevalue("postgres")
    return [partial(open_store, await server.new_schema(), tmp_path) for _ in range(2)]


async def test_every_record_once_across_restarts_and_a_lost_store(places: list[Callable[[], Store]]):
    """Records from before, during and between runs are stored once each; a lost store is rebuilt from the streams."""
    open_one, open_two = places
    async with MemoryBus(MemoryHub()) as bus:
        for spec in _STREAMS:
            await bus.declare(spec)
        for number in range(10):
            await _task(bus, f"a{number}")
        await _judged(bus, "a1")
        async with open_one() as store, _running(bus, store):
            await _until(store, 10)
            for number in range(10):
                await _task(bus, f"b{number}")
            await _until(store, 20)
        await _task(bus, "c")
        async with open_one() as store, _running(bus, store) as projector:
            one = await _until(store, 21)
            assert projector.statistics.regresses == []
        async with open_two() as store, _running(bus, store):
            assert await _until(store, 21) == one
            with anyio.fail_after(20):
                while await store.high_water("EVENTS") < 1:  # noqa: ASYNC110 - it has no event
                    await anyio.sleep(0.01)
    assert len(set(one)) == 21
