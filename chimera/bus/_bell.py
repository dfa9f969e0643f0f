"""Waiting for "something happened" with a deadline, on a clock that a simulation can own."""

from __future__ import annotations

import asyncio

from chimera.clock import Clock


class Bell:
    """One waiter sleeps until somebody rings, or until its time is up. A ring while nobody waits is kept."""

    __slots__ = ("_future", "_rung")

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None
        self._rung = False

    def ring(self) -> None:
        """Wake the waiter; a plain call for callbacks."""
        self._rung = True
        self._wake()

    async def wait(self, clock: Clock, timeout_s: float) -> bool:
        """True if it rang, False if ``timeout_s`` passed first."""
        if not self._rung:
            self._future = asyncio.get_running_loop().create_future()
            timer = clock.call_later(timeout_s, self._wake)
            try:
                await self._future
            finally:
                timer.cancel()
                self._future = None
        rung, self._rung = self._rung, False
        return rung

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
