"""The runbook's commands for port 8000, word for word: only the host and the port are those of the test."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.support.running import RunningSystem

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the runbook's curl is missing"),
]

COMMANDS: dict[str, tuple[str, set[str]]] = {
    "health": ("curl http://localhost:8000/health    # Layer 4 Agent", {"status", "agents"}),
    "service health": ("curl http://layer4-service:8000/health", {"status", "agents"}),
    "predict": (
        """curl -X POST http://localhost:8000/predict \\
  -H "Content-Type: application/json" \\
  -d '{"job_id":"health-check","input":{"text":"test"}}'""",
        {"job_id", "output"},
    ),
    "agents": ("curl http://layer4-service:8000/health/agents", {"agents"}),
    "layer 5": ("curl http://layer4-service:8000/api/integration/layer5", {"reachable", "latency_ms"}),
    "batching": (
        """curl -X POST http://layer4-service:8000/api/config/batching \\
  -d '{"batch_size": 32, "batch_timeout_ms": 100}'""",
        {"batch_size", "batch_timeout_ms"},
    ),
    "optimize": ("curl -X POST http://layer4-service:8000/api/config/optimize", {"proposal", "applied", "reason"}),
}


def shell(system: RunningSystem, command: str) -> str:
    """What a runbook's line prints, its host and port replaced."""
    address = system.base.removeprefix("http://")
    for host in ("localhost:8000", "layer4-service:8000"):
        command = command.replace(host, address)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_runbooks_curl_is_answered(system: RunningSystem, name: str):
    """The line works as it stands there, and the answer has what the reader looks for."""
    command, members = COMMANDS[name]
    answer: dict[str, Any] = json.loads(shell(system, command))
    assert members <= answer.keys()
    if "code" in members:
        assert answer["code"] == "layer-not-running", "these layers come later; nothing is made up until then"


def test_the_runbooks_metrics_are_there(system: RunningSystem):
    """``curl …/metrics`` gives the native metrics from which the recording rules make the runbook's names."""
    system.predict("for-metrics", "fine")
    text = shell(system, "curl http://layer4-service:8000/metrics")
    for name in ("chimera_ask_duration_seconds", "chimera_process_resident_memory_bytes", "chimera_agent_tasks_total"):
        assert f"# TYPE {name} " in text


def test_the_runbooks_response_time_is_measured(system: RunningSystem):
    """Its script's ``curl -w %{time_total}`` prints a number of seconds."""
    line = r'curl -w "%{time_total}\n" -s -o /dev/null http://layer4-service:8000/health'
    assert 0 < float(shell(system, line)) < 10
