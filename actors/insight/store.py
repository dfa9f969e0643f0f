"""Thousands of series in bounded memory: aggregates per minute and per hour, each point counted exactly once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from .arrays import Flags, Floats, Integers
from .ring import Ring, View

Reason = Literal["malformed", "late", "future", "too-many-series"]
"""Why a point is not counted: not a number or out of bounds; older than ``late_s`` behind the newest; ahead of now;
from a series beyond ``most_series``."""

REASONS: tuple[Reason, ...] = get_args(Reason)
LARGEST = 1e15
"""A value beyond this, either way, is malformed: sums of squares must stay finite."""

MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Size:
    """How much a store keeps. With these settings a series takes at most 42 KB.

    Attributes:
        series: Most series.
        minutes: Minutes kept; a day.
        hours: Hours kept; four weeks.
        late_s: How far behind the newest point one may be. A minute closes when no such point can come any more.
        ahead_s: How far ahead of now one may be: clocks differ.
    """

    series: int = 2048
    minutes: int = 1440
    hours: int = 672
    late_s: float = 120.0
    ahead_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.late_s <= (self.minutes - 2) * MINUTE or self.hours * HOUR < self.late_s + HOUR:
            raise ValueError("late_s must be shorter than what is kept")


@dataclass(frozen=True, slots=True)
class Closed:
    """One minute that will not change any more, of all series; ``nan`` where a series had no value.

    Attributes:
        at: Unix time of the minute's begin.
        mean: Mean per series, in the order of ``SeriesStore.names``.
        count: Values per series.
    """

    at: float
    mean: Floats
    count: Floats


@dataclass(frozen=True, slots=True)
class RingImage:
    """A ring's newest step, and count, sum and largest value, each of shape (steps, series)."""

    head: int
    parts: tuple[Floats, Floats, Floats]


@dataclass(frozen=True, slots=True)
class Image:
    """All that a store holds, detached from it."""

    names: list[str]
    newest: float
    accepted: int
    rejected: dict[str, int]
    minutes: RingImage
    hours: RingImage


