"""Guests in the main process: no hand-over, and no wall between a native fault and everything else.

Only for modules that the operator trusts. A task blocks the event loop for as long as it runs, at most its wall limit.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio.lowlevel

from chimera.clock import Clock
from chimera.errors import DeadlineError

from .contract import GuestFailure, GuestResult
from .residents import Residence, Residents
from .settings import SandboxSettings


class InlinePlace:
    """A ``Place`` inside this process. The engine is made when the first guest is loaded."""

    def __init__(self, settings: SandboxSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._residents: Residents | None = None
        self.instances = 0

    def is_free(self, agent: str) -> bool:
        """Always: a task runs when it is asked for."""
        del agent
        return True

    async def wait_free(self, agent: str) -> None:
        """Nothing to wait for."""
        del agent
        await anyio.lowlevel.checkpoint()

    async def run(
        self, order: Residence, task: str, payloads: Sequence[bytes], timeout_s: float | None
    ) -> list[GuestResult | GuestFailure]:
        """Run the payloads in turn; others get the event loop between two of them.

        Raises:
            DeadlineError: If ``timeout_s`` passed before the last one began.
        """
        ends_at = None if timeout_s is None else self._clock.monotonic() + timeout_s
        outcomes: list[GuestResult | GuestFailure] = []
        for payload in payloads:
            await anyio.lowlevel.checkpoint()
            if ends_at is not None and self._clock.monotonic() >= ends_at:
                raise DeadlineError(stage="running")
            outcomes.append(self._run_one(order, task, payload))
        return outcomes

    async def load(self, order: Residence) -> tuple[str, str]:
        """Load, start and configure it here."""
        await anyio.lowlevel.checkpoint()
        return self._open().load(order)

    def unload(self, order: Residence) -> None:
        """Forget it."""
        if self._residents is not None:
            self._residents.unload(order.number)

    def close(self) -> None:
        """Forget all of them."""
        if self._residents is not None:
            self._residents.close()
            self._residents = None

    def _open(self) -> Residents:
        if self._residents is None:
            settings = self._settings
            # No pool: it would reserve terabytes of the main process's address space.
            self._residents = Residents(
                api=settings.chosen_api(), pooling=False, memory_bytes=settings.memory_limit_bytes
            )
        return self._residents

    def _run_one(self, order: Residence, task: str, payload: bytes) -> GuestResult | GuestFailure:
        residents = self._open()
        before = residents.instances_started(order.number)
        outcome = residents.run(order.number, task, payload)
        self.instances += residents.instances_started(order.number) - before
        residents.tidy()
        return outcome
