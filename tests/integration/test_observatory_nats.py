"""The observatory and the models on a real server: a restart, and bytes that were changed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from actors.refining.lessons import Lesson, train
from actors.refining.model_store import BLOBS, ModelStore
from actors.refining.observatory import Observatory
from chimera.bus.contract import StreamSpec
from chimera.bus.nats import NatsBus
from chimera.clock import SystemClock
from chimera.errors import CorruptError
from chimera.wire import encode
from subjects.event import TaskProcessed
from subjects.optimizer import CheckKpi
from tests.support.nats_server import NatsServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(tmp_path: Path) -> Generator[NatsServer]:
    """A server."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


def quiet(*_: Any, **__: Any) -> None:
    """Take an event."""


async def serve(bus: NatsBus, first: int, count: int) -> None:
    """Store outcomes that end now."""
    records = [
        TaskProcessed(
            job_id=f"j{number}", agent="echo", release=1, task="predict", outcome="ok", at=SystemClock().time(),
            queue_ms=0.5, run_ms=2.0, cpu_ms=1.0, memory_bytes=1, node="n",
        )
        for number in range(first, first + count)
    ]  # fmt: skip
    await bus.append_many([("chimera.kpi.echo", encode(record), record.job_id) for record in records])


@asynccontextmanager
async def observing(bus: NatsBus, wanted: int) -> AsyncGenerator[Observatory]:
    """An observatory that runs and has ingested so many."""
    observatory = Observatory(bus=bus, clock=SystemClock(), report=quiet)
    async with anyio.create_task_group() as group:
        group.start_soon(observatory.run)
        with anyio.fail_after(30):
            while (await observatory.kpi(CheckKpi())).ingested < wanted:  # noqa: ASYNC110 - what is waited for comes from a server
                await anyio.sleep(0.02)
        yield observatory
        group.cancel_scope.cancel()


async def test_a_restart_goes_on_behind_the_picture(server: NatsServer):
    """What was ingested before a picture and after it counts once each; the server is killed and started in between."""
    async with NatsBus(server.url, name="one") as bus:
        await bus.declare(StreamSpec("KPI", ("chimera.kpi.>",)))
        await bus.declare(StreamSpec("EVENTS", ("chimera.event.>",)))
        await serve(bus, 0, 500)
        async with observing(bus, 500) as observatory:
            await observatory.keep()
            server.kill()
            server.start()
            with anyio.fail_after(30):
                while bus.statistics().state != "connected":  # noqa: ASYNC110 - another process comes back
                    await anyio.sleep(0.02)
            await serve(bus, 500, 100)
    async with NatsBus(server.url, name="two") as bus, observing(bus, 600) as again:
        health = await again.kpi(CheckKpi())
        again.flush()
        assert (health.ingested, health.position, health.lag_messages) == (600, 600, 0)
        assert again.store.accepted == 5 * 600


async def test_changed_bytes_of_a_model_are_noticed(server: NatsServer):
    """A version whose object was replaced does not pass its checksum; one that is gone is corrupt as well."""
    values = np.random.default_rng(1).gamma(3, 2, 120)
    model = train(Lesson("echo-latency", "latency", 60.0 * np.arange(120.0), values, 60.0, "ms"), 1.0)
    async with NatsBus(server.url, name="one") as bus:
        store = ModelStore(bus)
        first, second = [await store.add(model, live=True) for _ in range(2)]
        assert (await store.load(first)).version == 1
        blobs = await bus.objects(BLOBS)
        await blobs.put(first.blob, (await blobs.get(first.blob) or b"").replace(b"ms", b"xs"))
        with pytest.raises(CorruptError):
            await store.load(first)
        await blobs.delete(second.blob)
        with pytest.raises(CorruptError):
            await store.load(second)
