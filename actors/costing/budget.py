"""Budgets per period: what was used of one, what live leases commit it to, and whether a request is covered."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from subjects.cost import TenantBudget, Unit

from .buckets import DAY, HOUR, MINUTE, US, Bucket, Line
from .prices import HOUR_S, Sort, Tariff
from .statement import Curves, Open, power, sums

MOST_BUDGETS = 1000
_MONTH = 31 * DAY


class Budget(msgspec.Struct, frozen=True, array_like=True):
    """So much for each period of so many seconds; periods are counted from the beginning of Unix time."""

    unit: Unit
    amount: float
    period_s: float


@dataclass(slots=True)
class Standing:
    """How a budget stands at a moment.

    Attributes:
        used: Of the present period, by what ended and by what is live.
        committed: What live leases will use until they expire or the period ends.
        per_s: What live leases use a second.
    """

    begins_at: float
    used: float = 0.0
    committed: float = 0.0
    per_s: float = 0.0


def whole_period(period_s: float) -> float:
    """A period in whole minutes; above a day in whole hours, above a month in whole days: as exact as the ledger."""
    step = MINUTE if period_s <= DAY else HOUR if period_s <= _MONTH else DAY
    return float(-(-period_s // step) * step)


def begins(budget: Budget, now: float) -> float:
    """When the present period began."""
    return now // budget.period_s * budget.period_s


@dataclass(slots=True)
class Rates:
    """What a second of a whole device uses of a budget, now.

    Args:
        tariff: Prices.
        buckets: Of the last hours: their last word on power counts.
    """

    tariff: Tariff
    buckets: Sequence[Bucket]
    _watts: dict[Line, float | None] = field(default_factory=dict[Line, float | None])

    def per_s(self, unit: Unit, sort: Sort) -> float | None:
        """Money or joules; ``None`` = not known."""
        if unit == "money":
            rate = self.tariff.now.per_hour(sort)
            return None if rate is None else rate / HOUR_S
        return self.watts((sort.kind, sort.model))

    def watts(self, line: Line) -> float | None:
        """Mean power of a device over the buckets in which it was told."""
        if line not in self._watts:
            self._watts[line] = self._mean(line)
        return self._watts[line]

    def _mean(self, line: Line) -> float | None:
        found = [power(one, line, self.tariff.now) for one in self.buckets]
        covered = sum(one.covered * bucket.length for one, bucket in zip(found, self.buckets, strict=True))
        joules = sum(one.watts * bucket.length for one, bucket in zip(found, self.buckets, strict=True))
        return joules / covered if covered else None


def by_tenant(buckets: Iterable[Bucket], tenants: Container[str]) -> dict[str, list[Bucket]]:
    """The buckets in which a tenant used something, each with only its use."""
    found: dict[str, list[Bucket]] = {}
    for one in buckets:
        for cell, use in one.use.items():
            tenant = cell[0].tenant
            if tenant in tenants:
                own = found.setdefault(tenant, [])
                if not own or own[-1].start != one.start:
                    own.append(Bucket(one.start, one.length, {}, one.lend))
                own[-1].use[cell] = use
    return found


def standing(
    budget: Budget, buckets: Iterable[Bucket], opens: Sequence[Live], *, curves: Curves, rates: Rates, now: float
) -> Standing:  # fmt: skip
    """How one tenant's budget stands.

    Args:
        budget: Its budget.
        buckets: Its use (``by_tenant``); what lies before the period is left out.
        opens: Its shares that are not in the ledger yet.
        curves: Of the energy of those.
        rates: What they use a second.
        now: Unix seconds.
    """
    begin = begins(budget, now)
    found = Standing(begin)
    own = (one for one in buckets if one.start >= begin)
    totals = sums(own, [one.share for one in opens], (begin, now), curves)
    for total in totals.values():
        found.used += total.joules if budget.unit == "joules" else total.priced(rates.tariff)
    for one in opens:
        rate = rates.per_s(budget.unit, one.share.sort)
        if one.expires_at > now and rate is not None:  # without a rate it was lent before there was a budget
            each = rate * one.share.ppm / US
            found.per_s += each
            found.committed += each * (min(one.expires_at, begin + budget.period_s) - now)
    return found


@dataclass(frozen=True, slots=True)
class Live:
    """A share that somebody has until ``expires_at`` unless it is renewed; 0 = it has ended."""

    share: Open
    expires_at: float


def unknown(unit: Unit, model: str) -> str:
    """Why a request can't be held against a budget."""
    if unit == "money":
        return f"no price is set for {model or 'processors'}; set one: chimera gpu prices"
    return f"nothing tells what {model or 'a node'} takes; declare it: chimera gpu prices --watts"


def view(tenant: str, budget: Budget, at: Standing, now: float) -> TenantBudget:
    """A budget as it is shown."""
    left = budget.amount - at.used
    ends = at.begins_at + budget.period_s
    out = now if left <= 0 else now + left / at.per_s if at.per_s else None
    return TenantBudget(
        tenant=tenant, unit=budget.unit, amount=budget.amount, period_s=budget.period_s, used=at.used,
        committed=at.committed, left=max(0.0, left - at.committed), begins_at=at.begins_at,
        runs_out_at=out if out is not None and out < ends else None,
    )  # fmt: skip


def words(tenant: str, budget: Budget, at: Standing, currency: str) -> str:
    """A budget in one sentence: how much, what is gone, when it renews."""
    unit = currency if budget.unit == "money" else "J"
    until = datetime.fromtimestamp(at.begins_at + budget.period_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"the budget of tenant {tenant} is {_figure(budget.amount)} {unit} per {_span(budget.period_s)}: "
        f"{_figure(at.used)} are used and {_figure(at.committed)} are committed by live leases; it renews at {until}"
    )


def longest(budgets: Mapping[str, Budget], now: float) -> float:
    """When the earliest of the present periods began."""
    return min((begins(budget, now) for budget in budgets.values()), default=now)


def _figure(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"  # noqa: PLR2004 - all that can be read


def _span(seconds: float) -> str:
    for size, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= size and seconds % size == 0:
            count = round(seconds / size)
            return name if count == 1 else f"{count} {name}s"
    return f"{seconds:g} s"
