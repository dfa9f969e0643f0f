"""What the parts of the broker share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from chimera.bus.contract import Bus
from chimera.clock import Clock
from subjects.gpu_broker import Rules
from subjects.lease import Allocate

from .book import Book
from .census import Census
from .floor import Floor
from .record import Record
from .registry import Registry
from .waiting import Holding, Turnover


class Admission(Protocol):
    """Asked before a lease is granted."""

    async def admit(self, lease: str, message: Allocate) -> None:
        """Raise ``OverBudgetError`` if it must not be."""
        ...

    def settle(self, lease: str, *, granted: bool) -> None:
        """A request that was admitted has been answered."""
        ...


class Report(Protocol):
    """Writes a line to the event log."""

    def __call__(self, name: str, message: str = "", *, level: Any = "info", **fields: Any) -> None:
        """Write it."""
        ...


@dataclass(slots=True)
class Core:
    """The broker's state: all of it is a cache of streams, or of the moment.

    Attributes:
        tell: Publishes a fact; never raises for a broken bus.
        admission: What must agree before a lease is granted.
        rules: In force.
        recent: Leases that ended a moment ago, and how: a repeated release is answered the same.
        own: Leases that this broker ended, whose lines are its to store in the ledger.
        wanted: Milli that waiting requests of a kind ask for, and how many requests they are.
    """

    bus: Bus
    clock: Clock
    rng: random.Random
    registry: Registry
    book: Book
    floor: Floor
    census: Census
    spawn: Callable[..., None]
    report: Report
    tell: Callable[[Any], None]
    node: str
    admission: list[Admission] = field(default_factory=list[Admission])
    rules: Rules = field(default_factory=Rules)
    turnover: Turnover = field(default_factory=Turnover)
    recent: dict[str, str] = field(default_factory=dict[str, str])
    own: set[str] = field(default_factory=set[str])
    wanted: Callable[[str], tuple[int, int]] = lambda _kind: (0, 0)

    def holdings(self) -> dict[str, Holding]:
        """What each tenant has."""
        return {name: Holding(totals.gpu, totals.cpu) for name, totals in self.registry.tenants.items()}

    def total(self) -> Holding:
        """All devices that can be lent, in milli."""
        found = {"gpu": 0, "cpu": 0}
        for record in self.registry.records():
            if self.census.usable(record):
                found[record.kind] += record.milli
        return Holding(found["gpu"], found["cpu"])

    def records_of(self, lease: str) -> list[Record]:
        """The devices that a lease has something of."""
        return [record for record, _ in self.registry.grants_of(lease)]

    def ended(self, lease: str, how: str) -> None:
        """Remember how a lease ended."""
        self.recent[lease] = how
        self.own.add(lease)
        while len(self.recent) > MOST_RECENT:
            del self.recent[next(iter(self.recent))]


MOST_RECENT = 20_000
