"""Port 8000, row by row of the operations design, on a running system."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from edge.guests import shipped_guest
from tests.support.running import RunningSystem

from .conftest import MakeSystem

pytestmark = pytest.mark.slow

Row = tuple[str, str, Any, int, Any]

ROWS: list[Row] = [
    ("GET", "/livez", None, 200, {"status"}),
    ("GET", "/readyz", None, 200, {"status", "checks"}),
    ("GET", "/health", None, 200, {"status", "agents", "in_flight", "node", "checks", "uptime_s", "version"}),
    ("GET", "/health/agents", None, 200, {"node", "agents"}),
    ("GET", "/api/agents", None, 200, {"node", "agents"}),
    ("GET", "/api/agents/sentiment", None, 200, {"name", "state", "live", "candidate", "previous", "releases"}),
    ("GET", "/api/status", None, 200, {"node", "ready", "services", "durability", "profile", "snapshot"}),
    ("GET", "/openapi.json", None, 200, {"openapi", "paths", "components"}),
    ("GET", "/", None, 200, {"name", "operations", "document"}),
    ("POST", "/predict", {"job_id": "row", "input": {"text": "fine"}}, 200, {"job_id", "output", "release", "timings"}),
    (
        "POST",
        "/api/config/batching",
        {"batch_size": 32, "batch_timeout_ms": 2},
        200,
        {"batch_size", "batch_timeout_ms"},
    ),
    ("GET", "/api/integration/layer5", None, 200, {"layer", "reachable", "latency_ms", "breaker"}),
    (
        "POST",
        "/api/agents/sentiment/evaluate",
        {"inputs": [{"text": "fine"}]},
        200,
        {"results", "checksum", "release", "failed"},
    ),
    (
        "POST",
        "/api/agents/sentiment/evaluate-genomes",
        {"genomes": [{}, {"capitals_increment": 0.8}], "fields": ["compound"], "inputs": [{"text": "FINE"}]},
        200,
        {"agent", "release", "runs", "workers", "under_way"},
    ),
]
"""Method, path, body, status, and members that the answer must have."""

PROBLEMS: list[Row] = [
    ("GET", "/nothing", None, 404, "not-found"),
    ("GET", "/predict", None, 405, "method"),
    ("GET", "/api/agents/nobody", None, 404, "no-agent"),
    ("POST", "/api/config/optimize", {"agent": "nobody"}, 404, "no-agent"),
    ("POST", "/predict", {"job_id": "p1", "agent": "nobody", "input": {"text": "x"}}, 404, "no-agent"),
    ("POST", "/predict", {"job_id": "p2", "input": {"text": 7}}, 422, "agent-error"),
    ("POST", "/predict", {"job_id": "p 3", "input": {"text": "x"}}, 400, "bad-message"),
    ("POST", "/predict", {"job_id": "p4", "input": {"text": "x"}, "colour": "red"}, 400, "bad-message"),
    ("POST", "/predict", {"input": {"text": "x"}}, 400, "bad-message"),
    ("POST", "/api/feedback", {"job_id": "never-seen", "label": "positive"}, 404, "no-job"),
    ("POST", "/api/config/batching", {"batch_size": 0, "batch_timeout_ms": 2}, 400, "bad-message"),
    ("POST", "/api/agents/sentiment/deploy", {"genome": {"capitals_increment": 1e9}}, 422, "bad-genome"),
    ("POST", "/api/agents/sentiment/deploy", {"release": 99}, 404, "no-release"),
    ("POST", "/api/agents/nobody/rollback", {}, 404, "no-agent"),
    ("DELETE", "/api/agents/nobody", None, 404, "no-agent"),
    ("POST", "/api/agents", {"module": "AGFzbQEAAAA=", "manifest": {"name": "empty"}}, 422, "bad-module"),
]
"""Method, path, body, status, code."""


def name_of(row: Row) -> str:
    """How a row is named in the report of a test run."""
    return f"{row[0]} {row[1]} {row[3]}"


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_row(system: RunningSystem, row: Row):
    """The row answers with its status and its members, in JSON."""
    method, path, body, status, members = row
    answer = system.http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert members <= answer.json().keys()
    if status == 503:
        assert answer.json()["code"] == "layer-not-running"
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("row", PROBLEMS, ids=name_of)
def test_problem(system: RunningSystem, row: Row):
    """A wrong request is answered by problem+json with the code that says which wrong."""
    method, path, body, status, code = row
    answer = system.http.request(method, path, json=body)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert problem["status"] == status
    assert problem["instance"] == path
    assert problem["detail"]
    assert problem["executed"] in {"no", "maybe"}


def test_every_documented_path_has_a_row(system: RunningSystem):
    """Nothing is served that the tables above forget: the document's paths are all asked here or in the tests below."""
    paths: dict[str, Any] = system.http.get("/openapi.json").json()["paths"]
    asked = {path for _, path, *_ in [*ROWS, *PROBLEMS]} | {"/metrics"}
    patterns = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$") for path in paths]
    assert [pattern.pattern for pattern in patterns if not any(map(pattern.match, asked))] == []


def test_metrics_count_what_was_asked(system: RunningSystem):
    """The Prometheus text counts a task that was just run."""
    name = 'chimera_agent_tasks_total{agent="sentiment",outcome="ok"}'

    def count() -> float:
        lines = system.http.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    before = count()
    system.predict("metered", "x")
    assert count() == before + 1