class SeriesStore:
    """Points of many series, aggregated. The order in which points within ``late_s`` come does not matter.

    Repeats are the caller's to keep out (see ``Once``): a point carries no identity, the record it comes from does.

    Args:
        size: What it may keep.
    """

    def __init__(self, size: Size = Size()) -> None:
        self.size = size
        self.rejected: Counter[Reason] = Counter()
        self.accepted = 0
        self.newest = 0.0
        self._index: dict[str, int] = {}
        self._minutes = Ring(MINUTE, size.minutes)
        self._hours = Ring(HOUR, size.hours)
        self._given = -1

    @property
    def names(self) -> list[str]:
        """The series, in the order in which they came."""
        return list(self._index)

    @property
    def bytes(self) -> int:
        """Memory of the aggregates: bounded by ``size``, whatever comes."""
        return self._minutes.bytes + self._hours.bytes

    def register(self, name: str) -> int | None:
        """The number of a series, made if it is new; ``None`` if there is no room for it."""
        number = self._index.get(name)
        if number is None and len(self._index) < self.size.series:
            number = self._index[name] = len(self._index)
            self._minutes.hold(number + 1)
            self._hours.hold(number + 1)
        return number

    def refuse(self, reason: Reason, points: int = 1) -> None:
        """Count points that are not taken."""
        if points:
            self.rejected[reason] += points

    def why_not(self, at: float, value: float, now: float) -> Reason | None:
        """Why a point would not be counted, or ``None``."""
        if not (math.isfinite(at) and at > 0 and abs(value) <= LARGEST):
            return "malformed"
        if at > now + self.size.ahead_s:
            return "future"
        return "late" if at < self.newest - self.size.late_s else None

    def add(self, name: str, at: float, value: float, *, now: float) -> bool:
        """Count one point, or count why not."""
        reason = self.why_not(at, value, now)
        number = self.register(name) if reason is None else None
        if number is None:
            self.refuse("too-many-series" if reason is None else reason)
            return False
        self._reach(at)
        self._minutes.add(int(at // MINUTE), number, value)
        self._hours.add(int(at // HOUR), number, value)
        self.accepted += 1
        return True

    def add_many(self, numbers: Integers, at: Floats, values: Floats, *, now: float) -> int:
        """Count points of registered series, as if one by one; returns how many were taken.

        Args:
            numbers: What ``register`` gave; shape (n,).
            at: Unix times, in the order of arrival; shape (n,).
            values: shape (n,).
            now: Unix time.
        """
        good = self._sift(numbers, at, values, now)
        if not good.any():
            return 0
        numbers, at, values = numbers[good], at[good], values[good]
        self._reach(float(at.max()))
        for ring in (self._minutes, self._hours):
            ring.add_many((at // ring.step_s).astype(np.int64), numbers, values)
        self.accepted += at.size
        return int(at.size)

    def reach(self, at: float) -> None:
        """Let the newest time be at least ``at``, which ``why_not`` has let pass."""
        self._reach(at)

    def put_many(self, numbers: Integers, at: Floats, values: Floats) -> None:
        """Count points that were checked one by one with ``why_not``, ``register`` and ``reach``; shapes (n,)."""
        for ring in (self._minutes, self._hours):
            ring.add_many((at // ring.step_s).astype(np.int64), numbers, values)
        self.accepted += at.size

    def image(self) -> Image:
        """A copy of everything, detached: what a restart continues from."""
        width = len(self._index)
        rings = [RingImage(ring.head, ring.parts(width)) for ring in (self._minutes, self._hours)]
        return Image(
            self.names, self.newest, self.accepted, {str(k): n for k, n in self.rejected.items()}, rings[0], rings[1]
        )

    @property
    def given_until(self) -> float:
        """Unix time up to which ``closed`` has given the minutes."""
        return (self._given + 1) * float(MINUTE)

    def restore(self, image: Image) -> None:
        """Hold what ``image`` of a store of the same size held; ``closed`` then gives all kept minutes once more."""
        for name in image.names:
            self.register(name)
        self.newest, self.accepted = image.newest, image.accepted
        self.rejected = Counter({reason: image.rejected.get(reason, 0) for reason in REASONS})
        self._minutes.restore(image.minutes.head, image.minutes.parts)
        self._hours.restore(image.hours.head, image.hours.parts)
        self._given = -1

    def _sift(self, numbers: Integers, at: Floats, values: Floats, now: float) -> Flags:
        known = (numbers >= 0) & (numbers < len(self._index))
        sound = known & np.isfinite(at) & (at > 0) & (np.abs(values) <= LARGEST)
        future = sound & (at > now + self.size.ahead_s)
        usable = sound & ~future
        newest = np.maximum.accumulate(np.where(usable, at, self.newest))
        late = usable & (at < np.maximum(newest, self.newest) - self.size.late_s)
        self.refuse("malformed", int((~sound).sum()))
        self.refuse("future", int(future.sum()))
        self.refuse("late", int(late.sum()))
        return usable & ~late

    def _reach(self, at: float) -> None:
        if at > self.newest:
            if self.newest == 0.0:
                self._given = int((at - self.size.late_s) // MINUTE) - 1
            self.newest = at
            self._minutes.move(int(at // MINUTE))
            self._hours.move(int(at // HOUR))

    def advance(self, now: float) -> None:
        """Let time pass though nothing comes, so that silent minutes close. Only when the stream is read to its end."""
        if self.newest:
            self._reach(now)

    def closed(self) -> Iterator[Closed]:
        """Every minute that closed since the last call, oldest first, each exactly once."""
        last = int((self.newest - self.size.late_s) // MINUTE) - 1
        self._given = max(self._given, last - self.size.minutes + int(self.size.late_s // MINUTE) + 1)
        while self._given < last:
            self._given += 1
            width = len(self._index)
            mean = self._minutes.row(self._given, "mean")[:width]
            yield Closed(self._given * float(MINUTE), mean, self._minutes.row(self._given, "count")[:width])

    def minutes(self, name: str, length: int = 1440, view: View = "mean") -> tuple[float, Floats]:
        """The last ``length`` closed minutes of a series, and when the first begins.

        Raises:
            KeyError: If there is no such series.
        """
        return self._cut(self._minutes, name, length, view)

    def hours(self, name: str, length: int = 672, view: View = "mean") -> tuple[float, Floats]:
        """The last ``length`` closed hours of a series, and when the first begins.

        Raises:
            KeyError: If there is no such series.
        """
        return self._cut(self._hours, name, length, view)

    def matrix(self, names: Sequence[str], length: int = 1440) -> tuple[float, Floats]:
        """Minute means of several series side by side, shape (series, minutes), and when the first minute begins."""
        columns = [self.minutes(name, length) for name in names]
        return (columns[0][0], np.stack([values for _, values in columns])) if columns else (0.0, np.empty((0, length)))

    def _cut(self, ring: Ring, name: str, length: int, view: View) -> tuple[float, Floats]:
        last = int((self.newest - self.size.late_s) // ring.step_s) - 1
        length = min(length, ring.steps)
        first = float((last - length + 1) * ring.step_s)
        return first, ring.column(self._index[name], last, length, view)
