"""The ledger as it is added up: stream USAGE read from its beginning and followed, and what is not in it yet."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from actors.costing.buckets import MINUTE, US, Line, Who, micros
from actors.costing.budget import Live
from actors.costing.prices import Sort, Tariff
from actors.costing.statement import Open
from actors.costing.timeline import Timeline
from chimera.bus.contract import Stored
from chimera.errors import ChimeraError, UnavailableError
from chimera.wire import decode
from subjects.lease import SAMPLED, USED, LeaseInterval, Sampled

from .core import Core
from .record import Record
from .streams import USAGE
from .usage import node_gpus

_AGAIN_S = 1.0
READ_S = 5.0
"""For so long a question waits for the ledger to be read, after a start."""

_BREATH = 200
"""Lines that are read in a row before others have a turn."""


class Accounts:
    """Knows what was used.

    Args:
        core: What the parts share.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.timeline = Timeline(core.clock.time())
        self._cuts: list[float] = []
        self.ready = anyio.Event()
        self.trouble = ""
        self.unreadable = 0

    async def wait(self) -> None:
        """Wait, after a start, until the ledger has been read.

        Raises:
            UnavailableError: If that takes too long.
        """
        with anyio.move_on_after(READ_S):
            await self.ready.wait()
        if not self.ready.is_set():
            raise UnavailableError("the usage ledger is being read", retry_after_s=1.0)

    async def run(self) -> None:
        """Follow the ledger and fold what is old, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow)
            group.start_soon(self._grow_old)

    async def _follow(self) -> None:
        while True:
            try:
                _, last, count = await self._core.bus.stream_state(USAGE)
                if self.timeline.seq > last:  # it was set back, or made anew
                    self._begin()
                if count and self.timeline.seq < last:
                    await self._read(follow=False)
                self.ready.set()
                self.trouble = ""
                await self._read(follow=True)
            except ChimeraError as error:
                self.trouble = error.detail
            await self._core.clock.sleep(_AGAIN_S)

    async def _read(self, *, follow: bool) -> None:
        count = 0
        async with self._core.bus.read(USAGE, start_seq=self.timeline.seq + 1, follow=follow) as source:
            async for stored in source:
                self._take(stored)
                count += 1
                if count % _BREATH == 0:
                    await checkpoint()

    def _begin(self) -> None:
        self.timeline = Timeline(self._core.clock.time())
        self.timeline.cut(self._cuts)

    def _take(self, stored: Stored) -> None:
        try:
            if stored.subject == USED:
                self.timeline.take(stored.seq, decode(stored.data, LeaseInterval))
            elif stored.subject == SAMPLED:
                self.timeline.sample(stored.seq, decode(stored.data, Sampled))
        except msgspec.DecodeError:
            self.unreadable += 1
        self.timeline.seq = max(self.timeline.seq, stored.seq)

    async def _grow_old(self) -> None:
        while True:
            await self._core.clock.sleep(MINUTE)
            self.timeline.advance(self._core.clock.time())

    def priced(self, tariff: Tariff) -> None:
        """Prices changed: sums are kept apart at that moment."""
        self._cuts = [table.since for table in tariff.tables]
        self.timeline.cut(self._cuts)

    # -- what is not in the ledger yet -------------------------------------------------------------------------------

    def live(self, now: float) -> list[Live]:
        """Shares that are lent now, and those that ended whose line was not read yet."""
        core = self._core
        gpus = gpus_of(core)
        found: list[Live] = []
        for record in core.registry.records():
            if record.grants or record.lines:
                sort = Sort(record.kind, record.model, record.milli, gpus.get(record.node, 0))
                found += self._of(record, sort, now)
        return found

    def _of(self, record: Record, sort: Sort, now: float) -> Iterator[Live]:
        for one in record.grants:
            if not one.ended:
                ppm = round(record.share(one.milli, one.memory_mib) * US)
                who, begin = Who(one.layer, one.tenant, one.agent), micros(one.granted_at)
                yield Live(Open(who, sort, one.lease, begin, micros(now), ppm, one.milli), one.expires_at)
        for line in record.lines:
            if not self.timeline.has((record.id, line.lease, line.token)):
                ppm = round(record.share(line.milli, line.memory_mib) * US)
                who = Who(line.layer, line.tenant, line.agent)
                begin, end = micros(line.began_at), micros(line.ended_at)
                yield Live(Open(who, sort, line.lease, begin, end, ppm, line.milli), 0.0)

    def fleet(self) -> dict[Line, list[Sort]]:
        """The devices there are, by kind and model, as their prices see them."""
        gpus = gpus_of(self._core)
        found: dict[Line, list[Sort]] = {}
        for record in self._core.registry.records():
            sort = Sort(record.kind, record.model, record.milli, gpus.get(record.node, 0))
            found.setdefault((record.kind, record.model), []).append(sort)
        return found


def gpus_of(core: Core) -> dict[str, int]:
    """GPUs of each node; the instances of one that is split count as that one."""
    return {node: count for node in core.registry.nodes if (count := node_gpus(core.registry.on_node(node)))}
