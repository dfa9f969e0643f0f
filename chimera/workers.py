"""Tasks that are kept for the next piece of work: starting one in a task group costs as much as several asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import anyio

IDLE = 256
"""Tasks that may wait for work at once; more end when their work does."""


class Job(Protocol):
    """Something that a worker does."""

    async def work(self, scope: anyio.CancelScope) -> None:
        """Do it. After ``scope`` was cancelled it is called again, in a fresh scope, to do the rest."""
        ...


class Workers:
    """Runs jobs in tasks of one task group, each inside a scope that a job may cancel without losing the task.

    A scope, unlike ``Task.cancel``, honours the shields that a handler holds around its cleaning up, and reaches a
    handler that swallowed the first ``CancelledError``. Entered once per worker, it costs a turn nothing.
    """

    __slots__ = ("_idle", "_start_soon")

    def __init__(self, start_soon: Callable[..., None]) -> None:
        self._start_soon = start_soon
        self._idle: list[asyncio.Future[Job]] = []

    def run(self, job: Job) -> None:
        """Start it soon."""
        idle = self._idle
        while idle:
            future = idle.pop()
            if not future.done():
                future.set_result(job)
                return
        self._start_soon(self._work, job)

    def __len__(self) -> int:
        """Tasks that wait for work."""
        return len(self._idle)

    async def _work(self, first: Any) -> None:
        job: Job | None = first
        while True:
            with anyio.CancelScope() as scope:
                while not scope.cancel_called:
                    if job is None:
                        if len(self._idle) >= IDLE:
                            return
                        job = await self._park()
                    await job.work(scope)
                    if not scope.cancel_called:
                        job = None

    async def _park(self) -> Job:
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._idle.append(future)
        return await future
