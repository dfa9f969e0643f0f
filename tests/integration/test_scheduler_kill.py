from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from chimera.bus.nats import NatsBus
from chimera.errors import ChimeraError
from chimera.system import System
from subjects.agent import Predict
from subjects.scheduler import GetQueue, GetTask, ListTasks, Pause, Submit
from subjects.task import NewTask
from tests.support.nats_server import NatsServer
from tests.support.scheduling import scheduling

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def _submit_patiently(system: System, task_id: str, acknowledged: set[str]) -> None:
    while task_id not in acknowledged:
        with suppress(ChimeraError):
            await system.ask(Submit(id=task_id, input={"id": task_id}), timeout_s=3.0)
            acknowledged.add(task_id)


async def _kill_often(server: NatsServer, times: int, done: anyio.Event) -> None:
    for _ in range(times):
        await anyio.sleep(0.3)
        server.kill()
        await anyio.sleep(0.1)
        await anyio.to_thread.run_sync(server.start)
    done.set()


@pytest.mark.timeout(120)
async def test_killing_the_server_loses_no_acknowledged_task_and_counts_none_twice(tmp_path: Path) -> None:
    """Server killed with -9 five times under submits: every acknowledged task succeeds, with one counted end."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    acknowledged: set[str] = set()
    submitted = 0
    try:
        async with NatsBus(server.url, name="n1") as bus, scheduling(bus) as system:
            done = anyio.Event()

            async def caller(number: int) -> None:
                nonlocal submitted
                while not done.is_set():
                    submitted += 1
                    await _submit_patiently(system, f"c{number}-{submitted}", acknowledged)

            async with anyio.create_task_group() as group:
                group.start_soon(_kill_often, server, 5, done)
                for number in range(16):
                    group.start_soon(caller, number)
            for task_id in acknowledged:
                view = await system.ask(GetTask(id=task_id, wait_ms=20_000), timeout_s=30.0)
                assert view.state == "succeeded", view
                assert view.output == {"id": task_id}
                assert sum(attempt.outcome == "ok" for attempt in view.attempts) == 1
        async with NatsBus(server.url, name="n1") as bus, scheduling(bus) as system:  # the log says the same
            queue = await system.ask(GetQueue())
            assert queue.depth == queue.scheduled == 0
            assert queue.finished == len(acknowledged) == submitted
    finally:
        server.kill()
    assert len(acknowledged) > 50


@pytest.mark.timeout(60)
async def test_a_scheduler_that_was_cut_off_takes_up_where_it_was(tmp_path: Path) -> None:
    """A scheduler that ends amid running tasks: the next one runs each again under a new attempt, and all end once."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    runs: Counter[str] = Counter()

    async def slow(message: Predict) -> dict[str, Any]:
        runs[message.job_id.rpartition("-")[0]] += 1
        await anyio.sleep(0.2)
        return message.input

    try:
        async with NatsBus(server.url, name="n1") as bus, scheduling(bus, work=slow) as system:
            await system.ask(Submit(tasks=[NewTask(id=f"t{n}", input={"n": n}) for n in range(100)]))
            await anyio.sleep(0.3)
        async with NatsBus(server.url, name="n1") as bus, scheduling(bus) as system:
            for number in range(100):
                view = await system.ask(GetTask(id=f"t{number}", wait_ms=20_000), timeout_s=30.0)
                assert (view.state, view.output) == ("succeeded", {"n": number})
            assert (await system.ask(ListTasks(state="succeeded", limit=1))).total == 100
    finally:
        server.kill()
    assert runs


@pytest.mark.timeout(60)
async def test_many_queued_tasks_survive_a_restart(tmp_path: Path) -> None:
    """5,000 queued tasks submitted in bulk are all there after a restart, and none twice after a repeated submit."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    bulks = [
        [NewTask(id=f"t{n}", input={"n": n}) for n in range(start, start + 1000)] for start in range(0, 5000, 1000)
    ]
    try:
        async with NatsBus(server.url, name="n1") as bus, scheduling(bus, work=None) as system:
            await system.ask(Pause())
            for tasks in bulks:
                assert (await system.ask(Submit(tasks=tasks))).accepted == 1000
        async with NatsBus(server.url, name="n1") as bus, scheduling(bus, work=None) as system:
            for tasks in bulks:
                assert (await system.ask(Submit(tasks=tasks))).duplicates == 1000
            queue = await system.ask(GetQueue())
            assert (queue.depth, queue.paused) == (5000, True)
    finally:
        server.kill()
