"""Submitters and workers of durable tasks on one server, and the peers that are not ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.child import Child
from tests.bench.figures import Trial
from tests.bench.machine import cpu_s
from tests.support.nats_server import NatsServer
from tests.support.running import free_port

TASKIQ_PYTHON = "CHIMERA_BENCH_TASKIQ_PYTHON"
"""Names an interpreter that has taskiq, if it is not ours."""

REDIS = "REDIS_SERVER"
"""Names a redis-server, if none is on PATH."""

_NEEDED = "import anyio, taskiq_nats, taskiq_redis, uvloop"
_START_S = 10.0


class TaskPair:
    """Who submits, and who works."""

    def __init__(self, asker: Child, worker: Child, server: NatsServer) -> None:
        self.asker, self.worker, self._server = asker, worker, server
        worker.call("cpu")  # it has started: the stream is there
        asker.call("cpu")

    def trial(self, concurrency: int, seconds: float, command: str = "ask") -> Trial:
        """One trial: rate, median latency, CPU of submitter, worker and server per task."""
        working, serving = self.worker.call("cpu")["cpu_s"], cpu_s(self._server.pid)
        trial = self.asker.call(command, concurrency=concurrency, seconds=seconds)
        each = 1e6 / trial["asked"]
        working = self.worker.call("cpu")["cpu_s"] - working
        serving = cpu_s(self._server.pid) - serving
        return {
            "per_s": trial["per_s"], "p50_us": trial["p50_us"], "asker_us": trial["cpu_s"] * each,
            "worker_us": working * each, "server_us": serving * each,
            "cpu_us": (trial["cpu_s"] + working + serving) * each,
        }  # fmt: skip


@contextmanager
def task_server(*, jetstream: str = "") -> Generator[NatsServer]:
    """A server of our own on a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder), jetstream=jetstream)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def task_pairs(server: NatsServer, ways: Mapping[str, tuple[str, ...]]) -> Generator[dict[str, TaskPair]]:
    """A pair per way: its name to the module and the arguments between URL and role."""
    with ExitStack() as stack:
        made: dict[str, TaskPair] = {}
        for way, (module, *more) in ways.items():
            python = taskiq_python() if module == "task_taskiq" else sys.executable
            worker = stack.enter_context(Child(module, server.url, *more, "worker", python=python))
            worker.call("cpu")
            asker = stack.enter_context(Child(module, server.url, *more, "asker", python=python))
            made[way] = TaskPair(asker, worker, server)
        yield made


def taskiq_python() -> str:
    """An interpreter that has taskiq; empty if there is none."""
    for python in (os.environ.get(TASKIQ_PYTHON, ""), sys.executable):
        if python and not subprocess.run([python, "-c", _NEEDED], check=False, capture_output=True).returncode:
            return python
    return ""


@contextmanager
def redis() -> Generator[str]:
    """The URL of a Redis of our own that appends to its file and syncs each second; empty if there is no binary."""
    binary = os.environ.get(REDIS) or shutil.which("redis-server")
    if not binary:
        yield ""
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--dir", folder]
        process = subprocess.Popen([binary, "--port", str(port), "--bind", "127.0.0.1", *options], stdout=-3)
        try:
            time.sleep(min(0.5, _START_S))
            assert process.poll() is None, f"{binary} does not start"
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()
