"""Who is next: priorities, fair shares with quotas, and ageing, so that no request starves.

A request that has waited for the patience of the rules is *aged*: aged ones come first, in the order in which they were
asked, and nothing is granted past one that could take what it waits for. So a request waits at most its patience, and
for those aged before it, and until what suits it was given back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from subjects.gpu_broker import Rules, TenantRule
from subjects.lease import Need

from .record import WHOLE

MOST_WAITING = 10_000
STEP = 25.0
"""Priorities are compared in steps of this: within one, fair shares decide."""

RISE = 100.0
"""What a request's priority has risen by when its patience is over: then it is above every fresh one."""

_ANY = TenantRule()


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that waits.

    Attributes:
        id: Of the lease it asks for.
        asked_at: When it was first asked, in Unix seconds.
    """

    id: str
    need: Need
    tenant: str
    layer: str
    agent: str
    priority: int
    asked_at: float
    why: str = ""

    @property
    def milli(self) -> int:
        """Compute in all."""
        return self.need.devices * self.need.milli


@dataclass(frozen=True, slots=True)
class Holding:
    """What a tenant has now, in milli of GPUs and of processors."""

    gpu: int = 0
    cpu: int = 0


def rank(waiter: Waiter, holding: Holding, total: Holding, rules: Rules, now: float) -> tuple[float, ...]:
    """What requests are sorted by; the smaller is next.

    Args:
        waiter: The request.
        holding: What its tenant has.
        total: What all devices are, for shares.
        rules: Patience, quotas and weights.
        now: Unix seconds.
    """
    waited = now - waiter.asked_at
    if is_aged(waiter, rules, now):
        return (0.0, waiter.asked_at, 0.0, 0.0, 0.0)
    risen = waiter.priority + (RISE * waited / rules.patience_s if rules.patience_s else 0.0)
    rule = rules.tenants.get(waiter.tenant, _ANY)
    over = not is_owed(waiter, holding, rules)
    share = max(_part(holding.gpu, total.gpu), _part(holding.cpu, total.cpu)) / rule.weight
    return (1.0, -(risen // STEP), float(over), share, waiter.asked_at)


def is_aged(waiter: Waiter, rules: Rules, now: float) -> bool:
    """Whether nothing may pass it any more."""
    return now - waiter.asked_at >= rules.patience_s


def is_owed(waiter: Waiter, holding: Holding, rules: Rules) -> bool:
    """Whether its tenant would stay within its quota: then it may have back what others have beyond theirs."""
    rule = rules.tenants.get(waiter.tenant, _ANY)
    if waiter.need.kind == "cpu":
        return holding.cpu + waiter.milli <= rule.cpus * WHOLE
    return holding.gpu + waiter.milli <= rule.gpus * WHOLE


def limit(waiter: Waiter, holding: Holding, rules: Rules) -> str:
    """Why its tenant may have no more, in words; empty = it may."""
    rule = rules.tenants.get(waiter.tenant, _ANY)
    most, has = (rule.most_cpus, holding.cpu) if waiter.need.kind == "cpu" else (rule.most_gpus, holding.gpu)
    if most is None or has + waiter.milli <= most * WHOLE:
        return ""
    name = "processors" if waiter.need.kind == "cpu" else "GPUs"
    return f"tenant {waiter.tenant} has {has / WHOLE:g} of at most {most:g} {name}"


def never(waiter: Waiter, rules: Rules) -> bool:
    """Whether its tenant's limit refuses it even if the tenant had nothing."""
    return bool(limit(waiter, Holding(), rules))


def in_order(
    waiters: Iterable[Waiter], holdings: Mapping[str, Holding], total: Holding, rules: Rules, now: float
) -> list[Waiter]:
    """The requests, next first."""
    nobody = Holding()
    return sorted(waiters, key=lambda one: rank(one, holdings.get(one.tenant, nobody), total, rules, now))


def may_pass(waiter: Waiter, before: Sequence[Waiter], touches: Callable[[Need, Need], bool]) -> bool:
    """Whether a request may be granted past aged ones that could not be.

    Args:
        waiter: The request.
        before: Aged ones before it that got nothing.
        touches: Whether granting the second need could take what the first one waits for.
    """
    return not any(touches(blocked.need, waiter.need) for blocked in before)


class Turnover:
    """How fast devices come back, for estimates: milli given back per second, older ones counting less.

    Args:
        half_life_s: After which a return counts half.
    """

    def __init__(self, half_life_s: float = 300.0) -> None:
        self._half_life_s = half_life_s
        self._milli = {"gpu": 0.0, "cpu": 0.0}
        self._at = {"gpu": 0.0, "cpu": 0.0}
        self._since: dict[str, float] = {}

    def gave_back(self, kind: str, milli: int, now: float) -> None:
        """So much came back."""
        self._since.setdefault(kind, now)
        self._milli[kind] = self._decayed(kind, now) + milli
        self._at[kind] = now

    def estimate(self, kind: str, milli: int, now: float) -> float | None:
        """Seconds until so much has come back at the present rate; ``None`` = nothing did so far."""
        known = now - self._since.get(kind, now)
        left = self._decayed(kind, now)
        if known <= 0.0 or left <= 0.0:
            return None
        window = min(known, self._half_life_s / 0.6931)  # the integral of what is left of each second's returns
        return milli * window / left

    def _decayed(self, kind: str, now: float) -> float:
        return self._milli[kind] * 0.5 ** (max(0.0, now - self._at[kind]) / self._half_life_s)


def _part(milli: int, total: int) -> float:
    return milli / total if total else 0.0
