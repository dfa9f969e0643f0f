"""A whole system as a user starts it: ``chimera run`` in its own process, in its own folder, on free ports."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from chimera.cli.ports import LAYERS

START_S = 60.0
"""Compiling the shipped agent for the first time on a busy machine takes seconds."""
STOP_S = 30.0


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_command(
    *arguments: str, data: Path | None = None, env: Mapping[str, str] | None = None, timeout_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """``chimera ARGUMENTS`` as a process; ``data`` is passed as ``--data-dir``, before what follows a ``--``."""
    own = arguments.index("--") if "--" in arguments else len(arguments)
    where = ["--data-dir", str(data)] if data else []
    command = [sys.executable, "-m", "chimera", *arguments[:own], *where, *arguments[own:]]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout_s, env={**os.environ, **(env or {})}
    )


class RunningSystem:
    """``python -m chimera run --json``, started, asked, stopped and killed as a user or a crash would.

    Args:
        folder: Holds the data folder ``data`` and what the process wrote (``stdout``, ``stderr``).
        options: More options of ``chimera run``.
        env: More environment variables.

    Attributes:
        base: Base URL of the agent port, once started.
        announced: The JSON line of the start: node, services, http.
    """

    def __init__(self, folder: Path, options: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.options = list(options)
        self.env = dict(env or {})
        self.base = ""
        self.announced: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None

    @property
    def pid(self) -> int:
        """The process that runs or ran last."""
        assert self.process is not None
        return self.process.pid

    @property
    def nats_url(self) -> str:
        """Where the embedded server listens, as the node says in its run file."""
        return msgspec.json.decode((self.data / "run" / "node.json").read_bytes())["nats_url"]

    @property
    def http(self) -> httpx.Client:
        """A client of the agent port."""
        assert self._client is not None
        return self._client

    def launch(self) -> None:
        """Start the process and wait for nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        free = ("nats.port=0", *(f"http.ports.{role}=0" for role in LAYERS))
        ports = [part for setting in free for part in ("--set", setting)]
        command = [sys.executable, "-m", "chimera", "run", "--json", "--data-dir", str(self.data), *ports]
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("ab") as err:
            self.process = subprocess.Popen(
                [*command, *self.options],
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.env},
            )

    def start(self, timeout_s: float = START_S) -> None:
        """Start the process and wait until ``/readyz`` says yes. May be called again after ``stop`` or ``kill``."""
        self.launch()
        deadline = time.monotonic() + timeout_s
        self.until_it_serves(timeout_s)
        self._until(deadline, self._ready, "is ready")

    def until_it_serves(self, timeout_s: float = START_S) -> None:
        """After ``launch``: wait until it has said where it listens, ready or not."""
        self.until_it_says(timeout_s)
        self.base = self.announced["http"]["agent"]
        self._close_client()
        self._client = httpx.Client(base_url=self.base, timeout=30.0, trust_env=False)

    def until_it_says(self, timeout_s: float = START_S) -> None:
        """After ``launch``: wait until it has said what runs where; a node without a bridge serves nothing more."""
        line = self._until(time.monotonic() + timeout_s, self._first_line, "has printed what runs where")
        self.announced = msgspec.json.decode(line)

    def stop(self, number: signal.Signals = signal.SIGINT, timeout_s: float = STOP_S) -> int:
        """Signal it and wait for its end; gives the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Wait for its end; gives the exit code."""
        assert self.process is not None
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it has not ended within {timeout_s} s\n{self.story()}") from None

    def kill(self) -> None:
        """End this one process as ``kill -9`` does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End it politely, or not, whatever state it is in."""
        self._close_client()
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(AssertionError):
                self.stop()

    def stderr(self) -> str:
        """What it wrote on standard error so far, all starts together."""
        return (self.folder / "stderr").read_text()

    def events(self) -> list[dict[str, Any]]:
        """The event log in its data folder."""
        files = sorted((self.data / "logs").glob("events-*.jsonl"))
        return [msgspec.json.decode(line) for file in files for line in file.read_bytes().splitlines()]

    def predict(self, job_id: str, text: str, **more: Any) -> httpx.Response:
        """``POST /predict`` of the sentiment agent."""
        return self.http.post("/predict", json={"job_id": job_id, "input": {"text": text}, **more})

    def command(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """``chimera ARGUMENTS`` beside it, in the same data folder."""
        return run_command(*arguments, data=self.data, env=self.env, timeout_s=timeout_s)

    def story(self) -> str:
        """Everything there is to read when something went wrong."""
        code = self.process.poll() if self.process else None
        paths = (self.folder / "stdout", self.folder / "stderr", self.data / "logs" / "nats-server.log")
        files = [f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}" for path in paths if path.exists()]
        return "\n".join([f"exit code: {code}", *files])

    def _close_client(self) -> None:
        if self._client is not None:
            self._client.close()

    def _first_line(self) -> bytes:
        content = (self.folder / "stdout").read_bytes()
        return content.partition(b"\n")[0] if b"\n" in content else b""

    def _ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.http.get("/readyz").status_code == 200
        return False

    def _until(self, deadline: float, condition: Any, what: str) -> Any:
        assert self.process is not None
        while not (found := condition()):
            assert self.process.poll() is None, f"it ended before it {what}\n{self.story()}"
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"no sign in time that it {what}\n{self.story()}")
            time.sleep(0.02)
        return found
