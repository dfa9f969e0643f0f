"""What an hour of a device costs, by the price table that was in force then."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from subjects.cost import Price
from subjects.device import Kind

HOUR_S = 3600.0
MOST_TABLES = 200
"""Price tables that are remembered; the oldest one stands for whatever was before it."""


class Sort(NamedTuple):
    """What of a device its price depends on.

    Attributes:
        model: As its driver calls it.
        milli: All of its compute; 0 = not known.
        gpus: GPUs of its node.
    """

    kind: Kind
    model: str
    milli: int
    gpus: int


class Table(msgspec.Struct, frozen=True, array_like=True):
    """Prices in force from ``since`` (Unix seconds) on; ``watts`` is what an unmeasured node is declared to take."""

    since: float = 0.0
    currency: str = "EUR"
    prices: tuple[Price, ...] = ()
    watts: float | None = None

    def per_hour(self, sort: Sort) -> float | None:
        """What an hour of a whole device costs; ``None`` = no row of the table speaks of it.

        A node's price is that of its GPUs, in equal parts: the processors beside them cost nothing more. Of several
        rows for a model the one counts that says most of its name, and then that of a node of the same size.
        """
        if sort.kind == "gpu":
            rows = [row for row in self.prices if row.model and row.gpus and row.model.lower() in sort.model.lower()]
            best = min(rows, key=lambda row: (row.spot, -len(row.model), abs(row.gpus - sort.gpus)), default=None)
            return None if best is None else best.per_hour / best.gpus
        if sort.gpus:
            return 0.0 if self.prices else None
        bare, processors = [row for row in self.prices if not row.model], sort.milli / 1000
        best = min(bare, key=lambda row: (row.spot, abs(row.processors - processors)), default=None)
        if best is None:
            return None
        return best.per_hour * processors / best.processors if best.processors and processors else best.per_hour


class Tariff:
    """The price tables of all times.

    Args:
        tables: In the order of time.
    """

    def __init__(self, tables: Sequence[Table] = ()) -> None:
        self.tables = tuple(tables) or (Table(),)
        self._since = [table.since for table in self.tables]

    @property
    def now(self) -> Table:
        """The table in force."""
        return self.tables[-1]

    def number(self, at: float) -> int:
        """Which table was in force at a time; the first one also before its own."""
        return max(0, bisect_right(self._since, at) - 1)

    def money(self, sort: Sort, begin: float, end: float) -> float | None:
        """What a whole device costs from ``begin`` to ``end``, in Unix seconds; ``None`` if a part has no price."""
        total = 0.0
        for number in range(self.number(begin), self.number(end) + 1):
            after = self._since[number + 1] if number + 1 < len(self._since) else end
            since = begin if number == self.number(begin) else self._since[number]
            rate = self.tables[number].per_hour(sort)
            if rate is None:
                return None
            total += rate * max(0.0, min(after, end) - since) / HOUR_S
        return total

    def followed_by(self, table: Table) -> tuple[Table, ...]:
        """The tables with a new one, in force from its ``since`` on; the first one of all holds for the past, too."""
        if not self.now.prices and len(self.tables) == 1:
            return (msgspec.structs.replace(table, since=0.0),)
        kept = [one for one in self.tables if one.since < table.since]
        return (*kept[-MOST_TABLES + 1 :], table)


def mean_rate(table: Table, sorts: Iterable[Sort]) -> float | None:
    """What an hour of one of these devices costs on average; ``None`` if one has no price, or there are none."""
    rates = [table.per_hour(sort) for sort in sorts]
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known and len(known) == len(rates) else None
