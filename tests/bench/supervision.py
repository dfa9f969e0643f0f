"""The NATS server is killed: how long until a request over NATS is answered again."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import anyio

from chimera.bus.contract import Bus
from chimera.cli.client import make_bus, raise_problem
from chimera.config import load
from chimera.errors import ChimeraError
from chimera.wire import decode
from subjects.agent import PREDICT, Prediction
from tests.bench.figures import Benchmark, Figure, Rounds, Trial
from tests.support.processes import children_like
from tests.support.running import RunningSystem

_PATIENCE_S = 30.0
_BODY = b'{"job_id":"%s","input":{"text":"I love this, it works great!"}}'


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """A whole system and a client of its own, asking before and after ``kill -9``."""
    with tempfile.TemporaryDirectory() as folder:
        system = RunningSystem(Path(folder))
        system.start()
        try:
            rounds = Rounds({"kill": lambda: anyio.run(_trial, system)}, 3 if quick else 5, warm=0)
        finally:
            system.close()
    return [
        rounds.figure(
            "kill -9 of nats-server: next request over NATS answered after", lambda trials: trials["kill"]["seconds"],
            2.0, unit="s", holds="<=",
        ),
    ]  # fmt: skip


async def _trial(system: RunningSystem) -> Trial:
    settings = load(flags={"node.data_dir": str(system.data)}).settings
    async with make_bus(settings) as bus:
        await _predict(bus)
        (server,) = children_like(system.pid, "nats-server")
        began = time.perf_counter()
        os.kill(server, signal.SIGKILL)
        with anyio.fail_after(_PATIENCE_S):
            while not await _answers(bus):  # noqa: ASYNC110 - what is waited for happens in another process
                await anyio.sleep(0.01)
        return {"seconds": time.perf_counter() - began}


async def _answers(bus: Bus) -> bool:
    try:
        await _predict(bus)
    except ChimeraError:
        return False
    return True


async def _predict(bus: Bus) -> None:
    job_id = f"bench-{time.monotonic_ns()}"
    answer = await bus.request(PREDICT.subject, _BODY % job_id.encode(), timeout_s=1.0)
    raise_problem(answer)
    if decode(answer.data, Prediction).job_id != job_id:
        raise AssertionError(f"{job_id} was answered {answer.data!r}")


BENCHMARK = Benchmark("supervision", "kill -9 of the NATS server until a request over NATS is answered", measure)
