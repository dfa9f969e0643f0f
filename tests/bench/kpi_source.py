"""A process that stores outcomes of tasks in the KPI stream, at a given rate or as fast as it can."""

from __future__ import annotations

import itertools
import random
import sys
import time
from typing import Any

import anyio

from chimera.bus.contract import StreamSpec
from chimera.bus.nats import NatsBus
from chimera.wire import encode
from subjects.event import TaskProcessed
from tests.bench.child import obey, run

_AGENTS, _BATCH = 20, 250


async def _main() -> None:
    rng = random.Random(1)  # noqa: S311 - figures of made-up tasks
    numbers = itertools.count()

    def message() -> tuple[str, bytes, str]:
        agent, number = f"agent-{rng.randrange(_AGENTS)}", next(numbers)
        record = TaskProcessed(
            job_id=f"job-{number}", agent=agent, release=1, task="predict", outcome="ok", at=time.time(),
            queue_ms=rng.expovariate(2), run_ms=rng.lognormvariate(0, 0.5), cpu_ms=rng.lognormvariate(0, 0.5),
            memory_bytes=1 << 20, node="n", key=f"user-{number % 1000}",
            input={"text": "I love this, it works great! " * 3}, output={"label": "positive", "score": rng.random()},
        )  # fmt: skip
        return f"chimera.kpi.{agent}", encode(record), record.job_id

    async with NatsBus(sys.argv[1], name="source") as bus:
        await bus.declare(StreamSpec("KPI", ("chimera.kpi.>",)))
        await bus.declare(StreamSpec("EVENTS", ("chimera.event.>",)))

        async def send(count: int, rate: float = 0.0) -> dict[str, Any]:
            began = time.perf_counter()
            for sent in range(0, count, _BATCH):
                await bus.append_many([message() for _ in range(_BATCH)])
                if rate:
                    await anyio.sleep(max(0.0, began + (sent + _BATCH) / rate - time.perf_counter()))
            return {"seconds": time.perf_counter() - began}

        await obey({"send": send})


if __name__ == "__main__":
    run(_main)
