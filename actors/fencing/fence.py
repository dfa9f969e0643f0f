"""The fence of one node's devices: who may use them now, who must go, and what must be true before they are free.

It believes the devices' records, its own memory of tokens, and what it sees on the machine, in this order of doubt: a
record that knows less than the fence has gone back, and nothing is admitted under it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from actors.brokering.record import Grant, Record
from chimera.clock import Clock
from chimera.devices.ending import GRACE_S
from chimera.devices.processes import Process, identify
from chimera.devices.reading import Reading
from chimera.devices.tenure import boot_time
from chimera.errors import FencedError, NoLeaseError, UnavailableError

from .holders import Holder
from .memory import Share, Sight, remains, unexplained
from .tokens import TokenFile


@dataclass(slots=True)
class _Seen:
    """A grant as the records told of it, and when it ends by our own clock unless they tell of a renewal."""

    expires_at: float
    ends_at: float


@dataclass(slots=True)
class Fence:
    """All that a node knows of its devices' leases.

    Attributes:
        node: Its name.
        path: Where the tokens are kept.
        clock: For people's times.
        boot: Seconds since boot, for intervals: suspension counts.
        grace_s: From asking a holder to end to killing it.
        records: Per device, as it was seen last.
        holders: Who is let in, or not yet gone.
        readings: Per device, as it was read last.
        read_at: When that reading began, by ``boot``.
        surveyed: Devices whose record was there when the processes were looked through: before, an earlier life's
            holders may be unknown, and nothing may be said of who is gone.
    """

    node: str
    path: Path
    clock: Clock
    boot: Callable[[], float] = boot_time
    grace_s: float = GRACE_S
    records: dict[str, Record] = field(default_factory=dict[str, Record])
    holders: dict[str, Holder] = field(default_factory=dict[str, Holder])
    readings: dict[str, Reading] = field(default_factory=dict[str, Reading])
    read_at: float = 0.0
    surveyed: set[str] = field(default_factory=set[str])
    tokens: TokenFile = field(init=False)
    _sight: Sight = field(init=False, default_factory=Sight)
    _seen: dict[tuple[str, str], _Seen] = field(init=False, default_factory=dict[tuple[str, str], _Seen])

    def __post_init__(self) -> None:
        self.tokens = TokenFile(self.path)

    # -- what the records say ------------------------------------------------------------------------------------------

    def see(self, record: Record) -> bool:
        """Take a device's record; true if a lease of it is over, so that something is to be done."""
        self.records[record.id] = record
        now = self.boot()
        for grant in record.grants:
            if grant.lease in self.holders:  # a gang's records do not come together
                self.holders[grant.lease].devices.add(record.id)
            key = (record.id, grant.lease)
            seen = self._seen.get(key)
            if seen is None or grant.expires_at > seen.expires_at:
                self._seen[key] = _Seen(grant.expires_at, now + grant.ttl_s)
            elif grant.expires_at < seen.expires_at:
                cut = seen.ends_at - (seen.expires_at - grant.expires_at)
                self._seen[key] = _Seen(grant.expires_at, min(seen.ends_at, cut))
        self._forget(record)
        return any(grant.ended for grant in record.grants) or any(
            record.id in holder.devices and self._over(holder, now) for holder in self.holders.values()
        )

    def _forget(self, record: Record) -> None:
        named = {grant.lease for grant in record.grants}
        gone = [key for key in self._seen if key[0] == record.id and key[1] not in named]
        for key in gone:
            del self._seen[key]

    @property
    def is_needed(self) -> bool:
        """Whether there is anything for which the machine's processes must be looked through."""
        lent = any(record.grants for record in self.records.values())
        lost = set(self.records) - self.surveyed
        return bool(lent or lost or self.holders or any(reading.kind == "gpu" for reading in self.readings.values()))

    def went_back(self) -> list[str]:
        """Devices whose record knows a lower token than we do."""
        return [device for device, record in self.records.items() if record.token < self.tokens.highest(device)]

    # -- using ---------------------------------------------------------------------------------------------------------

    async def admit(self, lease: str, token: int, pid: int) -> Holder:
        """Let a lease use its devices here, or refuse it. Its tokens are on disk before it is let in.

        Raises:
            NoLeaseError: If it has no live grant here.
            FencedError: If its token is older than it must be, or the records went back behind what we accepted.
            DeniedError: If ``pid`` was not started under the lease.
            UnavailableError: If somebody is still there of whom the records know nothing any more, or if not all of
                a gang's records are known here yet.
        """
        grants = self._grants_of(lease)
        self._check_whole(lease, grants)
        for device, grant in grants.items():
            self._check(device, grant, token)
        group = identify(pid, lease) if pid else None
        for device, grant in grants.items():
            await self.tokens.raise_to(device, grant.token)
        holder = self.holders.get(lease)
        if holder is not None and holder.ending is not None:
            raise NoLeaseError(f"lease {lease} is being ended here: {holder.reason}")
        if {device: grant.token for device, grant in self._grants_of(lease).items()} != {
            device: grant.token for device, grant in grants.items()
        }:
            raise NoLeaseError(f"lease {lease} changed while it was admitted")
        if holder is None:
            for device, grant in grants.items():
                self._check_room(device, grant)
            holder = self.holders[lease] = Holder(lease, 0, set(grants), self.clock.time(), grace_s=self.grace_s)
            holder.before = {device: self.foreign(device, without=lease) for device in grants}
        holder.token, holder.devices = max(grant.token for grant in grants.values()), set(grants)
        holder.group = group or holder.group
        return holder

    def _grants_of(self, lease: str) -> dict[str, Grant]:
        now = self.boot()
        found = {record.id: grant for record in self.records.values() if (grant := record.find(lease)) is not None}
        if not found:
            raise NoLeaseError(f"lease {lease} has no device on {self.node}")
        for device, grant in found.items():
            if grant.ended or self._seen[device, lease].ends_at <= now:
                raise NoLeaseError(f"lease {lease} is over: {grant.reason or grant.ended or 'not renewed'}")
        return found

    def _check_whole(self, lease: str, grants: Mapping[str, Grant]) -> None:
        """A gang's holder uses all of its devices here: what is not known of one would be free while he is there."""
        keys = {key for grant in grants.values() for key in grant.devices if key.startswith(f"{self.node}.")}
        missing = sorted(keys - {f"{self.node}.{device}" for device in grants})
        if missing:
            raise UnavailableError(f"it is not known here yet that lease {lease} has {missing[0]}", retry_after_s=0.2)

    def _check(self, device: str, grant: Grant, token: int) -> None:
        highest = self.tokens.highest(device)
        if token < grant.token:
            raise FencedError(f"token {token} is older than {grant.token}, that of lease {grant.lease} on {device}")
        if self.records[device].token < highest:
            raise FencedError(
                f"the record of {device} went back: it knows token {self.records[device].token}, we accepted {highest}",
                hint="the broker brings it forward when this node reports; ask for a new lease then",
            )

    def _check_room(self, device: str, grant: Grant) -> None:
        """A store that went back may lend again what somebody has: then the next one waits here until he is gone."""
        record, reading = self.records[device], self.readings.get(device)
        if reading is None or reading.trouble:
            why = reading.trouble if reading is not None else "it was not read yet"
            raise UnavailableError(f"nobody begins to use {device} now: {why}", retry_after_s=1.0)
        for holder in self.holders.values():
            if device in holder.devices and holder.lease != grant.lease and record.find(holder.lease) is None:
                raise UnavailableError(
                    f"lease {holder.lease}, which the records forgot, is not gone from {device} yet", retry_after_s=1.0
                )
            if device in holder.devices and holder.ending is not None and not self._sight.trusts(reading):
                raise UnavailableError(  # what is still there could not be told from what a newcomer takes
                    f"lease {holder.lease} is over and not gone from {device} yet", retry_after_s=0.5
                )
        strange = self.foreign(device, without=grant.lease)
        lent = sum(one.memory_mib for one in record.grants)
        if strange and strange + lent > (reading.memory_mib or 0) - (reading.memory_reserved_mib or 0):
            raise UnavailableError(
                f"{strange} MiB of {device} are in use without a lease, no room for {grant.memory_mib} MiB",
                retry_after_s=1.0,
            )

    # -- ending --------------------------------------------------------------------------------------------------------

    def begin_ends(self) -> list[Holder]:
        """Have everybody ended whose lease is over; gives those who began to be ended now."""
        now, begun = self.boot(), list[Holder]()
        for holder in self.holders.values():
            reason = self._over(holder, now)
            if holder.ending is None and reason:
                holder.begin_end(now, reason)
                begun.append(holder)
        return begun

    def adopt(self, census: Iterable[Process], known: Collection[str] | None = None) -> None:
        """Find holders that an earlier life of this node let in: processes with a lease that the records know.

        Args:
            census: All processes of the machine.
            known: Devices whose records were there when it was taken; all that are there now if not given.
        """
        rows = list(census)
        self.surveyed = set(self.records if known is None else known)
        self._sight = self._sight.after({row.pid for row in rows}, os.getpid(), self.readings.values())
        for lease in {row.lease for row in rows if row.lease} - set(self.holders):
            grants = {record.id: grant for record in self.records.values() if (grant := record.find(lease)) is not None}
            if grants:
                token = max(grant.token for grant in grants.values())
                self.holders[lease] = Holder(lease, token, set(grants), self.clock.time(), grace_s=self.grace_s)
        for holder in self.holders.values():
            holder.note(rows)

    def settle(self) -> list[Holder]:
        """Let go of ended holders whose processes are gone and whose memory came back; gives them."""
        gone: list[Holder] = []
        for holder in [one for one in self.holders.values() if one.processes_gone]:
            left = [why for device in sorted(holder.devices) if (why := self._remains(holder, device))]
            if left:
                holder.reason = left[0]
            else:
                gone.append(self.holders.pop(holder.lease))
        return gone

    def _over(self, holder: Holder, now: float) -> str:
        """Why a lease is over; empty = it is not. One device lost is all of them lost."""
        for device in holder.devices:
            record = self.records.get(device)
            grant = record.find(holder.lease) if record is not None else None
            if grant is None:
                return "its lease is over"
            if grant.ended:
                return grant.reason or f"its lease was {grant.ended}"
            if self._seen[device, holder.lease].ends_at <= now:
                return "its lease was not renewed, as far as is known here"
        return ""

    def _remains(self, holder: Holder, device: str) -> str:
        reading = self.readings.get(device)
        if reading is None or reading.kind == "cpu":
            return ""
        if holder.gone_at is not None and self.read_at < holder.gone_at:
            return f"{device} was not read since"
        shares = self._shares(device, without=holder.lease).items()
        others = {lease: share for lease, share in shares if lease in self.holders}  # the rest was not let in yet
        before = holder.before.get(device, 0)
        return remains(reading, others, self._sight, pids=holder.pids, before_mib=before)

    # -- telling -------------------------------------------------------------------------------------------------------

    def seen(self, device: str) -> int:
        """The version of its record after which ``held`` is true; 0 = nothing can be said of it yet."""
        return self.records[device].version if device in self.surveyed else 0

    def held(self, device: str) -> list[str]:
        """Leases whose processes or memory are still on a device."""
        return sorted(holder.lease for holder in self.holders.values() if device in holder.devices)

    def foreign(self, device: str, *, without: str = "") -> int:
        """MiB of a device in use that no lease explains."""
        reading = self.readings.get(device)
        if reading is None or reading.kind == "cpu":
            return 0
        return unexplained(reading, self._shares(device, without=without), self._sight)

    def _shares(self, device: str, *, without: str = "") -> Mapping[str, Share]:
        record = self.records.get(device)
        if record is None:
            return {}
        pids = {lease: holder.pids for lease, holder in self.holders.items()}
        return {
            grant.lease: Share(grant.memory_mib, pids.get(grant.lease, ()))
            for grant in record.grants
            if grant.lease != without
        }
