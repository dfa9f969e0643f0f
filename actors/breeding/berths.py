"""Processors leased on the nodes where genomes run, for as long as they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from actors.execution.slots import Slot

from .crew import Member

SHARE = 0.75
"""Of a node's workers: live tasks run beside."""

Hold = Callable[[str, float], AbstractAsyncContextManager[Slot]]
"""Of a node: has so many processors leased while the block runs; it begins and ends at once."""


class Berths:
    """Leases what genomes use. Where the broker wants processors back, a node gets one request at a time.

    Args:
        hold: How to lease; ``None`` = nothing is leased.
    """

    def __init__(self, hold: Hold | None = None) -> None:
        self._hold = hold
        self._held: dict[str, tuple[AsyncExitStack, Slot]] = {}

    async def keep(self, members: Iterable[Member]) -> None:
        """Have these nodes' processors leased, and no others."""
        wanted = {member.name: member for member in members}
        for node in [node for node in self._held if node not in wanted]:
            await self._held.pop(node)[0].aclose()
        if self._hold is not None:
            for member in wanted.values():
                member.spared = (await self._slot(self._hold, member)).noticed

    async def _slot(self, hold: Hold, member: Member) -> Slot:
        cpus = SHARE * member.workers
        if member.name not in self._held:
            stack = AsyncExitStack()
            self._held[member.name] = (stack, await stack.enter_async_context(hold(member.name, cpus)))
        slot = self._held[member.name][1]
        if slot.cpus != cpus:
            slot.resize(cpus)
        return slot
