"""The nats-server is killed, or hangs, while clients ask: who notices, who recovers, and that nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from subjects.event import TaskProcessed
from tests.support.processes import is_alive
from tests.support.running import RunningSystem
from tests.support.stored import count_outcomes
from tests.support.traffic import Traffic, task_records
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

RETRIABLE = {"bus-down", "connection-lost", "deadline", "not-running", "layer-not-running", "overloaded", "restarting"}
"""What a client may be told while the server is away: each says whether the task may have run."""


def server_pid(system: RunningSystem) -> int:
    """The server that the lock file names."""
    return msgspec.json.decode((system.data / "nats" / "server.lock").read_bytes())["server"]["pid"]


def events(system: RunningSystem, name: str) -> list[dict[str, Any]]:
    """The lines of one event."""
    return [line for line in system.events() if line.get("event") == name]


def try_deploy(system: RunningSystem, **change: Any) -> httpx.Response:
    """Deploy over HTTP, whatever comes of it."""
    return httpx.post(f"{system.base}/api/agents/sentiment/deploy", json=change, timeout=40, trust_env=False)


def deploy(system: RunningSystem, **change: Any) -> dict[str, Any]:
    """Deploy over HTTP and give the view."""
    response = try_deploy(system, **change)
    assert response.status_code == 200, response.text
    return response.json()


async def wait_stored(system: RunningSystem, traffic: Traffic) -> list[TaskProcessed]:
    """Every KPI record, once each answered task has one and the store has as many rows: both follow with a delay."""
    answered = {call.body["job_id"] for call in traffic.good()}
    records: list[TaskProcessed] = []
    with anyio.move_on_after(20):
        while not (answered <= {one.job_id for one in records} and count_outcomes(system.data) == len(records)):
            await anyio.sleep(0.1)
            records = await task_records(system)
    missing = answered - {one.job_id for one in records}
    assert not missing, f"{len(missing)} answered tasks have no record: {sorted(missing)[:5]}"
    assert count_outcomes(system.data) == len(records)
    return records


async def test_killed_server_is_back_and_nothing_acknowledged_is_lost(
    own_system: RunningSystem, capsys: pytest.CaptureFixture[str]
):
    """HTTP goes on without a failure, NATS recovers, releases and every answered task's record survive, in place."""
    system, url = own_system, own_system.nats_url
    async with Traffic(system) as traffic:
        await traffic.flow(50, "http")
        await traffic.flow(50, "nats")
        view = await anyio.to_thread.run_sync(lambda: deploy(system, genome={"capitals_increment": 1.5}))
        before, killed = server_pid(system), time.monotonic()
        os.kill(before, signal.SIGKILL)
        during = await anyio.to_thread.run_sync(lambda: try_deploy(system, genome={"capitals_increment": 1.6}))
        await until(lambda: any(call.began > killed for call in traffic.good("nats")), 10)
        await traffic.flow(100, "http")
        await traffic.flow(100, "nats")
    answered = time.monotonic()
    records = await wait_stored(system, traffic)
    stored = time.monotonic() - answered

    first = min(call.ended for call in traffic.good("nats") if call.began > killed)
    slowest = max(call.took_s for call in traffic.calls if call.way == "http")
    with capsys.disabled():
        print(
            f"\n  server killed: {traffic.summary()}; deploy meanwhile {during.status_code}; "
            f"NATS answered again after {first - killed:.2f} s, slowest HTTP answer {slowest * 1e3:.0f} ms, "
            f"every record stored {stored:.2f} s after the last answer"
        )
    assert traffic.bad("http") == []
    assert {call.code for call in traffic.bad("nats")} <= RETRIABLE
    assert all(call.answer["detail"] for call in traffic.bad("nats"))
    assert not is_alive(before)
    assert system.nats_url == url
    now = system.http.get("/api/agents/sentiment").json()
    if during.status_code == 200:
        assert now == during.json(), "a deploy that was acknowledged during the outage is not there"
    else:
        assert during.json()["code"] in RETRIABLE
        assert now["releases"][: len(view["releases"])] == view["releases"]
    found = Counter(record.job_id for record in records)
    assert max(found.values()) == 1, "a record was stored twice"
    maybe = {call.body["job_id"] for call in traffic.bad("nats")}
    assert set(found) <= {call.body["job_id"] for call in traffic.good()} | maybe
    _check_story(system, before)


def _check_story(system: RunningSystem, killed: int) -> None:
    """Status and event log say what happened, in order."""
    status = msgspec.json.decode(system.command("status", "--json").stdout)
    restarts = {row["name"]: row["restarts"] for row in status["services"]}
    assert restarts == {**dict.fromkeys(restarts, 0), "nats-server": 1}
    assert status["ready"] == {"bus": "ok", "store": "ok", "tree": "ok"}
    assert status["snapshot"]["bus"]["reconnects"] >= 1
    wanted = {"server-started", "server-died", "actor-restarted"}
    story = [line for line in system.events() if line.get("event") in wanted]
    assert [line["event"] for line in story] == ["server-started", "server-died", "actor-restarted", "server-started"]
    assert story[0]["fields"]["pid"] == killed
    assert "SIGKILL" in story[1]["message"]
    assert story[2]["fields"]["child"] == "nats-server"
    assert story[3]["fields"]["pid"] == server_pid(system) != killed
    assert [line["message"] for line in events(system, "bus-state")] == ["connected", "disconnected", "connected"]


async def test_hung_server_is_noticed_and_left(own_system: RunningSystem, capsys: pytest.CaptureFixture[str]):
    """A server that stops answering is noticed, HTTP goes on meanwhile, and NATS answers again once it goes on."""
    system = own_system
    async with Traffic(system, nats=1, timeout_s=20) as traffic:
        await traffic.flow(20, "nats")
        pid, hung = server_pid(system), time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            await until(lambda: len(events(system, "bus-state")) > 1, 12)
            noticed = time.monotonic() - hung
            await traffic.flow(20, "http")
            assert system.http.get("/readyz").status_code == 503
        finally:
            os.kill(pid, signal.SIGCONT)
        resumed = time.monotonic()
        # a call caught between two connections waits out its own 20 s before the next one begins
        await until(lambda: any(call.began > resumed for call in traffic.good("nats")), 30)
        back = time.monotonic() - resumed
        await until(lambda: system.http.get("/readyz").status_code == 200, 10)
    with capsys.disabled():
        print(f"\n  server hung: noticed after {noticed:.2f} s, NATS answered {back:.2f} s after it went on")
    assert traffic.bad("http") == []
    assert {call.code for call in traffic.bad("nats")} <= RETRIABLE
    assert server_pid(system) == pid, "it was hung, not dead: nobody restarts it"
    await wait_stored(system, traffic)
