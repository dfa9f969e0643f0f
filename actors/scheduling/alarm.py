"""Waiting for a ring or for the time, whichever comes first."""

from __future__ import annotations

import asyncio

from chimera.clock import Clock


class Alarm:
    """One waiter, many ringers. A ring before the wait is not lost; it is heard after others had their turn.

    A bare future, because the scheduler rings and waits several times per task: an event costs four times as much.
    """

    __slots__ = ("_clock", "_rung", "_waiter")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake the waiter."""
        self._rung = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self, timeout_s: float) -> None:
        """Return when it rang, or after ``timeout_s``."""
        if self._rung:
            await asyncio.sleep(0)
        else:
            self._waiter = asyncio.get_running_loop().create_future()
            timer = self._clock.call_later(timeout_s, self.ring)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        self._rung = False
