"""Port 8002, row by row of the operations design, on a running system: what is answered is what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.running import RunningSystem

pytestmark = pytest.mark.slow

Row = tuple[str, str, Any, int, Any]
SERVED = 120
SPOILED = {"positive_threshold": 0.8, "negative_threshold": -0.8}

ROWS: list[Row] = [
    ("GET", "/livez", None, 200, {"status"}),
    ("GET", "/readyz", None, 200, {"status", "checks"}),
    ("GET", "/health", None, 200, {"status", "leads", "experiments_running", "tunes_running", "checks"}),
    ("GET", "/openapi.json", None, 200, {"openapi", "paths"}),
    ("GET", "/health/models", None, 200, {"status", "models", "corrupt"}),
    ("GET", "/health/kpi", None, 200, {"ingested", "rate_per_s", "lag_messages", "lag_s", "rejected", "position"}),
    ("GET", "/api/optimization/status", None, 200, {"settings", "agents", "tunes"}),
    (
        "POST", "/api/config/optimization", {"algorithm": "gp", "convergence_threshold": 0.002}, 200,
        {"algorithm", "convergence_threshold"},
    ),
    ("POST", "/api/config/optimization", {"algorithm": "bayesian"}, 200, {"algorithm"}),
    ("POST", "/api/optimization/propose", {"agent": "sentiment"}, 200, {"genome", "algorithm", "reason"}),
    ("GET", "/api/optimization/baseline/update", None, 200, {"baseline", "now", "comparison", "updated", "next"}),
    ("POST", "/api/optimization/baseline/update", {}, 200, {"stored_at", "now", "updated"}),
    ("GET", "/api/experiments", None, 200, {"experiments", "budget"}),
    (
        "POST", "/api/experiments/forecast", {"agent": "sentiment", "effect": 0.05}, 200,
        {"power", "messages_p50", "simulations", "assumptions"},
    ),
    ("GET", "/api/integration/monitor", None, 200, {"layers", "pairs", "target_ms", "within_target"}),
    ("GET", "/api/integration/layer7", None, 200, {"reachable", "breaker"}),
    ("POST", "/api/integration/optimize", {"apply": False}, 200, {"changes", "monitor"}),
    ("GET", "/api/benchmarking/run", None, 200, {"runs", "ran", "next"}),
    ("POST", "/api/benchmarking/run", {"tasks": 40, "concurrency": 4}, 200, {"runs", "ratio", "ran"}),
    ("POST", "/api/models/train", {}, 200, {"status", "models"}),
    ("POST", "/api/models/restore", {}, 200, {"status", "models", "corrupt"}),
    ("POST", "/api/monitoring/enhanced", {"seconds": 1}, 200, {"until", "log_level", "previous_log_level"}),
    ("GET", "/api/reports/daily", None, 200, {"agents", "hours", "experiments", "capacity", "budget"}),
    ("GET", "/api/reports/weekly", None, 200, {"period", "agents", "hours"}),
    ("GET", "/api/compliance/report", None, 200, {"audit", "access", "retention", "drift", "versions", "durability"}),
    ("GET", "/api/patterns", None, 200, {"patterns", "series", "accuracy"}),
    ("GET", "/api/anomalies", None, 200, {"anomalies"}),
    ("GET", "/api/audit", None, 200, {"entries", "next"}),
    ("GET", "/api/audit/verify", None, 200, {"intact", "entries", "head", "anchor"}),
]  # fmt: skip
"""Method, path, body, status, and members that the answer must have; in this order."""

PROBLEMS: list[Row] = [
    ("GET", "/api/experiments/unknown", None, 404, "no-experiment"),
    ("GET", "/api/experiments/unknown/explain", None, 404, "no-experiment"),
    ("POST", "/api/experiments/unknown/stop", {}, 404, "no-experiment"),
    ("POST", "/api/experiments", {"agent": "unknown", "candidates": [2]}, 404, "no-agent"),
    ("POST", "/api/experiments", {"agent": "sentiment", "candidates": [1]}, 400, "bad-message"),
    ("POST", "/api/experiments", {"agent": "sentiment", "plan": {"ramp": [1.0]}}, 400, "bad-message"),
    ("POST", "/api/experiments", {"agent": "sentiment", "genomes": [{"no_such": 1}]}, 422, "bad-genome"),
    ("GET", "/api/optimization/auto-tune/unknown", None, 404, "no-tune"),
    ("POST", "/api/config/optimization", {"algorithm": "guess"}, 400, "bad-message"),
    ("POST", "/api/models/restore", {"name": "unknown"}, 404, "no-model"),
    ("POST", "/api/benchmarking/run", {"agent": "unknown"}, 404, "no-agent"),
]


@pytest.fixture(scope="module")
def refinement(system: RunningSystem) -> Iterator[httpx.Client]:
    """A client of the port, after some judged traffic."""
    for number in range(SERVED):
        job = {"job_id": f"r{number}", "input": {"text": f"I love this number {number}" if number % 3 else "It broke"}}
        system.http.post("/predict", json=job).raise_for_status()
        right = "positive" if number % 3 else "neutral"
        system.http.post("/api/feedback", json={"job_id": f"r{number}", "label": right}).raise_for_status()
    with httpx.Client(base_url=system.announced["http"]["refinement"], timeout=90.0, trust_env=False) as client:
        until(client, "/health/kpi", lambda seen: seen["ingested"] >= SERVED)
        yield client


def until(client: httpx.Client, path: str, wanted: Callable[[Any], bool], timeout_s: float = 30.0) -> Any:
    """The answer, once it is as wanted."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = client.get(path).json()
        if wanted(seen):
            return seen
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_row(refinement: httpx.Client, row: Row) -> None:
    """Each row answers with its members."""
    method, path, body, status, members = row
    answer = refinement.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert members <= answer.json().keys()


