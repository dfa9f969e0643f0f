"""PostgreSQL is killed under a node that keeps its projections there: serving goes on, and nothing is missing after."""

from __future__ import annotations

import json
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.acceptance.conftest import MakeSystem
from tests.support.postgres import PostgresServer
from tests.support.running import RunningSystem
from tests.support.traffic import Traffic, task_records
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def jobs(server: PostgresServer) -> list[str]:
    """The jobs in the table of outcomes, one per row."""
    async with server.connected() as other:
        return [row[0] for row in await other.fetch("SELECT job_id FROM outcomes ORDER BY job_id")]


def store_check(system: RunningSystem) -> tuple[int, str]:
    """What ``/readyz`` answers, and what it says of the store."""
    response = system.http.get("/readyz?verbose")
    line = next((line for line in response.text.splitlines() if "store" in line), response.text)
    return response.status_code, line


def states(system: RunningSystem) -> list[str]:
    """What became of the connection to the database, as the event log has it."""
    found = [line["fields"] for line in system.events() if line.get("event") == "database-connection"]
    return [fields["state"] for fields in found if "state" in fields]


def metric(system: RunningSystem, name: str) -> float:
    """One number of the exposition."""
    lines = system.http.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).rpartition(" ")[2])


def everything_shown(system: RunningSystem) -> str:
    """All that a user can read: standard output and error, the event log, the settings, the metrics."""
    shown = system.command("config", "show", "store.", "--json")
    log = json.dumps(system.events())
    metrics = system.http.get("/metrics").text
    return f"{system.story()}{log}{shown.stdout}{shown.stderr}{metrics}"


async def test_predictions_go_on_while_postgres_is_killed(
    make_system: MakeSystem, own_postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
):
    """No prediction fails, readiness tells, an agent may change, and afterwards every record is stored exactly once."""
    system = make_system(env={"CHIMERA_STORE": own_postgres.url()})
    system.start()
    assert not (system.data / "chimera.sqlite").exists()
    async with Traffic(system) as traffic:
        await traffic.flow(100)
        await anyio.to_thread.run_sync(own_postgres.kill)
        await until(lambda: "lost" in states(system), 10)
        status, said = store_check(system)
        deployed = await anyio.to_thread.run_sync(lambda: deploy(system))
        await traffic.flow(200)
        down = metric(system, "chimera_store_connected")
        await anyio.to_thread.run_sync(own_postgres.start)
        await until(lambda: system.http.get("/readyz").status_code == 200, 20)
        await traffic.flow(100)
    records = await task_records(system)
    with anyio.fail_after(30):
        while not {call.body["job_id"] for call in traffic.good()} <= {one.job_id for one in records}:
            records = await task_records(system)
        while len(await jobs(own_postgres)) < len(records):  # noqa: ASYNC110 - the database has no event
            await anyio.sleep(0.1)
    with capsys.disabled():
        print(f"\n  PostgreSQL killed: {traffic.summary()}; {len(records)} records, each stored once")
    assert traffic.bad() == []
    assert (status, "store failed" in said) == (503, True), said
    assert down == 0
    assert {call.body["job_id"] for call in traffic.good()} <= {one.job_id for one in records}
    assert await jobs(own_postgres) == sorted(one.job_id for one in records)
    assert states(system) == ["connected", "lost", "connected"]
    assert (metric(system, "chimera_store_connected"), metric(system, "chimera_store_losses_total")) == (1, 1)
    await projected(own_postgres, live=deployed["live"])
    shown = everything_shown(system)
    assert "postgresql://***@127.0.0.1" in shown
    assert "s3cret" in own_postgres.password
    assert "s3cret" not in shown


async def test_a_node_starts_and_serves_without_its_database(make_system: MakeSystem, own_postgres: PostgresServer):
    """The node is up before PostgreSQL is; what it did meanwhile is stored when it comes."""
    own_postgres.kill()
    system = make_system("--store", own_postgres.url())
    system.launch()
    await anyio.to_thread.run_sync(system.until_it_serves)
    assert system.predict("early", "I love this").status_code == 200
    assert store_check(system)[0] == 503
    await anyio.to_thread.run_sync(own_postgres.start)
    await until(lambda: system.http.get("/readyz").status_code == 200, 20)
    with anyio.fail_after(30):
        while await jobs(own_postgres) != ["early"]:  # noqa: ASYNC110 - the database has no event
            await anyio.sleep(0.1)
    await projected(own_postgres, live=1)


def deploy(system: RunningSystem) -> dict[str, Any]:
    """A new release of the shipped agent."""
    response = system.http.post("/api/agents/sentiment/deploy", json={"genome": {"capitals_increment": 1.5}})
    assert response.status_code == 200, response.text
    return response.json()


async def projected(server: PostgresServer, *, live: int) -> None:
    """Wait until the table of agents has this release live."""
    async with server.connected() as other:
        with anyio.fail_after(30):
            while await other.fetchval("SELECT live FROM agents WHERE name = 'sentiment'") != live:  # noqa: ASYNC110 - the database has no event
                await anyio.sleep(0.1)
