"""Who used what, in hours, money and joules: the sum of lease intervals, with what was idle as a line of its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from subjects.cost import CostLine, Costs

from .buckets import MINUTE, US, Bucket, Line, Use, Who, micros
from .energy import worst
from .prices import HOUR_S, Sort, Table, Tariff, mean_rate

FULL = 0.95
"""Part of the time from which on energy counts as measured all the time."""

_PPM_US = US * US
_MILLI_US = 1000 * US


@dataclass(frozen=True, slots=True)
class Open:
    """A share of a device that somebody has, or had and that is not in the ledger yet; times in microseconds."""

    who: Who
    sort: Sort
    lease: str
    begin: int
    end: int
    ppm: int
    milli: int


@dataclass(frozen=True, slots=True)
class Power:
    """What a device of a kind and model took in a bucket, over its whole length; ``covered`` is how much was told."""

    watts: float
    covered: float
    source: str


NOTHING = Power(0.0, 0.0, "none")


def power(bucket: Bucket, line: Line, table: Table) -> Power:
    """The mean power of a device, with what was not told as nothing: what is shared out is what was measured."""
    lend = bucket.lend.get(line)
    if lend is None or not lend.devices:
        return NOTHING
    part = MINUTE / bucket.length
    if lend.metered:
        return Power(
            lend.joules / (lend.devices / lend.minutes * bucket.length), min(1.0, lend.metered * part), lend.source
        )
    if line[0] == "cpu" and table.watts:
        covered = min(1.0, lend.minutes * part)
        return Power(table.watts * covered, covered, "declared")
    return NOTHING


@dataclass(slots=True)
class Sum:
    """What one line adds up to; shares in microseconds times millionths, money by table and sort."""

    gpu: int = 0
    cpu: int = 0
    leases: int = 0
    shares: dict[tuple[int, Sort], int] = field(default_factory=dict[tuple[int, Sort], int])
    joules: float = 0.0
    seconds: float = 0.0
    covered: float = 0.0
    sources: set[str] = field(default_factory=set[str])

    def use(self, sort: Sort, table: int, use: Use) -> None:
        """Add device time."""
        if sort.kind == "gpu":
            self.gpu += use.share
        else:
            self.cpu += use.milli
        self.leases += use.leases
        if use.share:
            self.shares[table, sort] = self.shares.get((table, sort), 0) + use.share

    def burn(self, seconds: float, what: Power) -> None:
        """Add the energy of so many device seconds."""
        self.seconds += seconds
        self.covered += seconds * what.covered
        if what.covered:
            self.joules += seconds * what.watts
            self.sources.add(what.source)

    def money(self, tariff: Tariff) -> float | None:
        """What it costs; ``None`` if a part has no price."""
        if any(tariff.tables[table].per_hour(sort) is None for table, sort in self.shares):
            return None
        return self.priced(tariff)

    def priced(self, tariff: Tariff) -> float:
        """What the parts cost that have a price."""
        return sum(
            share / _PPM_US / HOUR_S * (tariff.tables[table].per_hour(sort) or 0.0)
            for (table, sort), share in self.shares.items()
        )

    def energy(self) -> tuple[float | None, str]:
        """Joules, and where they come from."""
        if not self.sources:
            return None, "none"
        part = self.covered / self.seconds if self.seconds else 0.0
        source = worst(self.sources)
        return self.joules, source if part >= FULL else f"{source}, for {part:.0%} of the time"


class Curve:
    """Energy of one whole device of a kind and model over time, for intervals that are not split yet."""

    def __init__(self, buckets: Sequence[Bucket], line: Line, tariff: Tariff) -> None:
        self._starts = [bucket.start for bucket in buckets]
        self._ends = [bucket.start + bucket.length for bucket in buckets]
        self._powers = [power(bucket, line, tariff.tables[tariff.number(bucket.start)]) for bucket in buckets]
        lengths = [bucket.length for bucket in buckets]
        self._joules = [0.0, *accumulate(one.watts * s for one, s in zip(self._powers, lengths, strict=True))]
        self._covered = [0.0, *accumulate(one.covered * s for one, s in zip(self._powers, lengths, strict=True))]

    def burn(self, total: Sum, begin: float, end: float, share: float) -> None:
        """Add what a share of a device took from ``begin`` to ``end``, in Unix seconds."""
        joules, covered = (self._until(end, sums) - self._until(begin, sums) for sums in (self._joules, self._covered))
        total.seconds += (end - begin) * share
        total.covered += covered * share
        if covered:
            total.joules += joules * share
            total.sources |= {one.source for one in self._within(begin, end) if one.covered}

    def _within(self, begin: float, end: float) -> list[Power]:
        first = max(0, bisect_right(self._starts, begin) - 1)
        found = self._powers[first : bisect_right(self._starts, end)]
        return found if len(found) <= 2 else [found[0], found[len(found) // 2], found[-1]]  # noqa: PLR2004 - a source rarely changes

    def _until(self, at: float, sums: Sequence[float]) -> float:
        number = bisect_right(self._starts, at) - 1
        if number < 0:
            return 0.0
        length = self._ends[number] - self._starts[number]
        inside = min(1.0, (at - self._starts[number]) / length)
        return sums[number] + (sums[number + 1] - sums[number]) * inside


class Curves:
    """The curve of each kind and model, made when it is asked for.

    Args:
        buckets: With what devices took.
        tariff: Prices, for declared watts.
    """

    def __init__(self, buckets: Sequence[Bucket], tariff: Tariff) -> None:
        self._buckets, self.tariff = buckets, tariff
        self._made: dict[Line, Curve] = {}

    def of(self, line: Line) -> Curve:
        """The curve."""
        if line not in self._made:
            self._made[line] = Curve(self._buckets, line, self.tariff)
        return self._made[line]


def sums(
    buckets: Iterable[Bucket], opens: Iterable[Open], window: tuple[float, float], curves: Curves
) -> dict[Who, Sum]:  # fmt: skip
    """Use by whom, from the ledger and from what is not in it yet; the window begins with a bucket."""
    tariff = curves.tariff
    found: dict[Who, Sum] = {}
    for bucket in buckets:
        table = tariff.number(bucket.start)
        powers: dict[Line, Power] = {}
        for (who, sort), use in bucket.use.items():
            line = (sort.kind, sort.model)
            if line not in powers:
                powers[line] = power(bucket, line, tariff.tables[table])
            total = found.setdefault(who, Sum())
            total.use(sort, table, use)
            total.burn(use.share / _PPM_US, powers[line])
    leases: set[str] = set()
    for one in opens:
        begin, end = max(one.begin, int(window[0] * US)), min(one.end, round(window[1] * US))
        if begin >= end:
            continue
        total = found.setdefault(one.who, Sum())
        total.leases += one.lease not in leases
        leases.add(one.lease)
        _spread(total, one, begin, end, tariff)
        curves.of((one.sort.kind, one.sort.model)).burn(total, begin / US, end / US, one.ppm / US)
    return found


def _spread(total: Sum, one: Open, begin: int, end: int, tariff: Tariff) -> None:
    """Device time of an open interval, by the price tables it lies under."""
    tables = range(tariff.number(begin / US), tariff.number(end / US) + 1)
    for number in tables:
        first = begin if number == tables.start else micros(tariff.tables[number].since)
        last = end if number == tables.stop - 1 else micros(tariff.tables[number + 1].since)
        if last > first:
            total.use(one.sort, number, Use((last - first) * one.ppm, (last - first) * one.milli))


def statement(
    buckets: Sequence[Bucket],
    opens: Sequence[Open],
    window: tuple[float, float],
    tariff: Tariff,
    *,
    fleet: Mapping[Line, Sequence[Sort]],
    tenant: str = "",
) -> Costs:
    """The ledger of a window.

    Args:
        buckets: Of the window; the first one begins it.
        opens: What is not in them yet.
        window: Unix seconds.
        tariff: Prices.
        fleet: The devices there are now, for the price of those that were idle.
        tenant: Only this one's lines; empty = all.
    """
    found = sums(buckets, opens, window, Curves(buckets, tariff))
    rows = [_row(who, total, tariff) for who, total in found.items() if tenant in {"", who.tenant}]
    rows.sort(key=lambda row: (-(row.cost or 0.0), -row.gpu_hours, -row.cpu_hours, row.layer, row.tenant, row.agent))
    idle, share = _idle(buckets, sum(total.joules for total in found.values()), tariff, fleet)
    if not tenant and idle is not None:
        rows.append(idle)
    money = [row.cost for row in rows if row.cost is not None]
    joules = [row.joules for row in rows if row.joules is not None]
    return Costs(
        since=window[0], until=window[1], currency=tariff.now.currency, lines=rows,
        cost=sum(money) if money else None, joules=sum(joules) if joules else None,
        gpu_hours=sum(row.gpu_hours for row in rows if not row.idle), idle_share=share,
    )  # fmt: skip


def _row(who: Who, total: Sum, tariff: Tariff) -> CostLine:
    joules, source = total.energy()
    return CostLine(
        layer=who.layer, tenant=who.tenant, agent=who.agent, leases=total.leases,
        gpu_hours=total.gpu / _PPM_US / HOUR_S, cpu_hours=total.cpu / _MILLI_US / HOUR_S,
        cost=total.money(tariff), joules=joules, joules_from=source,
    )  # fmt: skip


def _idle(
    buckets: Sequence[Bucket], lent_j: float, tariff: Tariff, fleet: Mapping[Line, Sequence[Sort]]
) -> tuple[CostLine | None, float | None]:
    """What was there and was not lent, as the samples of each minute tell; and its part of the GPUs, or processors."""
    hours, there, cost, priced = {"gpu": 0.0, "cpu": 0.0}, {"gpu": 0.0, "cpu": 0.0}, 0.0, True
    joules, sources, covered, length = 0.0, set[str](), 0.0, 0.0
    rates: dict[tuple[int, Line], float | None] = {}
    for bucket in buckets:
        number = tariff.number(bucket.start)
        table = tariff.tables[number]
        for line, lend in bucket.lend.items():
            idle = max(0.0, lend.total - lend.lent) / 60
            hours[line[0]] += idle
            there[line[0]] += lend.total / 60
            whole = idle * lend.devices / lend.total if lend.total else 0.0
            if (number, line) not in rates:
                rates[number, line] = mean_rate(table, fleet.get(line, ()))
            rate = rates[number, line]
            cost, priced = cost + whole * (rate or 0.0), priced and (rate is not None or not whole)
            what = power(bucket, line, table)
            seconds = lend.devices / lend.minutes * bucket.length
            joules, covered, length = joules + what.watts * seconds, covered + what.covered * seconds, length + seconds
            if what.covered:
                sources.add(what.source)
    if not length:
        return None, None
    kind = "gpu" if there["gpu"] else "cpu"
    source, part = worst(sources), covered / length
    return CostLine(
        layer="", tenant="", agent="", leases=0, gpu_hours=hours["gpu"], cpu_hours=hours["cpu"],
        cost=cost if priced else None, joules=max(0.0, joules - lent_j) if sources else None,
        joules_from=source if part >= FULL or not sources else f"{source}, for {part:.0%} of the time", idle=True,
    ), hours[kind] / there[kind] if there[kind] else None  # fmt: skip
