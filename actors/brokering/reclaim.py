"""Whose leases are taken back, and for whom: idle ones, those beyond a quota, and preemptible ones for a whole request.

Nothing is taken back unless all of a request fits then: a part of a gang helps nobody. Whole leases go, never parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from subjects.gpu_broker import Rules, TenantRule

from .record import WHOLE, Grant, Record
from .waiting import Holding, Waiter, is_owed
from .want import Usable, anywhere

_ANY = TenantRule()
Nodes = Mapping[str, Sequence[Record]]
Leaves = Callable[[Grant], bool]


@dataclass(frozen=True, slots=True)
class Notice:
    """A lease is to be taken back, and why."""

    lease: str
    reason: str


def idle(grants: Iterable[Grant], rules: Rules, now: float) -> list[Notice]:
    """Leases that nobody used for the idle window."""
    if not rules.idle_s:
        return []
    found: dict[str, float] = {}
    for grant in grants:
        if not grant.ended and not grant.revoke_at:
            found[grant.lease] = max(found.get(grant.lease, 0.0), grant.busy_at)
    return [
        Notice(lease, f"it was idle for {now - busy:.0f} s")
        for lease, busy in found.items()
        if now - busy >= rules.idle_s
    ]


def make_room(
    waiter: Waiter, nodes: Nodes, holdings: Mapping[str, Holding], rules: Rules, usable: Usable
) -> list[Notice]:
    """Leases to take back so that a waiting request fits: as few and as unimportant ones as will do, or none.

    What ends anyway, because it has notice or is being ended, counts as free already: then there is only to wait.
    """
    coming = _without(nodes, lambda grant: bool(grant.ended or grant.revoke_at))
    if anywhere(waiter.need, coming, usable) is not None:
        return []
    owed = rules.reclaim and is_owed(waiter, holdings.get(waiter.tenant, Holding()), rules)
    best: list[Grant] | None = None
    for group in _groups(waiter, coming):
        victims = _victims(waiter, group, holdings, rules, owed=owed)
        chosen = _enough(waiter, group, victims, usable)
        if chosen is not None and (best is None or _weight(chosen) < _weight(best)):
            best = chosen
    if not best:
        return []
    reason = f"tenant {waiter.tenant} is owed it" if owed else f"{waiter.id} has a higher priority"
    return [Notice(lease, reason) for lease in dict.fromkeys(grant.lease for grant in best)]


def _groups(waiter: Waiter, nodes: Nodes) -> list[Nodes]:
    """Where the request could go as a whole: on one of the nodes, or over all of them."""
    named = {name: records for name, records in nodes.items() if waiter.need.node in {"", name}}
    if waiter.need.one_node:
        return [{name: records} for name, records in named.items()]
    return [named]


def _victims(waiter: Waiter, nodes: Nodes, holdings: Mapping[str, Holding], rules: Rules, *, owed: bool) -> list[Grant]:
    """One grant for each lease that may be taken back for this request, the least important first."""
    found: dict[str, Grant] = {}
    for records in nodes.values():
        for record in records:
            for grant in record.grants:
                beyond = owed and _is_beyond(grant, record.kind, holdings, rules)
                lower = rules.preempt and grant.preemptible and grant.priority < waiter.priority
                if grant.tenant == waiter.tenant and not lower:
                    continue
                if beyond or lower:
                    found.setdefault(grant.lease, grant)
    return sorted(found.values(), key=lambda one: (one.priority, -one.granted_at, one.lease))


def _is_beyond(grant: Grant, kind: str, holdings: Mapping[str, Holding], rules: Rules) -> bool:
    """Whether its tenant still has its quota without it."""
    rule, has = rules.tenants.get(grant.tenant, _ANY), holdings.get(grant.tenant, Holding())
    quota, milli = (rule.cpus, has.cpu) if kind == "cpu" else (rule.gpus, has.gpu)
    return milli - grant.milli * _parts(grant, kind) >= quota * WHOLE


def _parts(grant: Grant, kind: str) -> int:
    return len(grant.devices) if kind == "gpu" else 1


def _enough(waiter: Waiter, nodes: Nodes, victims: Sequence[Grant], usable: Usable) -> list[Grant] | None:
    """As many of the victims, in order, as make room for all of it, less those that turn out not to be needed."""
    taken: list[Grant] = []
    for victim in victims:
        taken.append(victim)
        if _fits(waiter, nodes, taken, usable):
            break
    else:
        return None
    for victim in list(taken[:-1]):
        fewer = [one for one in taken if one is not victim]
        if _fits(waiter, nodes, fewer, usable):
            taken = fewer
    return taken


def _fits(waiter: Waiter, nodes: Nodes, taken: Sequence[Grant], usable: Usable) -> bool:
    leases = {grant.lease for grant in taken}
    return anywhere(waiter.need, _without(nodes, lambda grant: grant.lease in leases), usable) is not None


def _without(nodes: Nodes, leaves: Leaves) -> dict[str, list[Record]]:
    return {
        name: [
            replace(record, grants=tuple(one for one in record.grants if not leaves(one)))
            if any(map(leaves, record.grants))
            else record
            for record in records
        ]
        for name, records in nodes.items()
    }


def _weight(grants: Sequence[Grant]) -> tuple[int, int, int]:
    """What a choice of victims costs: the highest priority hurt, compute taken back, leases ended."""
    milli = sum(grant.milli * max(1, len(grant.devices)) for grant in grants)
    return max((grant.priority for grant in grants), default=0), milli, len(grants)
