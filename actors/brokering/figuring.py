"""What is lent now, to whom, and how the broker does, computed from the registry."""

from __future__ import annotations

from typing import Literal

from subjects.device import Kind
from subjects.gpu_broker import ActiveResources, BrokerHealth, Holder, Usage

from .core import Core
from .queue import Queue
from .record import WHOLE, Grant, Record

KINDS: tuple[Kind, ...] = ("gpu", "cpu")


def active(core: Core, queue: Queue, tenant: str) -> ActiveResources:
    """What is lent now, by kind and by holder."""
    return ActiveResources(
        kinds=[_usage(core, kind) for kind in KINDS], holders=_holders(core, queue, tenant),
        leases=core.registry.live(), waiting=len(queue), nodes=len(core.registry.nodes),
    )  # fmt: skip


def _usage(core: Core, kind: Kind) -> Usage:
    records = [record for record in core.registry.records() if record.kind == kind]
    good = [one for one in records if not one.trouble and not one.drained and core.census.usable(one)]
    total, lent = sum(one.milli for one in records), sum(grant.milli for one in records for grant in one.grants)
    free = sum(max(0, one.free_milli) for one in good)
    told = [word.utilization for one in records if (word := core.census.told(one)[0]) is not None]
    busy = [value for value in told if value is not None]
    fragmented = core.floor.fragmentation() if kind == "gpu" and records else None
    return Usage(
        kind=kind, devices=len(records), total=total / WHOLE, lent=lent / WHOLE, free=free / WHOLE,
        unusable=max(0, total - lent - free) / WHOLE, busy=sum(busy) / len(busy) if busy else None,
        fragmented=None if fragmented is None else fragmented / WHOLE,
        memory_mib=sum(one.memory_mib for one in records),
        memory_lent_mib=sum(grant.memory_mib for one in records for grant in one.grants),
    )  # fmt: skip


def _holders(core: Core, queue: Queue, tenant: str) -> list[Holder]:
    found: dict[tuple[str, str], list[tuple[Record, Grant]]] = {}
    for record in core.registry.records():
        for grant in record.grants:
            found.setdefault((grant.tenant, grant.layer), []).append((record, grant))
    waiting: dict[tuple[str, str], int] = {}
    for ticket in queue:
        who = ticket.waiter.tenant, ticket.waiter.layer
        waiting[who] = waiting.get(who, 0) + 1
        found.setdefault(who, [])
    total = core.total()
    rows = [
        _holder(who, held, waiting.get(who, 0), (total.gpu, total.cpu))
        for who, held in found.items()
        if tenant in {"", who[0]}
    ]
    return sorted(rows, key=lambda row: (-row.share, row.tenant, row.layer))


def _holder(
    who: tuple[str, str], held: list[tuple[Record, Grant]], waiting: int, total: tuple[int, int]
) -> Holder:  # fmt: skip
    gpus = sum(grant.milli for record, grant in held if record.kind == "gpu")
    cpus = sum(grant.milli for record, grant in held if record.kind == "cpu")
    share = max(gpus / total[0] if total[0] else 0.0, cpus / total[1] if total[1] else 0.0)
    return Holder(
        tenant=who[0], layer=who[1], leases=len({grant.lease for _, grant in held}), gpus=gpus / WHOLE,
        cpus=cpus / WHOLE, share=share, waiting=waiting,
    )  # fmt: skip


def health(core: Core, queue: Queue, *, version: str, uptime_s: float, troubles: dict[str, str]) -> BrokerHealth:
    """How the broker does; ``troubles`` are words by part, empty = none."""
    ill = [one for one in core.registry.records() if one.trouble or not core.census.usable(one)]
    unreadable = sorted(core.registry.unreadable)
    checks = {"bus": core.bus.statistics().state, **{name: word or "ok" for name, word in troubles.items()}}
    if unreadable:
        checks["records"] = f"{len(unreadable)} can't be read"
    bad = [name for name, word in checks.items() if word not in {"ok", "connected"}]
    status: Literal["pass", "warn", "fail"] = "fail" if "bus" in bad else "warn" if bad or ill else "pass"
    return BrokerHealth(
        status=status, node=core.node, version=version, uptime_s=uptime_s, nodes=len(core.registry.nodes),
        devices=sum(1 for _ in core.registry.records()), ill=len(ill), leases=core.registry.live(),
        waiting=len(queue), grants_per_s=queue.figures.rate(core.clock.monotonic()),
        grant_p50_ms=queue.figures.quantile(0.5), grant_p99_ms=queue.figures.quantile(0.99),
        conflicts=core.book.conflicts, refused_devices=unreadable, checks=checks,
    )  # fmt: skip
