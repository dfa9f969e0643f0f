"""CPU of a local ask, as a ratio to a bare asyncio actor: ``python tests/bench/local_ask.py [--json FILE]``.

The bare actor is the least that can be called one: a deque, a task, a future per ask; no deadline, no bound, no
supervision. Both are measured in turns of one run, on the same loop, so that a busy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from chimera import Actor, Request, System, handles

ASKS = 5_000
ROUNDS = 9
CONCURRENCIES = (1, 64)


class Add(Request[int], frozen=True):
    """Add to the sum."""

    by: int


class Counter(Actor):
    """Adds."""

    def __init__(self) -> None:
        self.sum = 0

    @handles
    async def add(self, message: Add) -> int:
        """The sum so far."""
        self.sum += message.by
        return self.sum


class BareActor:
    """A deque, an event and a future per ask."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Add, asyncio.Future[int]]] = deque()
        self._filled = asyncio.Event()
        self._sum = 0

    async def ask(self, message: Add) -> int:
        """One answer."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append((message, future))
        self._filled.set()
        return await future

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            while self._queue:
                message, future = self._queue.popleft()
                future.set_result(await self._add(message))
            self._filled.clear()
            await self._filled.wait()

    async def _add(self, message: Add) -> int:
        self._sum += message.by
        return self._sum


async def cpu_per_ask(ask: Callable[[Add], Awaitable[int]], concurrency: int) -> float:
    """Microseconds of CPU per ask."""
    message = Add(by=1)

    async def caller() -> None:
        for _ in range(ASKS // concurrency):
            await ask(message)

    started = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(caller())
    return (time.process_time() - started) / (ASKS // concurrency * concurrency) * 1e6


async def measure() -> dict[str, float]:
    """Medians over the rounds."""
    figures: dict[str, float] = {}
    bare = BareActor()
    async with System() as system, asyncio.TaskGroup() as group:
        ref = await system.spawn(Counter)
        server = group.create_task(bare.run())
        for concurrency in CONCURRENCIES:
            pairs = [
                (await cpu_per_ask(bare.ask, concurrency), await cpu_per_ask(ref.ask, concurrency))
                for _ in range(ROUNDS)
            ]
            figures[f"bare_us_at_{concurrency}"] = statistics.median(pair[0] for pair in pairs)
            figures[f"ask_us_at_{concurrency}"] = statistics.median(pair[1] for pair in pairs)
            figures[f"ratio_at_{concurrency}"] = statistics.median(pair[1] / pair[0] for pair in pairs)
        server.cancel()
    return figures


def main() -> None:
    """Print the figures and, if asked, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    figures = asyncio.run(measure())
    for name, value in figures.items():
        print(f"{name:>16}  {value:8.2f}")
    print(f"{'load':>16}  {os.getloadavg()[0]:8.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
