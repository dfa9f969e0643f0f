"""The rows that every port answers: alive, ready, healthy, measured, described."""

from typing import Any

import anyio
import pytest
from blockbuster import blockbuster_ctx

from chimera.errors import NotRunningError
from chimera.metrics import CATALOGUE, observe_process
from subjects.agent import Health
from tests.support.bridge import Rig

pytestmark = pytest.mark.anyio


@pytest.fixture
def rig() -> Rig:
    """One application of port 8000 with doubles."""
    return Rig()


async def test_livez_asks_nobody(rig: Rig) -> None:
    """The process is alive even when nothing else is."""
    rig.probe.checks = {"bus": "gone"}
    rig.probe.ready = False
    async with rig.client() as client:
        response = await client.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "pass"})


@pytest.mark.parametrize(
    ("checks", "ready", "status"),
    [
        ({"bus": "ok", "store": "ok"}, True, 200),
        ({"bus": "no connection", "store": "ok"}, True, 503),
        ({"bus": "ok", "store": "ok"}, False, 503),
    ],
)
async def test_readyz_is_decided_by_its_status(rig: Rig, checks: dict[str, str], *, ready: bool, status: int) -> None:
    """One failed check, or a node that starts or drains, is 503 in both forms."""
    rig.probe.checks, rig.probe.ready = checks, ready
    async with rig.client() as client:
        plain, verbose = await client.get("/readyz"), await client.get("/readyz?verbose")
    assert (plain.status_code, verbose.status_code) == (status, status)
    assert plain.json()["checks"]["bus"] == checks["bus"]
    assert ("[+]bus ok" in verbose.text) == (checks["bus"] == "ok")
    assert verbose.text.endswith(f"readyz check {'passed' if status == 200 else 'failed'}\n")


async def test_probe_that_hangs_is_a_failed_check(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness never waits without end."""
    monkeypatch.setattr("chimera.http.general.PROBE_S", 0.01)
    monkeypatch.setattr(rig.probe, "readiness", anyio.sleep_forever)
    async with rig.client() as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert "no answer" in response.json()["checks"]["probe"]


async def test_health_merges_the_layer_and_the_node(rig: Rig) -> None:
    """The agent layer's own answer and the node's checks stand in one object."""

    async def well(_: Any) -> Health:
        return Health(
            status="pass", node="test-node", version="0", uptime_s=1, agents=["sentiment"], in_flight=0, workers=1,
            checks={"workers": "ok"},
        )  # fmt: skip

    rig.caller.hook = well
    async with rig.client() as client:
        response = await client.get("/health")
    body = response.json()
    assert response.status_code == 200
    assert (body["status"], body["agents"], body["in_flight"]) == ("pass", ["sentiment"], 0)
    assert body["checks"] == {"workers": "ok", "started": "ok", "bus": "ok", "store": "ok", "tree": "ok"}


async def test_health_warns_with_its_layer(rig: Rig) -> None:
    """A warning of the layer is shown and still 200."""

    async def warn(_: Any) -> Health:
        return Health(
            status="warn", node="n", version="0", uptime_s=1, agents=[], in_flight=0, workers=1, checks={"a": "open"}
        )

    rig.caller.hook = warn
    async with rig.client() as client:
        response = await client.get("/health")
    assert (response.status_code, response.json()["status"]) == (200, "warn")


async def test_health_without_its_layer_fails(rig: Rig) -> None:
    """When the layer does not answer, health says so by name and is 503."""
    rig.caller.error = NotRunningError()
    async with rig.client() as client:
        response = await client.get("/health")
    assert response.status_code == 503
    assert response.json()["checks"]["agent"].startswith("not-running")


async def test_metrics_show_the_requests(rig: Rig) -> None:
    """Counts and times of requests appear under the operation's name, never under a path."""
    async with rig.client() as client:
        await client.get("/api/agents/echo")
        await client.get("/nobody/knows/this")
        response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'chimera_http_requests_total{operation="agent.show",port="agent",status="200"} 1.0' in response.text
    assert 'operation="-",port="agent",status="404"' in response.text
    assert "nobody" not in response.text
    assert 'chimera_ask_duration_seconds_count{actor="agent",caller="http"} 1.0' in response.text
    assert all(f"# TYPE {metric.name} {metric.kind}" in response.text for metric in CATALOGUE)


async def test_metrics_never_block_the_loop(rig: Rig) -> None:
    """Files of /proc are read in a thread."""
    observe_process(rig.metrics)
    async with rig.client() as client:
        with blockbuster_ctx():
            response = await client.get("/metrics")
    assert "chimera_process_resident_memory_bytes 0" not in response.text
    assert "chimera_scrape_errors_total{" not in response.text


async def test_index_lists_the_operations(rig: Rig) -> None:
    """GET / names every operation with its method and path."""
    async with rig.client() as client:
        body = (await client.get("/")).json()
    assert {"method": "POST", "path": "/predict", "operation": "agent.predict"}.items() <= body["operations"][0].items()
    assert body["layer"] == "execution"


async def test_failures_and_changes_are_in_the_access_log(rig: Rig) -> None:
    """What was refused or changed leaves a line with operation, status and time; a plain read does not."""
    async with rig.client() as client:
        await client.get("/health/agents")
        await client.get("/nope")
        await client.delete("/api/agents/echo")
    lines = [(level, fields["status"]) for name, _, level, fields in rig.events if name == "access-log"]
    assert lines == [("info", 404), ("info", 200)]


async def test_slow_answers_are_reported(rig: Rig) -> None:
    """An answer slower than the setting leaves a response-time event."""

    async def slow(message: Any) -> Any:
        rig.clock.advance(0.4 + 0.2)
        rig.caller.hook = None
        return await rig.caller.ask(message)

    rig.caller.hook = slow
    async with rig.client() as client:
        await client.get("/health/agents")
        await client.get("/health/agents")
    slow_ones = [fields for name, _, _, fields in rig.events if name == "response-time"]
    assert [fields["duration_ms"] for fields in slow_ones] == [600.0]
