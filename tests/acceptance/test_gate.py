"""The gate on a running system: real texts, a real agent, worse and better candidates, and a kill in between."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from chimera.reference import cached_archive, cached_path, read_ratings
from tests.support.running import RunningSystem

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        cached_archive() is None,
        reason=f"the rated texts are not at {cached_path()}; `just guests --check` fetches them",
    ),
]
SPOILED = {"positive_threshold": 0.8, "negative_threshold": -0.8}
"""Most texts come out neutral."""
PLAN = {
    "stages": ["replay", "split"], "budget": "fixed", "alpha": 0.02, "ramp": [0.2, 0.5], "step_messages": 30,
    "min_messages": 40, "max_messages": 4000,
    "guardrails": [{"metric": {"name": "failed", "better": "lower"}, "bound": 0.02, "alpha": 0.005}],
}  # fmt: skip


@pytest.fixture
def texts() -> list[tuple[float, str]]:
    """Tweets with the mean of their human ratings, -4 to 4; those with a clear word first."""
    archive = cached_archive()
    assert archive is not None
    return read_ratings(archive, "tweets")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningSystem]:
    """A system of its own."""
    system = RunningSystem(tmp_path / "system")
    system.start()
    yield system
    system.close()


def label_of(rating: float) -> str:
    """The right answer by the people's mean rating."""
    return "positive" if rating > 0.1 else "negative" if rating < -0.1 else "neutral"


class Callers:
    """Live traffic with feedback, as fast as it is answered; every failed request is kept."""

    def __init__(self, system: RunningSystem, texts: Sequence[tuple[float, str]]) -> None:
        self.system, self.texts = system, texts
        self.failed: list[str] = []
        self._count = count()

    def send(self, number: int) -> None:
        """So many tasks, each judged."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._one, [next(self._count) for _ in range(number)]))

    def _one(self, index: int) -> None:
        rating, text = self.texts[index % len(self.texts)]
        job, http = f"gate-{index}", self.system.http
        answer = http.post("/predict", json={"job_id": job, "input": {"text": text}})
        if answer.status_code != 200:
            self.failed.append(answer.text)
            return
        http.post("/api/feedback", json={"job_id": job, "label": label_of(rating)})

    def until_decided(self, refinement: httpx.Client, id_: str, timeout_s: float = 120.0) -> dict[str, Any]:
        """Send until the experiment is over."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.send(64)
            found = refinement.get(f"/api/experiments/{id_}").json()
            if found["state"] != "running":
                return found
        raise AssertionError(f"undecided: {refinement.get(f'/api/experiments/{id_}').text}")


def refinement_of(system: RunningSystem) -> httpx.Client:
    """A client of port 8002's counterpart."""
    return httpx.Client(base_url=system.announced["http"]["refinement"], timeout=30.0, trust_env=False)


def test_worse_goes_back_and_better_goes_live_and_both_are_explained(
    running: RunningSystem, texts: list[tuple[float, str]]
) -> None:
    """A spoiled genome goes back; where it is live, the default is promoted; no request fails on the way."""
    callers = Callers(running, texts)
    with refinement_of(running) as refinement:
        callers.send(400)
        worse = {"agent": "sentiment", "id": "worse", "genomes": [SPOILED], "plan": PLAN}
        assert refinement.post("/api/experiments", json=worse).status_code == 201
        found = callers.until_decided(refinement, "worse")
        assert found["state"] == "rolled-back", found
        assert running.http.get("/api/agents/sentiment").json()["live"] == 1

        spoiled = running.http.post("/api/agents/sentiment/deploy", json={"genome": SPOILED}).json()
        callers.send(600)
        better = {"agent": "sentiment", "id": "better", "candidates": [1], "plan": PLAN}
        assert refinement.post("/api/experiments", json=better).status_code == 201
        found = callers.until_decided(refinement, "better")
        assert found["state"] == "promoted", found
        agent = running.http.get("/api/agents/sentiment").json()
        assert (agent["live"], agent["previous"]) == (1, spoiled["live"])
        for id_ in ("worse", "better"):
            told = refinement.get(f"/api/experiments/{id_}/explain").json()
            assert told["exact"], told
    assert callers.failed == []


def test_a_killed_node_goes_on_with_its_experiment(running: RunningSystem, texts: list[tuple[float, str]]) -> None:
    """Kill -9 in the middle of a split: what was counted stays counted, and the decision is explained to the digit."""
    callers = Callers(running, texts)
    running.http.post("/api/agents/sentiment/deploy", json={"genome": SPOILED}).raise_for_status()
    callers.send(500)
    with refinement_of(running) as refinement:
        body = {"agent": "sentiment", "id": "killed", "candidates": [1], "plan": PLAN}
        assert refinement.post("/api/experiments", json=body).status_code == 201
        callers.send(128)
        before = refinement.get("/api/experiments/killed").json()["messages"]
    running.kill()
    running.start()
    with refinement_of(running) as refinement:
        assert refinement.get("/api/experiments/killed").json()["messages"] >= before
        found = callers.until_decided(refinement, "killed")
        assert found["state"] == "promoted", found
        assert refinement.get("/api/experiments/killed/explain").json()["exact"]
