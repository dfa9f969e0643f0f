"""kill -9 of the whole node under traffic: nothing of it stays behind, and what it acknowledged is there again."""

from __future__ import annotations

import itertools
import time
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.support.processes import children, is_alive
from tests.support.running import RunningSystem
from tests.support.stored import count_outcomes, quick_check
from tests.support.traffic import Traffic, task_records
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

BATCHING = {"batch_size": 7, "batch_timeout_ms": 3.0}
RECORDED_WITHIN_S = 2.0
"""A record waits 20 ms before it is sent; the rest is for a busy machine."""


async def deploy_on(system: RunningSystem, views: list[dict[str, Any]]) -> None:
    """Deploy genome after genome and keep every acknowledged view, until the node is gone."""
    async with httpx.AsyncClient(base_url=system.base, timeout=30, trust_env=False) as client:
        for number in itertools.count(1):
            change = {"genome": {"capitals_increment": number / 100}, "note": f"number {number}"}
            try:
                response = await client.post("/api/agents/sentiment/deploy", json=change)
            except httpx.TransportError:
                return
            assert response.status_code == 200, response.text
            views.append(response.json())


def check_agent(system: RunningSystem, last: dict[str, Any]) -> None:
    """The agent is as the last acknowledged view says, or one deploy further; the batch settings were kept."""
    now, known = system.http.get("/api/agents/sentiment").json(), len(last["releases"])
    assert now["releases"][:known] == last["releases"], "an acknowledged release is missing or changed"
    further = [release["number"] for release in now["releases"][known:]]
    assert len(further) <= 1, "one deploy at most was under way"
    assert now["live"] in {last["live"], *further}
    assert system.predict("after", "This is GREAT stuff").json()["release"] == now["live"]
    again = system.http.post("/api/config/batching", json=BATCHING).json()
    assert (again["previous_batch_size"], again["previous_batch_timeout_ms"]) == (7, 3.0)


async def all_recorded(system: RunningSystem) -> set[str]:
    """Job ids of the KPI stream, each there once, after the store caught up with it."""
    assert quick_check(system.data) == "ok"
    ids: list[str] = []
    with anyio.fail_after(20):
        while "after" not in ids or count_outcomes(system.data) != len(ids):
            await anyio.sleep(0.1)
            ids = [record.job_id for record in await task_records(system)]
    assert len(ids) == len(set(ids))
    return set(ids)


async def test_killed_node_starts_again_with_all_it_acknowledged(
    own_system: RunningSystem, capsys: pytest.CaptureFixture[str]
):
    """No orphan is left; a second start has the last acknowledged release, the batch settings and a sound store."""
    system, views = own_system, list[dict[str, Any]]()
    assert system.http.post("/api/config/batching", json=BATCHING).status_code == 200
    async with anyio.create_task_group() as group:
        group.start_soon(deploy_on, system, views)
        async with Traffic(system, timeout_s=2) as traffic:
            await traffic.flow(100)
            await until(lambda: len(views) >= 3)
            family = [system.pid, *children(system.pid)]
            assert len(family) >= 3, "the node has a server and at least one worker"
            killed = time.monotonic()
            system.kill()
        await until(lambda: not any(map(is_alive, family)), 10)
        gone = time.monotonic() - killed
        begun = time.monotonic()
        await anyio.to_thread.run_sync(system.start)
        ready = time.monotonic() - begun
        check_agent(system, views[-1])
        recorded = await all_recorded(system)
        missing = [call for call in traffic.good() if call.body["job_id"] not in recorded]
        with capsys.disabled():
            print(
                f"\n  node killed: its processes gone after {gone:.2f} s, ready again {ready:.2f} s after the start, "
                f"{len(views)} deploys acknowledged, {len(missing)} of {len(traffic.good())} answers not yet recorded"
            )
        late = [call for call in missing if call.ended < killed - RECORDED_WITHIN_S]
        assert not late, f"records of tasks answered long before the kill are missing: {late[:3]}"
