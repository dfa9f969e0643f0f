"""Rows a second into the store: SQLite beside PostgreSQL, interleaved in one run, as ratios.

    python -m tests.bench.store [seconds per round] [rounds]

``single``: one caller, one row a call. ``callers``: 64 callers, one row of their own a call (settings). ``batches``:
one caller, 200 rows a call, which is what the projector does. ``reads``: one caller, one job by its id. Both databases
sync before they answer.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from chimera.store import Store, open_store
from subjects.event import TaskProcessed
from tests.support.postgres import PostgresServer

BATCH, CALLERS = 200, 64
Step = Callable[[], Awaitable[int]]
_numbers = itertools.count(1)


def _record(number: int) -> TaskProcessed:
    return TaskProcessed(
        job_id=f"j{number}", agent="a", release=1, task="predict", outcome="ok", at=float(number), queue_ms=0.1,
        run_ms=0.2, cpu_ms=0.2, memory_bytes=65_536, node="n", input={"text": "x" * 100}, output={"label": "positive"},
    )  # fmt: skip


def _writer(store: Store, rows: int) -> Step:
    async def step() -> int:
        batch = [(number, _record(number)) for number in itertools.islice(_numbers, rows)]
        return await store.save_outcomes(batch, stream="KPI")

    return step


def _setter(store: Store) -> Step:
    async def step() -> int:
        await store.set_setting(f"s{next(_numbers) % 10_000}", "x" * 200)
        return 1

    return step


def _reader(store: Store) -> Step:
    async def step() -> int:
        await store.outcome("j1")
        return 1

    return step


async def _rate(step: Step, callers: int, seconds: float) -> float:
    """Rows a second."""
    done = 0
    began = time.perf_counter()

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < began + seconds:
            rows = await step()
            done += rows

    async with anyio.create_task_group() as group:
        for _ in range(callers):
            group.start_soon(caller)
    return done / (time.perf_counter() - began)


def _ways(store: Store) -> dict[str, tuple[Step, int]]:
    return {
        "single": (_writer(store, 1), 1),
        "callers": (_setter(store), CALLERS),
        "batches": (_writer(store, BATCH), 1),
        "reads": (_reader(store), 1),
    }


async def _compare(url: str, folder: Path, seconds: float, rounds: int) -> dict[str, object]:
    rates: dict[str, dict[str, list[float]]] = {}
    async with open_store("", folder) as sqlite, open_store(url, folder) as postgres:
        for _ in range(rounds):
            for way in _ways(sqlite):
                for name, store in (("sqlite", sqlite), ("postgres", postgres)):
                    step, callers = _ways(store)[way]
                    rates.setdefault(way, {}).setdefault(name, []).append(await _rate(step, callers, seconds))
    result: dict[str, object] = {"load": os.getloadavg()[0], "rounds": rounds}
    for way, found in rates.items():
        ratios = [mine / peer for mine, peer in zip(found["postgres"], found["sqlite"], strict=True)]
        medians = {f"{name}_rows_per_s": round(statistics.median(values)) for name, values in found.items()}
        result[way] = {**medians, "postgres_to_sqlite": round(statistics.median(ratios), 2)}
    return result


def main() -> None:
    """Run it."""
    seconds, rounds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0, int(sys.argv[2]) if len(sys.argv) > 2 else 3
    server = PostgresServer()
    try:
        server.start()
        with tempfile.TemporaryDirectory() as folder:
            found = anyio.run(_compare, server.url(), Path(folder), seconds, rounds)
    finally:
        server.close()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
