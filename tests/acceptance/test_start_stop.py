"""Starting and stopping, as at a terminal: what stands in the way is named, and every end has its exit code."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chimera.cli.ports import LAYERS
from tests.support.processes import children, is_alive
from tests.support.running import RunningSystem, run_command

from .conftest import MakeSystem

pytestmark = pytest.mark.slow
FREE = ("--set", "nats.port=0", *(part for role in LAYERS for part in ("--set", f"http.ports.{role}=0")))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def complaint(stderr: str) -> list[str]:
    """The lines that are for people: neither the event log's nor a traceback's."""
    assert "Traceback" not in stderr, stderr
    return [line for line in stderr.splitlines() if not line.startswith("{")]


@pytest.mark.parametrize("setting", ["http.ports.agent", "nats.port"])
def test_a_busy_port_is_one_line_that_names_the_setting(tmp_path: Path, taken: int, setting: str):
    """The port and its setting are named, with what to do; the exit code is 1, and nothing stays behind."""
    done = run_command("run", *FREE, "--set", f"{setting}={taken}", data=tmp_path / "data")
    said, hint = complaint(done.stderr)
    assert done.returncode == 1
    assert str(taken) in said
    assert setting in said + hint
    assert not (tmp_path / "data" / "run" / "node.json").exists()


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path):
    """A data folder inside a file can't be made: exit code 2, the setting, the folder, and what to do."""
    (tmp_path / "file").write_text("")
    done = run_command("run", *FREE, data=tmp_path / "file" / "data")
    said, hint = complaint(done.stderr)
    assert done.returncode == 2
    assert "node.data_dir" in said
    assert str(tmp_path / "file" / "data") in said
    assert "--data-dir" in hint


def test_an_old_server_is_named_with_its_version(tmp_path: Path):
    """A nats-server 2.9 is refused with what is needed instead; exit code 2."""
    old = tmp_path / "nats-server"
    old.write_text("#!/bin/sh\necho 'nats-server: v2.9.1'\n")
    old.chmod(0o700)
    done = run_command("run", *FREE, "--nats-server", str(old), data=tmp_path / "data")
    said, hint = complaint(done.stderr)
    assert done.returncode == 2
    assert "2.9.1" in said
    assert "2.14" in said
    assert "nats.server" in said + hint


def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path):
    """``--nats-url`` to nobody: exit code 3, and how to say another."""
    done = run_command("run", *FREE, "--nats-url", "nats://127.0.0.1:1", data=tmp_path / "data")
    said, hint = complaint(done.stderr)
    assert done.returncode == 3
    assert "nats://127.0.0.1:1" in said
    assert "--nats-url" in hint


def test_a_second_node_in_the_same_folder_is_refused(system: RunningSystem):
    """The folder belongs to the node that runs in it; that one goes on."""
    done = run_command("run", *FREE, data=system.data)
    assert done.returncode == 1
    assert len(complaint(done.stderr)) == 2
    assert system.predict("undisturbed", "fine").status_code == 200


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_drains_and_leaves_nothing_behind(own_system: RunningSystem, number: signal.Signals, code: int):
    """Ctrl-C ends with 130, SIGTERM with 0; server and workers are gone, the log tells of start and stop."""
    own_system.predict("before", "fine")
    family = children(own_system.pid)
    assert any("nats-server" in command for command in family.values())
    assert own_system.stop(number) == code
    deadline = time.monotonic() + 10
    while any(map(is_alive, family)):
        assert time.monotonic() < deadline, family
        time.sleep(0.02)
    assert not (own_system.data / "run" / "node.json").exists()
    names = [event["event"] for event in own_system.events()]
    assert [name for name in names if name.startswith("node-")][:2] == ["node-started", "node-stopping"]
    assert "server-started" in names
    assert complaint(own_system.stderr()) == ["stopping (again to force)"]


def test_a_second_ctrl_c_forces(own_system: RunningSystem):
    """While a stopped nats-server holds the drain up, a second Ctrl-C ends the process at once with 130."""
    server = next(pid for pid, command in children(own_system.pid).items() if "nats-server" in command)
    assert own_system.process is not None
    os.kill(server, signal.SIGSTOP)
    try:
        own_system.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 10
        while "again to force" not in own_system.stderr():
            assert time.monotonic() < deadline, own_system.story()
            time.sleep(0.01)
        own_system.process.send_signal(signal.SIGINT)
        assert own_system.wait(10) == 130
    finally:
        if is_alive(server):
            os.kill(server, signal.SIGCONT)
    assert "forced" in own_system.stderr()


def test_ctrl_c_during_the_start_ends_it(make_system: MakeSystem):
    """A node that is still starting is stopped too, with 130 and without a traceback."""
    starting = make_system()
    starting.launch()
    deadline = time.monotonic() + 30
    while not (starting.data / "nats" / "server.conf").exists():
        assert time.monotonic() < deadline, starting.story()
        time.sleep(0.01)
    assert starting.stop() == 130
    assert "Traceback" not in starting.stderr()


def test_the_start_tells_what_runs_where(system: RunningSystem):
    """The announcement names every service with its state and place, as the run file and the status do."""
    rows = {row["name"]: row for row in system.announced["services"]}
    assert {"node", "nats-server", "bus", "store", "sandbox", "agent", "projector", "bridge"} <= rows.keys()
    assert {row["state"] for row in rows.values()} == {"running"}
    assert rows["bridge"]["where"].split(", ")[0] == system.base
    assert rows["nats-server"]["where"] == system.nats_url
    assert str(system.data) in rows["store"]["where"]
    assert rows["agent"]["where"] == "chimera.agent.*"
    assert rows["gpu-broker"]["where"] == "chimera.gpu_broker.*"


def test_secrets_are_for_the_owner_only(system: RunningSystem):
    """Keys and tokens are readable by nobody else."""
    secrets = list((system.data / "secrets").iterdir())
    assert {"client.nk", "operator.nk", "observer.nk", "runtime.nk"} <= {path.name for path in secrets}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [*secrets, system.data / "secrets"])


def test_a_small_disk_holds_all_streams(make_system: MakeSystem):
    """With 64 MiB for streams everything starts: what is reserved for each fits, and none is without its bound."""
    small = make_system("--set", "nats.max_file_bytes=64Mi")
    small.start()
    assert {row["state"] for row in small.announced["services"]} == {"running"}
    stored = [msgspec.json.decode(path.read_bytes()) for path in (small.data / "nats").rglob("meta.inf")]
    reserved = [stream["max_bytes"] for stream in stored if stream.get("max_bytes", -1) > 0]
    assert len(reserved) >= 8
    assert sum(reserved) <= 64 << 20
