"""Dead letters as a person meets them: seen, read and revived with the command line, across a restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.acceptance.test_rebuild import scheduler
from tests.support.running import RunningSystem

pytestmark = pytest.mark.slow


def told(system: RunningSystem, *arguments: str) -> Any:
    """What the command says as JSON."""
    answer = system.command(*arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return msgspec.json.decode(answer.stdout)


def until_dead(system: RunningSystem, *names: str) -> None:
    """Wait until exactly these are dead."""
    deadline = time.monotonic() + 30
    while {row["id"] for row in told(system, "tasks", "dead")["tasks"]} != set(names):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_letters_by_command(tmp_path: Path) -> None:
    """Tasks of an unknown agent die, are listed by label, read with their input, and revived after a kill."""
    system = RunningSystem(tmp_path)
    system.start()
    try:
        tasks = [
            {"id": f"t{number}", "agent": "nobody", "input": {"n": number}, "labels": {"team": "ab"[number % 2]}}
            for number in range(4)
        ]
        with scheduler(system) as http:
            assert http.post("/api/tasks", json={"tasks": tasks}).json()["accepted"] == 4
        until_dead(system, "t0", "t1", "t2", "t3")
        assert {row["id"] for row in told(system, "tasks", "dead", "--label", "team=a")["tasks"]} == {"t0", "t2"}
        letter = told(system, "tasks", "dead", "t1")
        assert (letter["state"], letter["input"]) == ("dead", {"n": 1})
        assert "nobody" in letter["reason"]
        system.kill()
        system.start()
        until_dead(system, "t0", "t1", "t2", "t3")
        assert set(told(system, "tasks", "revive", "--label", "team=a")["ids"]) == {"t0", "t2"}
        until_dead(system, "t0", "t1", "t2", "t3")
        assert {told(system, "tasks", "show", name)["attempt"] for name in ("t0", "t1")} == {1, 2}
    finally:
        system.close()
