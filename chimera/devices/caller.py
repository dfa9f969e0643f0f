"""Calls into a driver that may never return: one thread of their own, a deadline each, and a bound on what hangs."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio

from chimera.errors import UnavailableError

T = TypeVar("T")
MOST_HUNG = 4
"""Threads that may hang at once; with as many, nothing is called until one of them returns."""


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    work: Callable[[], T]
    loop: asyncio.AbstractEventLoop
    ended: anyio.Event = field(default_factory=anyio.Event)
    returned: bool = False
    result: Any = None
    error: Exception | None = None

    def run(self) -> None:
        try:
            self.result = self.work()
        except Exception as error:  # noqa: BLE001 - it belongs to the one who waits
            self.error = error
        self.returned = True
        with suppress(RuntimeError):  # the loop may be gone by the time a hanging call returns
            self.loop.call_soon_threadsafe(self.ended.set)


class Caller:
    """Runs blocking calls one after the other in one thread, so that none of them can hold up the event loop.

    A call that is not back in time is left behind with its thread, and a new thread goes on with the others. Nothing
    is called again for the same ``key`` until the one that hangs has returned, so a sick device costs one thread.

    Args:
        name: Of the threads.
        deadline_s: How long one call may take.
    """

    def __init__(self, name: str, *, deadline_s: float = 2.0) -> None:
        self._name, self._deadline_s = name, deadline_s
        self._turn = anyio.Lock()
        self._queue: queue.SimpleQueue[_Job[Any] | None] | None = None
        self._hung: list[tuple[str, _Job[Any]]] = []

    @property
    def hanging(self) -> list[str]:
        """The keys of the calls that have not returned."""
        self._hung = [(key, job) for key, job in self._hung if not job.returned]
        return [key for key, _ in self._hung]

    async def call(self, work: Callable[[], T], *, key: str = "") -> T:
        """What ``work`` gives, or raises.

        Args:
            work: Runs in the thread.
            key: What it is about: calls for other keys go on while one of this key hangs.

        Raises:
            UnavailableError: If it did not return in time, or an earlier call for the key has not returned yet.
        """
        async with self._turn:
            hanging = self.hanging
            if key in hanging:
                raise UnavailableError(f"still no answer for {key or 'the driver'}: an earlier call has not returned")
            if len(hanging) >= MOST_HUNG:
                raise UnavailableError(f"no answer to {len(hanging)} calls: nothing more is asked until one returns")
            return await self._run(_Job(work, asyncio.get_running_loop()), key)

    async def _run(self, job: _Job[T], key: str) -> T:
        self._thread().put(job)
        try:
            with anyio.move_on_after(self._deadline_s):
                await job.ended.wait()
        finally:
            if not job.returned:
                self._leave_behind(job, key)
        if not job.returned:
            raise UnavailableError(f"no answer for {key or 'the driver'} within {self._deadline_s:g} s")
        if job.error is not None:
            raise job.error
        return job.result

    def close(self) -> None:
        """Let the thread end after what it does now; a hanging one is a daemon and ends with the process."""
        if self._queue is not None:
            self._queue.put(None)
            self._queue = None

    def _thread(self) -> queue.SimpleQueue[_Job[Any] | None]:
        if self._queue is None:
            self._queue = queue.SimpleQueue()
            threading.Thread(target=_serve, args=(self._queue,), name=self._name, daemon=True).start()
        return self._queue

    def _leave_behind(self, job: _Job[Any], key: str) -> None:
        self._hung.append((key, job))
        self.close()


def _serve(jobs: queue.SimpleQueue[_Job[Any] | None]) -> None:
    while (job := jobs.get()) is not None:
        job.run()
