"""Budgets per period: what was used of one, what live leases commit it to, and whether a request is covered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from subjects.cost import TenantBudget, Unit

from .buckets import DAY, HOUR, MINUTE, US, Bucket, Line
from .prices import HOUR_S, Sort, Tariff
from .statement import Open, Sum, power, sums

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
        unknown: Why a part of the use could not be told; empty = all of it is known.
    """

    begins_at: float
    used: float = 0.0
    committed: float = 0.0
    per_s: float = 0.0
    unknown: str = ""


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

    def per_s(self, unit: Unit, sort: Sort) -> float | None:
        """Money or joules; ``None`` = not known."""
        if unit == "money":
            rate = self.tariff.now.per_hour(sort)
            return None if rate is None else rate / HOUR_S
        return self.watts((sort.kind, sort.model))

    def watts(self, line: Line) -> float | None:
        """Mean power of a device over the buckets in which it was told."""
        found = [power(one, line, self.tariff.now) for one in self.buckets]
        covered = sum(one.covered * bucket.length for one, bucket in zip(found, self.buckets, strict=True))
        joules = sum(one.watts * bucket.length for one, bucket in zip(found, self.buckets, strict=True))
        return joules / covered if covered else None


def standing(
    tenant: str, budget: Budget, buckets: Sequence[Bucket], opens: Iterable[Live], *, rates: Rates, now: float
) -> Standing:  # fmt: skip
    """How one tenant's budget stands.

    Args:
        tenant: Whose.
        budget: Its budget.
        buckets: Of the ledger; those before the period are left out.
        opens: The tenant's shares that are not in the ledger yet.
        rates: What they use.
        now: Unix seconds.
    """
    begin = begins(budget, now)
    found = Standing(begin)
    own = [Bucket(one.start, one.length, {cell: use for cell, use in one.use.items() if cell[0].tenant == tenant},
                  one.lend, one.waiting, one.demand) for one in buckets if one.start >= begin]  # fmt: skip
    mine = [one for one in opens if one.share.who.tenant == tenant]
    totals = sums(own, [one.share for one in mine], (begin, now), rates.tariff)
    for total in totals.values():
        used, why = _used(budget.unit, total, rates.tariff)
        found.used, found.unknown = found.used + used, found.unknown or why
    for one in mine:
        rate = rates.per_s(budget.unit, one.share.sort)
        if one.expires_at <= now:
            continue
        if rate is None:
            found.unknown = found.unknown or unknown(budget.unit, one.share.sort.model)
            continue
        each = rate * one.share.ppm / US
        found.per_s += each
        found.committed += each * (min(one.expires_at, begin + budget.period_s) - now)
    return found


@dataclass(frozen=True, slots=True)
class Live:
    """A share that somebody has until ``expires_at`` unless it is renewed; 0 = it has ended."""

    share: Open
    expires_at: float


def _used(unit: Unit, total: Sum, tariff: Tariff) -> tuple[float, str]:
    if unit == "joules":
        return total.joules, ""
    money = total.money(tariff)
    return (0.0, "a part of what was used has no price") if money is None else (money, "")


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
