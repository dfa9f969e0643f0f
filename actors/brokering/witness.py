"""What a node tells of a device, brought into its record: size, health, foreign memory, holders, tokens."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from .changes import end, gone
from .record import Grant, Record, Refusal

GRAIN_MIB = 64
"""Foreign memory counts in steps of this, rounded up: it flutters, and every change is a write."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a node tells of one device; fields as in ``Record``, ``held`` and ``seen`` as in ``changes.gone``.

    ``token`` is the highest that the node has accepted for it.
    """

    milli: int
    memory_mib: int
    kind: Literal["gpu", "cpu"] = "gpu"
    model: str = ""
    capability: str = ""
    parent: str = ""
    trouble: str = ""
    foreign_mib: int = 0
    fenced: bool = False
    token: int = 0
    seen: int = 0
    held: Collection[str] = ()


def witness(record: Record, facts: Facts, now: float) -> Record:
    """The record as the facts make it; the same object if they say nothing new.

    A fence that knows a higher token than the record has seen grants that the store forgot: the store was set back.
    Then what the fence still holds without a grant takes the whole device until it is gone, tokens go on above the
    fence's, and what was granted since with a lower one is taken back before it is used. Versions go on above what the
    fence saw, too: its word on who is gone is about the record of another past.
    """
    foreign = -(-facts.foreign_mib // GRAIN_MIB) * GRAIN_MIB
    told = (
        facts.kind, facts.model, facts.capability, facts.milli, facts.memory_mib, facts.parent, facts.trouble, foreign,
        facts.fenced, max(record.token, facts.token),
    )  # fmt: skip
    known = (
        record.kind, record.model, record.capability, record.milli, record.memory_mib, record.parent, record.trouble,
        record.foreign_mib, record.fenced, record.token,
    )  # fmt: skip
    fresh = record
    if told != known:
        fresh = replace(
            record, kind=facts.kind, model=facts.model, capability=facts.capability, milli=facts.milli,
            memory_mib=facts.memory_mib, parent=facts.parent, trouble=facts.trouble, foreign_mib=foreign,
            fenced=facts.fenced, token=max(record.token, facts.token), version=record.version + 1,
        )  # fmt: skip
    if facts.token > record.token:
        return _with_forgotten(replace(fresh, version=max(record.version, facts.seen) + 1), facts, now)
    return gone(fresh, facts.seen, facts.held) if facts.fenced else _unfenced(fresh)


def _with_forgotten(record: Record, facts: Facts, now: float) -> Record:
    unknown = [lease for lease in facts.held if record.find(lease) is None]
    ghosts = tuple(
        Grant(
            lease, (record.key,), record.milli, record.memory_mib, record.token, now, now, 0.0, "", "", "", 0,
            ended="revoked", ended_in=record.version, reason="the store does not know it: it was set back",
        )
        for lease in sorted(unknown)
    )  # fmt: skip
    record = replace(record, grants=(*record.grants, *ghosts)) if ghosts else record
    late = [one.lease for one in record.grants if one.token < facts.token and one.lease not in facts.held]
    for lease in late:
        result = end(record, lease, "revoked", now, "it was granted by a store that was set back: ask again")
        record = record if isinstance(result, Refusal) else result
    return record


def _unfenced(record: Record) -> Record:
    """A node that does not fence tells of no holder's end: what is over is free."""
    left = tuple(one for one in record.grants if not one.ended)
    return record if len(left) == len(record.grants) else replace(record, grants=left, version=record.version + 1)
