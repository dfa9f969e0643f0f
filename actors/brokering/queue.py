"""Requests that wait for devices: who is tried when, what they are told, and who is answered."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import anyio
import msgspec

from chimera.errors import ChimeraError, ConflictError, OverloadedError
from subjects.lease import Allocate, Lease, Need

from .core import Core
from .figures import Figures
from .reclaim import Notice, make_room
from .waiting import MOST_WAITING, Holding, Waiter, in_order, is_aged, limit, may_pass
from .want import Parts, overlaps

REMEMBER_S = 60.0
"""For so long a request that went away keeps its place if it is asked again with the same id."""

MOST_ROOM = 3
"""Requests, next first, for which leases may be taken back at a time."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that is being dealt with.

    Attributes:
        message: What was asked.
        began_at: When, in monotonic seconds.
        until: When its caller stops listening, or does not want to wait any more; nothing is granted after that.
        busy: Devices were chosen for it, and are being written.
        parts: Those.
        settled: It is answered: with a lease, or with an error.
    """

    waiter: Waiter
    message: Allocate
    began_at: float = 0.0
    until: float = math.inf
    busy: bool = False
    parts: Parts = ()
    lease: Lease | None = None
    error: ChimeraError | None = None
    settled: bool = False
    _bell: anyio.Event | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may be tried: it is not being granted, nor answered while its caller has not woken yet."""
        return not self.busy and not self.settled

    async def wait(self) -> Lease:
        """The lease, once it is granted.

        Raises:
            ChimeraError: If it never will be.
        """
        if not self.settled:
            self._bell = self._bell or anyio.Event()
            await self._bell.wait()
        if self.error is not None:
            raise self.error
        assert self.lease is not None  # noqa: S101 - set before the event
        return self.lease

    def settle(self, lease: Lease | None, error: ChimeraError | None = None) -> None:
        """Answer whoever waits."""
        self.lease, self.error, self.settled = lease, error, True
        if self._bell is not None:
            self._bell.set()


