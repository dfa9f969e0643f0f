"""Waiting for a ring or for the time, whichever comes first."""

from __future__ import annotations

import anyio

from chimera.clock import Clock


class Alarm:
    """One waiter, many ringers. A ring before the wait is not lost."""

    __slots__ = ("_clock", "_event")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = anyio.Event()

    def ring(self) -> None:
        """Wake the waiter."""
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when it rang, or after ``timeout_s``."""
        timer = self._clock.call_later(timeout_s, self._event.set)
        try:
            await self._event.wait()
        finally:
            timer.cancel()
        self._event = anyio.Event()
