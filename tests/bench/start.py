"""A warm start until the first prediction over HTTP, and the main process's memory after a thousand."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench.figures import Benchmark, Figure, Rounds, Trial
from tests.bench.machine import resident_bytes
from tests.support.running import RunningSystem

PREDICTIONS = 1_000


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """One folder, started and stopped again and again; the first start fills the caches and is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        system = RunningSystem(Path(folder))
        rounds = Rounds({"start": lambda: _trial(system)}, 3 if quick else 6)
    return [
        rounds.figure(
            "chimera run on a warm folder: first /predict answered after", lambda trials: trials["start"]["seconds"],
            3.0, unit="s", holds="<=",
        ),
        rounds.figure(
            "  memory of the main process after 1,000 predictions", lambda trials: trials["start"]["resident"] / 1e6,
            80.0, unit="MB", holds="<=",
        ),
    ]  # fmt: skip


def _trial(system: RunningSystem) -> Trial:
    began = time.perf_counter()
    try:
        system.start()
        _predict(system, "first")
        seconds = time.perf_counter() - began
        for number in range(PREDICTIONS):
            _predict(system, f"job-{number}")
        return {"seconds": seconds, "resident": resident_bytes(system.pid)}
    finally:
        system.close()


def _predict(system: RunningSystem, job_id: str) -> None:
    answer = system.predict(job_id, "I love this, it works great!")
    if answer.status_code != 200 or answer.json()["job_id"] != job_id:
        raise AssertionError(f"{job_id} was answered {answer.status_code}: {answer.text}")


BENCHMARK = Benchmark("start", "a warm start to the first prediction, and the process's memory", measure)
