"""Port 8004, row by row of the operations design, on a running system: what is answered is what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.running import RunningSystem, run_command

pytestmark = pytest.mark.slow

Row = tuple[str, str, Any, int, Any]
CPU = {"kind": "cpu", "milli": 500, "memory_mib": 64}

ROWS: list[Row] = [
    ("GET", "/livez", None, 200, {"status"}),
    ("GET", "/readyz", None, 200, {"status", "checks"}),
    ("GET", "/health", None, 200, {"status", "nodes", "devices", "leases", "waiting", "grant_p50_ms", "checks"}),
    ("GET", "/openapi.json", None, 200, {"openapi", "paths"}),
    ("GET", "/api/gpu/status", None, 200, {"devices", "waiting"}),
    ("POST", "/api/gpu/allocate", {"need": CPU, "id": "row"}, 201, {"id", "grants", "token", "environment"}),
    ("GET", "/api/gpu/leases", None, 200, {"leases", "waiting", "total"}),
    ("GET", "/api/gpu/leases/row", None, 200, {"id", "state", "grants"}),
    ("GET", "/api/resources/active", None, 200, {"kinds", "holders", "leases", "nodes"}),
    ("GET", "/api/resources/patterns?kind=cpu", None, 200, {"hours", "samples", "busiest_hour", "shapes"}),
    ("DELETE", "/api/gpu/row", None, 200, {"id", "state"}),
    ("POST", "/api/costs/prices", {"prices": [{"model": "", "per_hour": 0.4, "processors": 2}]}, 200, {"currency"}),
    ("GET", "/api/costs/prices", None, 200, {"currency", "prices", "watts"}),
    ("GET", "/api/costs/metrics", None, 200, {"since", "until", "lines", "cost", "joules", "idle_share"}),
    ("GET", "/api/costs/metrics?hours=1&tenant=default", None, 200, {"lines"}),
    ("GET", "/api/costs/optimization", None, 200, {"savings", "hours", "words"}),
    ("POST", "/api/costs/budget", {"tenant": "poor", "amount": 0.001}, 200, {"budgets"}),
    ("GET", "/api/costs/budget", None, 200, {"budgets"}),
    ("POST", "/api/costs/budget", {"tenant": "poor", "amount": 0}, 200, {"budgets"}),
    ("GET", "/api/capacity/plan", None, 200, {"kinds"}),
    ("GET", "/api/config/resources", None, 200, {"packing", "tenants", "idle_s", "notice_s"}),
    ("POST", "/api/config/resources", {"packing": "spread", "tenants": {"t": {"gpus": 2}}}, 200, {"tenants"}),
    ("POST", "/api/config/resources", {"packing": "pack", "drop": ["t"]}, 200, {"packing"}),
]  # fmt: skip
"""Method, path, body, status, and members that the answer must have; in this order."""

PROBLEMS: list[Row] = [
    ("POST", "/api/gpu/allocate", {}, 429, "no-capacity"),
    ("POST", "/api/gpu/allocate", {"need": {"kind": "cpu", "milli": 900_000}}, 429, "no-capacity"),
    ("POST", "/api/gpu/allocate", {"need": {"milli": 1_500}}, 400, "bad-message"),
    ("POST", "/api/gpu/allocate", {"need": {"devices": 0}}, 400, "bad-message"),
    ("POST", "/api/gpu/unknown/renew", {"token": 1}, 404, "no-lease"),
    ("DELETE", "/api/gpu/unknown", None, 404, "no-lease"),
    ("GET", "/api/gpu/leases/unknown", None, 404, "no-lease"),
    ("POST", "/api/gpu/drain", {"node": "unknown"}, 404, "no-device"),
    ("POST", "/api/gpu/drain", {}, 400, "bad-message"),
    ("POST", "/api/config/resources", {"packing": "somehow"}, 400, "bad-message"),
    ("POST", "/api/costs/budget", {"tenant": "t", "amount": -1}, 400, "bad-message"),
    ("POST", "/api/costs/prices", {"prices": [{"model": "A100", "per_hour": "much"}]}, 400, "bad-message"),
    ("GET", "/api/capacity/plan?hours=0", None, 400, "bad-message"),
]


@pytest.fixture(scope="module")
def resources(system: RunningSystem) -> Iterator[httpx.Client]:
    """A client of the port, once the node's devices are known and what the agents use of them is leased."""
    with httpx.Client(base_url=system.announced["http"]["resources"], timeout=30.0) as client:
        wait_for(lambda: _own(client))
        yield client