class Queue:
    """Requests in the order in which they are tried.

    Args:
        core: What the parts share.
        figures: What is measured.
    """

    def __init__(self, core: Core, figures: Figures) -> None:
        self._core, self.figures = core, figures
        self._tickets: dict[str, Ticket] = {}
        self._asked: dict[str, tuple[float, float]] = {}
        self._keys: dict[str, bytes] = {}
        self.grant_parts: Callable[[Ticket, Parts], Awaitable[Lease | None]] = _nothing

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._tickets)

    def __iter__(self) -> Iterator[Ticket]:
        """They, in no order."""
        return iter(self._tickets.values())

    def find(self, lease: str) -> Ticket | None:
        """The request for a lease."""
        return self._tickets.get(lease)

    def asked_at(self, lease: str, now: float) -> float:
        """When a lease was first asked for."""
        first, _ = self._asked.get(lease, (now, now))
        return first

    def add(self, ticket: Ticket) -> None:
        """Let a request wait.

        Raises:
            OverloadedError: If too many do.
        """
        if len(self._tickets) >= MOST_WAITING:
            raise OverloadedError(f"{MOST_WAITING} requests wait for devices already", retry_after_s=1.0)
        self._tickets[ticket.waiter.id] = ticket
        self._keys[ticket.waiter.id] = msgspec.msgpack.encode((ticket.waiter.tenant, ticket.waiter.need))

    def remove(self, ticket: Ticket) -> None:
        """It waits no more. One that named itself keeps its place for a moment."""
        waiter, now = ticket.waiter, self._core.clock.time()
        if self._tickets.get(waiter.id) is ticket:
            del self._tickets[waiter.id], self._keys[waiter.id]
            if ticket.lease is None and ticket.message.id:
                self._asked[waiter.id] = (waiter.asked_at, now)
        if ticket.lease is not None:
            self._asked.pop(waiter.id, None)

    def forget_old(self) -> None:
        """Places are kept for a moment only."""
        horizon = self._core.clock.time() - REMEMBER_S
        for lease in [lease for lease, (_, last) in self._asked.items() if last < horizon]:
            del self._asked[lease]

    def cancel(self, lease: str) -> bool:
        """End a request that waits; false if there is none, or if it is being granted just now."""
        ticket = self._tickets.get(lease)
        if ticket is None or ticket.busy:
            return False
        self.remove(ticket)
        ticket.settle(None, ConflictError(f"the request for {lease} was cancelled while it waited"))
        return True

    # -- who is next ---------------------------------------------------------------------------------------------------

    def ordered(self) -> list[Ticket]:
        """Requests, next first."""
        core = self._core
        waiters = [ticket.waiter for ticket in self._tickets.values()]
        order = in_order(waiters, core.holdings(), core.total(), core.rules, core.clock.time())
        return [self._tickets[waiter.id] for waiter in order]

    def choose(self, waiter: Waiter) -> Parts | None:
        """Devices for a request now, or ``None``, with the reason in ``waiter.why``."""
        core = self._core
        waiter.why = limit(waiter, core.holdings().get(waiter.tenant, Holding()), core.rules)
        if waiter.why:
            return None
        parts = core.floor.choose(waiter.need)
        if parts is None:
            waiter.why = "what is asked for is not free"
        return parts

    def pump(self) -> None:
        """Begin to grant what can be granted now, in order, and nothing past an aged request that could use it."""
        core, now = self._core, self._core.clock.time()
        failed: set[bytes] = set()
        blocked: list[Waiter] = []
        for ticket in self.ordered() if self._tickets else ():
            waiter = ticket.waiter
            if not ticket.is_open or core.clock.monotonic() >= ticket.until:
                continue
            if not may_pass(waiter, blocked, self._touches):
                waiter.why = "one that waits for longer is before it"
                continue
            key = self._keys[waiter.id]
            parts = None if key in failed else self.choose(waiter)
            if parts is None:
                failed.add(key)
                waiter.why = waiter.why or "what is asked for is not free"
                if is_aged(waiter, core.rules, now):
                    blocked.append(waiter)
                continue
            core.floor.hold(waiter.id, parts)
            ticket.busy = True
            core.spawn(self._grant, ticket, parts)

    async def _grant(self, ticket: Ticket, parts: Parts) -> None:
        try:
            lease = await self.grant_parts(ticket, parts)
        except ChimeraError as error:
            ticket.settle(None, error)
        else:
            if lease is not None:
                ticket.settle(lease)
        finally:
            ticket.busy = False
        if ticket.lease is None and ticket.error is None:
            self.pump()

    def position(self, ticket: Ticket) -> tuple[int, float | None]:
        """Requests before it and itself, and seconds until it may be granted, as far as past returns tell."""
        core, waiter = self._core, ticket.waiter
        order = self.ordered()
        ids = [one.waiter.id for one in order]
        place = ids.index(waiter.id) + 1 if waiter.id in ids else len(ids) + 1
        before = [one.waiter for one in order[:place] if one.waiter.need.kind == waiter.need.kind]
        milli = sum(one.milli for one in before) + (0 if waiter in before else waiter.milli)
        return place, core.turnover.estimate(waiter.need.kind, milli, core.clock.time())

    def room_wanted(self) -> list[Notice]:
        """Leases to take back for the requests that are next."""
        if not self._tickets:
            return []
        core, holdings = self._core, self._core.holdings()
        nodes = core.floor.view()
        for ticket in self.ordered()[:MOST_ROOM]:
            if not ticket.is_open or limit(ticket.waiter, holdings.get(ticket.waiter.tenant, Holding()), core.rules):
                continue
            notices = make_room(ticket.waiter, nodes, holdings, core.rules, core.census.usable)
            if notices:
                return notices
        return []

    def wanted(self, kind: str) -> tuple[int, int]:
        """Milli that waiting requests of a kind ask for, and how many they are."""
        waiters = [ticket.waiter for ticket in self._tickets.values() if ticket.waiter.need.kind == kind]
        return sum(one.milli for one in waiters), len(waiters)

    def _touches(self, one: Need, other: Need) -> bool:
        return overlaps(one, other, list(self._core.registry.records()))


async def _nothing(_ticket: Ticket, _parts: Parts) -> Lease | None:
    return None
