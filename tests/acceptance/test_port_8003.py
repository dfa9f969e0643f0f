"""Port 8003, row by row of the operations design, on a running system: what is answered is what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.running import RunningSystem

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Row = tuple[str, str, Any, int, Any]
GENES = ["positive_threshold", "negative_threshold", "capitals_increment", "exclamation_limit"]
SIZE, GENERATIONS = 8, 3
CASES = [
    {"input": {"text": text}, "label": label}
    for number in range(30)
    for text, label in (
        (f"I love this, number {number}!", "positive"), (f"I hate this, number {number}", "negative"),
        (f"This is number {number}", "neutral"),
    )
]  # fmt: skip
REQUEST = {
    "agent": "sentiment", "id": "rows", "generations": GENERATIONS, "population_size": SIZE, "parameters": GENES,
    "cases": CASES, "deploy": False, "seed": 7, "stop_when_converged": False,
}  # fmt: skip

ROWS: list[Row] = [
    ("GET", "/livez", None, 200, {"status"}),
    ("GET", "/readyz", None, 200, {"status", "checks"}),
    ("GET", "/health", None, 200, {"status", "leads", "running", "genomes", "autonomous", "checks"}),
    ("GET", "/openapi.json", None, 200, {"openapi", "paths"}),
    ("GET", "/api/population/status", None, 200, {"config", "generation", "size", "best", "mean", "worst", "members"}),
    ("GET", "/api/population/diversity", None, 200, {"distance", "entropy", "unique", "genes", "took_ms", "advice"}),
    ("GET", "/api/fitness/status", None, 200, {"done", "pending", "rate_per_s", "failed", "cache_hits", "nodes"}),
    ("GET", "/api/genome/validate", None, 200, {"status", "checked", "bad", "missing"}),
    ("GET", "/api/evolution/progress", None, 200, {"evolution", "history", "convergence", "stagnant"}),
    ("GET", "/api/evolution", None, 200, {"evolutions"}),
    ("GET", "/api/evolution/rollback", None, 200, {"live", "target", "done", "how", "reason"}),
    (
        "POST", "/api/config/population", {"population_size": 1000, "mutation_rate": 0.1}, 200,
        {"population_size", "mutation_rate", "algorithm"},
    ),
    ("POST", "/api/config/population", {"population_size": 100}, 200, {"population_size"}),
    ("GET", "/api/evolution/autonomous", None, 200, {"agents"}),
    ("POST", "/api/evolution/autonomous", {"agent": "sentiment", "on": False}, 200, {"on", "phase", "steps"}),
    ("GET", "/api/genomes?evolution=rows&limit=5", None, 200, {"genomes", "total"}),
    ("GET", "/api/genomes/export?limit=3", None, 200, {"records", "next", "total"}),
    ("POST", "/api/genomes/restore", {"records": []}, 200, {"restored", "known", "refused"}),
]  # fmt: skip
"""Method, path, body, status, and members that the answer must have; in this order."""

PROBLEMS: list[Row] = [
    ("GET", "/api/evolution/progress?id=unknown", None, 404, "no-evolution"),
    ("GET", "/api/population/status?id=unknown", None, 404, "no-evolution"),
    ("POST", "/api/evolution/stop", {"id": "unknown"}, 404, "no-evolution"),
    ("POST", "/api/evolution/pause", {"id": "rows"}, 409, "conflict"),
    ("GET", "/api/genomes/unknown", None, 404, "no-genome"),
    ("POST", "/api/genomes/unknown/deploy", {}, 404, "no-genome"),
    ("POST", "/api/evolution/start", {"agent": "unknown"}, 404, "no-agent"),
    ("POST", "/api/evolution/start", {"agent": "sentiment", "cases": CASES, "parameters": ["no_such"]}, 422,
     "bad-genome"),
    ("POST", "/api/evolution/start", {"agent": "sentiment", "cases": CASES, "start": [{"no_such": 1}]}, 422,
     "bad-genome"),
    ("POST", "/api/evolution/start", {"agent": "sentiment", "cases": CASES[:4]}, 400, "bad-message"),
    ("POST", "/api/evolution/start", {**REQUEST, "id": "", "algorithm": "cmaes"}, 400, "bad-message"),
    ("POST", "/api/evolution/rollback", {"agent": "sentiment"}, 404, "no-release"),
    ("POST", "/api/config/population", {"population_size": 1}, 400, "bad-message"),
    ("POST", "/api/genomes/restore", {"records": ["bm90IGEgcmVjb3Jk"]}, 200, None),
]  # fmt: skip


@pytest.fixture(scope="module")
def evolution(system: RunningSystem) -> Iterator[httpx.Client]:
    """A client of the port, after an evolution has ended."""
    with httpx.Client(base_url=system.announced["http"]["evolution"], timeout=90.0, trust_env=False) as client:
        started = client.post("/api/evolution/start", json=REQUEST)
        assert started.status_code == 202, started.text
        until(client, "/api/evolution/progress?id=rows", lambda seen: seen["evolution"]["state"] == "exhausted")
        until(client, "/api/genome/validate", lambda seen: seen["checked"] >= SIZE * GENERATIONS)
        yield client


def until(client: httpx.Client, path: str, wanted: Callable[[Any], bool], timeout_s: float = 90.0) -> Any:
    """The answer, once it is as wanted."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = client.get(path).json()
        if wanted(seen):
            return seen
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_row(evolution: httpx.Client, row: Row) -> None:
    """Each row answers with its members."""
    method, path, body, status, members = row
    answer = evolution.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert members <= answer.json().keys()


