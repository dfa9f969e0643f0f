"""A process that ingests the KPI stream as a node does: into the store and into the observatory, on one core."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio

from actors.refining.observatory import Observatory
from chimera.bus.nats import NatsBus
from chimera.clock import SystemClock
from chimera.store import open_store
from chimera.store.projector import Projector
from subjects.optimizer import CheckKpi
from tests.bench.child import obey, run
from tests.bench.machine import resident_bytes

_TICK_S = 0.005


class Ticker:
    """How much later than wanted the event loop gives a sleeper its turn."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=100_000)

    async def run(self) -> None:
        """Sleep again and again."""
        while True:
            began = time.perf_counter()
            await anyio.sleep(_TICK_S)
            self._late.append(time.perf_counter() - began - _TICK_S)

    def take(self) -> list[float]:
        """What was seen since the last call, in ms, sorted."""
        late, self._late = sorted(self._late), deque(maxlen=100_000)
        return [1e3 * each for each in late] or [0.0]


async def _main() -> None:
    url, folder = sys.argv[1:3]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ticker = Ticker()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(NatsBus(url, name="kpi"))
        store = await stack.enter_async_context(open_store("", Path(folder), "process"))
        observatory = Observatory(bus=bus, clock=SystemClock(), report=lambda *_, **__: None)
        projector = Projector(bus, store)
        group = await stack.enter_async_context(anyio.create_task_group())
        group.start_soon(ticker.run)

        async def begin() -> dict[str, Any]:
            group.start_soon(observatory.run)
            group.start_soon(projector.run)
            return {}

        async def state() -> dict[str, Any]:
            health, late = await observatory.kpi(CheckKpi()), ticker.take()
            return {
                "at": time.perf_counter(), "ingested": health.ingested, "lag": health.lag_messages,
                "lag_s": health.lag_s,
                "rejected": sum(health.rejected.values()) + health.late, "saved": projector.statistics.saved,
                "resident": resident_bytes(os.getpid()), "cpu_s": time.process_time(),
                "late_p99_ms": late[int(0.99 * len(late))], "late_ms": late[-1],
            }  # fmt: skip

        await obey({"begin": begin, "state": state})
        group.cancel_scope.cancel()


if __name__ == "__main__":
    run(_main)
