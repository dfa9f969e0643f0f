"""What is known of a stretch of time: who used what, what was lent, what it took.

Device time is counted in whole microseconds times millionths of a device, so that sums do not depend on their order
and an interval that is split over buckets is the sum of its parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from subjects.device import Kind
from subjects.lease import Sampled

from .energy import worst
from .prices import Sort

US = 1_000_000
MINUTE, HOUR, DAY = 60, 3600, 86_400


class Who(NamedTuple):
    """Who used something."""

    layer: str
    tenant: str
    agent: str


class Use(NamedTuple):
    """Microseconds times millionths of a whole device; microseconds times milli; leases that ended."""

    share: int = 0
    milli: int = 0
    leases: int = 0


Cell = tuple[Who, Sort]
Line = tuple[Kind, str]
"""A kind and a model."""


@dataclass(frozen=True, slots=True)
class Lend:
    """Sums over the samples of one kind and model.

    Attributes:
        minutes: Samples.
        devices: Devices, over samples; ``total`` whole ones that could be lent (milli / 1000), ``lent`` those lent.
        busy: Busy part of what was lent, where it was told: ``told``.
        joules: Of ``metered`` samples, from ``source``.
        most: Most that was lent at once; ``memory`` the most memory, in MiB.
    """

    minutes: int = 0
    devices: float = 0.0
    total: float = 0.0
    lent: float = 0.0
    busy: float = 0.0
    told: float = 0.0
    joules: float = 0.0
    metered: int = 0
    source: str = ""
    most: float = 0.0
    memory: int = 0

    def plus(self, other: Lend) -> Lend:
        """Both together."""
        sources = [one for one in (self.source, other.source) if one]
        return Lend(
            self.minutes + other.minutes, self.devices + other.devices, self.total + other.total,
            self.lent + other.lent, self.busy + other.busy, self.told + other.told, self.joules + other.joules,
            self.metered + other.metered, worst(sources) if sources else "", max(self.most, other.most),
            max(self.memory, other.memory),
        )  # fmt: skip


class Demand(NamedTuple):
    """What was lent and waited for of a kind: the sum over minutes, and the most of one."""

    minutes: int = 0
    sum: float = 0.0
    most: float = 0.0


@dataclass(slots=True)
class Bucket:
    """What is known of a stretch of time; ``start`` and ``length`` in seconds."""

    start: int
    length: int
    use: dict[Cell, Use] = field(default_factory=dict[Cell, Use])
    lend: dict[Line, Lend] = field(default_factory=dict[Line, Lend])
    waiting: dict[Kind, float] = field(default_factory=dict[Kind, float])
    demand: dict[Kind, Demand] = field(default_factory=dict[Kind, Demand])

    def wanted(self, kind: Kind) -> Demand:
        """Demand for a kind; in a minute, from its samples."""
        if self.length != MINUTE:
            return self.demand.get(kind, Demand())
        lent = [one.lent for (other, _), one in self.lend.items() if other == kind]
        value = sum(lent) + self.waiting.get(kind, 0.0)
        return Demand(1, value, value) if lent else Demand()

    def view(self) -> Bucket:
        """A copy, to be read in another thread while this one grows."""
        return Bucket(
            self.start, self.length, dict(self.use), dict(self.lend), dict(self.waiting), dict(self.demand)
        )  # fmt: skip


def lend_of(row: Sampled) -> Lend:
    """A sample as a sum of one."""
    told = row.lent if row.busy is not None else 0.0
    metered = row.joules_from not in {"", "none"}
    return Lend(
        1, row.devices, row.total, row.lent, (row.busy or 0.0) * told, told, row.joules if metered else 0.0,
        int(metered), row.joules_from, row.lent, row.memory_lent_mib,
    )  # fmt: skip


def micros(at: float) -> int:
    """Whole microseconds of a Unix time."""
    return round(at * US)
