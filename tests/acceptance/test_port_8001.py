"""Port 8001, row by row of the operations design, on a running system: over HTTP and as NATS requests."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.running import RunningSystem

pytestmark = pytest.mark.slow

Row = tuple[str, str, Any, int, Any]
WORK = {"input": {"text": "I love this"}}

ROWS: list[Row] = [
    ("GET", "/livez", None, 200, {"status"}),
    ("GET", "/readyz", None, 200, {"status", "checks"}),
    ("GET", "/health", None, 200, {"status", "depth", "oldest_age_s", "in_flight", "consumers", "paused", "leader"}),
    ("GET", "/openapi.json", None, 200, {"openapi", "paths"}),
    ("GET", "/", None, 200, {"name", "operations", "document"}),
    ("POST", "/api/tasks", {"id": "row", **WORK}, 202, {"accepted", "duplicates", "refused", "receipts"}),
    ("GET", "/api/tasks/row?wait_ms=20000", None, 200, {"id", "state", "attempts", "progress", "output", "age_s"}),
    ("GET", "/api/tasks?state=succeeded&agent=sentiment", None, 200, {"tasks", "total", "next"}),
    ("POST", "/api/tasks/row/progress", {"attempt": 1, "progress": 0.5}, 200, {"stop"}),
    ("DELETE", "/api/tasks/row", None, 200, {"id", "state"}),
    ("GET", "/api/queue", None, 200, {"depth", "in_flight", "in_per_s", "out_per_s", "oldest_age_s", "agents"}),
    ("GET", "/api/queue/stuck", None, 200, {"tasks"}),
    ("GET", "/api/dead", None, 200, {"tasks", "total"}),
    ("POST", "/api/dead/retry", {"every": True}, 200, {"ids"}),
    ("POST", "/api/queue/pause", {"agent": "nobody"}, 200, {"paused", "agents", "draining", "in_flight"}),
    ("POST", "/api/queue/resume", {"agent": "nobody"}, 200, {"paused", "agents", "draining", "in_flight"}),
    ("POST", "/api/queue/drain", {}, 200, {"draining"}),
    ("POST", "/api/queue/resume", {}, 200, {"draining"}),
    ("POST", "/api/config/limits", {"agent": "nobody", "concurrency": 3}, 200, {"agent", "concurrency", "rate_per_s"}),
    ("POST", "/api/schedules", {"id": "row", "every_s": 3600, "task": WORK}, 201, {"id", "rule", "next_at", "zone"}),
    ("GET", "/api/schedules", None, 200, {"schedules"}),
    ("DELETE", "/api/schedules/row", None, 200, {"id", "fired", "missed"}),
]
"""Method, path, body, status, and members that the answer must have; in this order."""

PROBLEMS: list[Row] = [
    ("GET", "/api/tasks/unknown", None, 404, "not-found"),
    ("GET", "/api/tasks/unknown/events", None, 404, "not-found"),
    ("GET", "/api/events?agent=a.b", None, 400, "bad-message"),
    ("DELETE", "/api/tasks/unknown", None, 404, "not-found"),
    ("POST", "/api/tasks/unknown/progress", {"attempt": 1}, 404, "not-found"),
    ("POST", "/api/tasks", {}, 400, "bad-message"),
    ("POST", "/api/tasks", {"id": "row", "input": {"text": "other work"}}, 409, "conflict"),
    ("POST", "/api/tasks", {"deadline": 1, **WORK}, 504, "deadline"),
    ("POST", "/api/tasks", {"priority": "urgent", **WORK}, 400, "bad-message"),
    ("POST", "/api/tasks", {"callback": "chimera.agent.retire", **WORK}, 400, "bad-message"),
    ("GET", "/api/tasks?state=lost", None, 400, "bad-message"),
    ("GET", "/api/dead/unknown", None, 404, "not-found"),
    ("POST", "/api/dead/unknown/retry", {}, 404, "not-found"),
    ("POST", "/api/dead/row/retry", {}, 409, "conflict"),
    ("POST", "/api/dead/retry", {}, 400, "bad-message"),
    ("POST", "/api/schedules", {"id": "s", "task": WORK}, 400, "bad-message"),
    ("POST", "/api/schedules", {"id": "s", "every_s": 60, "cron": "* * * * *", "task": WORK}, 400, "bad-message"),
    ("POST", "/api/schedules", {"id": "s", "cron": "61 2 * * *", "task": WORK}, 400, "bad-message"),
    ("POST", "/api/schedules", {"id": "s", "cron": "0 2 * * *", "zone": "Mars/X", "task": WORK}, 400, "bad-message"),
    ("POST", "/api/schedules", {"id": "s", "at": 1000, "task": WORK}, 400, "bad-message"),
    ("POST", "/api/schedules", {"id": "s", "every_s": 0.5, "task": WORK}, 400, "bad-message"),
    ("DELETE", "/api/schedules/unknown", None, 404, "not-found"),
    ("POST", "/api/config/limits", {"agent": "sentiment", "concurrency": 0}, 400, "bad-message"),
    ("PUT", "/api/queue", None, 405, "method"),
]
"""Method, path, body, status, code."""

Ask = Callable[[str, dict[str, Any]], Any]


def name_of(row: Row) -> str:
    """How a row is named in the report of a test run."""
    return f"{row[0]} {row[1]} {row[3]} {row[4] if isinstance(row[4], str) else ''}"


@pytest.fixture(scope="module")
def http(system: RunningSystem) -> Iterator[httpx.Client]:
    """A client of the scheduler's port."""
    with httpx.Client(base_url=system.announced["http"]["scheduler"], timeout=30.0, trust_env=False) as client:
        assert client.post("/api/tasks", json={"id": "row", **WORK}).status_code == 202
        client.get("/api/tasks/row", params={"wait_ms": 20_000})
        yield client


