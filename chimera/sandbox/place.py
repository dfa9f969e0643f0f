"""What worker processes and the main process have in common as places where guests run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .contract import GuestFailure, GuestResult
from .residents import Residence

Outcome = GuestResult | GuestFailure


class Place(Protocol):
    """Where guests run: worker processes, or this one."""

    def is_free(self, agent: str) -> bool:
        """True if a run now would not wait."""
        ...

    async def wait_free(self, agent: str) -> None:
        """Wait until one would not."""
        ...

    async def run(
        self, order: Residence, task: str, payloads: Sequence[bytes], timeout_s: float | None
    ) -> list[Outcome]:
        """Run the payloads in turn; one outcome each."""
        ...

    async def load(self, order: Residence) -> tuple[str, str]:
        """Load a guest everywhere, or nowhere: an empty status, or who is to blame and why."""
        ...

    def unload(self, order: Residence) -> None:
        """Forget a guest."""
        ...
