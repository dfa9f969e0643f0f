"""Lease intervals and samples, added up in minutes, hours and days: exact, each once, and bounded in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TypeVar

from subjects.device import Kind
from subjects.lease import LeaseInterval, Sampled

from .buckets import DAY, HOUR, MINUTE, US, Bucket, Cell, Demand, Lend, Line, Use, Who, lend_of, micros
from .prices import Sort

T = TypeVar("T")
MINUTES_FOR, HOURS_FOR, DAYS_FOR = 26 * HOUR, 32 * DAY, 400 * DAY
"""For so long the past is kept in minutes, in hours, and at all."""

MOST_CELLS = 100_000
"""Sums of use above which further agents are counted together, and twice which further tenants are."""

MOST_MARKS = 65_536
OTHERS = "(others)"
KINDS: tuple[Kind, ...] = ("gpu", "cpu")


class Timeline:
    """The ledger, added up.

    Args:
        now: Unix seconds.
        most_cells: See ``MOST_CELLS``.
    """

    def __init__(self, now: float, most_cells: int = MOST_CELLS) -> None:
        self.buckets: dict[int, Bucket] = {}
        self.cells = 0
        self.seq = 0
        self.repeated = 0
        self._most_cells = most_cells
        self._cuts: list[int] = []
        self._marks: dict[tuple[str, str, int], None] = {}
        self._leases: dict[str, None] = {}
        self._sampled: dict[Line, float] = {}
        self._minute = Bucket(0, MINUTE)
        self._minutes_from = self._hours_from = self._since = 0
        self.advance(now)

    # -- time ----------------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Time went on: what is older is kept in coarser buckets, what is too old is dropped."""
        second = int(now)
        self._hours_from = max(self._hours_from, _floor(second - HOURS_FOR, DAY))
        self._minutes_from = max(self._minutes_from, _floor(second - MINUTES_FOR, HOUR))
        self._since = max(self._since, _floor(second - DAYS_FOR, DAY))
        for start in sorted(self.buckets):
            if start >= self._minutes_from:
                break
            home = self._home(start)
            if start < self._since:
                self.cells -= len(self.buckets.pop(start).use)
            elif home != (start, self.buckets[start].length):
                old = self.buckets.pop(start)
                self.cells -= len(old.use)
                self._merge(old, self._at(*home))

    def cut(self, at: Iterable[float]) -> None:
        """No bucket reaches over these times, whole minutes at which prices changed."""
        self._cuts = sorted({int(one) for one in at if one > 0})

    def _home(self, second: int) -> tuple[int, int]:
        """Start and length of the bucket of a time."""
        step = MINUTE if second >= self._minutes_from else HOUR if second >= self._hours_from else DAY
        start = _floor(second, step)
        end = start + step
        at = bisect_right(self._cuts, second)
        if at:
            start = max(start, self._cuts[at - 1])
        if at < len(self._cuts):
            end = min(end, self._cuts[at])
        return start, end - start

    def _at(self, start: int, length: int) -> Bucket:
        found = self.buckets.get(start)
        if found is None:
            found = self.buckets[start] = Bucket(start, length)
        return found

    def _merge(self, old: Bucket, new: Bucket) -> None:
        for cell, use in old.use.items():
            self._add(new, cell, use)
        for line, lend in old.lend.items():
            new.lend[line] = new.lend.get(line, Lend()).plus(lend)
        for kind in KINDS:
            more, has = old.wanted(kind), new.demand.get(kind, Demand())
            if more.minutes:
                new.demand[kind] = Demand(has.minutes + more.minutes, has.sum + more.sum, max(has.most, more.most))

    # -- what comes in -------------------------------------------------------------------------------------------------

    def take(self, seq: int, one: LeaseInterval) -> bool:
        """Count a line of the ledger; false if it was counted before."""
        if seq <= self.seq:
            return False
        self.seq = seq
        mark = (one.device, one.lease, one.token)
        if self.has(mark):
            self.repeated += 1
            return False
        _remember(self._marks, mark)
        cell = Who(one.layer, one.tenant, one.agent), sort_of(one)
        begin, end, ppm = micros(one.began_at), micros(one.ended_at), round(one.share * US)
        for bucket, length in self._parts(begin, end):
            self._add(bucket, cell, Use(length * ppm, length * one.milli))
        if one.lease not in self._leases and end // US >= self._since:
            self._add(self._at(*self._home(end // US)), cell, Use(leases=1))
        _remember(self._leases, one.lease)
        return True

    def has(self, mark: tuple[str, str, int]) -> bool:
        """Whether a line (device, lease, token) was counted lately."""
        return mark in self._marks

    def sample(self, seq: int, row: Sampled) -> None:
        """Count what was lent in the minute before ``row.at``."""
        if seq <= self.seq:
            return
        self.seq = seq
        line: Line = (row.kind, row.model)
        start = int(row.at) - MINUTE
        if row.at <= self._sampled.get(line, 0.0):
            self.repeated += 1
            return
        self._sampled[line] = row.at
        home, length = self._home(start)
        if length == MINUTE:
            minute = self._at(home, length)
        else:
            if start != self._minute.start:
                self._close(start)
            minute = self._minute
        minute.lend[line] = lend_of(row)
        minute.waiting[row.kind] = row.wanted

    def _close(self, start: int = 0) -> None:
        """An old minute has been told row by row: now it can be added to its hour or day."""
        done, self._minute = self._minute, Bucket(start, MINUTE)
        if done.lend and done.start >= self._since:
            self._merge(done, self._at(*self._home(done.start)))

    def _parts(self, begin: int, end: int) -> Iterator[tuple[Bucket, int]]:
        """An interval, in microseconds, as parts of buckets."""
        begin = max(begin, self._since * US)
        while begin < end:
            start, length = self._home(begin // US)
            until = min(end, (start + length) * US)
            yield self._at(start, length), until - begin
            begin = until

    def _add(self, bucket: Bucket, cell: Cell, use: Use) -> None:
        old = bucket.use.get(cell)
        if old is None and self.cells >= self._most_cells:
            who, sort = cell
            cell = Who(who.layer, who.tenant if self.cells < 2 * self._most_cells else OTHERS, OTHERS), sort
            old = bucket.use.get(cell)
        if old is None:
            self.cells += 1
            bucket.use[cell] = use
        else:
            bucket.use[cell] = Use(old.share + use.share, old.milli + use.milli, old.leases + use.leases)

    # -- reading -------------------------------------------------------------------------------------------------------

    def floor(self, at: float) -> int:
        """The start of the bucket of a time: from there on sums are exact."""
        return self._home(max(int(at), self._since))[0]

    def view(self, since: float) -> list[Bucket]:
        """Copies of the buckets from ``since`` on, in order: to be read in another thread."""
        self._close()
        found = sorted(start for start, bucket in self.buckets.items() if start + bucket.length > since)
        return [self.buckets[start].view() for start in found]


def sort_of(one: LeaseInterval) -> Sort:
    """What the price of an interval's device depends on."""
    return Sort(one.kind, one.model, one.device_milli, one.node_gpus)


def _floor(second: int, step: int) -> int:
    return second // step * step


def _remember(known: dict[T, None], one: T) -> None:
    known[one] = None
    if len(known) > MOST_MARKS:
        del known[next(iter(known))]
