"""The records of one node's devices: as they change, and as the stream's leader has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from actors.brokering.record import Record, unpack
from actors.brokering.streams import DEVICES, subject_of
from chimera.bus.contract import Bus, Stored
from chimera.clock import Clock

SETTLED_S = 5.0
"""For so long after the leader was asked, what is followed may be older than its answer, and is not believed then.

Not for longer: after a store was set back, older is what there is.
"""


@dataclass(slots=True)
class Records:
    """Reads the records of ``node``.

    Attributes:
        bus: Where they are.
        clock: For how long an answer of the leader is newer than what is followed.
        node: Whose devices.
    """

    bus: Bus
    clock: Clock
    node: str
    _asked: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])

    async def last(self, device: str) -> Record | None:
        """A device's record as the stream's leader has it; ``None`` = it has none.

        Raises:
            ChimeraError: If the leader does not answer.
        """
        stored = await self.bus.last(DEVICES, subject_of(f"{self.node}.{device}"))
        if stored is None:
            return None
        self._asked[device] = (stored.seq, self.clock.monotonic() + SETTLED_S)
        return unpack(stored.data)

    @asynccontextmanager
    async def follow(self) -> AsyncGenerator[AsyncIterator[Record]]:
        """The present record of each device, then every change."""
        subject = subject_of(f"{self.node}.>")
        async with self.bus.read(DEVICES, subject=subject, follow=True, latest=True) as source:
            yield self._records(source)

    async def _records(self, source: AsyncIterator[Stored]) -> AsyncIterator[Record]:
        async for stored in source:
            seq, until = self._asked.get(stored.subject.rpartition(".")[2], (0, 0.0))
            if stored.seq < seq and self.clock.monotonic() < until:
                continue
            try:
                yield unpack(stored.data)
            except msgspec.DecodeError:
                continue  # not a record that we know how to read: what we know already stands
