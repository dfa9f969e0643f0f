"""Fitness as a running estimate instead of a number: what is known so far, and how much of it may be chance.

Estimates are made apart (on several workers, on rungs of a race, in later generations) and added up. Each task may
count once only, for a deterministic agent tells nothing new when it answers the same task again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

import msgspec

from .boundary import deviation

CONFIDENCE = 0.95
_QUARTER = 0.25


class Estimate(Protocol):
    """A figure with bounds."""

    @property
    def n(self) -> int:
        """Tasks it rests on."""
        ...

    @property
    def value(self) -> float:
        """The figure itself."""
        ...

    @property
    def stderr(self) -> float:
        """Its standard error; infinite if nothing is known."""
        ...

    def lower_bound(self, confidence: float = CONFIDENCE) -> float:
        """The truth is below this with probability 1 - ``confidence`` at most."""
        ...

    def upper_bound(self, confidence: float = CONFIDENCE) -> float:
        """The truth is above this with probability 1 - ``confidence`` at most."""
        ...

    def half_width(self, confidence: float = CONFIDENCE) -> float:
        """Half the length of the two-sided interval."""
        ...


class Running(msgspec.Struct, frozen=True):
    """The mean of numbers within known bounds, right at every look at once. Exact for independent tasks.

    Sums only, so that ``merge`` is commutative and the order in which results come in does not matter.

    Attributes:
        low: Least possible value.
        high: Greatest possible value.
        n: How many.
        mean: Their mean.
        m2: Sum of squared distances to the mean (Chan, Golub and LeVeque 1979 for merging).
        surprise: Sum of squared distances to what was expected before each, in units of the squared range.
    """

    low: float = 0.0
    high: float = 1.0
    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    surprise: float = 0.0

    def add(self, values: Iterable[float]) -> Running:
        """The estimate after more values, in order.

        Raises:
            ValueError: If one is outside the bounds: the interval would not be right.
        """
        width, middle = self.high - self.low, (self.low + self.high) / 2.0
        n, mean, m2, surprise = self.n, self.mean, self.m2, self.surprise
        for value in values:
            if not self.low <= value <= self.high:
                raise ValueError(f"{value} is outside [{self.low}, {self.high}]")
            expected = (middle + n * mean) / (n + 1)  # one imagined value in the middle of the bounds
            surprise += ((value - expected) / width) ** 2
            n += 1
            step = value - mean
            mean += step / n
            m2 += step * (value - mean)
        return Running(self.low, self.high, n, min(self.high, max(self.low, mean)), m2, surprise)

    def merge(self, other: Running) -> Running:
        """Both together; the tasks must be different ones.

        Raises:
            ValueError: If the bounds differ.
        """
        if (self.low, self.high) != (other.low, other.high):
            raise ValueError("estimates with different bounds can't be added up")
        if not self.n or not other.n:
            return other if not self.n else self
        n, step = self.n + other.n, other.mean - self.mean
        return Running(
            self.low, self.high, n, (self.n * self.mean + other.n * other.mean) / n,
            self.m2 + other.m2 + step * step * (self.n * other.n / n), self.surprise + other.surprise,
        )  # fmt: skip

    @property
    def value(self) -> float:
        """The mean; the middle of the bounds before the first value."""
        return self.mean if self.n else (self.low + self.high) / 2.0

    @property
    def stderr(self) -> float:
        """Standard error of the mean, a quarter of variance put in: ten of ten right is not known exactly.

        Infinite before the first value.
        """
        if not self.n:
            return math.inf
        return (self.high - self.low) * math.sqrt((_QUARTER + self.surprise) / (self.n + 1) / self.n)

    def half_width(self, confidence: float = CONFIDENCE) -> float:
        """Half the length of the two-sided interval, within the bounds."""
        return (self._above(1.0 - (1.0 - confidence) / 2.0) - self._below(1.0 - (1.0 - confidence) / 2.0)) / 2.0

    def lower_bound(self, confidence: float = CONFIDENCE) -> float:
        """One-sided: the truth is ever below it with probability 1 - ``confidence`` at most."""
        return self._below(confidence)

    def upper_bound(self, confidence: float = CONFIDENCE) -> float:
        """One-sided: the truth is ever above it with probability 1 - ``confidence`` at most."""
        return self._above(confidence)

    def _reach(self, confidence: float) -> float:
        if not self.n:
            return math.inf
        return (self.high - self.low) * deviation(self.surprise, 1.0 - confidence) / self.n

    def _below(self, confidence: float) -> float:
        return max(self.low, self.value - self._reach(confidence))

    def _above(self, confidence: float) -> float:
        return min(self.high, self.value + self._reach(confidence))


def better(one: Estimate, other: Estimate, confidence: float = CONFIDENCE) -> bool | None:
    """Whether ``one`` is better for sure; ``None`` while bounds overlap. Each side may be wrong with half the rest."""
    each = 1.0 - (1.0 - confidence) / 2.0
    if one.lower_bound(each) > other.upper_bound(each):
        return True
    return False if one.upper_bound(each) < other.lower_bound(each) else None
