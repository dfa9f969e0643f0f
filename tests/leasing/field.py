"""What the judge of a raid sees: the records and the ledger as they are stored, and the devices as they are used."""

from __future__ import annotations

import socket
import struct
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketAttribute, SocketStream

from actors.brokering.record import WHOLE, Grant, Line, Record
from subjects.lease import LeaseInterval
from tests.support.processes import is_alive

Part = tuple[str, str, int]


@dataclass(slots=True)
class Field:
    """Collects, and says what broke.

    Attributes:
        grants: Every grant that was seen in a record, by lease, device and token.
        lines: Every line of usage that was seen in a record.
        booked: Every line that the ledger has.
        records: Every device's record as it was seen last.
        active: Workers that use a device now: their connection and process, and what they hold of it.
        highest: Highest token under which a device was used as a whole.
    """

    grants: dict[Part, Grant] = field(default_factory=dict[Part, Grant])
    lines: dict[Part, Line] = field(default_factory=dict[Part, Line])
    booked: dict[Part, LeaseInterval] = field(default_factory=dict[Part, LeaseInterval])
    records: dict[str, Record] = field(default_factory=dict[str, Record])
    active: dict[str, dict[int, tuple[str, int]]] = field(
        default_factory=lambda: defaultdict[str, dict[int, tuple[str, int]]](dict)
    )
    highest: dict[str, int] = field(default_factory=dict[str, int])
    uses: int = 0
    workers: int = 0
    broken: list[str] = field(default_factory=list[str])

    # -- records -------------------------------------------------------------------------------------------------------

    def see(self, record: Record) -> None:
        """A record was stored."""
        old = self.records.get(record.key)
        self.records[record.key] = record
        if sum(one.milli for one in record.grants) > record.milli:
            self.broken.append(f"capacity: {record.key} is lent to {[one.lease for one in record.grants]}")
        if old is not None and record.token < old.token:
            self.broken.append(f"token: {record.key} went from {old.token} to {record.token}")
        for one in record.grants:
            known = self.grants.setdefault((one.lease, record.id, one.token), one)
            if known.granted_at != one.granted_at:
                self.broken.append(f"twice: {one.lease} was granted {record.key} anew with its old token")
        for line in record.lines:
            self.lines[line.lease, record.id, line.token] = line

    def book(self, interval: LeaseInterval) -> None:
        """The ledger has a line."""
        part = (interval.lease, interval.device, interval.token)
        known = self.booked.setdefault(part, interval)
        if (known.began_at, known.ended_at) != (interval.began_at, interval.ended_at):
            self.broken.append(f"ledger: {part} has two lengths")

    # -- uses ----------------------------------------------------------------------------------------------------------

    async def serve(self, path: str) -> None:
        """Be the devices: workers say here what they use."""
        listener = await anyio.create_unix_listener(path)
        await listener.serve(self._worker)

    async def _worker(self, stream: SocketStream) -> None:
        pid = _pid_of(stream)
        devices: list[str] = []
        self.workers += 1
        try:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    data = await stream.receive()
                    for words in data.decode().splitlines():
                        devices = self._use(pid, words)
        finally:
            for device in devices:
                self.active[device].pop(pid, None)

    def _use(self, pid: int, words: str) -> list[str]:
        self.uses += 1
        lease, *parts = words.split()
        devices: list[str] = []
        for part in parts:
            device, token, milli = part.split(":")
            devices.append(device)
            if pid not in self.active[device] and is_alive(pid):
                self.active[device][pid] = (lease, int(milli))
                self._begins(device, lease, int(token), int(milli))
        return devices

    def _begins(self, device: str, lease: str, token: int, milli: int) -> None:
        """A worker begins: nobody may be there whom the device has no room for, nor have come with a newer token."""
        there = {pid: who for pid, who in self.active[device].items() if is_alive(pid)}
        if sum(share for _, share in there.values()) > WHOLE:
            self.broken.append(f"overlap: {device} is used by {sorted({who for who, _ in there.values()})}")
        if token < self.highest.get(device, 0):
            self.broken.append(f"token: {device} is used by {lease} with {token} after {self.highest[device]}")
        if milli >= WHOLE:
            self.highest[device] = max(token, self.highest.get(device, 0))

    # -- the end -------------------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether no device is lent and every line is booked."""
        return not any(record.grants or record.lines for record in self.records.values())

    def sum_up(self) -> None:
        """Every lease has ended, whole gangs only, and the ledger has every second once."""
        for record in self.records.values():
            for one in record.grants:
                self.broken.append(f"endless: {record.key} still has {one.lease} {one.ended}")
        for part in sorted(self.grants.keys() | self.lines.keys()):
            if part not in self.booked:
                self.broken.append(f"ledger: {part} is not in it")
        for part, line in self.lines.items():
            booked = self.booked.get(part)
            if booked is not None and (booked.began_at, booked.ended_at) != (line.began_at, line.ended_at):
                self.broken.append(f"ledger: {part} was stored as another length than it had")
        self._gangs()

    def _gangs(self) -> None:
        """Gangs are granted whole; of a lease that two brokers granted, all grants but one were taken back."""
        had: dict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
        ends: dict[str, dict[tuple[str, ...], set[str]]] = defaultdict(lambda: defaultdict(set))
        for (lease, device, token), one in self.grants.items():
            had[lease, one.devices].add(device)
            line = self.booked.get((lease, device, token))
            ends[lease][one.devices].add(line.end if line is not None else "")
        for (lease, devices), seen in had.items():
            whole = {key.partition(".")[2] for key in devices}
            if seen != whole:
                self.broken.append(f"gang: {lease} had {sorted(seen)} of {sorted(whole)}")
        for lease, groups in ends.items():
            if sum(end != {"revoked"} for end in groups.values()) > 1:
                self.broken.append(f"torn: {lease} was granted as {sorted(groups)} and kept")

    @property
    def hours(self) -> tuple[float, float]:
        """Device hours: of the intervals as the records told them, and as the ledger has them."""
        told = sum(max(0.0, line.ended_at - line.began_at) * line.milli / WHOLE for line in self.lines.values())
        booked = [one for part, one in self.booked.items() if part in self.lines]
        stored = sum(max(0.0, one.ended_at - one.began_at) * one.milli / WHOLE for one in booked)
        return told / 3600.0, stored / 3600.0


def _pid_of(stream: SocketStream) -> int:
    """The process at the other end (Linux)."""
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - of a socket, no table
    return struct.unpack("3i", raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[0]
