"""Time as an argument, so that a simulation can own it."""

from __future__ import annotations

import asyncio
import time as _time
from collections.abc import Callable
from typing import Protocol

import anyio


class Timer(Protocol):
    """A callback that waits for its moment."""

    def cancel(self) -> None:
        """Forget it."""
        ...


class Clock(Protocol):
    """Where the runtime takes its time from."""

    def monotonic(self) -> float:
        """Seconds that never go back: for every deadline and interval inside a node."""
        ...

    def time(self) -> float:
        """Unix seconds: for people, and for deadlines that travel."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` in ``delay`` seconds. It must not raise."""
        ...

    async def sleep(self, delay: float) -> None:
        """Wait ``delay`` seconds."""
        ...


class SystemClock:
    """The machine's own clock; needs a running event loop for ``call_later``."""

    def monotonic(self) -> float:
        """Seconds of the system's monotonic clock."""
        return _time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch."""
        return _time.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """A timer of the running event loop."""
        return asyncio.get_running_loop().call_later(delay, callback)

    async def sleep(self, delay: float) -> None:
        """Sleep in the event loop."""
        await anyio.sleep(delay)