@pytest.mark.parametrize("row", PROBLEMS, ids=lambda row: f"{row[0]} {row[1]} {row[4]}")
def test_problem(evolution: httpx.Client, row: Row) -> None:
    """What can't be done is said with its code and a hint of what to do."""
    method, path, body, status, code = row
    answer = evolution.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    if code is None:
        [refused] = answer.json()["refused"]
        assert refused["faults"]
        return
    assert answer.json()["code"] == code
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_figures_are_those_of_the_genomes(evolution: httpx.Client) -> None:
    """Best, worst and counts of the population are those of the stored genomes, and each generation has its row."""
    progress = evolution.get("/api/evolution/progress?id=rows").json()
    shown, history = progress["evolution"], progress["history"]
    stored = evolution.get("/api/genomes?evolution=rows&limit=1000").json()
    assert [row["number"] for row in history] == list(range(GENERATIONS))
    assert (shown["generation"], shown["evaluations"]) == (GENERATIONS, stored["total"])
    assert max(one["fitness"] for one in stored["genomes"] if one["fitness"] is not None) == shown["best"]
    population = evolution.get("/api/population/status?id=rows").json()
    assert population["size"] == SIZE
    assert population["best"] >= population["mean"] >= population["worst"]


def test_a_genome_tells_where_it_comes_from(evolution: httpx.Client) -> None:
    """The champion's ancestors go back to genomes without parents, and nothing is wrong with any of them."""
    champion = evolution.get("/api/evolution/progress?id=rows").json()["evolution"]["champion"]["id"]
    detail = evolution.get(f"/api/genomes/{champion}").json()
    assert (detail["genome"]["id"], detail["faults"]) == (champion, [])
    assert set(detail["genome"]["genes"]) == set(GENES)
    assert all(one["parents"] for one in detail["ancestors"] if one["operator"] in ("crossover", "mutation"))


def test_what_is_exported_can_be_brought_back(evolution: httpx.Client) -> None:
    """Records of a backup that are there already stay; one with a flipped bit is refused by name."""
    page = evolution.get("/api/genomes/export?limit=2").json()["records"]
    again = evolution.post("/api/genomes/restore", json={"records": page}).json()
    assert (again["known"], again["restored"], again["refused"]) == (2, 0, [])


def test_a_page_for_who_asks_for_one(evolution: httpx.Client) -> None:
    """A browser gets pictures of the evolution; everybody else gets JSON."""
    page = evolution.get("/api/evolution/progress?id=rows", headers={"Accept": "text/html,*/*;q=0.5"})
    assert page.headers["content-type"].startswith("text/html")
    assert "<svg" in page.text


def test_by_command(system: RunningSystem, evolution: httpx.Client) -> None:
    """``chimera evolve`` runs an evolution to its end and says what came of it."""
    ran = system.command(
        "evolve", "sentiment", "--generations", "2", "--population", "6", "--parameter", GENES[0],
        "--no-deploy", "--json",
    )  # fmt: skip
    assert ran.returncode != 0, "there are no recorded judged tasks to evolve on"
    assert "bad-message" in ran.stderr + ran.stdout
    listed = evolution.get("/api/evolution").json()["evolutions"]
    assert [one["id"] for one in listed] == ["rows"]
