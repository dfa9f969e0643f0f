"""Leases granted, renewed, given back and taken back. Everything here may be asked twice and happens once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio

from chimera.errors import (
    ChimeraError,
    ConflictError,
    FencedError,
    NoCapacityError,
    NoLeaseError,
    UnavailableError,
)
from subjects.lease import Allocate, GiveBack, Lease, LeaseChanged, Renew

from . import changes
from .changes import Ask
from .core import Core
from .queue import Queue, Ticket
from .record import End, Grant, Record, Refusal
from .views import lease_view, need_of, over_view
from .waiting import Waiter, never
from .want import Parts, check, could

_TRIES = 6
_LOOK_S, _LEAST_S = 0.2, 0.05
_GIVE_UP_BEFORE_S = 0.2
"""A request that waits is answered so long before its caller stops listening."""


class Desk:
    """Does what is asked about leases.

    Args:
        core: What the parts share.
        queue: Requests that wait.
    """

    def __init__(self, core: Core, queue: Queue) -> None:
        self._core, self._queue = core, queue
        queue.grant_parts = self.grant_parts
        self._asking: dict[str, anyio.Event] = {}
        self._made = 0

    # -- granting ------------------------------------------------------------------------------------------------------

    async def allocate(self, message: Allocate, deadline: float | None) -> Lease:
        """Grant a lease, at once or after waiting for it, at most until ``deadline`` (monotonic).

        Raises:
            NoCapacityError: With the position it had or would have had, and an estimate.
            OverBudgetError: If a budget refuses it.
            ConflictError: If the id was used for something else.
        """
        if not message.id:
            return await self._allocate(self._new_id(), message, deadline)
        lease = message.id
        while (other := self._asking.get(lease)) is not None:
            await other.wait()
        done = self._asking[lease] = anyio.Event()
        try:
            return await self._allocate(lease, message, deadline)
        finally:
            del self._asking[lease]
            done.set()

    async def _allocate(self, lease: str, message: Allocate, deadline: float | None) -> Lease:
        core = self._core
        check(message.need)
        if message.id:
            await core.book.catch_up()  # another instance may have granted it, and its answer was lost
            await self._see_whole(lease)
            present = self._present(lease, message)
            if present is not None:
                return present
        waiter = Waiter(
            lease, message.need, message.tenant, message.layer, message.agent, message.priority,
            self._queue.asked_at(lease, core.clock.time()),
        )  # fmt: skip
        if never(waiter, core.rules):
            raise NoCapacityError(f"tenant {waiter.tenant} may never have so much", hint="see: chimera gpu rules")
        for one in core.admission:
            await one.admit(lease, message)
        ticket = Ticket(waiter, message, core.clock.monotonic())
        try:
            return await self._wait(ticket, deadline)
        except asyncio.CancelledError:
            self._abandon(ticket)
            raise
        finally:
            for one in core.admission:
                one.settle(lease, granted=core.registry.is_live(lease))
            core.floor.note(message.need)  # what is learned of it helps the next one

    def _new_id(self) -> str:
        return f"lease-{self._core.rng.getrandbits(64):016x}"

    def _present(self, lease: str, message: Allocate) -> Lease | None:
        held = self._core.registry.grants_of(lease)
        if not held:
            if lease in self._core.recent:
                raise ConflictError(f"lease {lease} was {self._core.recent[lease]}", hint="ask with another id")
            return None
        have, want = need_of(held), message.need
        if held[0][1].ended or (have.kind, have.devices, have.milli) != (want.kind, want.devices, want.milli):
            raise ConflictError(f"lease {lease} is another one", hint="ask with another id")
        if {record.key for record, _ in held} != set(held[0][1].devices):  # it is ending, or it was granted twice
            raise UnavailableError(f"lease {lease} is changing just now", retry_after_s=0.5)
        return lease_view(lease, held)

    def _refuse_the_impossible(self, waiter: Waiter) -> None:
        core, need = self._core, waiter.need
        able: dict[str, int] = {}
        for record in core.registry.records():
            if could(need, record):
                able[record.node] = able.get(record.node, 0) + 1
        most = max(able.values(), default=0) if need.one_node else sum(able.values())
        if most < need.devices:
            where = " on one node" if need.one_node and need.devices > 1 else ""
            raise NoCapacityError(
                f"{need.devices} such {need.kind} devices{where} do not exist here, {most} do",
                hint="see what there is with: chimera gpu status", data={"position": 0, "estimate_s": None},
            )  # fmt: skip

    async def _wait(self, ticket: Ticket, deadline: float | None) -> Lease:
        """Take it at once if nobody is before it; else stand in line as long as it is willing to."""
        core, queue, wait_s = self._core, self._queue, ticket.message.wait_s
        now = core.clock.monotonic()
        until = now + wait_s
        if deadline is not None:
            until = min(until, max(now, deadline - _GIVE_UP_BEFORE_S))
        if not len(queue):
            granted = await self.grant(ticket)
            if granted is not None:
                return granted
        self._refuse_the_impossible(ticket.waiter)
        ticket.until = max(until, now + _LEAST_S)
        queue.add(ticket)
        queue.pump()
        try:
            while ticket.busy or core.clock.monotonic() < until:  # what is being granted just now is waited for
                left = until - core.clock.monotonic()
                with anyio.move_on_after(_LOOK_S if ticket.busy else left):
                    return await ticket.wait()
            position, estimate = queue.position(ticket)
        finally:
            queue.remove(ticket)
        if ticket.lease is not None:
            return ticket.lease
        raise NoCapacityError(
            ticket.waiter.why or "what is asked for is not free", retry_after_s=estimate,
            data={"position": position, "estimate_s": estimate, "id": ticket.waiter.id},
        )  # fmt: skip

    async def grant(self, ticket: Ticket) -> Lease | None:
        """Grant a request if it can be now: choose devices, and write to their records that it has them."""
        core, waiter = self._core, ticket.waiter
        for _ in range(_TRIES):
            parts = self._queue.choose(waiter)
            if parts is None:
                return None
            lease = await self.grant_parts(ticket, parts)
            if lease is not None:
                return lease
        waiter.why = "others were faster"
        core.report("resource-optimization", f"lease {waiter.id}: others were faster {_TRIES} times", level="debug")
        return None

    async def grant_parts(self, ticket: Ticket, parts: Parts) -> Lease | None:
        """Grant these parts, or nothing if a record has moved on and they are not free any more."""
        core, message, lease = self._core, ticket.message, ticket.waiter.id
        keys = tuple(part.key for part in parts)

        def apply(records: list[Record]) -> list[Record] | Refusal:
            now, made = core.clock.time(), list[Record]()
            for record, part in zip(records, parts, strict=True):
                ask = Ask(
                    lease, keys, part.milli, part.memory_mib, message.ttl_s, message.layer, message.tenant,
                    message.agent, message.priority, message.preemptible,
                )  # fmt: skip
                made_of = changes.grant(record, ask, now)
                if isinstance(made_of, Refusal):
                    return made_of
                made.append(made_of)
            if len({new is old for new, old in zip(made, records, strict=True)}) > 1:  # what is left of an earlier gang
                return Refusal("no-capacity", f"lease {lease} is being ended just now")
            return made

        core.floor.hold(lease, parts)
        ticket.parts = parts
        try:
            outcome = await core.book.change(keys, apply)
        finally:
            core.floor.let_go(lease, parts)
        if isinstance(outcome, Refusal):
            ticket.parts = ()
            if outcome.code == "conflict":  # the same again and again, however often it is tried
                raise ConflictError(outcome.detail, hint="ask with another id")
            ticket.waiter.why = outcome.detail
            return None
        held = [(record, grant) for record in outcome if (grant := record.find(lease)) is not None]
        now = core.clock.monotonic()
        self._queue.figures.granted(now - ticket.began_at, now)
        self.say(lease, "granted", outcome)
        return lease_view(lease, held)

    def _abandon(self, ticket: Ticket) -> None:
        """The caller went away. One that named the lease may ask again for it; of another nobody knows the name."""
        self._queue.remove(ticket)
        if not ticket.message.id and ticket.parts:
            self._core.spawn(self._give_up, ticket.waiter.id, [part.key for part in ticket.parts])

    async def _give_up(self, lease: str, keys: list[str]) -> None:
        """The grant may still be on its way: this comes after it, on the same devices."""
        try:
            await self.end(lease, "released", "its caller went away", keys=keys)
        except ChimeraError:
            self._core.registry.look_again(lease, self._core.clock.time() + 1.0)

    # -- renewing and ending -------------------------------------------------------------------------------------------

    async def renew(self, message: Renew) -> Lease:
        """Extend a lease.

        Raises:
            NoLeaseError: If it is over.
            FencedError: If the token is not its own.
        """
        core, lease = self._core, message.id
        keys = await self._keys(lease)

        def apply(records: list[Record]) -> list[Record] | Refusal:
            now, made = core.clock.time(), list[Record]()
            for record in records:
                new = changes.renew(record, lease, message.token, now, ttl_s=message.ttl_s, busy=message.busy)
                if isinstance(new, Refusal):
                    return new
                made.append(new)
            return made

        outcome = await core.book.change(keys, apply)
        if isinstance(outcome, Refusal):
            raise FencedError(outcome.detail) if outcome.code == "fenced" else NoLeaseError(outcome.detail)
        return lease_view(lease, core.registry.grants_of(lease) or _held(lease, outcome))

    async def release(self, message: GiveBack) -> Lease:
        """Give a lease back, or stop waiting for it. One that ended a moment ago is answered as it ended.

        Raises:
            NoLeaseError: If there is none.
            FencedError: If the token is not its own.
        """
        core, lease = self._core, message.id
        if self._queue.cancel(lease):
            return over_view(lease, "released")
        if lease in core.recent and not core.registry.is_live(lease):
            return over_view(lease, core.recent[lease])
        await self._keys(lease)
        held = core.registry.grants_of(lease)
        if message.token is not None and message.token < max(grant.token for _, grant in held):
            raise FencedError(f"the token {message.token} is not that of lease {lease}")
        view = lease_view(lease, held)
        ended = await self.end(lease, "released")
        return over_view(lease, core.recent.get(lease, "released")) if not ended else _released(view)

    async def end(
        self, lease: str, how: End, reason: str = "", *, due: bool = False, keys: Sequence[str] = ()
    ) -> bool:  # fmt: skip
        """End a lease on all its devices at once; false if it was over. With ``due`` only if its time is."""
        core = self._core
        if not keys:
            await self._see_whole(lease)
            keys = [record.key for record in core.records_of(lease)]
        if not keys:
            return False

        def apply(records: list[Record]) -> list[Record] | Refusal:
            now = core.clock.time()
            grants = [one.find(lease) for one in records]
            if due and not any(grant is not None and changes.is_due(grant, now) for grant in grants):
                return Refusal("conflict", f"lease {lease} was renewed")
            made = [changes.end(record, lease, how, now, reason) for record in records]
            if all(isinstance(one, Refusal) for one in made):
                return Refusal("no-lease", f"lease {lease} is over")
            return [old if isinstance(new, Refusal) else new for old, new in zip(records, made, strict=True)]

        before = core.registry.grants_of(lease)
        outcome = await core.book.change(keys, apply)
        if isinstance(outcome, Refusal):
            return False
        core.ended(lease, how)
        self._queue.figures.ended(how)
        now = core.clock.time()
        for record, grant in before:
            core.turnover.gave_back(record.kind, grant.milli, now)
        self._say_of(before, lease, how, reason)
        return True

    async def give_notice(self, lease: str, revoke_at: float, reason: str) -> bool:
        """Tell a holder that its lease will be taken back; false if it is over or knows already."""
        core = self._core
        await self._see_whole(lease)
        held = core.registry.grants_of(lease)
        keys = [record.key for record, _ in held]
        if not keys:
            return False

        def apply(records: list[Record]) -> list[Record] | Refusal:
            now = core.clock.time()
            made = [changes.notice(record, lease, revoke_at, reason, now) for record in records]
            refused = next((one for one in made if isinstance(one, Refusal)), None)
            return refused or [one for one in made if isinstance(one, Record)]

        outcome = await core.book.change(keys, apply)
        if isinstance(outcome, Refusal) or all(
            new.version == old.version for new, (old, _) in zip(outcome, held, strict=True)
        ):
            return False
        self._say_of(held, lease, "notice", reason)
        return True

    async def _keys(self, lease: str) -> list[str]:
        registry = self._core.registry
        if not registry.is_live(lease):
            if lease in self._core.recent:
                raise NoLeaseError(f"lease {lease} was {self._core.recent[lease]}")
            await self._core.book.catch_up()  # another instance may have granted it a moment ago
        await self._see_whole(lease)
        keys = [record.key for record, _ in registry.grants_of(lease)]
        if not keys:
            raise NoLeaseError(f"there is no lease {lease}")
        return keys

    async def _see_whole(self, lease: str) -> None:
        """A gang's records do not come together, and it must not be changed in part."""
        for key in self._core.registry.unseen(lease):
            await self._core.book.refresh(key)

    # -- telling -------------------------------------------------------------------------------------------------------

    def say(self, lease: str, change: str, records: Sequence[Record], reason: str = "") -> None:
        """Publish that a lease changed."""
        self._say_of(_held(lease, records), lease, change, reason)

    def _say_of(self, held: Sequence[tuple[Record, Grant]], lease: str, change: str, reason: str) -> None:
        if held:
            first = held[0][1]
            fact = LeaseChanged(
                lease=lease, change=change, layer=first.layer, tenant=first.tenant, agent=first.agent,  # pyright: ignore[reportArgumentType] - one of its words
                at=self._core.clock.time(), devices=[record.id for record, _ in held], reason=reason,
            )  # fmt: skip
            self._core.tell(fact)


def _held(lease: str, records: Sequence[Record]) -> list[tuple[Record, Grant]]:
    return [(record, grant) for record in records if (grant := record.find(lease)) is not None]


def _released(view: Lease) -> Lease:
    from msgspec.structs import replace  # noqa: PLC0415 - beside its only use

    return replace(view, state="released", environment={}, expires_at=None)
