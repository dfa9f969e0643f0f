"""Which nodes are there, and what they tell of their devices; what concerns lending is brought into the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from chimera.clock import Clock
from chimera.errors import ChimeraError
from subjects.device import DeviceChanged, NodeReported, Told

from .book import Book
from .record import Record
from .registry import Registry
from .witness import Facts, witness

SILENT_AFTER = 3.0
"""Intervals without a word, after which a node lends nothing more."""

GRACE_S = 10.0
"""After its start a broker believes in nodes that it has not heard of yet, for so long."""

BUSY = 0.05
"""Utilisation from which a device counts as used."""

UNTOLD = "its node does not tell of it any more"


@dataclass(slots=True)
class Node:
    """A node as it last told of itself; ``heard_at`` is monotonic."""

    heard_at: float
    at: float
    interval_s: float
    fences: bool
    devices: dict[str, Told]


@dataclass(slots=True)
class Census:
    """Listens to nodes.

    Attributes:
        book: Where records are changed.
        tell: Publishes a fact.
        busy_at: When a device was last seen used, in Unix seconds, by key.
        silent: Nodes that were heard and are not any more, or were never.
    """

    book: Book
    registry: Registry
    clock: Clock
    spawn: Callable[..., None]
    tell: Callable[[Any], None]
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    busy_at: dict[str, float] = field(default_factory=dict[str, float])
    silent: set[str] = field(default_factory=set[str])
    on_node: Callable[[str], None] = lambda _node: None
    _began: float = 0.0
    _writing: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        """The grace begins."""
        self._began = self.clock.monotonic()

    def take(self, report: NodeReported) -> None:
        """A node tells of its devices."""
        now = self.clock.time()
        devices = {told.id: told for told in report.devices}
        self.nodes[report.node] = Node(
            self.clock.monotonic(), report.at, max(0.1, report.interval_s), report.fences, devices
        )
        for told in report.devices:
            key = f"{report.node}.{told.id}"
            if told.utilization is not None and told.utilization >= BUSY:
                self.busy_at[key] = now
            self._compare(key, report.node, told.id, facts_of(told, fences=report.fences))
        for key in self.registry.nodes.get(report.node, set[str]()):
            record = self.registry.record(key)
            if record is not None and record.id not in devices and record.trouble != UNTOLD:
                self._compare(key, record.node, record.id, _untold(record))
        if report.node in self.silent:
            self.silent.discard(report.node)
            self.on_node(report.node)

    def look(self) -> list[str]:
        """Nodes that have fallen silent since the last look."""
        fresh = [name for name in self.registry.nodes if name not in self.silent and not self.hears(name)]
        for name in fresh:
            self.silent.add(name)
            self.on_node(name)
        for name in [name for name in self.nodes if name not in self.registry.nodes and not self.hears(name)]:
            del self.nodes[name]
        return fresh

    def hears(self, name: str) -> bool:
        """Whether a node speaks, or may be expected to: a broker that has just begun has heard nobody yet."""
        node, now = self.nodes.get(name), self.clock.monotonic()
        if node is None:
            return now - self._began < GRACE_S
        return now - node.heard_at < SILENT_AFTER * node.interval_s

    def usable(self, record: Record) -> bool:
        """Whether a device's node speaks."""
        return record.node not in self.silent and self.hears(record.node)

    def told(self, record: Record) -> tuple[Told | None, float | None]:
        """What was last told of a device, and when, while its node speaks."""
        node = self.nodes.get(record.node)
        if node is None or not self.hears(record.node):
            return None, None
        return node.devices.get(record.id), node.at

    def _compare(self, key: str, node: str, device: str, facts: Facts) -> None:
        """Have the record changed where the facts differ from it; once at a time for each device."""
        record = self.registry.record(key)
        if key in self._writing or (record is not None and witness(record, facts, 0.0) is record):
            return
        self._writing.add(key)
        self.spawn(self._write, key, node, device, facts)

    async def _write(self, key: str, node: str, device: str, facts: Facts) -> None:
        try:
            before = self.registry.record(key)
            if before is None:
                await self.book.create(witness(Record(node, device), facts, self.clock.time()))
            else:
                await self.book.change([key], lambda old: [witness(old[0], facts, self.clock.time())])
            self._say(before, self.registry.record(key))
        except ChimeraError:
            pass  # the node's next word says the same
        finally:
            self._writing.discard(key)

    def _say(self, before: Record | None, after: Record | None) -> None:
        if after is None:
            return
        for change, reason in changes_of(before, after):
            fact = DeviceChanged(device=after.id, node=after.node, change=change, at=self.clock.time(), reason=reason)
            self.tell(fact)


def changes_of(before: Record | None, after: Record) -> Iterator[tuple[Any, str]]:
    """What is worth telling of a change, with the reason."""
    if before is None:
        yield "came", after.model
        return
    if before.trouble != after.trouble:
        yield ("ill", after.trouble) if after.trouble else ("well", before.trouble)
    if before.foreign_mib != after.foreign_mib:
        yield "foreign", f"{after.foreign_mib} MiB are used without a lease"
    if any(grant.ended and not grant.tenant for grant in after.grants if before.find(grant.lease) is None):
        yield "guarded", "the store was set back: what its node still holds is waited for"


def facts_of(told: Told, *, fences: bool) -> Facts:
    """What a node's word means for the record."""
    return Facts(
        told.milli, told.memory_mib, told.kind, told.model, told.capability or "", told.parent, told.trouble,
        told.foreign_mib, fences, told.token, told.seen, frozenset(told.held),
    )  # fmt: skip


def _untold(record: Record) -> Facts:
    """A device that its node leaves out is in trouble; nobody says that its ended holders are gone."""
    known = Facts(
        record.milli, record.memory_mib, record.kind, record.model, record.capability, record.parent, UNTOLD,
        record.foreign_mib, record.fenced, record.token, -1, frozenset(one.lease for one in record.grants),
    )  # fmt: skip
    return replace(known)
