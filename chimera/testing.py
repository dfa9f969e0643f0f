"""Helpers for testing actors: a clock that a test moves, and a recorder of events."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio


@dataclass(order=True)
class _Alarm:
    at: float
    order: int
    callback: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """A ``Clock`` that stands still until ``advance`` moves it. Wall time starts at ``epoch``."""

    def __init__(self, *, start: float = 1_000.0, epoch: float = 1_800_000_000.0) -> None:
        self._now = start
        self._offset = epoch - start
        self._alarms: list[_Alarm] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        """Seconds moved so far, plus the start."""
        return self._now

    def time(self) -> float:
        """Unix seconds."""
        return self._now + self._offset

    def jump(self, seconds: float) -> None:
        """Move the wall clock only, as an administrator or NTP does."""
        self._offset += seconds

    def call_later(self, delay: float, callback: Callable[[], None]) -> _Alarm:
        """Run ``callback`` when the clock has moved ``delay`` seconds."""
        alarm = _Alarm(self._now + max(delay, 0.0), next(self._order), callback)
        heapq.heappush(self._alarms, alarm)
        return alarm

    async def sleep(self, delay: float) -> None:
        """Wait until the clock has moved ``delay`` seconds."""
        woken = anyio.Event()
        alarm = self.call_later(delay, woken.set)
        try:
            await woken.wait()
        finally:
            alarm.cancel()

    async def advance(self, seconds: float) -> None:
        """Move on, ringing each alarm at its time and letting tasks run after each."""
        until = self._now + seconds
        await settle()
        while self._alarms and self._alarms[0].at <= until:
            alarm = heapq.heappop(self._alarms)
            self._now = max(self._now, alarm.at)
            if not alarm.cancelled:
                alarm.callback()
                await settle()
        self._now = until
        await settle()


async def settle(rounds: int = 20) -> None:
    """Let every task that can run do so."""
    for _ in range(rounds):
        await anyio.lowlevel.checkpoint()


class EventRecorder:
    """An event sink that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, layer: str, message: str, level: str, fields: dict[str, Any], /) -> None:
        """Take one event."""
        self.events.append((name, {"layer": layer, "message": message, "level": level, **fields}))

    def names(self) -> list[str]:
        """The names so far, in order."""
        return [name for name, _ in self.events]
