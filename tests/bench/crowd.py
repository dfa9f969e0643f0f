"""Starts many actors in one fresh process, and asks each once."""

from __future__ import annotations

import gc
import os
import time

from chimera import System
from tests.bench.child import obey, run
from tests.bench.machine import resident_bytes
from tests.bench.nats_peer import Answerer, Echo, Tally


async def main() -> None:
    """Obey."""
    async with System() as system:
        tally = Tally()

        async def spawn(count: int) -> dict[str, float]:
            await system.spawn(Answerer, key="first", tally=tally)
            gc.collect()
            before, began, cpu = resident_bytes(os.getpid()), time.perf_counter(), time.process_time()
            for number in range(count):
                await system.spawn(Answerer, key=str(number), tally=tally)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            gc.collect()
            return {
                "seconds": seconds, "cpu_s": cpu, "each_bytes": (resident_bytes(os.getpid()) - before) / count,
            }  # fmt: skip

        async def ask_all(count: int) -> dict[str, float]:
            before = resident_bytes(os.getpid())
            for number in range(count):
                body = str(number).encode()
                if await system.ref(Answerer.actor_name, key=str(number)).ask(Echo(body)) != body:
                    raise AssertionError(f"actor {number} answered something else")
            gc.collect()
            return {"more_bytes": (resident_bytes(os.getpid()) - before) / count}

        await obey({"spawn": spawn, "ask_all": ask_all})


if __name__ == "__main__":
    run(main)
