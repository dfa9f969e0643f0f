"""A server whose data folder was put back to an older copy: noticed at the start, told until somebody accepts it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.acceptance.test_rebuild import scheduler, submit
from tests.support.running import RunningSystem

pytestmark = pytest.mark.slow


def test_an_older_copy_is_an_alarm_until_it_is_accepted(tmp_path: Path) -> None:
    """Event, metric, health, status and the history say what is lost; a restart keeps the alarm; rebuild accepts it."""
    system = RunningSystem(tmp_path)
    system.start()
    try:
        submit(system, 0, 5)
        system.stop()
        shutil.copytree(system.data / "nats", tmp_path / "older")
        system.start()
        submit(system, 5, 5)
        until_history_has(system, "t9")
        system.stop()
        shutil.rmtree(system.data / "nats")
        shutil.copytree(tmp_path / "older", system.data / "nats")
        for _ in range(2):
            system.start()
            with scheduler(system) as http:
                health = http.get("/health")
                assert (health.status_code, health.json()["status"]) == (200, "warn")
                assert "chimera rebuild" in health.json()["checks"]["tasks"]
                assert 'chimera_stream_lost_messages{stream="TASKS"}' in http.get("/metrics").text
                until_unknown(system, "t9")
                assert http.get("/api/tasks/t1").json()["state"] == "succeeded"
            assert "stream TASKS went back" in system.command("status").stdout
            assert any(row["event"] == "store-regressed" and "TASKS" in row["message"] for row in system.events())
            system.stop()
        system.start()
        answer = system.command("rebuild")
        assert answer.returncode == 0, answer.stderr
        assert "accepted: stream TASKS" in answer.stderr
        deadline = time.monotonic() + 20
        while system.http.get("/health").json()["status"] != "pass":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        system.close()


def until_history_has(system: RunningSystem, task: str) -> None:
    """Wait until the change of a task to its end is projected."""
    deadline = time.monotonic() + 30
    with scheduler(system) as http:
        while not any(
            change["state"] == "succeeded"
            for change in http.get(f"/api/tasks/{task}", params={"changes": "true"}).json()["changes"]
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def until_unknown(system: RunningSystem, task: str) -> None:
    """Wait until the history says that it can't be known what became of a task."""
    deadline = time.monotonic() + 30
    with scheduler(system) as http:
        while http.get(f"/api/tasks/{task}").json().get("state") != "unknown":
            assert time.monotonic() < deadline
            time.sleep(0.05)
