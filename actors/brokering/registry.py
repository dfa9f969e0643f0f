"""What is known of all devices: a cache of their records with indices by lease and node. The stream is the truth."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .record import Grant, Record

Grants = tuple[Grant, ...]


@dataclass(slots=True)
class Known:
    """A device's record, and how it was stored; no record = the device was forgotten.

    A sequence alone does not tell a write: after a store was set back it is given out again.
    """

    record: Record | None = None
    seq: int = 0
    write: str = ""


@dataclass(slots=True)
class Totals:
    """What one tenant has now: milli of GPUs and of processors, and its leases' shares."""

    gpu: int = 0
    cpu: int = 0
    shares: int = 0


@dataclass(slots=True)
class Registry:
    """Records by key.

    Attributes:
        torn: Leases that were granted twice, on other devices: two brokers were asked, and neither knew of the other;
            with the end of the patience for it, once somebody has set it.
        on_change: Called with the key of a device whose record changed.
    """

    known: dict[str, Known] = field(default_factory=dict[str, Known])
    leases: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    nodes: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    tenants: dict[str, Totals] = field(default_factory=dict[str, Totals])
    unreadable: dict[str, str] = field(default_factory=dict[str, str])
    torn: dict[str, float] = field(default_factory=dict[str, float])
    on_change: Callable[[str], None] = lambda _key: None
    _due: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])

    def put(self, key: str, record: Record | None, seq: int, write: str) -> None:
        """Take a record as it was stored; ``None`` = the device was forgotten."""
        known = self.known.setdefault(key, Known())
        old, known.record, known.seq, known.write = known.record, record, seq, write
        self.unreadable.pop(key, None)
        before = old.grants if old is not None else ()
        after = record.grants if record is not None else ()
        shown = record or old
        if shown is not None and before is not after:
            self._index(key, before, after, shown.kind == "gpu")
        self._place(key, record)
        self.on_change(key)

    def _place(self, key: str, record: Record | None) -> None:
        if record is not None:
            self.nodes.setdefault(record.node, set()).add(key)
            return
        node = key.partition(".")[0]
        self.nodes.get(node, set[str]()).discard(key)
        if not self.nodes.get(node, {""}):
            del self.nodes[node]

    def _index(self, key: str, before: Grants, after: Grants, is_gpu: bool) -> None:  # noqa: FBT001 - private
        old, new = {id(grant) for grant in before}, {id(grant) for grant in after}  # comparing them costs ten times
        for grant in (grant for grant in before if id(grant) not in new):
            self._count(grant, is_gpu, -1)
            keys = self.leases.get(grant.lease)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self.leases[grant.lease]
        for grant in (grant for grant in after if id(grant) not in old):
            self._count(grant, is_gpu, 1)
            keys = self.leases.setdefault(grant.lease, set())
            keys.add(key)
            if len(keys) > len(grant.devices) or key not in grant.devices:
                self.torn.setdefault(grant.lease, 0.0)
            if not grant.ended:
                heapq.heappush(self._due, (_due_at(grant), grant.lease))

    def _count(self, grant: Grant, is_gpu: bool, sign: int) -> None:  # noqa: FBT001 - private
        totals = self.tenants.setdefault(grant.tenant, Totals())
        if is_gpu:
            totals.gpu += sign * grant.milli
        else:
            totals.cpu += sign * grant.milli
        totals.shares += sign
        if not totals.shares:
            del self.tenants[grant.tenant]

    def record(self, key: str) -> Record | None:
        """A device's record."""
        known = self.known.get(key)
        return known.record if known is not None else None

    def records(self) -> Iterator[Record]:
        """All devices there are."""
        return (known.record for known in self.known.values() if known.record is not None)

    def on_node(self, node: str) -> list[Record]:
        """The devices of a node."""
        return [record for key in self.nodes.get(node, ()) if (record := self.record(key)) is not None]

    def grants_of(self, lease: str) -> list[tuple[Record, Grant]]:
        """The grants of a lease with their devices' records, in the order of the lease's devices."""
        found: list[tuple[Record, Grant]] = []
        for key in self.leases.get(lease, ()):
            record = self.record(key)
            grant = record.find(lease) if record is not None else None
            if record is not None and grant is not None:
                found.append((record, grant))
        if len(found) > 1:
            order = {key: index for index, key in enumerate(found[0][1].devices)}
            found.sort(key=lambda pair: order.get(pair[0].key, 0))
        return found

    def is_live(self, lease: str) -> bool:
        """Whether a lease is not over."""
        return any(not grant.ended for _, grant in self.grants_of(lease))

    def live(self) -> int:
        """How many leases there are, those included whose holders are being ended."""
        return len(self.leases)

    def unseen(self, lease: str) -> list[str]:
        """Devices that a lease has and whose records do not show it here yet: a gang's records do not come together."""
        held = self.leases.get(lease, set[str]())
        return sorted({key for _, grant in self.grants_of(lease) for key in grant.devices} - held)

    def later_grants(self, lease: str) -> list[str]:
        """Of a lease that was granted twice, the devices of all grants but the first."""
        alive = [(record.key, grant) for record, grant in self.grants_of(lease) if not grant.ended]
        first = min((grant.token, grant.devices) for _, grant in alive)[1] if alive else ()
        return [key for key, grant in alive if grant.devices != first]

    def due(self, now: float) -> list[str]:
        """Leases that must be looked at now, for they may have expired; each is given once."""
        found: dict[str, None] = {}
        while self._due and self._due[0][0] <= now:
            found[heapq.heappop(self._due)[1]] = None
        return list(found)

    def expect_again(self, lease: str) -> None:
        """Give a lease with ``due`` when its time is over, if it is not over yet."""
        for _, grant in self.grants_of(lease):
            if not grant.ended:
                self.look_again(lease, _due_at(grant))

    def look_again(self, lease: str, at: float) -> None:
        """Give a lease with ``due`` at a time, whatever its record says."""
        heapq.heappush(self._due, (at, lease))


def _due_at(grant: Grant) -> float:
    return min(grant.expires_at, grant.revoke_at) if grant.revoke_at else grant.expires_at
