"""``chimera rebuild``: whatever was done to the projections, they are made again, also after a kill in the middle."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.running import RunningSystem

pytestmark = pytest.mark.slow

TASKS = 300


def scheduler(system: RunningSystem) -> httpx.Client:
    """A client of the scheduler's port."""
    return httpx.Client(base_url=system.announced["http"]["scheduler"], timeout=30.0, trust_env=False)


def submit(system: RunningSystem, first: int, count: int) -> None:
    """Tasks with ids ``t<number>``, done when this returns."""
    tasks = [{"id": f"t{number}", "input": {"text": "good"}} for number in range(first, first + count)]
    with scheduler(system) as http:
        answer = http.post("/api/tasks", json={"tasks": tasks}).json()
        assert answer["accepted"] == count, answer
        deadline = time.monotonic() + 60
        while (queue := http.get("/api/queue").json())["depth"] + queue["in_flight"] + queue["scheduled"]:
            assert time.monotonic() < deadline, queue
            time.sleep(0.05)


def ask(data: Path, sql: str) -> list[Any]:
    """Rows of the store's file, which the node may have open."""
    with closing(sqlite3.connect(data / "chimera.sqlite", timeout=10)) as store, store:
        return store.execute(sql).fetchall()


def content(data: Path) -> dict[str, list[Any]]:
    """What the projections say, but for where in the stream it is from."""
    return {
        "tasks": ask(data, "SELECT id, state, attempt, since, tries, input, output FROM tasks ORDER BY id"),
        "changes": ask(data, "SELECT task, at, attempt, state FROM task_changes ORDER BY task, at, attempt, state"),
        "outcomes": ask(data, "SELECT seq, job_id, outcome, at FROM outcomes ORDER BY seq"),
        "agents": ask(data, "SELECT name, live FROM agents ORDER BY name"),
        "releases": ask(data, "SELECT agent, number, document FROM releases ORDER BY agent, number"),
    }


def until_projected(data: Path, count: int) -> dict[str, list[Any]]:
    """The content, once so many tasks and their outcomes are in it."""
    deadline = time.monotonic() + 60
    question = "SELECT (SELECT count(*) FROM tasks WHERE state = 'succeeded'), (SELECT count(*) FROM outcomes)"
    while ask(data, question) != [(count, count)]:
        assert time.monotonic() < deadline, ask(data, question)
        time.sleep(0.05)
    return content(data)


def spoil(data: Path) -> None:
    """What a bad disk, a bad hand or a bad release may leave."""
    ask(data, "DELETE FROM outcomes WHERE seq % 3 = 0")
    ask(data, "UPDATE outcomes SET outcome = 'agent-error' WHERE seq % 3 = 1")
    ask(data, "UPDATE tasks SET state = 'running', output = NULL WHERE id LIKE '%1'")
    ask(data, "DELETE FROM tasks WHERE id LIKE '%2'")
    ask(data, "DELETE FROM task_changes WHERE state = 'running'")
    ask(data, "DELETE FROM agents")
    ask(data, "DELETE FROM releases")


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunningSystem]:
    """A system that has done its tasks."""
    made = RunningSystem(tmp_path)
    made.start()
    try:
        submit(made, 0, TASKS)
        yield made
    finally:
        made.close()


def test_rebuild_beside_a_node_and_without_one(system: RunningSystem) -> None:
    """Spoiled while the node runs, and while it does not: the same content again; and once more changes nothing."""
    good = until_projected(system.data, TASKS)
    spoil(system.data)
    assert content(system.data) != good
    answer = system.command("rebuild", "--json")
    assert answer.returncode == 0, answer.stderr
    told = msgspec.json.decode(answer.stdout)
    assert {row["name"] for row in told["rebuilt"]} == {"outcomes", "judgements", "agents", "tasks", "genomes"}
    assert content(system.data) == good
    submit(system, TASKS, 20)
    good = until_projected(system.data, TASKS + 20)
    system.stop()
    spoil(system.data)
    for _ in range(2):
        answer = system.command("rebuild")
        assert answer.returncode == 0, answer.stderr
        assert content(system.data) == good
    assert f"{TASKS + 20} messages of KPI" in answer.stdout


def test_rebuild_killed_in_the_middle(system: RunningSystem) -> None:
    """Killed while it replays, then run again: it goes on from there, and the content is right. So does a start."""
    good = until_projected(system.data, TASKS)
    system.stop()
    spoil(system.data)
    kill_in_the_middle(system.data)
    answer = system.command("rebuild")
    assert answer.returncode == 0, answer.stderr
    assert "from where an earlier rebuild was cut off" in answer.stdout
    assert content(system.data) == good
    spoil(system.data)
    kill_in_the_middle(system.data)
    system.start()
    deadline = time.monotonic() + 60
    ended = "SELECT value FROM settings WHERE name = 'rebuild.outcomes'"
    while ask(system.data, ended) != [("null",)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    while any(content(system.data)[name] != good[name] for name in ("outcomes", "agents", "releases")):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def kill_in_the_middle(data: Path) -> None:
    """Begin a rebuild, stop it dead when the store says that it has begun to replay, and see that it was so."""
    begun = "SELECT 1 FROM settings WHERE name = 'rebuild.outcomes' AND value <> 'null'"
    command = [sys.executable, "-m", "chimera", "rebuild", "--data-dir", str(data)]
    for _ in range(10):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not ask(data, begun):
            pass
        process.kill()  # also if it has ended already
        process.wait()
        if ask(data, begun):
            return
        spoil(data)
    pytest.fail("it was always faster than the kill")
