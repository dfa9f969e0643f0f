"""The usage ledger: ended grants go from the records to stream USAGE, each at least once, and then leave the records.

A line is written with the grant's end, in the same compare-and-set: so there is one for every end and none without. It
leaves the record after the stream has acknowledged it. Told twice it is the same line: readers know lease and device.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.costing.energy import Gauge
from chimera.errors import ChimeraError
from chimera.wire import encode
from subjects.device import NodeReported
from subjects.lease import SAMPLED, USED, LeaseInterval, Sampled

from . import changes
from .core import Core
from .record import WHOLE, Line, Record
from .registry import Known

OTHERS_S = 10.0
"""Lines that another broker wrote are left to it for so long: it may have died."""

MOST_AT_ONCE = 2_000
SAMPLE_S = 60.0
Mark = tuple[str, str, int]
"""Device, lease, token."""


class Usage:
    """Moves lines from records to the ledger.

    Args:
        core: What the parts share.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._seen: dict[Mark, float] = {}
        self._with_lines: set[str] = set()
        self._gauge = Gauge()
        self.stored = 0
        self.trouble = ""

    def changed(self, key: str) -> None:
        """A record changed."""
        record = self._core.registry.record(key)
        if record is not None and record.lines:
            self._with_lines.add(key)
        else:
            self._with_lines.discard(key)

    def metered(self, report: NodeReported) -> None:
        """A node tells what its devices took."""
        for told in report.devices:
            self._gauge.take(f"{report.node}.{told.id}", told.energy_j, told.energy_source)

    async def ship(self) -> int:
        """Store the lines that are ours to store; how many there were."""
        lines = self._ready()
        if not lines:
            return 0
        gpus = {record.node: node_gpus(self._core.registry.on_node(record.node)) for record, _ in lines}
        batch = [
            (USED, encode(interval_of(record, line, gpus[record.node])), _id(record.key, line))
            for record, line in lines
        ]
        try:
            await self._core.bus.append_many(batch)
        except ChimeraError as error:
            self.trouble = error.detail
            return 0
        self.trouble = ""
        self.stored += len(lines)
        for key in dict.fromkeys(record.key for record, _ in lines):
            done = frozenset((line.lease, line.token) for record, line in lines if record.key == key)
            self._core.spawn(self._strike, key, done)
        return len(lines)

    def _ready(self) -> list[tuple[Record, Line]]:
        core = self._core
        now, found = core.clock.monotonic(), list[tuple[Record, Line]]()
        marks: set[Mark] = set()
        for key in self._with_lines:
            record = core.registry.known.get(key, Known()).record
            for line in record.lines if record is not None else ():
                mark = (key, line.lease, line.token)
                marks.add(mark)
                seen = self._seen.setdefault(mark, now)
                if record is not None and (line.lease in core.own or now - seen >= OTHERS_S):
                    found.append((record, line))
        self._seen = {mark: at for mark, at in self._seen.items() if mark in marks}
        core.own &= {lease for _, lease, _ in marks}
        return found[:MOST_AT_ONCE]

    async def _strike(self, key: str, done: frozenset[tuple[str, int]]) -> None:
        """The stream has them: the record may forget them."""
        try:
            await self._core.book.change([key], lambda old: [changes.stored(old[0], done)])
        except ChimeraError:
            return  # told again, they are the same lines

    async def sample(self) -> list[Sampled]:
        """Store what is lent now, once a minute for all brokers together."""
        at = self._core.clock.time() // SAMPLE_S * SAMPLE_S
        rows = samples(self._core, self._gauge, at)
        batch = [(SAMPLED, encode(row), f"sample.{int(at)}.{row.kind}.{row.model}") for row in rows]
        try:
            if batch:
                await self._core.bus.append_many(batch)
        except ChimeraError as error:
            self.trouble = error.detail
        return rows


def samples(core: Core, gauge: Gauge, at: float) -> list[Sampled]:
    """What is lent now, by kind and model, and what it took since it was asked last."""
    gauge.keep(record.key for record in core.registry.records())
    found: dict[tuple[str, str], list[Record]] = {}
    for record in core.registry.records():
        found.setdefault((record.kind, record.model), []).append(record)
    return [_sample(core, gauge, at, records) for _, records in sorted(found.items())]


def _sample(core: Core, gauge: Gauge, at: float, records: list[Record]) -> Sampled:
    kind, model = records[0].kind, records[0].model
    wanted, waiting = core.wanted(kind)
    told = [(record, core.census.told(record)[0]) for record in records]
    busy = [word.utilization for record, word in told if word and record.grants and word.utilization is not None]
    joules, source = gauge.draw(record.key for record in records)
    return Sampled(
        at=at, kind=kind, model=model, devices=len(records),
        total=sum(one.milli for one in records if core.census.usable(one)) / WHOLE,
        lent=sum(grant.milli for one in records for grant in one.grants) / WHOLE, wanted=wanted / WHOLE,
        waiting=waiting, busy=sum(busy) / len(busy) if busy else None, joules=joules, joules_from=source,
        memory_lent_mib=sum(grant.memory_mib for one in records for grant in one.grants),
    )  # fmt: skip


def node_gpus(records: Iterable[Record]) -> int:
    """GPUs among the devices of a node; the instances of one that is split count as that one."""
    return len({record.parent or record.id for record in records if record.kind == "gpu"})


def interval_of(record: Record, line: Line, gpus: int) -> LeaseInterval:
    """A line of the ledger as a fact; ``gpus`` are those of its node."""
    return LeaseInterval(
        lease=line.lease, device=record.id, node=record.node, kind=record.kind, model=record.model, layer=line.layer,
        tenant=line.tenant, agent=line.agent, milli=line.milli, memory_mib=line.memory_mib,
        share=record.share(line.milli, line.memory_mib), token=line.token, began_at=line.began_at,
        ended_at=line.ended_at, end=line.end, device_milli=record.milli, node_gpus=gpus,
    )  # fmt: skip


def _id(key: str, line: Line) -> str:
    return f"{line.lease}.{key}.{line.token}"
