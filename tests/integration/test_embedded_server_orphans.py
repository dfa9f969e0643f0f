"""What happens to the server when the node that started it is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chimera.server import EmbeddedServer, ServerSettings
from chimera.server.identity import identify

pytestmark = pytest.mark.anyio

DEADLINE_S = 15.0
ROOT = Path(__file__).parents[2]
NODE = """
import sys
from pathlib import Path

import anyio

from chimera.server import EmbeddedServer, ServerSettings, child

if sys.argv[2] == "untied":
    child._tethered = lambda command, descriptor: command


async def main():
    server = EmbeddedServer(ServerSettings(Path(sys.argv[1]), port=0))
    await server.start()
    print(server.pid, flush=True)
    await anyio.sleep(50)


anyio.run(main)
"""


@contextmanager
def node(folder: Path, tie: str) -> Generator[tuple[subprocess.Popen[str], int]]:
    """A node in a process of its own, and the number of its server."""
    command = [sys.executable, "-c", NODE, str(folder), tie]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll, with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_the_server_dies_with_its_node(tmp_path: Path):
    """Kill -9 of the node: the kernel ends the server, in order."""
    with node(tmp_path / "data", "tied") as (process, pid):
        process.kill()
        process.wait()
        wait_until(lambda: identify(pid) is None)
    assert "Server Exiting" in (tmp_path / "data" / "logs" / "nats-server.log").read_text()


async def test_a_server_left_over_is_ended(tmp_path: Path):
    """Where the kernel does not help, the next start ends the server that was left over, and runs its own."""
    with node(tmp_path / "data", "untied") as (process, pid):
        process.kill()
        process.wait()
        assert identify(pid) is not None, "it must outlive its node for this test to mean anything"
        server = EmbeddedServer(ServerSettings(tmp_path / "data", port=0))
        try:
            await server.start()
            assert identify(pid) is None
            assert server.pid not in (None, pid)
        finally:
            await server.stop()
            if identify(pid) is not None:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_else_is_inherited(loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The server gets none of our environment's secrets and, of our open files, the lock alone."""
    if sys.platform != "linux":
        pytest.skip("/proc is Linux's")
    monkeypatch.setenv("CHIMERA_STORE__DSN", "postgres://secret")
    secret = tmp_path / "open-file"
    script = """
import os, sys
from pathlib import Path
from chimera.server import EmbeddedServer, ServerSettings

async def main():
    server = EmbeddedServer(ServerSettings(Path(sys.argv[1]), port=0))
    os.set_inheritable(os.open(sys.argv[2], os.O_CREAT | os.O_RDWR), True)
    await server.start()
    process = Path(f"/proc/{server.pid}")
    for entry in (process / "fd").iterdir():
        print("fd", os.readlink(entry))
    print((process / "environ").read_text())
    await server.stop()

if sys.argv[3] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    import asyncio
    asyncio.run(main())
"""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    command = [sys.executable, "-c", script, str(tmp_path / "data"), str(secret), loop]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=True).stdout
    assert "server.lock" in said
    assert str(secret) not in said
    assert "secret" not in said.replace(str(tmp_path), "")
