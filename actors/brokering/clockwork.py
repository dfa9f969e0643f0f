"""What the broker does by itself: ends what is over, gives notice, listens to silence, stores the ledger, samples."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from chimera.errors import ChimeraError

from .core import Core
from .desk import Desk
from .patterns import Patterns
from .queue import Queue
from .reclaim import Notice, idle
from .record import Grant
from .streams import DEVICES
from .usage import SAMPLE_S, Usage

SWEEP_S, LOOK_S, SHIP_S, LEARN_S, IDLE_S = 0.25, 1.0, 0.5, 0.1, 1.0
MOST_ENDS = 64
_PUMP_PAUSE_S, _WARM_PAUSE_S = 0.01, 0.001
_AGAIN_S = 1.0


class Clockwork:
    """Runs the broker's own work, for ever.

    Args:
        core: What the parts share.
        desk: Ends leases and gives notice.
        queue: Requests that wait.
        usage: The ledger.
        patterns: Counts samples.
    """

    def __init__(self, core: Core, desk: Desk, queue: Queue, usage: Usage, patterns: Patterns) -> None:
        self._core, self._desk, self._queue, self._usage, self._patterns = core, desk, queue, usage, patterns
        self._wake, self._changed = anyio.Event(), anyio.Event()
        self._limit = anyio.CapacityLimiter(MOST_ENDS)
        self._ending: set[str] = set()
        self.trouble = ""

    def ring(self) -> None:
        """Something may be free: try those who wait."""
        self._changed.set()
        if len(self._queue):
            self._wake.set()

    async def run(self) -> None:
        """All of it."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._pump)
            group.start_soon(self._warm)
            group.start_soon(self._every, SWEEP_S, self.sweep)
            group.start_soon(self._every, LOOK_S, self.look)
            group.start_soon(self._every, SHIP_S, self._usage.ship)
            group.start_soon(self._every, LEARN_S, self._learn)
            group.start_soon(self._every, IDLE_S, self.end_idleness)
            group.start_soon(self._sample)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            # two brokers that sweep at the same moment only lose races against each other
            await self._core.clock.sleep(seconds * self._core.rng.uniform(0.8, 1.2))
            with suppress(ChimeraError):  # the bus is away; it is tried again
                await work()

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            self._queue.pump()
            await self._core.clock.sleep(_PUMP_PAUSE_S)

    async def _warm(self) -> None:
        while True:
            await self._changed.wait()
            await self._core.clock.sleep(_WARM_PAUSE_S)
            self._changed = anyio.Event()
            self._core.floor.warm()

    async def _learn(self) -> None:
        self._core.floor.learn()

    async def sweep(self) -> None:
        """End what was not renewed, and what notice is over for."""
        core = self._core
        now = core.clock.time()
        for lease in core.registry.due(now):
            if lease not in self._ending and core.registry.is_live(lease):
                self._ending.add(lease)
                core.spawn(self._end, lease)

    async def _end(self, lease: str) -> None:
        core, now = self._core, self._core.clock.time()
        try:
            async with self._limit:
                grants = [grant for _, grant in core.registry.grants_of(lease)]
                revoked = next((one for one in grants if one.revoke_at and one.revoke_at <= now), None)
                if revoked is not None:
                    ended = await self._desk.end(lease, "revoked", revoked.reason, due=True)
                else:
                    ended = await self._desk.end(lease, "expired", "it was not renewed", due=True)
            if not ended:
                core.registry.expect_again(lease)  # renewed, or the clock was set back while it was being ended
            else:
                core.report(
                    "resource-optimization", f"lease {lease} {'revoked' if revoked else 'expired'}", lease=lease
                )
        except ChimeraError:
            core.registry.look_again(lease, core.clock.time() + _AGAIN_S)
        finally:
            self._ending.discard(lease)

    async def look(self) -> None:
        """Nodes that fell silent, records in doubt, room for those who wait."""
        core = self._core
        for node in core.census.look():
            core.report("gpu-utilization", f"node {node} is silent: nothing of it is lent", level="warning", node=node)
        self._queue.forget_old()
        await self._look_behind()
        await core.book.resolve_doubts()
        await self._mend()
        for notice in self._queue.room_wanted():
            await self._notice(notice)
        self.ring()

    async def _mend(self) -> None:
        """Of a lease that two brokers granted on different devices, only the first grant stays.

        As with every lease that is taken back, there is time for it: its holder may just be about to begin.
        """
        core, registry = self._core, self._core.registry
        now = core.clock.monotonic()
        for lease, until in list(registry.torn.items()):
            keys = registry.later_grants(lease)
            if not keys:
                del registry.torn[lease]
            elif not until:
                registry.torn[lease] = now + core.rules.notice_s
            elif now >= until:
                del registry.torn[lease]
                await self._desk.end(lease, "revoked", "another broker granted it before, on another device", keys=keys)

    async def _look_behind(self) -> None:
        """Has the store been set back? Then what is known of later is not true any more."""
        core = self._core
        highest = core.book.highest  # as it was before the question: what is written meanwhile is newer than the answer
        last = (await core.bus.stream_state(DEVICES))[1]
        if highest > last:
            core.book.highest = last
            self.trouble = f"stream {DEVICES} went back from {highest} to {last}"
            core.report("resource-optimization", self.trouble, level="error", last=last, known=highest)
            core.book.doubtful.update(core.registry.known)
            core.book.read_to = min(core.book.read_to, last)

    async def end_idleness(self) -> None:
        """Give notice to leases that nobody uses."""
        core = self._core
        if not core.rules.idle_s:
            return
        grants: list[Grant] = []
        for record in core.registry.records():
            seen = core.census.busy_at.get(record.key, 0.0)
            alone = len(record.grants) == 1  # of a shared device nobody can tell who used it
            grants += [_busier(grant, seen) if alone else grant for grant in record.grants]
        for notice in idle(grants, core.rules, core.clock.time()):
            await self._notice(notice)

    async def _notice(self, notice: Notice) -> None:
        core = self._core
        revoke_at = core.clock.time() + core.rules.notice_s
        if await self._desk.give_notice(notice.lease, revoke_at, notice.reason):
            core.report(
                "resource-optimization", f"lease {notice.lease} has notice: {notice.reason}", lease=notice.lease,
                revoke_at=revoke_at,
            )  # fmt: skip

    async def _sample(self) -> None:
        await self._patterns.load()
        while True:
            now = self._core.clock.time()
            await self._core.clock.sleep(SAMPLE_S - now % SAMPLE_S)
            for row in await self._usage.sample():
                self._patterns.take(row)


def _busier(grant: Grant, seen: float) -> Grant:
    from msgspec.structs import replace  # noqa: PLC0415 - beside its only use

    return replace(grant, busy_at=max(grant.busy_at, seen)) if seen > grant.busy_at else grant
