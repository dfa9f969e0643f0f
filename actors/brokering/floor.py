"""Where a request goes: the placement policy over what the records say is left, less what is being granted just now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from subjects.lease import Need

from .changes import MOST_GRANTS, obstacle
from .record import WHOLE, Grant, Record
from .registry import Registry
from .want import Part, Parts, Usable, anywhere, on_node, parts_of, suits

if TYPE_CHECKING:
    from actors.placement.cluster import Cluster
    from actors.placement.policy import Placer
    from actors.placement.shape import Shape

Packing = Literal["pack", "spread"]
_MOST_TRIES = 8
_MOST_NOTED = 1_000


@dataclass(slots=True)
class Row:
    """One row of the cluster: the GPUs of one model of a node, or a node without any; and its processors."""

    node: str
    model: str
    capability: str
    gpus: list[str]
    cpu: str = ""


@dataclass(slots=True)
class Floor:
    """Chooses devices.

    Attributes:
        registry: What is known of them.
        usable: Whether a device may be lent now, as far as its record does not say.
        packing: ``pack`` or ``spread``.
        held: What is being granted, by device and lease: not in the records yet, and not to be promised twice.
    """

    registry: Registry
    usable: Usable
    packing: Packing = "pack"
    held: dict[str, dict[str, Part]] = field(default_factory=dict[str, dict[str, Part]])
    _rows: list[Row] = field(default_factory=list[Row])
    _row_of: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    _shape_of: dict[str, tuple[str, str, str]] = field(default_factory=dict[str, tuple[str, str, str]])
    _cluster: Cluster | None = None
    _placer: Placer | None = None
    _stale: set[str] = field(default_factory=set[str])
    _told: dict[str, tuple[int, int, bool]] = field(default_factory=dict[str, tuple[int, int, bool]])
    _said: dict[int, list[tuple[int, int, bool]]] = field(default_factory=dict[int, list[tuple[int, int, bool]]])
    _noted: list[Need] = field(default_factory=list[Need])
    _last: Need | None = None
    _ahead: tuple[Need, Parts | None] | None = None  # what the last need would be given now, if nothing changes
    _rebuild: bool = True
    _numpy: bool = field(default_factory=lambda: find_spec("numpy") is not None)

    # -- what changes --------------------------------------------------------------------------------------------------

    def changed(self, key: str) -> None:
        """A device's record changed, or whether it may be used."""
        record = self.registry.record(key)
        shape = ("", "", "") if record is None else (record.kind, record.model, record.capability)
        if self._shape_of.get(key, ("", "", "")) != shape:
            self._shape_of[key] = shape
            self._rebuild = True
        self._stale.add(key)

    def hold(self, lease: str, parts: Parts) -> None:
        """These parts are being granted to a lease."""
        for part in parts:
            self.held.setdefault(part.key, {})[lease] = part
            self._stale.add(part.key)

    def let_go(self, lease: str, parts: Parts) -> None:
        """They were granted, and stand in the records, or they were not."""
        for part in parts:
            holders = self.held.get(part.key)
            if holders is not None and holders.pop(lease, None) is not None:
                self._stale.add(part.key)
                if not holders:
                    del self.held[part.key]

    def pack_or_spread(self, packing: Packing) -> None:
        """Choose by another policy from now on; what was learned stays."""
        if packing != self.packing:
            self.packing, self._rebuild = packing, True

    # -- choosing ------------------------------------------------------------------------------------------------------

    def note(self, need: Need) -> None:
        """Count a request: the policy keeps room for what is asked for often."""
        if self._numpy and len(self._noted) < _MOST_NOTED and need.devices <= 64:  # noqa: PLR2004 - what a shape can hold
            self._noted.append(need)

    def learn(self) -> None:
        """Take the requests that were noted into account. It takes a moment now and then: not while somebody waits."""
        noted, self._noted = self._noted, []
        if self._numpy:
            self._ready()
        for need in noted:
            placer = self._ready()
            shape = self._shape(need) if placer is not None else None
            if placer is not None and shape is not None:
                placer.learn(shape)
        if noted:
            self.warm()

    def warm(self) -> None:
        """Take what changed into account now, while nobody waits, as if the last need were asked for again."""
        self._ahead = None
        if self._last is not None and not self.held:  # what is being granted changes it again in a moment
            parts = self._place(self._last)
            if not self._stale:
                self._ahead = self._last, parts

    def choose(self, need: Need) -> Parts | None:
        """The parts that the need is met with now, or ``None``."""
        if not self._numpy or need.node or not self._is_simple(need):
            return self._plainly(need)
        ahead, self._ahead, self._last = self._ahead, None, need
        if ahead is not None and ahead[0] == need and not self._stale and not self._rebuild:
            parts = ahead[1]
            if parts is None or not any(self._refuses(part) for part in parts):
                return parts
        return self._place(need)

    def _place(self, need: Need) -> Parts | None:
        """What the policy chooses."""
        placer, shape = self._ready(), self._shape(need)
        if placer is None or shape is None:
            return None
        closed: list[tuple[int, int]] = []
        try:
            for _ in range(_MOST_TRIES):
                place = placer.choose(shape)
                if place is None:
                    return None
                row = self._rows[place.node]
                gpus = [record for at in place.devices if (record := self.registry.record(row.gpus[at])) is not None]
                cpu = self.registry.record(row.cpu)
                parts = parts_of(need, gpus, cpu) if need.kind == "gpu" else self._on_cpu(need, cpu)
                bad = [at for at, part in zip(place.devices, parts, strict=False) if self._refuses(part)]
                if not bad:
                    return parts
                for at in bad:  # its share of the memory is gone, or its node fell silent since
                    placer.cluster.set_usable(place.node, at, usable=False)
                    self._said.pop(place.node, None)
                    closed.append((place.node, at))
            return self._plainly(need)
        finally:
            self._stale.update(self._rows[node].gpus[at] for node, at in closed)

    def fragmentation(self) -> float | None:
        """Idle GPU compute that typical requests can't use, in milli; ``None`` while they are not known."""
        placer = self._ready() if self._numpy else None
        return placer.fragmentation() if placer is not None and placer.mix.shares else None

    def shapes(self) -> dict[str, float]:
        """Which shapes are asked for, in words, as shares of requests."""
        placer = self._ready() if self._numpy else None
        if placer is None:
            return {}
        found: dict[str, float] = {}
        for shape, share in placer.learner.mix().shares.items():
            gpus = f"{shape.devices} x {shape.milli / WHOLE:g} GPU, " if shape.devices else ""
            name = f"{gpus}{shape.cpu_milli / WHOLE:g} processors"
            found[name] = found.get(name, 0.0) + share
        return found

    def _plainly(self, need: Need) -> Parts | None:
        nodes = self.view([need.node] if need.node else None)
        if self.packing == "spread" and need.one_node:
            found = [parts for records in nodes.values() if (parts := on_node(need, records, self.usable))]
            return found[-1] if found else None
        return anywhere(need, nodes, self.usable)

    def view(self, nodes: Sequence[str] | None = None) -> dict[str, list[Record]]:
        """Records by node, with what is being granted taken off."""
        names = sorted(self.registry.nodes) if nodes is None else nodes
        return {
            name: [
                self._less_held(record)
                for key in sorted(self.registry.nodes.get(name, ()))
                if (record := self.registry.record(key)) is not None
            ]
            for name in names
        }

    def _less_held(self, record: Record) -> Record:
        """The record with grants that are on their way; only what is left of it counts then."""
        parts = self._held_of(record)
        if not parts:
            return record
        coming = tuple(
            Grant("", (), part.milli, part.memory_mib, 0, 0.0, 0.0, 0.0, "", "", "", 0, ended="released")
            for part in parts
        )  # fmt: skip
        return replace(record, grants=(*record.grants, *coming))

    def _held_of(self, record: Record) -> list[Part]:
        holders = self.held.get(record.key)
        if not holders:
            return []
        return [part for lease, part in holders.items() if record.find(lease) is None]

    # -- the cluster ---------------------------------------------------------------------------------------------------

    def _is_simple(self, need: Need) -> bool:
        """Whether it is one shape of the policy: on one node, and no shares of several devices."""
        if need.kind == "cpu":
            return need.devices == 1
        return need.devices == 1 or (need.one_node and need.milli == WHOLE and need.devices <= 64)  # noqa: PLR2004 - as above

    def _ready(self) -> Placer | None:
        if self._rebuild:
            self._build()
        cluster = self._cluster
        for key in self._stale:
            self._told.pop(key, None)
        if cluster is not None and self._stale:
            for index in sorted({row for key in self._stale for row in self._row_of.get(key, ())}):
                self._tell(cluster, index)
        self._stale.clear()
        return self._placer

    def _build(self) -> None:
        from actors.placement.cluster import Cluster, Node  # noqa: PLC0415 - numpy, only where it is used
        from actors.placement.policy import Placer  # noqa: PLC0415 - likewise

        self._rebuild, self._rows, self._row_of = False, [], {}
        self._said.clear()
        for name, records in self._by_node().items():
            self._rows += _rows(name, records)
        for index, row in enumerate(self._rows):
            for key in (*row.gpus, row.cpu):
                self._row_of.setdefault(key, []).append(index)
        if not self._rows:
            self._cluster = self._placer = None
            return
        nodes = [
            Node(f"{row.node}/{number}", 0, 0, len(row.gpus), _label(row)) for number, row in enumerate(self._rows)
        ]
        old, self._cluster = self._placer, Cluster(nodes)
        policy = "default" if self.packing == "pack" else "spread"
        self._placer = Placer(self._cluster, policy) if old is None else Placer(self._cluster, policy, old.learner)
        for index in range(len(self._rows)):
            self._tell(self._cluster, index)
        if old is not None:
            self._placer.use(old.learner.mix())

    def _by_node(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for name in sorted(self.registry.nodes):
            keys = sorted(self.registry.nodes[name])
            found[name] = [record for key in keys if (record := self.registry.record(key)) is not None]
        return found

    def _tell(self, cluster: Cluster, index: int) -> None:
        row = self._rows[index]
        words = [self._word(row.cpu), *(self._word(key) for key in row.gpus)]
        if self._said.get(index) == words:  # what was held until now stands in the records
            return
        self._said[index] = words
        milli, memory, usable = words[0]
        cluster.tell(
            index, cpu_milli=milli if usable else 0, memory_mib=memory if usable else 0, devices=words[1:]
        )  # fmt: skip

    def _word(self, key: str) -> tuple[int, int, bool]:
        """What a device has left: compute, memory, and whether it may be lent at all."""
        word = self._told.get(key)
        if word is None:
            record = self.registry.record(key)
            word = (0, 0, False) if record is None else (*self._left(record), self._is_open(record))
            self._told[key] = word
        return word

    def _left(self, record: Record) -> tuple[int, int]:
        parts = self._held_of(record)
        milli, memory = sum(part.milli for part in parts), sum(part.memory_mib for part in parts)
        return record.free_milli - milli, record.free_mib - memory

    def _is_open(self, record: Record) -> bool:
        return not record.trouble and not record.drained and len(record.grants) < MOST_GRANTS and self.usable(record)

    def _shape(self, need: Need) -> Shape | None:
        from actors.placement.shape import Shape  # noqa: PLC0415 - numpy is beside it

        if need.kind == "cpu":
            return Shape(cpu_milli=need.milli, memory_mib=need.memory_mib)
        models = frozenset[str]()
        if need.models or need.capability:
            models = frozenset(_label(row) for row in self._rows if row.gpus and self._row_suits(need, row))
            if not models:
                return None
        milli = need.milli if need.devices == 1 else WHOLE
        return Shape(need.cpu_milli, need.main_memory_mib, need.devices, milli, need.memory_mib, models)

    def _row_suits(self, need: Need, row: Row) -> bool:
        record = self.registry.record(row.gpus[0])
        return record is not None and suits(need, record)

    def _on_cpu(self, need: Need, cpu: Record | None) -> Parts:
        return () if cpu is None else (Part(cpu.key, need.milli, need.memory_mib),)

    def _refuses(self, part: Part) -> bool:
        record = self.registry.record(part.key)
        if record is None or not self.usable(record):
            return True
        return bool(obstacle(self._less_held(record), part.milli, part.memory_mib))


def _rows(node: str, records: Sequence[Record]) -> list[Row]:
    """The rows of a node: it has one for each model of GPU. Its processors stand in each of them."""
    cpu = next((record.key for record in records if record.kind == "cpu"), "")
    rows: dict[tuple[str, str], Row] = {}
    for record in records:
        if record.kind == "gpu":
            row = rows.setdefault(
                (record.model, record.capability), Row(node, record.model, record.capability, [], cpu)
            )
            row.gpus.append(record.key)
    return list(rows.values()) or [Row(node, "", "", [], cpu)]


def _label(row: Row) -> str:
    return f"{row.model}|{row.capability}" if row.gpus else ""
