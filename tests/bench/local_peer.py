"""Asks inside one process: an actor of a system, and the least that can be called an actor."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import anyio

from chimera import System
from tests.bench.child import load, obey, run
from tests.bench.nats_peer import SIZE, Answerer, Echo, Tally


class BareActor:
    """A deque, an event and a future per ask: no deadline, no bound, no supervision."""

    def __init__(self) -> None:
        self._queue: deque[tuple[bytes, asyncio.Future[bytes]]] = deque()
        self._filled = asyncio.Event()

    async def ask(self, payload: bytes) -> bytes:
        """One answer."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._queue.append((payload, future))
        self._filled.set()
        return await future

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            while self._queue:
                payload, future = self._queue.popleft()
                future.set_result(await self._echo(payload))
            self._filled.clear()
            await self._filled.wait()

    async def _echo(self, payload: bytes) -> bytes:
        return payload


async def main() -> None:
    """Start both, then obey."""
    bare = BareActor()
    async with System() as system, anyio.create_task_group() as group:
        ref = await system.spawn(Answerer, tally=Tally())
        group.start_soon(bare.run)

        async def ask(way: str, concurrency: int, seconds: float) -> dict[str, Any]:
            if way == "bare":
                return await load(bare.ask, SIZE, concurrency, seconds)
            return await load(lambda payload: ref.ask(Echo(payload), timeout_s=5.0), SIZE, concurrency, seconds)

        await obey({"ask": ask})
        group.cancel_scope.cancel()


if __name__ == "__main__":
    run(main)
