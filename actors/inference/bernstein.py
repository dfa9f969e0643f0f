"""A confidence sequence for the mean of bounded numbers: true at every look at once. Exact, O(1) memory.

Waudby-Smith and Ramdas (2024), theorem 2: the predictable plug-in empirical Bernstein confidence sequence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_MOST_BET = 0.5


class MeanSequence:
    """Interval for the mean of numbers in [``low``, ``high``], at level ``alpha`` two-sided.

    Args:
        low: Least possible value.
        high: Greatest possible value.
        alpha: Chance that the interval is ever wrong.
    """

    __slots__ = ("_cost", "_log", "_low", "_mean", "_sum", "_total", "_variance", "_weight", "_width", "n")

    def __init__(self, low: float, high: float, alpha: float) -> None:
        self._low, self._width = low, high - low
        self._log = math.log(2.0 / alpha)
        self.n = 0
        # their regularised estimates: half an observation in the middle, a quarter of variance
        self._sum, self._variance = 0.5, 0.25
        self._weight = self._total = self._cost = 0.0
        self._mean = 0.5

    def add(self, values: Iterable[float]) -> None:
        """Fold numbers, in order.

        Raises:
            ValueError: If one is outside the bounds: the interval would not be valid.
        """
        for value in values:
            x = (value - self._low) / self._width
            if not 0.0 <= x <= 1.0:
                raise ValueError(f"{value} is outside [{self._low}, {self._low + self._width}]")
            t = self.n + 1
            spread = self._variance / t
            bet = min(_MOST_BET, math.sqrt(2.0 * self._log / (spread * t * math.log(t + 1.0))))
            self._weight += bet
            self._total += bet * x
            # 4 (x - mean)^2 psi_E(bet), psi_E(bet) = (-log(1 - bet) - bet) / 4
            self._cost += (x - self._mean) ** 2 * (-math.log1p(-bet) - bet)
            self.n = t
            self._sum += x
            self._mean = self._sum / (t + 1)
            self._variance += (x - self._mean) ** 2

    def interval(self) -> tuple[float, float]:
        """(low, high), never outside the possible."""
        if not self._weight:
            return self._low, self._low + self._width
        centre, half = self._total / self._weight, (self._log + self._cost) / self._weight
        low, high = max(0.0, centre - half), min(1.0, centre + half)
        return self._low + self._width * low, self._low + self._width * max(low, high)
