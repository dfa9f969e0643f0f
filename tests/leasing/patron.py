"""Clients in a drama: they lease, work where the fence lets them, renew, and give back or vanish."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from chimera.clock import Clock
from chimera.devices.tenure import Tenure
from chimera.errors import ChimeraError, FencedError, NotFoundError, OverloadedError
from chimera.system import System
from subjects.gpu_node import Admit
from subjects.lease import Allocate, GiveBack, Lease, Need, Renew
from tests.leasing.floor import Floor, Manners, Work
from tests.leasing.overseer import Overseer
from tests.simulation.trace import Trace

_PAUSE_S, _PATIENCE_S, _USE_S, _TRIES = 0.5, 6.0, 0.4, 40


@dataclass(frozen=True, slots=True)
class Wish:
    """What one client wants, and how it behaves.

    Attributes:
        at: When it comes, in seconds from the start.
        works_s: How long it needs the devices.
        vanishes: It never gives back, and its processes go on.
        deaf: It does not look at its own time.
        manners: Of its processes.
    """

    id: str
    need: Need
    at: float
    works_s: float
    ttl_s: float
    vanishes: bool
    deaf: bool
    manners: Manners


@dataclass(slots=True)
class Patron:
    """One client program; attributes as ``tests.simulation.customer`` has them."""

    system: System
    clock: Clock
    dice: random.Random
    floor: Floor
    overseer: Overseer
    trace: Trace

    async def follow(self, wish: Wish, done: Callable[[str], None]) -> None:
        """One wish, from asking to the end."""
        await self.clock.sleep(wish.at)
        asked_at = self.clock.monotonic()
        lease = await self._lease(wish)
        if lease is None:
            done(wish.id)
            return
        works = list[Work]()
        await self._work(wish, lease, Tenure(lease.ttl_s, asked_at), works)
        done(wish.id)
        if wish.vanishes:
            self._say(f"{wish.id} leaves without a word")
            return
        for work in works:
            self.floor.stop(work)
        await self._release(lease)

    async def _lease(self, wish: Wish) -> Lease | None:
        """Ask until the answer is clear; a request whose outcome is unknown is repeated with the same id."""
        request = Allocate(id=wish.id, need=wish.need, ttl_s=wish.ttl_s, wait_s=4.0)
        while True:
            try:
                lease = await self.system.ask(request, timeout_s=_PATIENCE_S)
            except OverloadedError:  # nothing is free: it asks again and keeps its place
                await self.clock.sleep(_PAUSE_S)
                continue
            except ChimeraError as error:
                self._say(f"allocate {wish.id}: {error.code}")
                if error.code == "conflict":  # it was granted and is over: the answer never came
                    return None
                await self.clock.sleep(_PAUSE_S)
                continue
            self._say(f"allocate {wish.id}: {lease.state} {lease.token}")
            return lease if lease.state == "granted" else None

    async def _work(self, wish: Wish, lease: Lease, tenure: Tenure, works: list[Work]) -> None:
        for node in sorted({grant.node for grant in lease.grants}):
            if not await self._admitted(lease, node, 0):
                return
            holds = {grant.device: grant.memory_mib for grant in lease.grants if grant.node == node}
            work = self.floor.start(node, lease.id, {}, wish.manners)
            works.append(work)
            if not await self._admitted(lease, node, work.pid):
                self.floor.stop(work)
                return
            self.floor.go(work, holds)
            for device in holds:
                self.overseer.began(device)
        until = self.clock.monotonic() + wish.works_s
        while self.clock.monotonic() < until and (wish.deaf or not tenure.is_over(self.clock.monotonic())):
            await self.clock.sleep(_USE_S)
            if not all(work.alive for work in works):
                return
            if self.clock.monotonic() >= tenure.renew_at:
                await self._renew(lease, tenure)
            for work in works:
                await self._admitted(lease, work.node, 0, tries=1)

    async def _admitted(self, lease: Lease, node: str, pid: int, *, tries: int = 5) -> bool:
        for _ in range(tries):
            try:
                await self.system.ask(Admit(lease=lease.id, token=lease.token, node=node, pid=pid), timeout_s=1.5)
            except (NotFoundError, FencedError) as error:
                self._say(f"admit {lease.id} on {node}: {error.detail}")
                return False
            except ChimeraError as error:
                self._say(f"admit {lease.id} on {node}: {error.code}")
                await self.clock.sleep(0.2)
                continue
            return True
        return False

    async def _renew(self, lease: Lease, tenure: Tenure) -> None:
        sent_at = self.clock.monotonic()
        try:
            answer = await self.system.ask(Renew(id=lease.id, token=lease.token), timeout_s=1.5)
        except ChimeraError as error:
            self._say(f"renew {lease.id}: {error.code}")
            return
        tenure.renewed(sent_at, answer.ttl_s)

    async def _release(self, lease: Lease) -> None:
        for _ in range(_TRIES):
            try:
                await self.system.ask(GiveBack(id=lease.id, token=lease.token), timeout_s=3.0)
            except (NotFoundError, FencedError):
                return
            except ChimeraError as error:
                self._say(f"release {lease.id}: {error.code}")
                await self.clock.sleep(_PAUSE_S)
                continue
            self._say(f"released {lease.id}")
            return

    def _say(self, what: str) -> None:
        self.trace(self.system.node, what)
