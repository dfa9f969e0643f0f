"""Tells others what happened: at most once, in order, and never in the way of the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import ChimeraError
from chimera.wire import encode
from subjects import Event

from .alarm import Alarm

_IDLE_S = 3600.0
_LIMIT = 50_000


class Herald:
    """Facts on their way out. More than 50,000 waiting: the oldest are dropped and counted.

    Args:
        bus: Where they go.
        clock: For waiting.
        report: Writes to the event log.
    """

    def __init__(self, bus: Bus, clock: Clock, report: Callable[..., None]) -> None:
        self._bus, self._report = bus, report
        self._waiting: deque[tuple[str, Event]] = deque(maxlen=_LIMIT)
        self._alarm = Alarm(clock)
        self.lost = 0

    def tell(self, subject: str, event: Event) -> None:
        """Take a fact."""
        self.lost += len(self._waiting) == _LIMIT
        self._waiting.append((subject, event))
        self._alarm.ring()

    async def run(self) -> None:
        """Publish what there is, for ever. JSON, because whoever listens may be no program of ours."""
        while True:
            while self._waiting:
                subject, event = self._waiting.popleft()
                try:
                    await self._bus.publish(subject, encode(event, "json"))
                except ChimeraError as error:
                    self.lost += 1
                    self._report("data-access", f"{subject} could not be told: {error.detail}", level="warning")
            await self._alarm.wait(_IDLE_S)
