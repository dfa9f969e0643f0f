"""Processors of this node, leased from the broker while they are used.

Work never waits for them: without a broker, or before one that is slow or refuses, everything goes on as before. A
lease is kept in the background: renewed, asked for again when it is lost, given back when it is not used any more or
when the broker gives notice.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio

from chimera.clock import Clock
from chimera.errors import ChimeraError, FencedError, NoLeaseError
from subjects.lease import Allocate, GiveBack, Lease, Need, Renew

TTL_S, RENEW_S, REST_S = 30.0, 10.0, 30.0
PATIENCE_S, CLOSE_S = 2.0, 1.0
STEP = 0.1
"""Processors are leased in steps of this, and at least so many."""

_AGAIN_S, _LONGEST_S, _LOOK_S = 1.0, 30.0, 1.0
_SMOOTH, _SLACK = 10, 3


@dataclass(slots=True, eq=False)
class Slot:
    """Processors that somebody uses.

    Attributes:
        cpus: How many are wanted.
        lease: What the broker granted; ``None`` = nothing so far, or not any more.
        noticed: The broker wants them back, or took them: whoever can do with less now should.
    """

    cpus: float
    agent: str
    priority: int
    node: str
    lease: Lease | None = None
    noticed: bool = False
    over: bool = False
    pending: Allocate | None = None
    renew_at: float = 0.0
    rest_until: float = 0.0
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def milli(self) -> int:
        """What is wanted, in whole steps, in thousandths."""
        return max(1, math.ceil(round(self.cpus / STEP, 6))) * int(1000 * STEP)

    @property
    def granted(self) -> float:
        """Processors that it has now."""
        return self.lease.grants[0].milli / 1000.0 if self.lease is not None else 0.0

    def resize(self, cpus: float) -> None:
        """Want another number from now on."""
        self.cpus = cpus
        self.changed.set()

    def leave(self) -> None:
        """They are not used any more."""
        self.over = True
        self.changed.set()


class Slots:
    """Leases processors of one node for one layer.

    Args:
        ask: Asks an actor (``ctx.ask``).
        spawn: Runs a coroutine function in the background (``ctx.spawn``).
        clock: For pauses.
        node: Whose processors, where ``hold`` names none.
        layer: Who uses them, in the ledger.
    """

    def __init__(
        self, *, ask: Callable[..., Awaitable[Any]], spawn: Callable[..., object], clock: Clock, node: str, layer: str
    ) -> None:  # fmt: skip
        self._ask, self._spawn, self._clock, self._node, self._layer = ask, spawn, clock, node, layer
        self._slots: set[Slot] = set()

    @asynccontextmanager
    async def hold(self, agent: str = "", *, cpus: float, priority: int = 50, node: str = "") -> AsyncGenerator[Slot]:
        """Have so many processors leased while the block runs; it begins and ends at once, whatever the broker does."""
        slot = Slot(cpus, agent, priority, node or self._node)
        self._slots.add(slot)
        self._spawn(self._keep, slot)
        try:
            yield slot
        finally:
            slot.leave()

    async def follow(self, busy: Callable[[], float], *, agent: str = "") -> None:
        """For ever: have leased what is used on average over some seconds; ``busy`` tells how many processors are."""
        mean = 0.0
        async with self.hold(agent, cpus=STEP) as slot:
            while True:
                await self._clock.sleep(_LOOK_S)
                mean += (busy() - mean) / _SMOOTH
                if mean > slot.cpus or mean < slot.cpus - _SLACK * STEP:
                    slot.resize(max(STEP, math.ceil(round(mean / STEP, 6)) * STEP))

    async def close(self) -> None:
        """Give everything back, as far as the broker takes it within a second; the rest ends by itself."""
        with anyio.move_on_after(CLOSE_S):
            for slot in list(self._slots):
                await self._give_back(slot)

    # -- in the background ---------------------------------------------------------------------------------------------

    async def _keep(self, slot: Slot) -> None:
        pause = _AGAIN_S
        while not slot.over:
            try:
                await self._tend(slot)
                wait, pause = RENEW_S, _AGAIN_S
            except ChimeraError:  # nobody is told: the work goes on, and it is tried again
                wait, pause = pause, min(2 * pause, _LONGEST_S)
            await self._rest(slot, min(wait, RENEW_S) if slot.lease is not None else wait)
        await self._give_back(slot)
        self._slots.discard(slot)

    async def _rest(self, slot: Slot, seconds: float) -> None:
        if slot.over:
            return
        timer = self._clock.call_later(seconds, slot.changed.set)
        try:
            await slot.changed.wait()
        finally:
            timer.cancel()
        slot.changed = anyio.Event()

    async def _tend(self, slot: Slot) -> None:
        now = self._clock.monotonic()
        if slot.lease is not None and now >= slot.renew_at:
            await self._renew(slot, slot.lease)
        has = slot.lease.grants[0].milli if slot.lease is not None else 0
        if has != slot.milli and now >= slot.rest_until:
            await self._allocate(slot)

    async def _renew(self, slot: Slot, lease: Lease) -> None:
        try:
            slot.lease = await self._ask(Renew(id=lease.id, token=lease.token), timeout_s=PATIENCE_S)
        except (NoLeaseError, FencedError):
            slot.lease = None
            slot.noticed = True
            return
        slot.renew_at = self._clock.monotonic() + RENEW_S
        if slot.lease is not None and slot.lease.revoke_at is not None:
            slot.noticed, slot.rest_until = True, self._clock.monotonic() + REST_S
            await self._give_back(slot)

    async def _allocate(self, slot: Slot) -> None:
        """Lease the wanted size, and give the old one back. An ask that nobody answered is repeated as it was."""
        if slot.pending is None:
            need = Need(kind="cpu", milli=slot.milli, node=slot.node)
            slot.pending = Allocate(
                id=f"{self._layer}-{uuid.uuid4().hex[:16]}", need=need, layer=self._layer, agent=slot.agent,
                priority=slot.priority, ttl_s=TTL_S,
            )  # fmt: skip
        old, sent = slot.lease, self._clock.monotonic()
        try:
            slot.lease = await self._ask(slot.pending, timeout_s=PATIENCE_S)
        except ChimeraError as error:
            if error.executed == "no":
                slot.pending = None
            raise
        slot.pending, slot.noticed, slot.renew_at = None, False, sent + RENEW_S
        if old is not None:
            await self._ask(GiveBack(id=old.id, token=old.token), timeout_s=PATIENCE_S)

    async def _give_back(self, slot: Slot) -> None:
        lease, slot.lease = slot.lease, None
        pending, slot.pending = slot.pending, None
        for id_ in {one.id for one in (lease, pending) if one is not None}:
            with suppress(ChimeraError):  # it ends by itself then
                await self._ask(GiveBack(id=id_), timeout_s=PATIENCE_S)
