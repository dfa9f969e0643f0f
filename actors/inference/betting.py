"""The mean of bounded numbers: bets of several sizes at once. Exact, for any distribution within the bounds.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", J. R. Statist. Soc. B 86 (2024).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable

_SIZES = tuple(0.9 * 0.8**step for step in range(24))
"""Fractions of the largest admissible bet: from 0.9 down to 0.005, so that effects from large to tiny pay off."""

_KEPT = 24
"""Different gains that are only counted: enough for differences of 0 and 1, also of blocks of eight."""


class Bets:
    """E-value against "the mean is at most ``null``", for numbers in [``low``, ``high``].

    The gambler's capital is shared equally among constant bets (their section 4.5, "mixture method"): each is a test
    martingale, so their mean is one. It does not matter how the numbers come in batches.

    Args:
        low: Least possible value.
        high: Greatest possible value.
        null: The mean that is bet against; where none above it is possible, nothing is ever bet.
    """

    __slots__ = ("_bounds", "_counts", "_log_e", "_logs", "_steps", "bets", "n", "null")

    def __init__(self, low: float, high: float, null: float) -> None:
        if not low < high or null < low:
            raise ValueError(f"the null mean {null} must not be below {low}, and {low} below {high}")
        self.null = null
        self.n = 0
        self._bounds = (low, high)
        largest = 0.0 if null >= high else 1.0 / (null - low) if null > low else 1.0 / (high - null)
        self.bets = [largest * size for size in _SIZES]
        self._logs = [0.0] * len(_SIZES)
        self._counts: dict[float, int] = {}
        self._steps: list[list[float]] = []
        self._log_e: float | None = 0.0

    def add(self, values: Iterable[float]) -> None:
        """Fold numbers, in order.

        Raises:
            ValueError: If one is outside the bounds: the test would not be valid.
        """
        low, high = self._bounds
        for value in values:
            if not low <= value <= high:
                raise ValueError(f"{value} is outside [{low}, {high}]")
            self.n += 1
            self._log_e = None
            gain = value - self.null
            if gain in self._counts:
                self._counts[gain] += 1
                continue
            steps = [math.log1p(bet * gain) for bet in self.bets]
            if len(self._counts) < _KEPT:
                self._counts[gain] = 1
                self._steps.append(steps)
            else:
                self._logs = list(map(operator.add, self._logs, steps))

    @property
    def log_e(self) -> float:
        """Log of the present e-value."""
        if self._log_e is None:
            self._log_e = self._summed()
        return self._log_e

    def _summed(self) -> float:
        logs = self._logs
        for count, steps in zip(self._counts.values(), self._steps, strict=True):
            logs = [log + count * step for log, step in zip(logs, steps, strict=True)]
        top = max(logs)
        return top + math.log(math.fsum(math.exp(log - top) for log in logs) / len(logs))
