"""What must hold at every step of a world of leases, whoever fails: it sees the store, the machines and every use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.brokering.record import WHOLE, Grant, Line, Record
from tests.leasing.floor import GPU_MIB, Floor

Part = tuple[str, str, int]
"""Lease, device, token: one grant."""


@dataclass(slots=True)
class Overseer:
    """Checks, and remembers what it needs for the next check.

    Attributes:
        granted: Every grant that the store ever took, with the record's key.
        ended: Those that ended, with the line that says so.
        forgotten: Grants that a fall into the past took out of the store.
        used: Per device: grants under which the fence accepted a use, with what they take of the device.
    """

    floor: Floor
    granted: dict[Part, tuple[str, Grant]] = field(default_factory=dict[Part, tuple[str, Grant]])
    ended: dict[Part, Line] = field(default_factory=dict[Part, Line])
    forgotten: set[Part] = field(default_factory=set[Part])
    used: dict[str, dict[str, tuple[int, int, int]]] = field(default_factory=dict[str, dict[str, tuple[int, int, int]]])
    broken: list[str] = field(default_factory=list[str])

    def blame(self, rule: str, what: str) -> None:
        """An invariant is broken."""
        self.broken.append(f"{rule}: {what}")

    # -- the store -----------------------------------------------------------------------------------------------------

    def committed(self, before: Mapping[str, Record], after: Mapping[str, Record]) -> None:
        """The store took a change."""
        fresh: dict[str, set[str]] = {}
        for key, record in after.items():
            old = before.get(key)
            known = {one.lease for one in old.grants} if old is not None else set[str]()
            for one in record.grants:
                if one.lease not in known and not one.ended:
                    fresh.setdefault(one.lease, set()).add(key)
                    self._new(record, one, old)
            self._lines(old, record)
        for lease, keys in fresh.items():
            whole = set(next(one for one in after[min(keys)].grants if one.lease == lease).devices)
            if keys != whole:
                self.blame("gang", f"{lease} got {sorted(keys)} of {sorted(whole)}")

    def _new(self, record: Record, one: Grant, old: Record | None) -> None:
        milli = sum(grant.milli for grant in record.grants)
        memory = sum(grant.memory_mib for grant in record.grants)
        # what fell ill, and who came without a lease, since it was granted may be written together with it
        seen = record if old is None or old.foreign_mib > record.foreign_mib else old
        ill = record.trouble and (old is None or old.trouble)
        if milli > record.milli - seen.foreign_milli or memory > record.memory_mib - seen.foreign_mib:
            self.blame("capacity", f"{record.key}: {milli} milli, {memory} MiB with {one.lease}")
        if ill or (record.drained and (old is None or old.drained)):
            self.blame("health", f"{record.key} is lent to {one.lease}, although: {record.trouble or record.drained}")
        if old is not None and one.token <= old.token:
            self.blame("token", f"{record.key}: {one.lease} has {one.token}, after {old.token}")
        self.granted[one.lease, record.id, one.token] = (record.key, one)

    def _lines(self, old: Record | None, record: Record) -> None:
        known = set(old.lines) if old is not None else set[Line]()
        for line in record.lines:
            part = (line.lease, record.id, line.token)
            if line in known:
                continue
            if part in self.ended:
                self.blame("ledger", f"{part} ends twice")
            self.ended[part] = line
        for one in old.grants if old is not None else ():
            part = (one.lease, record.id, one.token)
            present = record.find(one.lease)
            is_over = present is None or bool(present.ended)
            if is_over and not one.ended and part not in self.ended:
                self.blame("ledger", f"{part} ended without a line")
            if present is None and self._is_there(one.lease, record.id):
                self.blame("end", f"{part} is free and its holder is still there")

    def _is_there(self, lease: str, device: str) -> bool:
        # memory that outlives its process may be left: a fence that did not see it end tells of it as a stranger's
        left = any(work.alive and work.lease == lease for work in self.floor.users(device))
        return left and lease not in {part[0] for part in self.forgotten}

    def fell_back(self, before: Mapping[str, Record], after: Mapping[str, Record]) -> None:
        """The store forgot changes: nothing is said of the hours of grants that it touched, all else holds."""
        for key, record in before.items():
            now, then = _standing(after[key]), _standing(record)
            touched = {part for part in now.keys() | then.keys() if now.get(part) != then.get(part)}
            self.forgotten |= touched
            for part in touched:
                if now.get(part) == "alive":
                    self.ended.pop(part, None)

    # -- uses ----------------------------------------------------------------------------------------------------------

    def accepted(self, lease: str, grants: Mapping[str, Grant]) -> None:
        """A fence let a lease use its devices."""
        for device, grant in grants.items():
            mine = (grant.token, grant.milli, grant.memory_mib)
            room = self.used.setdefault(device, {})
            if grant.ended:
                self.blame("over", f"{device}: {lease} was let in after its end")
            for other, theirs in room.items():
                clash = grant.milli + theirs[1] > WHOLE
                if other != lease and theirs[0] > grant.token and clash:
                    self.blame("token", f"{device}: {lease} was let in with {grant.token}, after {theirs[0]}")
            if lease in room and room[lease][0] > grant.token:
                self.blame("token", f"{device}: {lease} was let in with {grant.token}, after its own {room[lease][0]}")
            room[lease] = mine

    def began(self, device: str) -> None:
        """A process began on a device that a fence had let its lease use: it must have room, whoever is there."""
        room, users = self.used.get(device, {}), self.floor.users(device)
        leases = {work.lease for work in users if work.lease in room}
        if sum(room[lease][1] for lease in leases) > WHOLE and not leases & {part[0] for part in self.forgotten}:
            self.blame("overlap", f"{device} is used by {sorted(leases)} at once")
        if sum(work.holds[device] for work in users if work.lease) > GPU_MIB:  # strangers come when they like
            self.blame("overlap", f"{device} has no memory for all of {sorted(work.lease for work in users)}")

    # -- the end -------------------------------------------------------------------------------------------------------

    def sum_up(self, records: Mapping[str, Record], usage: Mapping[Part, float]) -> None:
        """After everybody had time: nothing is lent, nothing runs, and the ledger has every second once."""
        for record in records.values():
            for one in record.grants:
                self.blame("endless", f"{record.key} still has {one.lease} {one.ended}")
            for line in record.lines:
                self.blame("ledger", f"{record.key}: the line of {line.lease} was not stored")
        forgotten = {part[0] for part in self.forgotten}
        for work in self.floor.works.values():
            if work.lease and work.holds and work.lease not in forgotten:  # behind its gate one ends with its parent
                self.blame("endless", f"process {work.pid} of {work.lease} still runs")
        expected = {part: max(0.0, line.ended_at - line.began_at) for part, line in self.ended.items()}
        for part, seconds in expected.items():
            if part not in self.forgotten and usage.get(part) != seconds:
                self.blame("ledger", f"{part}: {usage.get(part)} s are stored of {seconds}")
        for part in usage.keys() - self.granted.keys():
            self.blame("ledger", f"{part} is in the ledger and was never granted")
        open_ends = self.granted.keys() - self.ended.keys() - self.forgotten
        if open_ends:
            self.blame("endless", f"{sorted(open_ends)} never ended")


def _standing(record: Record) -> dict[Part, str]:
    """What a record says of each grant."""
    found = {(line.lease, record.id, line.token): "over" for line in record.lines}
    for one in record.grants:
        found[one.lease, record.id, one.token] = "ending" if one.ended else "alive"
    return found
