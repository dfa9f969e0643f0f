"""One run's deadline: it ends whatever the run waits for at that moment."""

from __future__ import annotations

import asyncio
from typing import Any

from chimera.errors import DeadlineError


class Call:
    """What a run waits for now, so that its deadline can end exactly that."""

    __slots__ = ("_future", "_stage", "expired")

    def __init__(self) -> None:
        self._future: asyncio.Future[Any] | None = None
        self._stage = "queued"
        self.expired = False

    def waits_for(self, future: asyncio.Future[Any], stage: str) -> None:
        """From now on it is this, and the caller is told ``stage`` if it comes too late."""
        self._future, self._stage = future, stage

    def expire(self) -> None:
        """Time is up."""
        self.expired = True
        if self._future is not None and not self._future.done():
            self._future.set_exception(DeadlineError(stage=self._stage))
