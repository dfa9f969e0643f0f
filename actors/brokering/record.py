"""A device's record: the truth about who has what of it. It is changed as a whole, by compare-and-set, or not at all.

Records are values: every change is a function that gives a new record or a refusal (``changes``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import msgspec

End = Literal["released", "expired", "revoked"]
WHOLE = 1000
"""Milli of a GPU that nobody shares."""


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """A lease's share of the device.

    Attributes:
        lease: The lease.
        devices: Keys of all devices of the lease: a gang is told whole by each of its records.
        milli: Compute.
        memory_mib: Memory.
        token: The fencing token of this grant on this device.
        granted_at: When, in Unix seconds, as all times here.
        expires_at: When it ends unless it is renewed.
        ttl_s: What a renewal adds.
        layer: Who uses it.
        tenant: Who pays.
        agent: For which agent.
        priority: 0 to 100.
        preemptible: May be taken back for a gang of higher priority.
        busy_at: When its holder last said that it was used.
        revoke_at: When it is taken back; 0 = no notice was given.
        ended: How it ended, while its holder may still be there; empty = it is alive.
        ended_in: The version of the record in which it ended.
        reason: Why it has notice or ended.
    """

    lease: str
    devices: tuple[str, ...]
    milli: int
    memory_mib: int
    token: int
    granted_at: float
    expires_at: float
    ttl_s: float
    layer: str
    tenant: str
    agent: str
    priority: int
    preemptible: bool = False
    busy_at: float = 0.0
    revoke_at: float = 0.0
    ended: End | Literal[""] = ""
    ended_in: int = 0
    reason: str = ""


class Line(msgspec.Struct, frozen=True, array_like=True):
    """A grant that ended, for the usage ledger: it stays in the record until it is stored there."""

    lease: str
    layer: str
    tenant: str
    agent: str
    milli: int
    memory_mib: int
    token: int
    began_at: float
    ended_at: float
    end: End


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A device as it is lent.

    Attributes:
        node: Where it is.
        id: Its UUID.
        kind: ``gpu`` or ``cpu``.
        model: As its driver calls it.
        capability: Compute capability such as ``9.0``; empty = unknown.
        milli: All of its compute.
        memory_mib: All of its memory that can be lent.
        parent: The GPU that this MIG instance is a part of.
        version: Grows with every change.
        token: The highest token that was ever granted, or that its node has seen.
        grants: Who has it, ended ones included whose holder may still be there.
        trouble: Why it must not be used now; empty = it may.
        drained: Why nothing more is lent of it; empty = it is lent.
        foreign_mib: Memory that somebody uses without a lease.
        fenced: Its node ends the holders of leases that are over, and says when they are gone.
        lines: Ended grants that are not yet known to be in the usage ledger.
    """

    node: str
    id: str
    kind: Literal["gpu", "cpu"] = "gpu"
    model: str = ""
    capability: str = ""
    milli: int = WHOLE
    memory_mib: int = 0
    parent: str = ""
    version: int = 0
    token: int = 0
    grants: tuple[Grant, ...] = ()
    trouble: str = ""
    drained: str = ""
    foreign_mib: int = 0
    fenced: bool = False
    lines: tuple[Line, ...] = ()

    @property
    def key(self) -> str:
        """``<node>.<id>``: the end of its subject, and how it is told apart everywhere."""
        return f"{self.node}.{self.id}"

    @property
    def foreign_milli(self) -> int:
        """Compute that is counted as used with the memory that somebody uses without a lease."""
        if not self.foreign_mib or not self.memory_mib:
            return 0
        return min(self.milli, math.ceil(self.milli * self.foreign_mib / self.memory_mib))

    @property
    def free_milli(self) -> int:
        """Compute that nobody has; below 0 if more was lent than there is now."""
        return self.milli - self.foreign_milli - sum(grant.milli for grant in self.grants)

    @property
    def free_mib(self) -> int:
        """Memory that nobody has; below 0 likewise."""
        return self.memory_mib - self.foreign_mib - sum(grant.memory_mib for grant in self.grants)

    def find(self, lease: str) -> Grant | None:
        """The lease's grant, alive or ended."""
        return next((grant for grant in self.grants if grant.lease == lease), None)

    def share(self, milli: int, memory_mib: int) -> float:
        """The dominant share of so much of it: the larger of its parts of compute and memory, 0 to 1."""
        compute = milli / self.milli if self.milli else 0.0
        return min(1.0, max(compute, memory_mib / self.memory_mib if self.memory_mib else 0.0))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A change that the record does not allow; ``code`` is one of the closed list of errors."""

    code: Literal["no-capacity", "no-lease", "fenced", "conflict"]
    detail: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def pack(record: Record) -> bytes:
    """The record as it is stored."""
    return _encoder.encode(record)


def unpack(data: bytes) -> Record:
    """A stored record.

    Raises:
        msgspec.DecodeError: If it is none.
    """
    return _decoder.decode(data)
