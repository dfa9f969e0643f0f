"""Sandbox workers are killed while clients ask: only what ran in them is affected, and the pool is whole again."""

from __future__ import annotations

import base64
import os
import signal
import time
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from edge.guests import hostile_guests
from tests.acceptance.conftest import MakeSystem
from tests.support.processes import children_like, cpu_seconds
from tests.support.running import RunningSystem
from tests.support.traffic import Traffic
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = 3
LOST = {"unavailable", "restarting"}
"""What a task is answered whose worker died: it may have run, or it certainly has not."""


def workers(system: RunningSystem) -> list[int]:
    """The worker processes of the node."""
    return children_like(system.pid, "chimera.sandbox.worker")


def deaths(system: RunningSystem) -> list[dict[str, Any]]:
    """The event log's lines about workers that died."""
    return [line for line in system.events() if line.get("event") == "worker-died"]


def counted_deaths(system: RunningSystem) -> float:
    """Deaths as the metrics have them."""
    lines = system.http.get("/metrics").text.splitlines()
    line = next(line for line in lines if line.startswith("chimera_sandbox_worker_deaths_total"))
    return float(line.rpartition(" ")[2])


def register_looper(system: RunningSystem) -> None:
    """An agent that never ends by itself, with limits that let it run for longer than the test takes."""
    guest = next(guest for guest in hostile_guests() if guest.name == "infinite_loop")
    limits = msgspec.structs.replace(guest.manifest.limits, cpu_ms=60_000.0, wall_ms=60_000.0)
    manifest = msgspec.to_builtins(msgspec.structs.replace(guest.manifest, limits=limits))
    body = {"module": base64.b64encode(guest.module).decode(), "manifest": manifest}
    response = system.http.post("/api/agents", json=body)
    assert response.status_code == 201, response.text


async def run_looper(system: RunningSystem, answers: list[tuple[httpx.Response, float]]) -> None:
    """Ask it, and note the answer and when it came."""
    body: dict[str, Any] = {"job_id": "loop", "agent": "infinite_loop", "input": {}, "deadline_ms": 50_000}
    async with httpx.AsyncClient(base_url=system.base, timeout=60, trust_env=False) as client:
        answers.append((await client.post("/predict", json=body), time.monotonic()))


async def busiest(system: RunningSystem) -> int:
    """The worker that has the loop in it: the one that uses a processor."""
    for _ in range(50):
        before = {pid: cpu_seconds(pid) for pid in workers(system)}
        await anyio.sleep(0.4)
        used = {pid: cpu_seconds(pid) - before[pid] for pid in before}
        first, second = sorted(used, key=lambda pid: used[pid], reverse=True)
        if used[first] > 0.1 and used[first] > 2 * used[second]:
            return first
    raise AssertionError("no worker runs the loop")


async def test_killed_worker_harms_only_the_task_that_ran_in_it(
    make_system: MakeSystem, capsys: pytest.CaptureFixture[str]
):
    """The task under which a worker dies is told so at once; another agent's traffic sees nothing of it."""
    system = make_system("--set", "sandbox.workers=2")
    system.start()
    register_looper(system)
    before = workers(system)
    assert len(before) == 2
    looped: list[tuple[httpx.Response, float]] = []
    async with anyio.create_task_group() as group:
        group.start_soon(run_looper, system, looped)
        victim = await busiest(system)
        async with Traffic(system) as traffic:
            await traffic.flow(100)
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            await until(lambda: looped, 10)
            await until(lambda: len(workers(system)) == 2 and victim not in workers(system), 10)
            await traffic.flow(200)
        answer, told = looped[0]
        with capsys.disabled():
            print(f"\n  worker killed: its task was told after {(told - killed) * 1e3:.0f} ms; {traffic.summary()}")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
        assert "worker" in answer.json()["detail"]
        assert traffic.bad() == []
        death = deaths(system)[0]["fields"]
        assert (death["pid"], death["agent"], death["deaths"]) == (victim, "infinite_loop", 1)
        assert counted_deaths(system) == 1


async def test_killed_workers_lose_at_most_one_task_each(own_system: RunningSystem, capsys: pytest.CaptureFixture[str]):
    """Worker after worker dies under one agent's traffic: one failure each at the most, and the pool is whole again."""
    system, victims = own_system, list[int]()
    whole = len(workers(system))
    async with Traffic(system, http=3, nats=3) as traffic:
        for _ in range(KILLS):
            await traffic.flow(60)
            victims.append(workers(system)[0])
            os.kill(victims[-1], signal.SIGKILL)
            await until(lambda: len(workers(system)) == whole and victims[-1] not in workers(system), 15)
            await until(lambda: len(deaths(system)) == len(victims), 5)
        await traffic.flow(100)
    with capsys.disabled():
        print(f"\n  {KILLS} workers killed under one agent: {traffic.summary()}")
    assert len(traffic.bad()) <= KILLS
    assert {call.code for call in traffic.bad()} <= LOST
    assert [line["fields"]["pid"] for line in deaths(system)] == victims
    assert counted_deaths(system) == KILLS
    assert system.http.get("/readyz").status_code == 200
