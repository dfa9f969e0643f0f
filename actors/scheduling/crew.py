"""Tasks that are kept for the next attempt: starting one costs several times what an attempt itself does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")
IDLE = 128
"""Tasks that may wait for work at once; more end when their work does."""


class Crew(Generic[T]):
    """Does each job in a task of its own, inside a scope whose cancellation ends that job only.

    Whoever keeps a job's scope forgets it when the job ends: the next job runs in the same one.

    Args:
        spawn: Starts a background task.
        work: Does a job.
    """

    def __init__(self, spawn: Callable[..., None], work: Callable[[T, anyio.CancelScope], Awaitable[None]]) -> None:
        self._spawn, self._work = spawn, work
        self._idle: list[asyncio.Future[T]] = []

    def __len__(self) -> int:
        """Tasks that wait for work."""
        return len(self._idle)

    def take(self, job: T) -> None:
        """Have it done, beginning soon."""
        while self._idle:
            future = self._idle.pop()
            if not future.done():
                future.set_result(job)
                return
        self._spawn(self._serve, job)

    async def _serve(self, job: T | None) -> None:
        while True:
            with anyio.CancelScope() as scope:
                while not scope.cancel_called:  # so that nothing but the end of all this can cancel the wait
                    if job is None:
                        if len(self._idle) >= IDLE:
                            return
                        job = await self._park()
                    mine, job = job, None
                    await self._work(mine, scope)

    async def _park(self) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._idle.append(future)
        return await future
