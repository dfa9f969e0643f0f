"""The commands of ``chimera`` on a running system: data on standard output, words elsewhere, exit codes."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chimera.cli.main import COMMANDS
from chimera.cli.ports import LAYERS
from edge.guests import shipped_guest
from tests.support.running import RunningSystem, free_port, run_command

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str):
    """``--help`` of the command shows a line to try that begins with it, and explains every option."""
    done = run_command(name, "--help")
    assert done.returncode == 0
    assert f"example: chimera {name}" in done.stdout
    assert "--json" in done.stdout


ON_SYSTEM: list[tuple[list[str], int]] = [
    (["status"], 0),
    (["health"], 0),
    (["performance", "--requests", "20"], 0),
    (["agents"], 0),
    (["agents", "show", "sentiment"], 0),
    (["model", "--all"], 0),
    (["logs"], 0),
    (["logs", "--event", "node-started", "--limit", "1"], 0),
    (["config", "show"], 0),
    (["doctor"], 0),
    (["docs", "openapi"], 0),
    (["docs", "asyncapi"], 0),
    (["docs", "settings"], 0),
    (["docs", "metrics"], 0),
    (["docs", "commands"], 0),
    (["call"], 0),
    (["call", "node.status", "{}"], 0),
    (["call", "agent.list"], 0),
    (["evolve", "list"], 0),
    (["genome"], 0),
    (["genome", "validate"], 0),
]


@pytest.mark.parametrize(("words", "code"), ON_SYSTEM, ids=[" ".join(words) for words, _ in ON_SYSTEM])
def test_command_and_its_json(system: RunningSystem, words: list[str], code: int):
    """It exits as documented and complains of nothing; with ``--json`` its output parses."""
    people = system.command(*words)
    assert (people.returncode, people.stderr) == (code, ""), people.stdout
    assert people.stdout.strip()
    machines = system.command(*words, "--json")
    assert (machines.returncode, machines.stderr) == (code, "")
    documents = machines.stdout.splitlines() if words[0] == "logs" else [machines.stdout]
    assert all(json.loads(document) for document in documents)


def test_health_has_a_line_per_service(system: RunningSystem):
    """Every layer is healthy, with a measured time."""
    rows: list[dict[str, Any]] = json.loads(system.command("health", "--json").stdout)
    states = {row["service"]: row["state"] for row in rows}
    assert {states.pop(layer) for layer in LAYERS} == {"healthy"}
    assert rows[0]["time_ms"] > 0
    assert set(states.values()) == {"healthy"}
    assert {"bus", "store", "agent:sentiment"} <= states.keys()


def test_performance_measures_the_runbooks_targets(system: RunningSystem):
    """Each target of the runbook has a line; what can't be measured yet is said so and not made up."""
    answer = json.loads(system.command("performance", "--requests", "20", "--json").stdout)
    results = {row["what"]: row["passed"] for row in answer["targets"]}
    assert len(results) == 6
    assert results["lease of a processor share"] is True
    assert results["evolution to within 1 % of its best"] is None
    decision = next(row for row in answer["targets"] if row["what"] == "optimization decision")
    assert re.match(r"median \d+\.\d ms, worst \d+\.\d ms", decision["measured"])
    assert answer["usage"]["chimera_process_resident_memory_bytes"] > 1 << 20
    assert answer["responses_ms"]["agent"] > 0


def test_performance_fails_where_a_target_is_missed(system: RunningSystem):
    """Two thirds of the tasks before it have failed, so that availability is missed: it says FAIL and exits with 1."""
    body = {"manifest": {"name": "failing"}, "module": base64.b64encode(shipped_guest("trap").module).decode()}
    assert system.http.post("/api/agents", json=body).status_code == 201
    for turn in range(10):
        system.predict(f"failing-{turn}", "x", agent="failing")
    done = system.command("performance", "--requests", "2")
    assert done.returncode == 1
    assert "FAIL" in done.stdout


def test_tail_shows_records_as_they_happen(system: RunningSystem):
    """``tail --count 1`` of the task records ends with the first: the task that is run meanwhile."""
    stop = threading.Event()

    def keep_asking() -> None:
        for turn in range(1000):
            if stop.wait(0.05):
                return
            system.predict(f"tailed-{turn}", "fine")

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        done = system.command("tail", "chimera.kpi.*", "--count", "1")
    finally:
        stop.set()
        asking.join()
    assert done.returncode == 0
    line = json.loads(done.stdout)
    assert line["subject"] == "chimera.kpi.sentiment"
    assert line["data"]["job_id"].startswith("tailed-")
    assert line["data"]["outcome"] == "ok"


