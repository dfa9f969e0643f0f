"""What a request needs, in the words of records; and whether a device, a node or a set of devices can give it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chimera.errors import BadMessageError
from subjects.lease import Need

from .changes import memory_of, obstacle
from .record import WHOLE, Record


@dataclass(frozen=True, slots=True)
class Part:
    """So much of one device, told by its key."""

    key: str
    milli: int
    memory_mib: int


Parts = tuple[Part, ...]
Usable = Callable[[Record], bool]
"""Whether a device may be lent now, as far as its record does not say."""


def check(need: Need) -> None:
    """Refuse what no device could ever give.

    Raises:
        BadMessageError: Naming the field.
    """
    if need.kind == "gpu":
        if need.milli > WHOLE:
            raise BadMessageError(f"need.milli: {need.milli} of one GPU, at most {WHOLE}; ask for more devices instead")
        if (need.cpu_milli or need.main_memory_mib) and need.devices > 1 and not need.one_node:
            raise BadMessageError("need.cpu_milli: processors beside several GPUs need one_node")
    elif need.models or need.capability or need.cpu_milli or need.main_memory_mib:
        raise BadMessageError("need.models, capability, cpu_milli, main_memory_mib: they go with GPUs; use milli")


def suits(need: Need, record: Record) -> bool:
    """Whether a device is of the kind, model, capability and node that are asked for, however much it has left."""
    if record.kind != need.kind or (need.node and record.node != need.node):
        return False
    if need.models:
        model = record.model.lower()
        if not any(one.lower() in model for one in need.models):
            return False
    return not need.capability or _number(record.capability) >= _number(need.capability)


def could(need: Need, record: Record) -> bool:
    """Whether a device could give its part of the need if nobody had anything of it."""
    memory = memory_of(record, need.milli, need.memory_mib)
    return suits(need, record) and record.milli >= need.milli and record.memory_mib >= max(memory, need.memory_mib)


def fits(need: Need, record: Record) -> bool:
    """Whether a device can give its part of the need now."""
    if not suits(need, record) or record.memory_mib < need.memory_mib:
        return False
    return not obstacle(record, need.milli, need.memory_mib)


def parts_of(need: Need, gpus: Sequence[Record], cpu: Record | None) -> Parts:
    """The need as parts of these devices."""
    parts = [Part(one.key, need.milli, memory_of(one, need.milli, need.memory_mib)) for one in gpus]
    if cpu is not None and (need.cpu_milli or need.main_memory_mib):
        parts.append(Part(cpu.key, need.cpu_milli, need.main_memory_mib))
    return tuple(parts)


def on_node(need: Need, records: Sequence[Record], usable: Usable) -> Parts | None:
    """Where the need goes on one node: on the devices that have least left, so that whole ones stay whole."""
    cpu = next((one for one in records if one.kind == "cpu"), None)
    if need.kind == "gpu" and (need.cpu_milli or need.main_memory_mib):
        beside = cpu is not None and usable(cpu) and not obstacle(cpu, need.cpu_milli, need.main_memory_mib)
        if not beside:
            return None
    room = [one for one in records if fits(need, one) and usable(one)]
    if len(room) < need.devices:
        return None
    room.sort(key=lambda one: (one.free_milli, one.free_mib, one.id))
    return parts_of(need, room[: need.devices], cpu if need.kind == "gpu" else None)


def anywhere(need: Need, nodes: Mapping[str, Sequence[Record]], usable: Usable) -> Parts | None:
    """Best fit over nodes in plain Python: for few nodes, for gangs over many, and where numpy is not installed."""
    if need.one_node or need.devices == 1:
        found = [(name, parts) for name, records in nodes.items() if (parts := on_node(need, records, usable))]
        if not found:
            return None
        return min(found, key=lambda pair: (_left(nodes[pair[0]], need), pair[0]))[1]
    room = {name: [one for one in records if fits(need, one) and usable(one)] for name, records in nodes.items()}
    chosen: list[Record] = []
    for name in sorted(room, key=lambda name: (-len(room[name]), name)):  # few nodes for a gang, not many
        chosen += sorted(room[name], key=lambda one: (one.free_milli, one.id))
        if len(chosen) >= need.devices:
            return parts_of(need, chosen[: need.devices], None)
    return None


def overlaps(one: Need, other: Need, records: Sequence[Record]) -> bool:
    """Whether granting ``other`` could take what ``one`` waits for."""
    return any(_touches(one, record) and _touches(other, record) for record in records)


def _touches(need: Need, record: Record) -> bool:
    if record.kind == "cpu" and need.kind == "gpu":
        return bool(need.cpu_milli or need.main_memory_mib) and need.node in {"", record.node}
    return suits(need, record)


def _left(records: Sequence[Record], need: Need) -> int:
    return sum(max(0, one.free_milli) for one in records if one.kind == need.kind)


def _number(capability: str) -> tuple[int, int]:
    major, _, minor = capability.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)
