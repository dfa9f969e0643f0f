"""What a series is like at each time of day, learned as it goes, so that it can be removed."""

from __future__ import annotations

import math

HOURS, HOUR, DAY = 24, 3600.0, 86_400.0
LEAST_DAYS = 2
_MEMORY_DAYS = 7


class DayProfile:
    """Mean per hour of day, remembered over about a week; read between hours by straight lines.

    Silent until it has seen two whole days: a first day can't tell its shape from its drift.
    Memory: 24 means and counts.
    """

    __slots__ = ("_count", "_days", "_hour", "_means", "_sum")

    def __init__(self) -> None:
        self._means = [math.nan] * HOURS
        self._days = [0] * HOURS
        self._hour = -1
        self._sum = 0.0
        self._count = 0

    @property
    def ready(self) -> bool:
        """Whether every hour of day was seen on two days."""
        return min(self._days) >= LEAST_DAYS

    def learn(self, at: float, value: float) -> None:
        """Take a value; times must not go back by an hour."""
        hour = int(at // HOUR)
        if hour != self._hour:
            self._close()
            self._hour = hour
        self._sum += value
        self._count += 1

    def expected(self, at: float) -> float | None:
        """What the time of day lets expect, as a difference from the day's mean; ``None`` before it is ready."""
        if not self.ready:
            return None
        place = (at / HOUR - 0.5) % HOURS
        first = int(place) % HOURS
        share = place - int(place)
        between = self._means[first] * (1 - share) + self._means[(first + 1) % HOURS] * share
        return between - math.fsum(self._means) / HOURS

    def _close(self) -> None:
        if self._count:
            slot = self._hour % HOURS
            mean = self._sum / self._count
            self._days[slot] += 1
            weight = 1 / min(self._days[slot], _MEMORY_DAYS)
            before = self._means[slot]
            self._means[slot] = mean if math.isnan(before) else before + weight * (mean - before)
        self._sum, self._count = 0.0, 0