def test_agents_are_registered_deployed_and_rolled_back(system: RunningSystem, tmp_path: Path):
    """The whole life of an agent by the command line, from a module and a manifest in files."""
    guest = shipped_guest("sentiment")
    module, manifest = tmp_path / "mirror.wasm", tmp_path / "mirror.json"
    module.write_bytes(guest.module)
    manifest.write_bytes(msgspec.json.encode(msgspec.structs.replace(guest.manifest, name="mirror")))
    registered = system.command("agents", "register", "--module", str(module), "--manifest", str(manifest), "--json")
    assert registered.returncode == 0, registered.stderr
    assert json.loads(registered.stdout)["live"] == 1
    assert (
        system.command("agents", "deploy", "mirror", "--gene", "capitals_increment=0.8", "--note", "bigger").returncode
        == 0
    )
    shown = system.command("agents", "show", "mirror")
    assert "live r2" in shown.stdout
    assert "bigger" in shown.stdout
    refused = system.command("agents", "deploy", "mirror", "--gene", "capitals_increment=1000")
    assert (refused.returncode, "bad-genome" in refused.stderr) == (1, True)
    assert system.command("agents", "rollback", "mirror").returncode == 0
    assert "live r1" in system.command("agents", "show", "mirror").stdout
    assert system.command("agents", "retire", "mirror").returncode == 0
    assert "mirror" not in system.command("agents").stdout


WRONG: list[tuple[list[str], int, str]] = [
    (["rnu"], 2, "did you mean run?"),
    ([], 2, "exit codes"),
    (["call", "agent.predct"], 2, "did you mean agent.predict?"),
    (["call", "agent.predict", '{"job_id":'], 2, "no JSON"),
    (["call", "agent.predict", '{"job_id":"x"}'], 2, "input"),
    (["agents", "deploy"], 2, "name"),
    (["agents", "register"], 2, "--module"),
    (["agents", "show", "nobody"], 1, "no-agent"),
    (["logs", "--since", "yesterday"], 2, "30m"),
    (["status", "--set", "nats.prot=1"], 2, "did you mean nats.port?"),
    (["docs", "poetry"], 2, "openapi"),
]


@pytest.mark.parametrize(("words", "code", "says"), WRONG, ids=[" ".join(words) for words, *_ in WRONG])
def test_wrong_usage_says_what_is_right(system: RunningSystem, words: list[str], code: int, says: str):
    """It exits with 2, or 1 where the system refused, and what it says on standard error helps."""
    done = system.command(*words) if words else run_command()
    assert done.returncode == code
    assert says in done.stderr
    assert not done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [["status"], ["call", "agent.list"], ["tail"], ["agents"], ["health"], ["performance"]]
)
def test_nobody_there_is_exit_code_3(tmp_path: Path, words: list[str]):
    """Commands that need a running system say that none is there, and how to start one."""
    done = run_command(*words, "--set", f"http.ports.agent={free_port()}", data=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "chimera run" in done.stderr or "unreachable" in done.stdout


def test_doctor_fails_without_a_node(tmp_path: Path):
    """It says what is missing and what to do, and exits with 1."""
    done = run_command("doctor", data=tmp_path)
    assert done.returncode == 1
    assert "chimera run" in done.stdout


def test_logs_follow(system: RunningSystem):
    """``logs --follow`` shows an event that happens after it started."""
    command = [sys.executable, "-m", "chimera", "logs", "--follow", "--event", "batching-changed"]
    with subprocess.Popen([*command, "--data-dir", str(system.data)], stdout=subprocess.PIPE, text=True) as follower:
        try:
            assert follower.stdout is not None
            deadline = time.monotonic() + 30
            sizes = iter(range(2, 1000))
            stop = threading.Event()

            def change() -> None:
                while not stop.wait(0.2) and time.monotonic() < deadline:
                    body = {"batch_size": next(sizes), "batch_timeout_ms": 2}
                    system.http.post("/api/config/batching", json=body)

            changing = threading.Thread(target=change)
            changing.start()
            line = follower.stdout.readline()
            stop.set()
            changing.join()
        finally:
            follower.terminate()
    assert "batching-changed" in line
