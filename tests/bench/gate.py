"""The gate under live traffic: from its decision to the routing that follows from it, and how fast its port answers."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from tests.bench.figures import Benchmark, Figure, Rounds, Trial
from tests.support.running import RunningSystem

CALLERS, LIMIT_S = 8, 60.0
HARMFUL = {"positive_threshold": 0.99, "negative_threshold": -0.99}
PLAN = {
    "stages": ["split"], "budget": "fixed", "alpha": 0.02, "ramp": [0.5], "max_messages": 100_000,
    "guardrails": [{"metric": {"name": "failed", "better": "lower"}, "bound": 0.05, "alpha": 0.005}],
}  # fmt: skip
_numbers = count()


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """A harmful candidate after the other on one system, each rolled back by itself."""
    with tempfile.TemporaryDirectory() as folder:
        system = RunningSystem(Path(folder))
        try:
            system.start()
            with httpx.Client(base_url=system.announced["http"]["refinement"], timeout=30.0) as gate:
                rounds = Rounds({"gate": lambda: _trial(system, gate)}, 3 if quick else 8)
        finally:
            system.close()
    return [
        rounds.figure(
            "gate: decision written to routing changed and logged", lambda trials: trials["gate"]["applied_ms"],
            100.0, unit="ms", holds="<=",
        ),
        rounds.figure(
            "  p95 of GET /api/experiments/{id} under that traffic", lambda trials: trials["gate"]["p95_ms"],
            100.0, unit="ms", holds="<=",
        ),
        rounds.figure(
            "  messages of either release until the decision", lambda trials: trials["gate"]["messages"],
            None, unit="messages", holds="<=",
        ),
    ]  # fmt: skip


def _trial(system: RunningSystem, gate: httpx.Client) -> Trial:
    id_ = f"bench-{next(_numbers)}"
    body = {"agent": "sentiment", "id": id_, "genomes": [HARMFUL], "plan": PLAN}
    gate.post("/api/experiments", json=body).raise_for_status()
    answers: list[float] = []
    end = time.monotonic() + LIMIT_S
    with ThreadPoolExecutor(CALLERS) as pool:
        while time.monotonic() < end:
            work = [pool.submit(_message, system, next(_numbers)) for _ in range(4 * CALLERS)]
            began = time.perf_counter()
            found: dict[str, Any] = gate.get(f"/api/experiments/{id_}").json()
            answers.append((time.perf_counter() - began) * 1e3)
            for one in work:
                one.result()
            if found["state"] != "running":
                return _figures(found, answers)
    raise AssertionError(f"the gate did not decide within {LIMIT_S:.0f} s")


def _message(system: RunningSystem, number: int) -> None:
    job = {"job_id": f"bench-{number}", "input": {"text": "I love this, it works great!"}}
    system.http.post("/predict", json=job).raise_for_status()
    system.http.post("/api/feedback", json={"job_id": job["job_id"], "label": "positive"}).raise_for_status()


def _figures(found: dict[str, Any], answers: list[float]) -> Trial:
    if found["state"] != "rolled-back":
        raise AssertionError(f"a harmful candidate ended as {found['state']}")
    return {
        "applied_ms": (found["ended_at"] - found["decisions"][-1]["at"]) * 1e3,
        "p95_ms": sorted(answers)[int(0.95 * (len(answers) - 1))],
        "messages": found["messages"],
    }


BENCHMARK = Benchmark("gate", "the gate's decisions under live traffic", measure)
