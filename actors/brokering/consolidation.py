"""Which nodes could be emptied, and where their leases would go: by the code that places requests, on a copy. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from subjects.cost import Saving
from subjects.lease import Need

from . import changes
from .changes import Ask
from .floor import Floor, Packing
from .record import Grant, Record, Refusal
from .registry import Registry
from .want import Parts

MOST_TRIED = 64
"""Nodes that are tried at most, those with least lent first."""

_DAY_H, _DAY_S = 24.0, 86_400.0
Held = list[tuple[Record, Grant]]


@dataclass(frozen=True, slots=True)
class Move:
    """A lease that would go from a node to other devices, told by their keys."""

    lease: str
    node: str
    to: tuple[str, ...]


@dataclass(slots=True)
class Plan:
    """Nodes that could be emptied together, the moves that takes, and how many nodes were looked at."""

    nodes: list[str] = field(default_factory=list[str])
    moves: list[Move] = field(default_factory=list[Move])
    tried: int = 0


class Copy:
    """The devices as they are, to be tried on.

    Args:
        records: The devices that can be lent.
        packing: How requests are placed.
    """

    def __init__(self, records: Iterable[Record], packing: Packing) -> None:
        self.registry, self.closed = Registry(), set[str]()
        self._floor = Floor(self.registry, lambda record: record.node not in self.closed, packing)
        for record in records:
            self._put(record)
        self.registry.on_change = self._floor.changed

    def _put(self, record: Record) -> None:
        self.registry.put(record.key, record, 0, "")
        self._floor.changed(record.key)

    def close(self, node: str, *, closed: bool = True) -> None:
        """Place nothing more on a node, or do so again."""
        (self.closed.add if closed else self.closed.discard)(node)
        for record in self.registry.on_node(node):
            self._floor.changed(record.key)

    def move(self, lease: str, held: Held, undo: list[Record]) -> Parts | None:
        """Grant a lease's share anew elsewhere; what was before goes to ``undo``."""
        parts = self._floor.choose(need_of(held))
        if parts is None:
            return None
        keys = tuple(part.key for part in parts)
        for part in parts:
            old = self.registry.record(part.key)
            ask = Ask(f"{lease}-moved", keys, part.milli, part.memory_mib, 60.0)
            new = changes.grant(old, ask, 0.0) if old is not None else None
            if old is None or new is None or isinstance(new, Refusal):
                return None
            undo.append(old)
            self._put(new)
        return parts

    def restore(self, undo: Sequence[Record]) -> None:
        """Take grants back."""
        for record in reversed(undo):
            self._put(record)


def consolidation(
    records: Sequence[Record], packing: Packing, worth: Callable[[str], float], stop: Callable[[], bool]
) -> Plan:  # fmt: skip
    """Nodes that could be emptied, most worth for least moved first; a node that takes leases up is kept.

    Args:
        records: Devices that can be lent now.
        packing: How requests are placed.
        worth: What an hour of a node costs or takes.
        stop: True when there is no more time.
    """
    copy, plan, takers = Copy(records, packing), Plan(), set[str]()
    nodes = sorted(copy.registry.nodes, key=lambda name: (_lent(copy.registry.on_node(name)), -worth(name), name))
    for node in nodes[:MOST_TRIED]:
        if stop() or len(plan.nodes) + 1 >= len(nodes):
            break
        plan.tried += 1
        if node in takers:
            continue
        moves = _empty(copy, node)
        if moves is not None:
            plan.nodes.append(node)
            plan.moves += moves
            takers.update(key.partition(".")[0] for move in moves for key in move.to)
    return plan


def _empty(copy: Copy, node: str) -> list[Move] | None:
    """Move all that is on a node, or nothing."""
    records = copy.registry.on_node(node)
    leases = {grant.lease for record in records for grant in record.grants if not grant.ended}
    copy.close(node)
    undo: list[Record] = []
    moves: list[Move] = []
    for lease in sorted(leases):
        held = copy.registry.grants_of(lease)
        parts = copy.move(lease, held, undo) if all(record.node == node for record, _ in held) else None
        if parts is None:
            copy.restore(undo)
            copy.close(node, closed=False)
            return None
        moves.append(Move(lease, node, tuple(part.key for part in parts)))
    return moves


def need_of(held: Held) -> Need:
    """What a lease has, as a request for the same on the same model."""
    gpus, cpus = ([pair for pair in held if pair[0].kind == kind] for kind in ("gpu", "cpu"))
    record, grant = (gpus or cpus)[0]
    if not gpus:
        return Need(kind="cpu", devices=len(cpus), milli=grant.milli, memory_mib=grant.memory_mib)
    return Need(
        devices=len(gpus), milli=min(grant.milli, 1000), memory_mib=grant.memory_mib,
        models=[record.model] if record.model else [], cpu_milli=sum(one.milli for _, one in cpus),
        main_memory_mib=sum(one.memory_mib for _, one in cpus),
    )  # fmt: skip


def _lent(records: Sequence[Record]) -> float:
    """How much of a node is lent: the sum of its devices' shares."""
    return sum(record.share(grant.milli, grant.memory_mib) for record in records for grant in record.grants)


def saving(plan: Plan, per_hour: float | None, watts: float | None) -> tuple[Saving | None, str]:
    """What emptying nodes would save a day, or in words why nothing.

    Args:
        plan: The plan.
        per_hour: What an hour of all its nodes costs; ``None`` = not known.
        watts: What they take while idle; ``None`` = not known.
    """
    if not plan.nodes:
        return None, f"consolidation: none of {plan.tried} nodes can be emptied: what is lent there fits nowhere else"
    names = ", ".join(plan.nodes[:5]) + (f" and {len(plan.nodes) - 5} more" if len(plan.nodes) > 5 else "")  # noqa: PLR2004 - as many as read well
    what = f"{names} can be emptied by moving {len(plan.moves)} leases"
    if per_hour is None and watts is None:
        return None, f"consolidation: {what}; neither the price nor the idle power of a node is known"
    saves, unit = (per_hour * _DAY_H, "money") if per_hour is not None else ((watts or 0.0) * _DAY_S, "joules")
    shown = {move.lease: f"{move.node} -> {', '.join(move.to)}" for move in plan.moves[:50]}
    return Saving(
        kind="consolidation", words=what, how=f"chimera gpu drain --node {plan.nodes[0]} --notice 600; then release it",
        saves=saves, unit=unit, basis="modelled",
        figures={"nodes": float(len(plan.nodes)), "moves": float(len(plan.moves)), **shown},
    ), ""  # fmt: skip