@pytest.mark.parametrize("row", PROBLEMS, ids=lambda row: f"{row[0]} {row[1]} {row[4]}")
def test_problem(refinement: httpx.Client, row: Row) -> None:
    """What can't be done is said with its code and a hint of what to do."""
    method, path, body, status, code = row
    answer = refinement.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_figures_are_those_of_the_traffic(refinement: httpx.Client) -> None:
    """Reports, KPI health and the baseline count the tasks that were served, benchmarks aside."""
    kpi = refinement.get("/health/kpi").json()
    assert (kpi["ingested"] >= SERVED, kpi["lag_messages"], kpi["rejected"]) == (True, 0, {})
    report = until(refinement, "/api/reports/daily", lambda seen: bool(seen["agents"]))
    [agent] = report["agents"]
    assert (agent["agent"], agent["tasks"], agent["availability"]) == ("sentiment", SERVED, 1.0)
    assert sum(hour["tasks"] for hour in report["hours"]) == SERVED
    assert (report["evolution"]["evolutions"], report["cost"]["gpu_hours"]) == (0, 0.0)
    assert {line["layer"] for line in report["cost"]["lines"] if not line["idle"]} <= {"execution", "refinement"}


def test_the_audit_log_holds_what_was_done(refinement: httpx.Client) -> None:
    """A privileged act has its two entries, chained to those before, and the file outside agrees."""
    before = refinement.get("/api/audit/verify").json()["entries"]
    refinement.post("/api/config/optimization", json={"algorithm": "random"}).raise_for_status()
    refinement.post("/api/config/optimization", json={"algorithm": "bayesian"}).raise_for_status()
    check = until(refinement, "/api/audit/verify", lambda seen: seen["entries"] >= before + 4)
    assert (check["intact"], check["anchor_agrees"]) == (True, True)
    newest = refinement.get("/api/audit?limit=2&verb=configure").json()["entries"]
    assert [(one["outcome"], one["verb"]) for one in newest] == [("ok", "configure"), ("asked", "configure")]


def test_a_report_is_a_page_for_who_asks_for_one(refinement: httpx.Client) -> None:
    """A browser gets HTML that loads nothing; everybody else gets JSON."""
    page = refinement.get("/api/reports/daily", headers={"Accept": "text/html,*/*;q=0.5"})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<svg" in page.text
    assert refinement.get("/api/reports/daily").headers["content-type"] == "application/json"


def test_an_experiment_by_command_and_by_request(system: RunningSystem, refinement: httpx.Client) -> None:
    """Started by command, shown over HTTP, stopped by command, explained to the digit; the candidate goes back."""
    genes = [part for name, value in SPOILED.items() for part in ("--gene", f"{name}={value}")]
    started = system.command("experiment", "start", "sentiment", *genes, "--id", "by-command", "--stage", "split")
    assert started.returncode == 0, started.stderr
    shown = refinement.get("/api/experiments/by-command").json()
    assert (shown["agent"], shown["state"], shown["incumbent"]) == ("sentiment", "running", 1)
    stopped = system.command("experiment", "stop", "by-command", "--by", "ann", "--note", "seen enough", "--json")
    assert '"stopped"' in stopped.stdout, stopped.stderr
    told = system.command("experiment", "explain", "by-command")
    assert told.returncode == 0
    assert "ann decided: give-up (by hand: seen enough)" in told.stdout
    assert system.http.get("/api/agents/sentiment").json()["candidate"] is None