@pytest.fixture(scope="module")
def ask(system: RunningSystem) -> Ask:
    """Asks an operation with ``chimera call``, which is a plain NATS request with a JSON body."""

    def call(operation: str, body: dict[str, Any]) -> Any:
        done = system.command("call", operation, msgspec.json.encode(body).decode())
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout)

    return call


def end_of(http: httpx.Client, task: str) -> dict[str, Any]:
    """A task when it has ended."""
    view: dict[str, Any] = http.get(f"/api/tasks/{task}", params={"wait_ms": 20_000}).json()
    assert view["ended_at"] is not None, view
    return view


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_row(http: httpx.Client, row: Row):
    """The row answers with its status and its members, in JSON."""
    method, path, body, status, members = row
    answer = http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert members <= answer.json().keys()


@pytest.mark.parametrize("row", PROBLEMS, ids=name_of)
def test_problem(http: httpx.Client, row: Row):
    """A wrong request is answered by problem+json with the code that says which wrong."""
    method, path, body, status, code = row
    answer = http.request(method, path, json=body)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert problem["detail"]
    assert problem["executed"] == "no"


def test_every_documented_path_has_a_row(http: httpx.Client):
    """Nothing is served that the tables above forget."""
    paths: dict[str, Any] = http.get("/openapi.json").json()["paths"]
    asked = {path.partition("?")[0] for _, path, *_ in [*ROWS, *PROBLEMS]} | {"/metrics"}
    patterns = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$") for path in paths]
    assert [pattern.pattern for pattern in patterns if not any(map(pattern.match, asked))] == []


def test_a_dead_task_is_inspected_and_revived(http: httpx.Client, ask: Ask):
    """Its letter has input, attempts and reason; revived it has fresh attempts and, hopeless still, is dead again."""
    http.post("/api/tasks", json={"id": "hopeless", "agent": "nobody", "input": {"n": 1}, "labels": {"team": "x"}})
    assert end_of(http, "hopeless")["state"] == "dead"
    (row,) = http.get("/api/dead", params={"agent": "nobody", "reason": "no-agent"}).json()["tasks"]
    assert row["reason"] == "no-agent: there is no agent 'nobody'"
    letter = ask("scheduler.letter", {"id": "hopeless"})
    assert (letter["input"], len(letter["attempts"])) == ({"n": 1}, 1)
    assert http.post("/api/dead/hopeless/retry", json={}).json() == {"ids": ["hopeless"]}
    assert end_of(http, "hopeless")["attempt"] == 2
    assert ask("scheduler.revive", {"agent": "nobody"})["ids"] == ["hopeless"]


def test_pause_holds_one_agent_and_drain_refuses(http: httpx.Client, ask: Ask):
    """A paused agent's task waits with a growing age; a drain answers 503 with Retry-After; resume ends both."""
    assert http.post("/api/queue/pause", json={"agent": "sentiment"}).json()["agents"] == ["sentiment"]
    http.post("/api/tasks", json={"id": "held", "priority": "high", **WORK})
    first = http.get("/api/queue").json()
    assert (first["by_priority"]["high"], first["paused"]) == (1, False)
    time.sleep(0.3)
    second = ask("scheduler.queue", {})
    lane = next(lane for lane in second["agents"] if lane["agent"] == "sentiment")
    assert (lane["paused"], lane["depth"]) == (True, 1)
    assert lane["oldest_age_s"] >= first["oldest_age_s"] + 0.3
    assert ask("scheduler.resume", {"agent": "sentiment"})["agents"] == []
    assert end_of(http, "held")["state"] == "succeeded"
    assert ask("scheduler.drain", {})["draining"] is True
    refused = http.post("/api/tasks", json={"id": "refused", **WORK})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    assert (refused.json()["detail"], refused.json()["executed"]) == ("the scheduler is draining", "no")
    assert http.post("/api/queue/resume", json={}).json()["draining"] is False
    assert http.post("/api/tasks", json={"id": "refused", **WORK}).status_code == 202