def wait_for(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """What ``condition`` gives, once it is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def test_every_row_answers(resources: httpx.Client):
    """Each row of the design answers with its members; none is empty, none a server error."""
    for method, path, body, status, members in ROWS:
        answer = resources.request(method, path, json=body)
        assert answer.status_code == status, (method, path, answer.text)
        assert members <= set(answer.json()), (method, path, answer.text)


def test_problems_say_what_to_do(resources: httpx.Client):
    """What can't be done is refused with the code of its reason, and a hint or a detail."""
    for method, path, body, status, code in PROBLEMS:
        answer = resources.request(method, path, json=body)
        assert (answer.status_code, answer.json().get("code")) == (status, code), (method, path, answer.text)
        assert answer.json()["detail"]


def test_a_lease_is_what_the_status_shows(resources: httpx.Client):
    """A lease takes its share off the device until it is renewed no more; then the share is free."""
    before = _cpu(resources)
    lease = resources.post("/api/gpu/allocate", json={"need": CPU, "ttl_s": 2, "agent": "tester"}).json()
    shown = _cpu(resources)
    assert before["free_milli"] - shown["free_milli"] == 500
    assert [grant["lease"] for grant in shown["grants"] if grant["agent"] == "tester"] == [lease["id"]]
    renewed = resources.post(f"/api/gpu/{lease['id']}/renew", json={"token": lease["token"]}).json()
    assert renewed["expires_at"] > lease["expires_at"]
    stale = resources.post(f"/api/gpu/{lease['id']}/renew", json={"token": lease["token"] - 1})
    assert (stale.status_code, stale.json()["code"]) == (409, "fenced")
    wait_for(lambda: _cpu(resources)["free_milli"] == before["free_milli"])
    gone = resources.post(f"/api/gpu/{lease['id']}/renew", json={"token": lease["token"]})
    assert gone.json()["code"] == "no-lease"


def test_the_runbook_of_the_command_line(system: RunningSystem, resources: httpx.Client):
    """``chimera gpu``: the table, a lease as shell variables, the list, a drain and its end, the rules."""
    table = run_command("gpu", "status", data=system.data)
    assert (table.returncode, "no GPU" in table.stderr) == (0, True)
    assert _cpu(resources)["id"] in table.stdout
    lease = run_command("gpu", "lease", "--kind", "cpu", "--milli", "250", "--id", "typed", data=system.data)
    assert (lease.returncode, "export CHIMERA_LEASE_ID='typed'" in lease.stdout) == (0, True), lease.stderr
    assert "typed" in run_command("gpu", "leases", data=system.data).stdout
    node = _cpu(resources)["node"]
    assert run_command("gpu", "drain", "--node", node, "--reason", "a test", data=system.data).returncode == 0
    refused = run_command("gpu", "lease", "--kind", "cpu", "--milli", "1", data=system.data)
    assert (refused.returncode, "[no-capacity]" in refused.stderr) == (1, True), refused.stderr
    assert run_command("gpu", "undrain", "--node", node, data=system.data).returncode == 0
    assert run_command("gpu", "release", "typed", data=system.data).returncode == 0
    assert "pack" in run_command("gpu", "rules", data=system.data).stdout


def test_a_budget_is_kept_at_the_door(system: RunningSystem, resources: httpx.Client):
    """A tenant's budget refuses with 402 what it does not cover, says when it renews, and stands in the audit log."""
    prices = {"prices": [{"model": "", "per_hour": 3.6, "gpus": 0}, {"model": "A", "per_hour": 3.6}]}
    assert resources.post("/api/costs/prices", json=prices).status_code == 200
    set_to = run_command("gpu", "budget", "poor", "--amount", "0.01", "--period", "3600", data=system.data)
    assert (set_to.returncode, "poor" in set_to.stdout) == (0, True), set_to.stderr
    whole = {"kind": "cpu", "milli": _cpu(resources)["free_milli"]}
    refused = resources.post("/api/gpu/allocate", json={"need": whole, "ttl_s": 3600, "tenant": "poor"})
    assert (refused.status_code, refused.json()["code"]) == (402, "over-budget"), refused.text
    assert "renews at" in refused.json()["detail"]
    other = resources.post("/api/gpu/allocate", json={"need": CPU, "ttl_s": 3600, "tenant": "rich", "id": "rich"})
    assert other.status_code == 201
    assert resources.delete("/api/gpu/rich").status_code == 200
    assert run_command("gpu", "budget", "poor", "--amount", "0", data=system.data).returncode == 0
    told = run_command("audit", "--json", data=system.data).stdout
    assert "set_budget" in told, told[-2000:]


def test_the_command_line_of_costs(system: RunningSystem, resources: httpx.Client):
    """``chimera gpu costs``, ``savings`` and ``capacity`` show what the port tells."""
    assert run_command("gpu", "prices", "cpu=0.4,processors=2", data=system.data).returncode == 0
    costs = run_command("gpu", "costs", "--hours", "1", data=system.data)
    assert (costs.returncode, "execution" in costs.stdout) == (0, True), costs.stderr
    savings = run_command("gpu", "savings", data=system.data)
    assert (savings.returncode, "recorded" in savings.stderr) == (0, True), savings.stdout
    capacity = run_command("gpu", "capacity", data=system.data)
    assert (capacity.returncode, "no forecast yet" in capacity.stdout) == (0, True), capacity.stderr
    wrong = run_command("gpu", "prices", "A100", data=system.data)
    assert (wrong.returncode != 0, "MODEL=PRICE" in wrong.stderr) == (True, True)
    assert resources.get("/api/costs/metrics").json()["currency"] == "EUR"


def test_leases_outlive_the_node_that_granted_them(own_system: RunningSystem):
    """After ``kill -9`` and a start on the same data the lease is there, with its token, and can be renewed."""
    with httpx.Client(base_url=own_system.announced["http"]["resources"], timeout=30.0) as client:
        wait_for(lambda: client.get("/api/gpu/status").json()["devices"])
        lease = client.post("/api/gpu/allocate", json={"need": CPU, "ttl_s": 600, "id": "kept"}).json()
    own_system.kill()
    own_system.start()
    with httpx.Client(base_url=own_system.announced["http"]["resources"], timeout=30.0) as client:
        found = client.get("/api/gpu/leases/kept").json()
        assert (found["token"], found["state"]) == (lease["token"], "granted")
        assert client.post("/api/gpu/kept/renew", json={"token": lease["token"]}).status_code == 200


def test_what_the_agents_use_is_leased_and_given_back(own_system: RunningSystem):
    """The agents' workers stand in the list of leases; a node that stops gives them back: they are not there twice."""
    with httpx.Client(base_url=own_system.announced["http"]["resources"], timeout=30.0) as client:
        (before,) = wait_for(lambda: _own(client))
        assert (before["grants"][0]["kind"], before["grants"][0]["milli"] >= 100) == ("cpu", True)
    own_system.stop()
    own_system.start()
    with httpx.Client(base_url=own_system.announced["http"]["resources"], timeout=30.0) as client:
        (after,) = wait_for(lambda: [one for one in _own(client) if one["id"] != before["id"]])
        wait_for(lambda: [one["id"] for one in _own(client)] == [after["id"]], timeout_s=10)  # it would last for 30 s


def _own(client: httpx.Client) -> list[dict[str, Any]]:
    """Leases of the agents' workers."""
    leases: list[dict[str, Any]] = client.get("/api/gpu/leases", params={"layer": "execution"}).json()["leases"]
    return leases


def _cpu(client: httpx.Client) -> dict[str, Any]:
    devices: list[dict[str, Any]] = client.get("/api/gpu/status", params={"kind": "cpu"}).json()["devices"]
    return devices[0]
