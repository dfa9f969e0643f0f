"""Many answers to one question (ADR-47)."""

from __future__ import annotations

from chimera.clock import Clock

from ._bell import Bell
from ._replies import raise_for_status
from .contract import Delivery


class Gathering:
    """The answers to one question that many may answer."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._answers: list[Delivery] = []
        self._bell = Bell()

    def take(self, delivery: Delivery) -> None:
        """Where the reply subject delivers."""
        self._answers.append(delivery)
        self._bell.ring()

    async def answers(self, clock: Clock, timeout_s: float, stall_s: float) -> list[Delivery]:
        """All answers. The first one may take the whole time, each later one ``stall_s``.

        Raises:
            NotRunningError: If nobody listens.
            BusDownError: If the connection was lost.
            DeniedError: If it is not permitted.
        """
        deadline, wait = clock.monotonic() + timeout_s, timeout_s
        seen = 0
        while wait > 0 and await self._bell.wait(clock, wait):
            for answer in self._answers[seen:]:
                raise_for_status(answer, self._subject)
            seen = len(self._answers)
            wait = min(stall_s, deadline - clock.monotonic())
        return self._answers