def test_schedules_fire_at_every_and_by_cron_with_a_zone(http: httpx.Client, ask: Ask):
    """``every`` fires once a second, ``at`` once; cron says its next time in its zone; removed, they fire no more."""
    soon = time.time() + 0.5
    assert http.post("/api/schedules", json={"id": "at", "at": soon, "task": WORK}).json()["next_at"] == soon
    ask("scheduler.schedule", {"id": "every", "every_s": 1.0, "task": WORK})
    night = {"id": "cron", "cron": "30 2 * * *", "zone": "Europe/Berlin", "task": WORK}
    cron = http.post("/api/schedules", json=night).json()
    from datetime import datetime
    from zoneinfo import ZoneInfo

    there = datetime.fromtimestamp(cron["next_at"], ZoneInfo("Europe/Berlin"))
    assert (there.hour, there.minute, there.second) == (2, 30, 0)
    assert 0 < cron["next_at"] - time.time() <= 25 * 3600

    def row(name: str) -> dict[str, Any]:
        rows: list[dict[str, Any]] = http.get("/api/schedules").json()["schedules"]
        return next(row for row in rows if row["id"] == name)

    deadline = time.monotonic() + 20
    while row("every")["fired"] < 2 or row("at")["fired"] < 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (row("at")["next_at"], row("at")["fired"]) == (None, 1)
    fired = end_of(http, row("at")["last_task"])
    assert (fired["state"], fired["schedule"]) == ("succeeded", "at")
    for name in ("at", "every", "cron"):
        assert ask("scheduler.unschedule", {"id": name})["id"] == name
    assert http.get("/api/schedules").json() == {"schedules": []}


def test_a_delayed_task_is_watched_from_its_submit_to_its_end(http: httpx.Client):
    """Server-sent events: state, start, end; then the stream ends, and from a place in it nothing is missed."""
    http.post("/api/tasks", json={"id": "watched", "not_before": time.time() + 0.7, **WORK})
    with http.stream("GET", "/api/tasks/watched/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = list(answer.iter_lines())
    assert [line.removeprefix("event: ") for line in lines if line.startswith("event: ")] == [
        "state", "started", "ended",
    ]  # fmt: skip
    news = [msgspec.json.decode(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [one["state"] for one in news] == ["scheduled", "running", "succeeded"]
    with http.stream("GET", "/api/events", headers={"Last-Event-ID": news[1]["seq"]}) as answer:
        events = (line for line in answer.iter_lines() if line.startswith("data: "))
        first, second = (msgspec.json.decode(next(events).removeprefix("data: ")) for _ in range(2))
    assert (first["kind"], second["kind"], second["id"]) == ("listening", "ended", "watched")


def test_the_command_line_waits_and_follows(system: RunningSystem):
    """``submit --wait`` prints the answer; ``tasks --follow ID`` prints a line per change and ends with the task."""
    done = system.command("submit", '{"text":"I love this"}', "--wait", "--id", "waited")
    assert done.returncode == 0, done.stderr
    assert msgspec.json.decode(done.stdout)["label"] == "positive"
    followed = system.command("tasks", "show", "waited", "--follow")
    assert followed.returncode == 0, followed.stderr
    assert "succeeded sentiment waited #1" in followed.stdout
    failed = system.command("submit", "{}", "--wait", "--agent", "nobody")
    assert failed.returncode == 1
    assert "no-agent" in failed.stderr


def test_metrics_show_the_scheduler(http: httpx.Client):
    """The port's exposition has its counters and levels."""
    text = http.get("/metrics").text
    assert re.search(
        r'^chimera_scheduler_finished_tasks_total\{agent="sentiment",state="succeeded"\} [1-9]', text, re.MULTILINE
    )
    assert re.search(r"^chimera_scheduler_leader 1\.0$", text, re.MULTILINE)
    assert re.search(r"^chimera_scheduler_disk_free_bytes [1-9]", text, re.MULTILINE)