def test_an_idempotency_key_answers_once(system: RunningSystem):
    """The same key and body give the first answer again without running it; another body is refused."""
    body = {"module": base64.b64encode(shipped_guest("echo").module).decode(), "manifest": {"name": "once"}}
    headers = {"Idempotency-Key": "register-once"}
    first = system.http.post("/api/agents", json=body, headers=headers)
    again = system.http.post("/api/agents", json=body, headers=headers)
    other = system.http.post("/api/agents", json={**body, "note": "other"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert (other.status_code, other.json()["code"]) == (422, "key-reused")


@pytest.fixture
def copy(system: RunningSystem, request: pytest.FixtureRequest) -> Iterator[str]:
    """An agent of the echo guest's module under a name of its own, retired in the end."""
    guest = shipped_guest("echo")
    name = request.node.name.replace("_", "-")[:60]
    manifest = {"name": name, "description": "what comes in goes out"}
    body = {"module": base64.b64encode(guest.module).decode(), "manifest": manifest}
    created = system.http.post("/api/agents", json=body)
    assert created.status_code == 201, created.text
    assert created.json()["releases"][0]["digest"] == guest.digest
    yield name
    assert system.http.delete(f"/api/agents/{name}").json()["state"] == "retired"
    gone = system.predict(f"after-{name}"[:60], "x", agent=name)
    assert (gone.status_code, gone.json()["code"]) == (404, "no-agent")


def test_an_agent_is_registered_changed_rolled_back_and_retired(system: RunningSystem, copy: str):
    """The life of an agent over HTTP: each step shows in its view, in the list and in what it answers."""
    assert system.predict("copy-1", "hello", agent=copy).json()["output"] == {"text": "hello"}
    clash = system.http.post(
        "/api/agents",
        json={"module": base64.b64encode(shipped_guest("echo").module).decode(), "manifest": {"name": copy}},
    )
    assert (clash.status_code, clash.json()["code"]) == (409, "conflict")
    deployed = system.http.post(f"/api/agents/{copy}/deploy", json={"limits": {"cpu_ms": 50}, "note": "tighter"}).json()
    assert (deployed["live"], deployed["previous"], len(deployed["releases"])) == (2, 1, 2)
    assert deployed["releases"][1]["note"] == "tighter"
    assert system.predict("copy-2", "hello", agent=copy).json()["release"] == 2
    back = system.http.post(f"/api/agents/{copy}/rollback", json={}).json()
    assert back["live"] == 1
    assert system.predict("copy-3", "hello", agent=copy).json()["release"] == 1
    rows: list[dict[str, Any]] = system.http.get("/health/agents").json()["agents"]
    row = next(row for row in rows if row["name"] == copy)
    assert (row["release"], row["tasks_total"], row["errors_total"]) == (1, 3, 0)
    assert row["breaker"]["state"] == "closed"
    assert row["p95_ms"] > 0


def test_a_candidate_gets_its_share_and_keys_stick(system: RunningSystem, copy: str):
    """Half of the keys go to the candidate, and each key to the same release every time."""
    view = system.http.post(f"/api/agents/{copy}/deploy", json={"limits": {"cpu_ms": 50}, "share": 0.5}).json()
    assert view["candidate"] == {"release": 2, "share": 0.5}
    served = [
        {system.predict(f"share-{key}-{turn}", "x", agent=copy, key=f"k{key}").json()["release"] for turn in range(2)}
        for key in range(40)
    ]
    assert all(len(releases) == 1 for releases in served)
    assert 5 <= sum(releases == {2} for releases in served) <= 35
    assert system.http.post(f"/api/agents/{copy}/rollback", json={}).json()["candidate"] is None


def test_feedback_turns_into_accuracy(system: RunningSystem):
    """Two right answers and a wrong one are two thirds, in the reply and in the agent's row."""
    judged = [("j1", "I love it", "positive"), ("j2", "I hate it", "negative"), ("j3", "I love this too", "negative")]
    replies: list[dict[str, Any]] = []
    for job, text, label in judged:
        assert system.predict(job, text).status_code == 200
        reply = system.http.post("/api/feedback", json={"job_id": job, "label": label})
        assert reply.status_code == 200, reply.text
        replies.append(reply.json())
    assert [reply["correct"] for reply in replies] == [True, True, False]
    assert replies[-1]["accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    rows: list[dict[str, Any]] = system.http.get("/health/agents").json()["agents"]
    assert next(row for row in rows if row["name"] == "sentiment")["accuracy"] == pytest.approx(2 / 3, abs=1e-6)


def test_batching_agents_and_answers_survive_a_restart(make_system: MakeSystem):
    """Batch settings, a deployed release and stored answers are the same after the process was stopped and started."""
    running = make_system()
    running.start()
    wanted = {"batch_size": 7, "batch_timeout_ms": 33.0}
    assert wanted.items() <= running.http.post("/api/config/batching", json=wanted).json().items()
    running.http.post("/api/agents/sentiment/deploy", json={"genome": {"capitals_increment": 0.8}})
    before = running.predict("kept", "I LOVE this").json()
    assert running.stop() == 130
    running.start()
    changed = running.http.post("/api/config/batching", json={"batch_size": 8, "batch_timeout_ms": 1}).json()
    assert (changed["previous_batch_size"], changed["previous_batch_timeout_ms"]) == (7, 33.0)
    view = running.http.get("/api/agents/sentiment").json()
    assert view["live"] == 2
    assert view["releases"][1]["genome"]["capitals_increment"] == 0.8
    after = running.predict("fresh", "I LOVE this").json()
    assert (after["release"], after["output"]) == (before["release"], before["output"])


def test_the_body_may_come_as_curl_sends_it(system: RunningSystem):
    """``curl -d`` says that its body is a form; it is read as the JSON it is."""
    answer = httpx.post(
        f"{system.base}/predict", content=json.dumps({"job_id": "curl", "input": {"text": "good"}}),
        headers={"Content-Type": "application/x-www-form-urlencoded"}, trust_env=False,
    )  # fmt: skip
    assert answer.status_code == 200
